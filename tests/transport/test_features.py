"""
What else the libraries' clients do, ours do too: hooks, redirects, auth, cookies, extensions, upgrades, streams.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Generator
from typing import Any

import pytest

from tests.transport.faces import Face, Kind, Library, both, each_kind, each_library, error_of, facts, run_with
from tests.transport.raw_server import OK, Connection, says, serving


def text(body: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *lines, b"", body])


def routes(connection: Connection) -> None:
    """
    A little of everything.
    """
    while request := connection.request():
        method, path, _ = request.split(b"\r\n")[0].split()
        if path == b"/redirect":
            connection.say(text(b"gone", b"location: /after", b"set-cookie: was=here", status=b"302 Found"))
        elif path == b"/loop":
            connection.say(text(b"", b"location: /loop", status=b"307 Temporary"))
        elif path == b"/digest":
            if b"uthorization: Digest" in request:
                connection.say(text(b"in"))
            else:
                asks = b'www-authenticate: Digest realm="r", qop="auth", nonce="n", opaque="o", algorithm=SHA-256'
                connection.say(text(b"", asks, status=b"401 Unauthorized"))
        elif path == b"/lines":
            connection.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for number in range(5):
                line = b"line %d\r\n" % number
                connection.say(b"%x\r\n%s\r\n" % (len(line), line))
            connection.say(b"0\r\n\r\n")
        else:
            cookie = re.search(rb"(?i)cookie: ([^\r]*)", request)
            connection.say(text(b" ".join([method, path, cookie[1] if cookie else b"-"])))


@each_kind
@each_library
def test_redirects_and_cookies(library: Library, kind: Kind) -> None:
    """
    Followed with the cookies set on the way, told in the history, and not without end.
    """

    async def scenario(face: Face) -> list[Any]:
        response = await face.post("/redirect", content=b"x")
        seen = [response.text, [each.status_code for each in response.history], dict(face.client.cookies)]
        seen.append(await error_of(face.get("/loop")))
        seen.append((await face.get("/redirect", follow_redirects=False)).status_code)
        return seen

    with serving(routes) as server:
        seen = both(kind, library, scenario, base_url=server.url, follow_redirects=True, max_redirects=3)
    assert ["GET /after was=here", [302], {"was": "here"}] == seen[:3]


@each_kind
@each_library
def test_auth_flows(library: Library, kind: Kind) -> None:
    """
    Digest, and a flow of the user's own that sends two requests.
    """

    base: Any = library.stock.Auth

    class Own(base):  # type: ignore[misc]  # Of a class known at run time.
        requires_response_body = True

        def auth_flow(self, request: Any) -> Generator[Any, Any, None]:
            token = yield library.stock.Request("GET", request.url.join("/token"))
            request.headers["cookie"] = hashlib.sha256(token.content).hexdigest()[:8]
            yield request

    async def scenario(face: Face) -> list[Any]:
        digest = await face.get("/digest", auth=library.stock.DigestAuth("me", "secret"))
        own = await face.get("/own", auth=Own())
        return [digest.text, digest.status_code, own.text]

    with serving(routes) as server:
        assert "in" == both(kind, library, scenario, base_url=server.url)[0]


@each_kind
@each_library
def test_hooks_and_trace(library: Library, kind: Kind) -> None:
    """
    They are told the same in the same order.
    """

    async def scenario(face: Face) -> list[str]:
        told: list[str] = []

        def trace(name: str, info: Any) -> None:
            told.append(name)

        def hook(message: Any) -> None:
            told.append(type(message).__name__)

        async def async_trace(name: str, info: Any) -> None:
            trace(name, info)

        async def async_hook(message: Any) -> None:
            hook(message)

        hooks = [hook if kind == "sync" else async_hook]
        face.client.event_hooks = {"request": hooks, "response": hooks}
        for _ in range(2):
            await face.post(server.url, json=1, extensions={"trace": trace if kind == "sync" else async_trace})
        return told

    with serving(routes) as server:
        assert "connection.connect_tcp.started" in both(kind, library, scenario)


@each_kind
@each_library
@pytest.mark.parametrize("how", ["iter_raw", "iter_bytes", "iter_text", "iter_lines"])
def test_streamed(library: Library, kind: Kind, how: str) -> None:
    """
    Piece by piece, in the pieces in which the stock client gives it.
    """

    async def scenario(face: Face) -> Any:
        async with face.stream("GET", f"{server.url}/lines") as response:
            return "".join([str(item) for item in [each async for each in face.each(response, how)]])

    with serving(routes) as server:
        joined = both(kind, library, scenario)
    if how == "iter_lines":
        assert "line 0line 1line 2line 3line 4" == joined


@each_kind
@each_library
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
def test_left_early(library: Library, kind: Kind) -> None:
    """
    A stream that is left early gives its connection up; the client goes on with another.
    """

    async def scenario(face: Face) -> Any:
        before = len(server.connections)
        async with face.stream("GET", server.url) as response:
            async for _ in face.each(response, "iter_raw", 10):
                break
        assert response.is_closed
        async with face.stream("GET", server.url):
            pass
        return [len((await face.get(server.url)).content), len(server.connections) - before]

    with serving(says(text(b"x" * 5_000_000))) as server:
        limits = library.stock.Limits(max_connections=1)
        assert [5_000_000, 3] == both(kind, library, scenario, limits=limits)


@each_kind
@each_library
def test_upgrade(library: Library, kind: Kind) -> None:
    """
    101, and then the stream is the user's: what came with the answer, what comes, what goes, its end.
    """

    def upgrades(connection: Connection) -> None:
        connection.head()
        connection.say(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: raw\r\nconnection: upgrade\r\n\r\nhello")
        while data := connection.more():
            connection.say(data.upper())

    async def scenario(face: Face) -> list[Any]:
        headers = {"connection": "upgrade", "upgrade": "raw"}
        async with face.stream("GET", server.url, headers=headers) as response:
            stream = response.extensions["network_stream"]

            async def read(most: int) -> Any:
                return await stream.read(most, timeout=2) if kind != "sync" else stream.read(most, timeout=2)

            seen = [response.status_code, await read(3), await read(100)]
            for word in (b"abc", b"x" * 100_000):
                if kind == "sync":
                    stream.write(word, timeout=2)
                else:
                    await stream.write(word, timeout=2)
                got = b""
                while len(got) < len(word):
                    got += await read(1_000)
                seen.append(got)
            return seen

    with serving(upgrades) as server:
        seen = both(kind, library, scenario)
    assert [101, b"hel", b"lo", b"ABC"] == seen[:4]


@each_kind
@each_library
def test_responses_can_be_pickled(library: Library, kind: Kind) -> None:
    """
    Also one that came through our stream.
    """

    async def scenario(face: Face) -> Any:
        return facts(pickle.loads(pickle.dumps(await face.get(server.url))))

    with serving(says(OK)) as server:
        both(kind, library, scenario)


@each_library
def test_elapsed_and_is_closed(library: Library) -> None:
    """
    A response that was read is closed, and knows how long it took.
    """

    async def scenario(face: Face) -> Any:
        response = await face.get(server.url)
        return response.is_closed, response.is_stream_consumed, response.elapsed.total_seconds() > 0

    with serving(says(OK)) as server:
        assert (True, True, True) == run_with("sync", library.ours, scenario)
