"""
What is no request for an image is refused with a problem document (RFC 9457) that says what would do.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.images.api.app import create_app
from examples.images.api.asked import MAX_PROMPT, read_asked
from examples.images.api.bodies import MAX_BODY
from examples.images.api.catalogue import Catalogue
from examples.images.api.page import policy
from examples.images.api.problems import ProblemError
from tests.examples.images.api_parts import CATALOGUE, BoardInMemory, FramesInMemory, QueueInMemory, served

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def queue() -> QueueInMemory:
    return QueueInMemory()


@pytest.fixture(scope="module")
def address(queue: QueueInMemory) -> Iterator[str]:
    app = create_app(queue, FramesInMemory(), BoardInMemory(), catalogue=CATALOGUE, default_model="gpt-image-1")
    with served(app) as url:
        yield url


def ask(address: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    """
    The status, the headers and the document that is answered.
    """
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=5)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        document = json.loads(content) if b"json" in answer.headers.get("Content-Type", "").encode() else content
        return answer.status, answer.headers, document
    finally:
        connection.close()


def problem(address: str, body: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """
    POST *body*, and check that what comes back is a whole problem document.
    """
    status, answered, document = ask(address, "POST", "/jobs", body, JSON if headers is None else headers)
    assert "application/problem+json" == answered["Content-Type"]
    assert "no-store" == answered["Cache-Control"]
    assert {"type", "title", "status", "detail"} <= document.keys()
    assert status == document["status"]
    assert 400 <= status < 500
    assert 200 == ask(address, "GET", document["type"])[0]
    return dict(document)


@pytest.mark.parametrize(
    "fields, field, says",
    [
        ({}, "prompt", "is missing; say in words what to draw"),
        ({"prompt": ""}, "prompt", "is blank"),
        ({"prompt": " \t\n\u00a0\u200b\u2029"}, "prompt", "is blank"),
        ({"prompt": 7}, "prompt", "must be a string, got 7"),
        ({"prompt": None}, "prompt", "must be a string, got null"),
        ({"prompt": ["a"]}, "prompt", "must be a string, got an array"),
        ({"prompt": "a\0b"}, "prompt", "has a NUL at character 1"),
        ({"prompt": "a\ud800b"}, "prompt", "half a surrogate pair"),
        ({"prompt": "\udfff"}, "prompt", "half a surrogate pair"),
        ({"prompt": "x" * (MAX_PROMPT + 1)}, "prompt", "is 32769 bytes of UTF-8, and must be at most 32768"),
        # Half as many characters, each of two bytes; and one that composing makes three times as long.
        ({"prompt": "é" * (MAX_PROMPT // 2) + "x"}, "prompt", "is 32769 bytes"),
        ({"prompt": "\U0001d160" * 3000}, "prompt", "is 36000 bytes"),
        ({"prompt": "a", "model": "nope"}, "model", "must be one of gpt-image-1, dall-e-2, got 'nope'"),
        ({"prompt": "a", "model": None}, "model", "got null; or leave it out"),
        ({"prompt": "a", "model": {}}, "model", "got an object"),
        ({"prompt": "a", "size": "256x256"}, "size", "must be one of 1024x1024, 1536x1024 with gpt-image-1"),
        ({"prompt": "a", "size": 1024}, "size", "got 1024"),
        ({"prompt": "a", "urgency": 10}, "urgency", "must be a whole number from 0 to 9, got 10"),
        ({"prompt": "a", "urgency": -1}, "urgency", "got -1"),
        ({"prompt": "a", "urgency": True}, "urgency", "got true"),
        ({"prompt": "a", "urgency": "5"}, "urgency", "got '5'"),
        ({"prompt": "a", "seed": 2**32}, "seed", "from 0 to 4294967295, got 4294967296"),
        ({"prompt": "a", "seed": -1}, "seed", "got -1"),
        ({"prompt": "a", "seed": False}, "seed", "got false"),
        ({"prompt": "a", "seed": 1.0}, "seed", "got 1.0"),
        ({"prompt": "a", "seed": 10**4000}, "seed", "got a very large number"),
        ({"prompt": "a", "colour": "red"}, "colour", "there is no such field; there are prompt, model, size"),
        ({"prompt": "a", "\ud800": 1}, "\ud800", "there is no such field"),
    ],
)
def test_a_field_that_will_not_do(
    address: str, queue: QueueInMemory, fields: dict[str, Any], field: str, says: str
) -> None:
    """
    422: the field is named, with its value and what would do; nothing is queued.
    """
    # A lone surrogate has to be escaped; what is long is not.
    document = problem(address, json.dumps(fields, ensure_ascii="\\ud" in ascii(fields)).encode())
    assert (422, "/problems/invalid-request") == (document["status"], document["type"])
    assert [field] == [error["field"] for error in document["errors"]]
    assert says in document["errors"][0]["detail"]
    assert not queue.jobs


def test_all_that_is_wrong_is_told_at_once(address: str) -> None:
    """
    A client need not find out one by one.
    """
    document = problem(address, '{"prompt": " ", "size": "9x9", "seed": -1, "urgency": 99, "extra": 1}')
    assert {"prompt", "size", "seed", "urgency", "extra"} == {error["field"] for error in document["errors"]}


def test_thousands_of_fields_that_do_not_exist_are_not_all_named(address: str) -> None:
    """
    The answer is no longer than what was asked, however much of it is wrong.
    """
    body = json.dumps({"prompt": " ", **{str(number): 1 for number in range(5_000)}})
    document = problem(address, body)
    assert ["0", "9", "...", "prompt"] == [document["errors"][each]["field"] for each in (0, 9, 10, 11)]
    assert document["errors"][10]["detail"].startswith("there are 4990 more")
    assert len(json.dumps(document)) < 4_000


@pytest.mark.parametrize(
    "body, says",
    [
        (b"", "the body is empty"),
        (b"draw a kite", "not JSON from line 1, column 1"),
        (b'{"prompt": "a"', "not JSON from line 1, column 15"),
        (b'{"prompt": "a\nb"}', "not JSON"),
        (b'{"prompt": "a"} {}', "not JSON"),
        (b'\xef\xbb\xbf{"prompt": "a"}', "not JSON"),
        (b'{"prompt": "\xff"}', "must be UTF-8; byte 12"),
        (b"[]", "must be a JSON object, got an array"),
        (b'"a kite"', "got a string"),
        (b"null", "got null"),
        (b"true", "got a boolean"),
        (b'{"prompt": "a", "prompt": "b"}', "the name 'prompt' stands twice"),
        (b'{"prompt": "a", "x": {"y": 1, "y": 1}}', "the name 'y' stands twice"),
        (b'{"prompt": "a", "seed": NaN}', "NaN is no JSON"),
        (b'{"prompt": "a", "seed": -Infinity}', "-Infinity is no JSON"),
        (b'{"prompt": "a", "seed": 1e999}', "the number 1e999 is too large"),
        (b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}", "4300 digits"),
        (b"[" * 60_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_object(address: str, body: bytes, says: str) -> None:
    """
    400, and where it ends to be one.
    """
    document = problem(address, body)
    assert (400, "/problems/not-json") == (document["status"], document["type"])
    assert says in document["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json-patch"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_another_media_type(address: str, headers: dict[str, str]) -> None:
    """
    415: also what a form of another site could send.
    """
    assert 415 == problem(address, '{"prompt": "a"}', headers)["status"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_by_another_spelling(address: str, queue: QueueInMemory, content_type: str) -> None:
    """
    A media type has no case, and may have parameters.
    """
    status, _, _ = ask(address, "POST", "/jobs", '{"prompt": "ok"}', {"Content-Type": content_type})
    assert status in (200, 202)
    queue.jobs.clear()


def test_a_prompt_of_100_kb_is_refused(address: str) -> None:
    """
    413, and it says how large it may be.
    """
    document = problem(address, json.dumps({"prompt": "x" * 100_000}))
    assert (413, "/problems/too-large") == (document["status"], document["type"])
    assert f"at most {MAX_BODY} bytes" in document["detail"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused_while_it_comes(address: str, chunked: bool) -> None:
    """
    The answer is there although the body never ends: by what it announces, or by what has come.
    """
    where = urlsplit(address)
    length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 1000000000"
    head = f"POST /jobs HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    with socket.create_connection((str(where.hostname), where.port or 0), timeout=5) as client:
        client.sendall(head.encode())
        if chunked:
            client.sendall(b"20000\r\n" + b"x" * 0x20000 + b"\r\n")
        assert b"HTTP/1.1 413 " in client.recv(65536)


def test_a_body_that_does_not_come_is_not_waited_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    408 in time, and the connection is closed: what may still come is no next request.
    """
    monkeypatch.setattr("examples.images.api.bodies._ARRIVES_WITHIN", 0.1)
    where = urlsplit(address)
    head = (
        f"POST /jobs HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    )
    with socket.create_connection((str(where.hostname), where.port or 0), timeout=5) as client:
        client.sendall(head.encode() + b'{"prompt"')
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"/problems/too-slow" in answer


def test_a_client_that_hangs_up_in_its_body(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """
    Nothing is queued, nothing is logged as an error, and the next one is served.
    """
    where = urlsplit(address)
    head = (
        f"POST /jobs HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    )
    for _ in range(5):
        with socket.create_connection((str(where.hostname), where.port or 0), timeout=5) as client:
            client.sendall(head.encode() + b'{"prompt"')
    assert 200 == ask(address, "GET", "/frames")[0]
    assert [] == [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


@pytest.mark.parametrize(
    "query, field",
    [
        ("after=-1", "after"),
        ("after=x", "after"),
        ("after=1&after=2", "after"),
        ("after=9223372036854775808", "after"),
        ("after=%D9%A1", "after"),
        ("after=", "after"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=1_0", "limit"),
        ("limit=+5", "limit"),
        ("limit=" + "9" * 5000, "limit"),
    ],
)
def test_a_page_that_is_none(address: str, query: str, field: str) -> None:
    """
    400 with the parameter's name.
    """
    status, _, document = ask(address, "GET", f"/frames?{query}")
    assert 400 == status
    assert [field] == [error["field"] for error in document["errors"]]


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/nowhere", 404),
        ("GET", "/jobs/7", 404),
        ("POST", "/jobs/", 404),
        ("GET", "/frames/", 404),
        ("GET", "/jobs/00000000-0000-0000-0000-000000000000", 404),
        ("GET", "/jobs/%00", 404),
        ("GET", "/images/none.png", 404),
        ("GET", "/images/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/page/..%2fapp.py", 404),
        ("GET", "/problems/none", 404),
        ("DELETE", "/frames", 405),
        ("GET", "/jobs", 405),
        ("POST", "/", 405),
    ],
)
def test_nothing_there_or_not_that_way(address: str, method: str, path: str, status: int) -> None:
    """
    404 and 405 are problem documents as well, with the headers that all answers have.
    """
    answered, headers, document = ask(address, method, path)
    assert (status, status) == (answered, document["status"])
    assert "application/problem+json" == headers["Content-Type"]
    assert "nosniff" == headers["X-Content-Type-Options"]
    assert document["detail"]
    if status == 405:
        assert headers["Allow"] in document["detail"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(["prompt", "model", "size", "seed", "urgency"]) | st.text(max_size=3), values))
def test_whatever_is_asked_is_an_image_or_a_problem(document: dict[str, Any]) -> None:
    """
    No JSON object raises anything else, and what is accepted is in its ranges.
    """
    try:
        asked = read_asked(document, Catalogue(CATALOGUE, "gpt-image-1"))
    except ProblemError as error:
        refused: ProblemError | None = error
    else:
        refused = None
    if refused is not None:
        assert 422 == refused.status and refused.errors
        return
    assert asked.request.prompt.strip() and "\0" not in asked.request.prompt
    assert asked.request.size in CATALOGUE[asked.request.model]
    assert 0 <= asked.request.seed < 2**32 and 0 <= asked.urgency <= 9


def test_a_catalogue_that_cannot_be_served() -> None:
    """
    It is told when the application is made, and not when somebody asks.
    """
    for catalogue, default_model in (({}, "a"), ({"a": ()}, "a"), ({"a": ("1x1",)}, "b")):
        with pytest.raises(ValueError, match="catalogue|default_model"):
            create_app(
                QueueInMemory(), FramesInMemory(), BoardInMemory(), catalogue=catalogue, default_model=default_model
            )


@pytest.mark.parametrize("source", ["cdn.example.com", "https://a.example; script-src *", "data:", "https://a b"])
def test_an_image_source_cannot_widen_the_policy(source: str) -> None:
    """
    What is no origin could end the directive it stands in.
    """
    with pytest.raises(ValueError, match="image_sources must be origins"):
        policy([source])
    assert "img-src 'self' https://cdn.example.com;" in policy(["https://cdn.example.com"])
