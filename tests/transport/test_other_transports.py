"""
Transports that are not the library's own: mocks, apps, a user's, in the client or mounted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.transport.faces import Face, Kind, Library, both, each_async_kind, each_kind, each_library, run_with
from tests.transport.raw_server import OK, says, serving


def base_of(library: Library, kind: Kind) -> Any:
    return library.stock.BaseTransport if kind == "sync" else library.stock.AsyncBaseTransport


def real_of(library: Library, kind: Kind, module: str, **options: Any) -> Any:
    """
    A transport that opens sockets: "stock" or "ours".
    """
    if module == "stock":
        return (library.stock.HTTPTransport if kind == "sync" else library.stock.AsyncHTTPTransport)(**options)
    return (library.ours.GuardTransport if kind == "sync" else library.ours.AsyncGuardTransport)(**options)


@each_kind
@each_library
def test_a_users_own_with_a_pool_of_another_kind(library: Library, kind: Kind) -> None:
    """
    What a user calls `_pool` need not be httpcore's.
    """
    stock = library.stock

    class Own(base_of(library, kind)):  # type: ignore[misc]  # Of a class known at run time.
        def __init__(self) -> None:
            self._pool = ThreadPoolExecutor()

        def handle_request(self, request: Any) -> Any:
            return stock.Response(200, text="own")

        async def handle_async_request(self, request: Any) -> Any:
            return stock.Response(200, text="own")

    async def scenario(face: Face) -> str:
        return str((await face.get("http://example.org")).text)

    assert "own" == both(kind, library, scenario, transport=Own())


@each_kind
@each_library
def test_mounts(library: Library, kind: Kind) -> None:
    """
    A stock transport, a guarded one, a mock, and None for the client's own.
    """
    stock = library.stock

    async def scenario(face: Face) -> list[str]:
        urls = ["http://mock.test/", server.url, server.url.replace("127.0.0.1", "localhost"), "http://127.0.0.2:1/"]
        answers = []
        for url in urls:
            try:
                answers.append((await face.get(url)).text)
            except stock.ConnectError:
                answers.append("ConnectError")
        return answers

    with serving(says(OK)) as server:
        mounts = {
            "all://mock.test": stock.MockTransport(lambda request: stock.Response(200, text="mocked")),
            "all://localhost": real_of(library, kind, "stock"),
            "all://127.0.0.1": real_of(library, kind, "ours"),
            "all://127.0.0.2": None,
        }
        assert ["mocked", "ok", "ok", "ConnectError"] == run_with(kind, library.ours, scenario, mounts=mounts)
        assert ["mocked", "ok", "ok", "ConnectError"] == run_with(kind, library.stock, scenario, mounts=mounts)


@each_async_kind
@each_library
def test_asgi_app(library: Library, kind: Kind) -> None:
    """
    An ASGI app answers within the process.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["path"].encode())]})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"!"})

    async def scenario(face: Face) -> tuple[str, str]:
        response = await face.post("http://app/path", content=b"hello")
        return response.text, response.headers["x-path"]

    assert ("hello!", "/path") == both(kind, library, scenario, transport=library.stock.ASGITransport(app=app))


@each_library
def test_wsgi_app(library: Library) -> None:
    """
    So does a WSGI app.
    """

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("content-type", "text/plain")])
        return [environ["wsgi.input"].read(), b"!"]

    async def scenario(face: Face) -> str:
        return str((await face.post("http://app/path", content=b"hello")).text)

    assert "hello!" == both("sync", library, scenario, transport=library.stock.WSGITransport(app=app))


@each_kind
@each_library
def test_request_seen_by_the_user(library: Library, kind: Kind) -> None:
    """
    `response.request`, the hooks and the auth flow see the request object that was sent, untouched.
    """
    seen: list[Any] = []

    async def scenario(face: Face) -> None:
        hook: Any = seen.append
        if kind != "sync":

            async def hook(request: Any) -> None:
                seen.append(request)

        face.client.event_hooks = {"request": [hook]}
        request = face.client.build_request("GET", server.url, extensions={"mine": 1}, timeout=7)
        before = dict(request.extensions)
        response = await face.send(request)
        assert request is response.request
        assert [request] == seen
        assert before == request.extensions

    with serving(says(OK)) as server:
        run_with(kind, library.ours, scenario)


@each_kind
@each_library
@pytest.mark.parametrize("module", ["stock", "ours"])
def test_transport_given_to_a_client(library: Library, kind: Kind, module: str) -> None:
    """
    A transport of either sort serves in our client, and ours in a stock client.
    """

    async def scenario(face: Face) -> str:
        return str((await face.get(server.url)).text)

    with serving(says(OK)) as server:
        for client in library:
            assert "ok" == run_with(kind, client, scenario, transport=real_of(library, kind, module))
