"""
The health page as an ASGI application, for any server and any framework that mounts one.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from hungframe.health.feed import EVERY, Feed
from hungframe.health.messages import MOST_BODY, Request
from hungframe.health.routes import BEAT, BEAT_EVERY, STREAM_BEGINS, Routes

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]

# Seconds after which a stream ends, and the browser asks for the next one. A server that stops waits for its streams,
# and not every server tells them that it stops: 30 s is what gunicorn and Kubernetes wait by default.
_STREAM_FOR = 25.0


class HealthApp:
    """
    An ASGI application; made by `hungframe.health.app`.
    """

    def __init__(self, feed: Feed, routes: Routes) -> None:
        self._feed = feed
        self._routes = routes
        self._closed = False
        self.viewers = 0
        """Streams that are open now."""

    def close(self) -> None:
        """
        End all streams, and listen to the guards no more.
        """
        self._closed = True
        self._feed.close()

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """
        Answer one request.

        Raises:
            ValueError: If the server speaks something else than HTTP here.
        """
        kind = scope["type"]
        if kind == "lifespan":
            await self._live(receive, send)
        elif kind == "http":
            try:
                await self._answer(scope, receive, send)
            except OSError:
                # Servers say so where who asked has gone.
                return
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise ValueError(f"the health page speaks HTTP, got an ASGI scope of the type {kind!r}")

    async def _live(self, receive: _Receive, send: _Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._closed = False
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self._closed = True
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        request = await _read(scope, receive)
        if request is None:
            return
        reply = self._routes.answer(request)
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if not reply.is_stream:
            body = b"" if request.method == "HEAD" else reply.body
            await send({"type": "http.response.body", "body": body})
            return
        self.viewers += 1
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_until_gone, receive, group.cancel_scope)
                try:
                    await self._stream(send)
                except OSError:
                    # As above, and here within a group, which would wrap it.
                    pass
                group.cancel_scope.cancel()
        finally:
            self.viewers -= 1

    async def _stream(self, send: _Send) -> None:
        """
        Write how the guards stand, each time that it has changed; a viewer who reads slowly misses what was between.
        """
        begun_at = sent_at = time.monotonic()
        version = -1
        begins = STREAM_BEGINS
        while not (self._closed or _server_stops()) and time.monotonic() - begun_at < _STREAM_FOR:
            view = self._feed.look()
            message = b""
            if view.version != version:
                message = begins + view.message
            elif time.monotonic() - sent_at >= BEAT_EVERY:
                message = BEAT
            if message:
                await send({"type": "http.response.body", "body": message, "more_body": True})
                version, sent_at, begins = view.version, time.monotonic(), b""
            await anyio.sleep(EVERY)
        await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: _Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _read(scope: _Message, receive: _Receive) -> Request | None:
    """
    Read a request, a body only where one belongs to it; None if its sender has gone meanwhile.
    """
    root = scope.get("root_path", "").rstrip("/")
    path = scope["path"]
    # Some frameworks cut the mount off the path, others leave it there.
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    body = b""
    if scope["method"] == "POST":
        more = True
        while more and len(body) <= MOST_BODY:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
    return Request(
        method=scope["method"],
        path=path,
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
        root=root,
        client=(scope.get("client") or ("",))[0],
        secure=scope.get("scheme") == "https",
    )


def _server_stops() -> bool:
    """
    Tell whether uvicorn has been told to stop: it then waits for its streams to end, and tells them nothing.
    """
    # What handles the signal is a method of the server. In another server this finds nothing, and harms nothing.
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(server, "should_exit", False) is True
