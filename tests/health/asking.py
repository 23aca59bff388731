"""
Asks an ASGI application without a server between.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from hungframe.health import HealthApp

on_each_backend = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@dataclass
class Answer:
    """
    What came back.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def scope_of(method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """
    As a server makes it.
    """
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": ("10.0.0.7", 4711),
        "scheme": "http",
        **more,
    }


def ask(app: Any, path: str = "/", method: str = "GET", body: bytes = b"", **more: Any) -> Answer:
    """
    Make one request, and read the whole answer.
    """
    told: list[dict[str, Any]] = []
    bodies = [body[:100], body[100:]]

    async def receive() -> dict[str, Any]:
        if not bodies:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": bodies.pop(0), "more_body": bool(bodies)}

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    anyio.run(app, scope_of(method, path, **more), receive, send)
    headers = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return Answer(told[0]["status"], headers, b"".join(message.get("body", b"") for message in told[1:]))


@dataclass
class Viewer:
    """
    One who has the stream open.
    """

    messages: list[bytes] = field(default_factory=list)
    ended: bool = False
    leave: Callable[[], None] = lambda: None
    before_send: Callable[[], Awaitable[None]] | None = None

    def states(self) -> list[Any]:
        """
        The documents that it was sent.
        """
        return [json.loads(lines.split(b"data: ")[1]) for lines in self.messages if b"event: state" in lines]

    async def until(self, what: Callable[[], object], within: float = 5.0) -> None:
        """
        Wait for it.
        """
        with anyio.fail_after(within):
            while not what():
                await anyio.sleep(0.01)


@asynccontextmanager
async def watching(app: HealthApp, **more: Any) -> AsyncIterator[Viewer]:
    """
    Watch the stream for as long as the block lasts.
    """
    viewer = Viewer()
    gone = anyio.Event()
    viewer.leave = gone.set

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if viewer.before_send is not None:
            await viewer.before_send()
        if message.get("body"):
            viewer.messages.append(message["body"])

    async def watch() -> None:
        await app(scope_of("GET", "/events", **more), receive, send)
        viewer.ended = True

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        yield viewer
        gone.set()
