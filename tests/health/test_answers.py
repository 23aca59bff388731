"""
What the page answers: JSON to programs, a page to browsers, 200 or 503 to probes, and headers that let nothing in.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hungframe import Guard, GuardSet, Snapshot
from hungframe.health import app, serve
from hungframe.health.schema import health_schema
from tests.health.asking import ask

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
ROOT = Path(__file__).parents[2]


def test_a_browser_gets_a_page_and_a_probe_json() -> None:
    """
    By what they accept; /health.json is always JSON.
    """
    page = app(Guard("images"))

    assert "text/html; charset=utf-8" == ask(page, headers=HTML).headers["content-type"]
    by_path = [ask(page), ask(page, ""), ask(page, "/health.json", headers=HTML)]
    for answer in (*by_path, ask(page, headers={"accept": "*/*"})):
        assert (200, "application/json") == (answer.status, answer.headers["content-type"])
        assert ["images"] == [guard["name"] for guard in answer.json()["guards"]]


def test_status_for_probes() -> None:
    """
    503 while the breaker of every guard is open; the page itself is there all the same.
    """
    eu, us = Guard("eu"), Guard("us")
    page = app(eu, us)

    def status() -> int:
        page._feed.looks_again()
        return ask(page, "/health.json").status

    assert 200 == status()
    eu.force_open()
    assert 200 == status()
    us.force_open()
    assert (503, False) == (status(), ask(page).json()["ready"])
    assert 200 == ask(page, headers=HTML).status
    us.reset()
    assert 200 == status()


def test_rule_of_the_user(caplog: pytest.LogCaptureFixture) -> None:
    """
    `ready` decides; where it raises, the service is not ready, and the log says why, once.
    """

    def without_orphans(snapshots: Sequence[Snapshot]) -> bool:
        return all(each.orphans == 0 for each in snapshots)

    def broken(snapshots: Sequence[Snapshot]) -> bool:
        raise KeyError("no such guard")

    guard = Guard("images")
    guard.force_open()
    page = app(guard, ready=broken)
    page._feed.looks_again()

    assert 200 == ask(app(guard, ready=without_orphans)).status
    assert 503 == ask(page).status
    assert 1 == caplog.text.count("health: ready() raised")


@pytest.mark.parametrize("label", [lambda name: 1 / 0, lambda name: None], ids=["raises", "no string"])
def test_label_that_fails(label: Any, caplog: pytest.LogCaptureFixture) -> None:
    """
    The guard is shown by its id, so that probes are answered still; the log says so once, not what was to be hidden.
    """
    page = app(Guard("images[alice]"), Guard("texts[bob]"), label=label)
    page._feed.looks_again()

    answer = ask(page, "/health.json")
    assert 200 == answer.status
    assert all(guard["name"] == guard["id"] for guard in answer.json()["guards"])
    assert 1 == caplog.text.count("health: label() failed")
    assert "alice" not in caplog.text and b"alice" not in answer.body


def test_head() -> None:
    """
    The headers of GET, and no body.
    """
    page = app(Guard("images"))

    for path in ("/", "/health.json", "/page.css", "/page.js"):
        answer = ask(page, path, "HEAD")
        assert (200, b"") == (answer.status, answer.body)
        assert int(answer.headers["content-length"]) > 100
    stream = ask(page, "/events", "HEAD")
    assert (200, b"") == (stream.status, stream.body)
    assert 0 == page.viewers


@pytest.mark.parametrize("path", ["/", "/health.json", "/page.css", "/page.js", "/nowhere"])
def test_headers(path: str) -> None:
    """
    Each answer says: keep nothing, run nothing from elsewhere, be in no frame.
    """
    headers = ask(app(Guard("images")), path, headers=HTML).headers

    assert "no-store" in headers["cache-control"]
    assert (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ) == headers["content-security-policy"]
    assert ("nosniff", "no-referrer") == (headers["x-content-type-options"], headers["referrer-policy"])


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/nowhere", 404),
        ("GET", "/../page.html", 404),
        ("GET", "/page.html", 404),
        ("POST", "/", 405),
        ("DELETE", "/health.json", 405),
        ("POST", "/operate", 404),
        ("GET", "/operate", 404),
    ],
)
def test_what_is_not_there(method: str, path: str, status: int) -> None:
    """
    Nothing else is served; without a token nobody can do anything.
    """
    assert status == ask(app(Guard("images")), path, method).status


def test_below_a_mount() -> None:
    """
    Whether or not the framework has cut the mount off the path; a browser that leaves the slash out is sent to it.
    """
    page = app(Guard("images"))
    mount: dict[str, Any] = {"root_path": "/internal/gen-health"}

    assert 200 == ask(page, "/internal/gen-health/health.json", **mount).status
    assert 200 == ask(page, "/health.json", **mount).status
    assert 200 == ask(page, "/internal/gen-health", **mount).status
    sent = ask(page, "/internal/gen-health", headers=HTML, **mount)
    assert (307, "gen-health/") == (sent.status, sent.headers["location"])
    assert b"/internal" not in ask(page, "/internal/gen-health/", headers=HTML, **mount).body


@pytest.mark.parametrize(
    "root, sent_to",
    [
        ("/a\r\nset-cookie: b", "a%0D%0Aset-cookie%3A%20b/"),
        ("/http:a.example", "http%3Aa.example/"),
        ("/日本", "%E6%97%A5%E6%9C%AC/"),
        ("/gen health", "gen%20health/"),
    ],
)
def test_below_a_mount_of_any_characters(root: str, sent_to: str) -> None:
    """
    A mount with parameters is called as somebody likes who asks: no header is added, and no browser sent elsewhere.
    """
    page = app(Guard("images"), operator_token="correct horse battery staple")

    sent = ask(page, root, headers=HTML, root_path=root)
    assert (307, sent_to) == (sent.status, sent.headers["location"])
    cookie = ask(page, f"{root}/", headers=HTML, root_path=root).headers["set-cookie"]
    path = cookie.partition("; Path=")[2].partition(";")[0]
    assert path.isascii() and path.isprintable() and " " not in path
    assert sent_to == path[1:].replace(":", "%3A")


def test_schema_is_the_published_one() -> None:
    """
    docs/reference/health.schema.json is what the code says; `python -m hungframe.health.schema` writes it.
    """
    written = (ROOT / "docs" / "reference" / "health.schema.json").read_text(encoding="utf-8")

    assert health_schema() == json.loads(written)


def test_documents_satisfy_the_schema() -> None:
    """
    And have no name that the schema does not tell.
    """
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    from tests.health.scene import Past

    past = Past("images", behind=30)
    page = app(past.guard, Guard("bare", breaker=None, timeout=None), Guard("nan", timeout=5, bulkhead=3))
    past.fine(5, 0.2, 0.1)
    past.bad(8, ConnectionResetError, 0.1, 0.1)
    page._feed.looks_again()
    document = ask(page).json()
    schema = health_schema()

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert set(schema["properties"]) == set(document)
    told = document["guards"][0]
    assert set(schema["properties"]["guards"]["items"]["properties"]) == set(told)
    assert told["calls"] and told["events"] and len(told["states"]) > 1


def test_shows_no_secret() -> None:
    """
    A key of a set that is an API key, or somebody's address, is made short; and tells guards apart still.
    """
    keys = ["sk-proj-4f9a8b7c6d5e4f3a2b1c", "sk-proj-4f9a8b7c6d5e4f3a2b1d", "jane.doe@example.org", "eu-west-1"]
    guards = GuardSet("images", timeout=5)
    for key in keys:
        guards[key].call(str)
    document = ask(app(guards)).body.decode()

    assert "eu-west-1" in document
    for secret in ("4f9a", "proj", "jane", "example"):
        assert secret not in document
    assert 4 == len({guard["name"] for guard in json.loads(document)["guards"]})


def test_shows_no_prompt() -> None:
    """
    Neither arguments, nor results, nor the message of an error, nor what a callee had in its hands when it hung.
    """
    guard = Guard("images", timeout=0.03, grace=0.02)
    page = app(guard)
    prompt = "a secret prompt"

    def hangs(prompt: str, key: str) -> str:
        import time

        time.sleep(0.1)
        return prompt

    def fails(prompt: str, key: str) -> str:
        raise ConnectionResetError(f"{prompt} {key}")

    for callee in (hangs, fails):
        with pytest.raises(Exception):  # noqa: B017, PT011 - whichever; the page is what is looked at
            guard.call(callee, prompt, key="topsecretkey")
    page._feed.looks_again()
    document = ask(page).body.decode()

    assert "hangs" in document and "connection" in document
    assert prompt not in document and "topsecretkey" not in document


def test_label() -> None:
    """
    `label` names what is shown.
    """
    page = app(Guard("images"), label=str.upper)

    assert "IMAGES" == ask(page).json()["guards"][0]["name"]


def test_most() -> None:
    """
    Of a large set those used last are shown, and how many are not.
    """
    guards = GuardSet("images", timeout=5)
    page = app(guards, most=3)
    for number in range(10):
        guards[number].call(str)
    guards[4].call(str)
    page._feed.looks_again()
    document = ask(page).json()

    assert ["images[4]", "images[8]", "images[9]"] == [guard["name"] for guard in document["guards"]]
    assert 7 == document["hidden"]
    assert list(guards) == [0, 1, 2, 3, 5, 6, 7, 8, 9, 4]


def test_no_guard_yet() -> None:
    """
    A set that has none is ready.
    """
    assert (200, []) == ((answer := ask(app(GuardSet("images")))).status, answer.json()["guards"])


@pytest.mark.parametrize(
    "args, settings, error, words",
    [
        ((), {}, ValueError, "there is no guard to show"),
        (("images",), {}, TypeError, "guards must be Guards and GuardSets, got 'images'"),
        ((Guard("a"),), {"ready": True}, TypeError, "ready must be a function or None, got True"),
        ((Guard("a"),), {"label": "x"}, TypeError, "label must be a function or None, got 'x'"),
        ((Guard("a"),), {"most": 0}, ValueError, "most must be"),
        ((Guard("a"),), {"operator_token": "secret"}, ValueError, "at least 16 characters, got 6"),
        ((Guard("a"),), {"operator_token": "s\u00e9same, ouvre-toi!"}, ValueError, "must be printable ASCII"),
        ((Guard("a"),), {"operator_token": 5}, TypeError, "operator_token must be a string or None, got a int"),
    ],
)
def test_bad_settings(args: Any, settings: Any, error: type[Exception], words: str) -> None:
    """
    Refused where they are given, with what would do; a token is not repeated. And nothing listens then.
    """
    for make in (app, serve):
        with pytest.raises(error, match=words):
            make(*args, **settings)
    assert all(not guard._engine.sinks for guard in args if isinstance(guard, Guard))


def test_other_scopes() -> None:
    """
    A websocket is closed, and what nobody knows is refused.
    """
    page = app(Guard("images"))
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    async def receive() -> Any:
        raise AssertionError

    import anyio

    anyio.run(page, {"type": "websocket"}, receive, send)
    with pytest.raises(ValueError, match="'gopher'"):
        anyio.run(page, {"type": "gopher"}, receive, send)

    assert ["websocket.close"] == [message["type"] for message in told]
