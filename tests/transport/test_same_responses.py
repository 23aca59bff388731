"""
What the server says comes to the user of our client as it comes to the user of the stock one.
"""

from __future__ import annotations

import gzip
import time
import warnings
import zlib
from typing import Any

import pytest

from tests.transport.faces import Face, Kind, Library, both, each_kind, each_library, error_of, facts, run_with
from tests.transport.raw_server import OK, Answer, Connection, says, serving

# What httpx leaves to the garbage collector when an answer ends early, trio complains of; see test_left_early.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

BODY = bytes(range(256)) * 1_000
ZIPPED = gzip.compress(BODY, mtime=0)


def closing(answer: bytes) -> Answer:
    """
    Answers once, and closes.
    """

    def answer_and_close(connection: Connection) -> None:
        connection.request()
        connection.say(answer)

    return answer_and_close


def in_pieces(*pieces: bytes) -> Answer:
    """
    Answers with a pause after each piece.
    """

    def answer(connection: Connection) -> None:
        while connection.request():
            for piece in pieces:
                connection.say(piece)
                time.sleep(0.01)

    return answer


def continues(connection: Connection) -> None:
    """
    Says 100 before it reads the body.
    """
    while connection.head():
        connection.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.exactly(4)
        connection.say(OK)


def head_of(body: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *lines, b"", b""])


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ANSWERS: dict[str, Answer] = {
    "short": says(OK),
    "large": says(head_of(BODY * 8) + BODY * 8),
    "empty": says(head_of(b"")),
    "chunked": says(CHUNKED + b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"),
    "trailers": says(CHUNKED + b"5\r\nhello\r\n0\r\nx-checksum: 1\r\n\r\n"),
    "gzip": says(head_of(ZIPPED, b"content-encoding: gzip") + ZIPPED),
    "deflate": says(head_of(zlib.compress(BODY), b"content-encoding: deflate") + zlib.compress(BODY)),
    "broken gzip": says(head_of(b"nonsense", b"content-encoding: gzip") + b"nonsense"),
    "204": says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "304": says(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 1000\r\n\r\n"),
    "304, large": says(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 1000000000\r\n\r\n"),
    "reason": says(b"HTTP/1.1 299 Sort of\r\ncontent-length: 0\r\n\r\n"),
    "HTTP/1.0": closing(b"HTTP/1.0 200 OK\r\n\r\n" + BODY),
    "no length": closing(b"HTTP/1.1 200 OK\r\n\r\n" + BODY),
    "close": closing(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"),
    "103": says(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK),
    "102 twice": says(b"HTTP/1.1 102 Processing\r\n\r\n" * 2 + OK),
    "100": continues,
    "pieces": in_pieces(b"HTTP/1.1 20", b"0 OK\r\ncontent-len", b"gth: 4\r\n\r", b"\nab", b"cd"),
    "set-cookie": says(head_of(b"", b"set-cookie: a=b", b"set-cookie: c=d; Path=/")),
    "many headers": says(head_of(b"", *[b"x-%d: %s" % (n, b"v" * 100) for n in range(90)])),
    "too many headers": says(head_of(b"", *[b"x-%d: %s" % (n, b"v" * 1_000) for n in range(300)])),
    "not HTTP": closing(b"SSH-2.0-OpenSSH\r\n"),
    "too short": closing(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
    "chunk cut": closing(CHUNKED + b"5\r\nhel"),
    "closes": closing(b""),
    "two answers": says(OK + OK),
}


@each_kind
@each_library
@pytest.mark.parametrize("name", ANSWERS)
def test_same_response(library: Library, kind: Kind, name: str) -> None:
    """
    Status, headers and content, or the very same error.
    """

    async def scenario(face: Face) -> list[Any]:
        seen: list[Any] = []
        for _ in range(2):
            try:
                response = await face.post(server.url, content=b"body")
            except Exception as error:
                seen.append(f"{type(error).__module__}.{type(error).__name__}")
                continue
            seen.append(facts(response))
            seen.append([*response.cookies.items()])
        return seen

    with serving(ANSWERS[name]) as server:
        both(kind, library, scenario)


@each_kind
@each_library
def test_head_with_a_length(library: Library, kind: Kind) -> None:
    """
    The answer to HEAD has a length and no body, however long, and the connection goes on.
    """

    async def scenario(face: Face) -> list[Any]:
        return [facts(await face.request("HEAD", server.url)) for _ in range(3)]

    with serving(says(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")) as server:
        both(kind, library, scenario)
        assert 2 == len(server.connections)


@each_kind
@each_library
@pytest.mark.parametrize("reads", [0, 200_000])
def test_refused_before_the_upload_is_read(library: Library, kind: Kind, reads: int) -> None:
    """
    A server that answers 413 in the middle of the upload, and closes in good order: the answer is what the user gets.
    """

    def refuses(connection: Connection) -> None:
        connection.head()
        connection.exactly(reads)
        connection.say(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig")
        # In good order: it says that nothing follows, and reads on for a while, and only then closes.
        connection.sock.shutdown(1)
        until = time.monotonic() + 0.1
        connection.sock.settimeout(0.1)
        while time.monotonic() < until and connection.more():
            pass

    async def scenario(face: Face) -> Any:
        return facts(await face.post(server.url, content=b"x" * 8_000_000))

    with serving(refuses) as server:
        status, *_, content = run_with(kind, library.ours, scenario)
    assert (413, b"big") == (status, content)


@each_kind
@each_library
def test_closed_at_once_with_an_answer(library: Library, kind: Kind) -> None:
    """
    Where the server closes at once, a write fails: what it has said before is what the user gets, or the same error.
    """

    def refuses(connection: Connection) -> None:
        connection.head()
        connection.say(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig")
        connection.sock.shutdown(2)

    async def scenario(face: Face) -> Any:
        try:
            return (await face.post(server.url, content=b"x" * 8_000_000)).status_code
        except Exception as error:
            return type(error).__name__

    with serving(refuses) as server:
        stock = {run_with(kind, library.stock, scenario) for _ in range(5)}
        ours = {run_with(kind, library.ours, scenario) for _ in range(5)}
    # Which it is, is a race within the kernel.
    assert ours <= stock | {413, "ReadError"}


@each_kind
@each_library
def test_connection_refused(library: Library, kind: Kind) -> None:
    """
    Nobody listens: the library's own ConnectError.
    """
    with serving(says(OK)) as server:
        url = server.url

    async def scenario(face: Face) -> str:
        return await error_of(face.get(url))

    assert both(kind, library, scenario).endswith("ConnectError")


@each_library
def test_left_early(library: Library) -> None:
    """
    A stream that is left early leaves no generator to the garbage collector that the stock client does not leave.
    """

    async def scenario(face: Face) -> None:
        async with face.stream("GET", server.url) as response:
            async for _ in response.aiter_raw(100):
                break

    def complaints(module: Any) -> set[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run_with("trio", module, scenario)
        return {str(each.message).partition("'")[2].partition("'")[0] for each in caught}

    with serving(ANSWERS["large"]) as server:
        ours, stock = complaints(library.ours), complaints(library.stock)
    assert ours <= stock
