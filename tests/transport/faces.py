"""
One face for the clients of both libraries, sync and async, stock and ours, so that a scenario is written once.

A scenario is a coroutine function that takes a `Face`. Over a sync client nothing in it ever suspends.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import httpx
import httpx2
import pytest
import trio

import hungframe.transport.httpx
import hungframe.transport.httpx2
from hungframe import Guard

T = TypeVar("T")
Kind = Literal["sync", "asyncio", "trio"]
KINDS: tuple[Kind, ...] = ("sync", "asyncio", "trio")

# Seconds: what a call that is cut gets, and when it is back at the very latest on a busy machine.
DEADLINE = 0.2
BACK_BY = 1.5


# The default context of a client takes 20 ms to make, hundreds of times.
SHARED_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Library(NamedTuple):
    """
    A library, and what we make of it.
    """

    stock: Any
    ours: Any


LIBRARIES = [
    pytest.param(Library(httpx, hungframe.transport.httpx), id="httpx"),
    pytest.param(Library(httpx2, hungframe.transport.httpx2), id="httpx2"),
]
each_library = pytest.mark.parametrize("library", LIBRARIES)
each_kind = pytest.mark.parametrize("kind", KINDS)
each_async_kind = pytest.mark.parametrize("kind", ["asyncio", "trio"])


async def settled(result: Any) -> Any:
    """
    What a call came to, whether or not it has to be awaited.
    """
    return await result if inspect.isawaitable(result) else result


@dataclass
class Face:
    """
    A client that looks the same whatever kind it is of.
    """

    kind: Kind
    client: Any

    async def request(self, method: str, url: str, **options: Any) -> Any:
        return await settled(self.client.request(method, url, **options))

    async def get(self, url: str, **options: Any) -> Any:
        return await self.request("GET", url, **options)

    async def post(self, url: str, **options: Any) -> Any:
        return await self.request("POST", url, **options)

    async def send(self, request: Any, **options: Any) -> Any:
        return await settled(self.client.send(request, **options))

    @asynccontextmanager
    async def stream(self, method: str, url: str, **options: Any) -> AsyncIterator[Any]:
        manager = self.client.stream(method, url, **options)
        if self.kind == "sync":
            with manager as response:
                yield response
        else:
            async with manager as response:
                yield response

    async def each(self, response: Any, how: str, *args: Any) -> AsyncIterator[Any]:
        """
        The items of `response.iter_raw()`, or whatever *how* names.
        """
        if self.kind == "sync":
            for item in getattr(response, how)(*args):
                yield item
        else:
            async for item in getattr(response, f"a{how}")(*args):
                yield item

    async def read(self, response: Any) -> Any:
        return await settled(response.read() if self.kind == "sync" else response.aread())

    async def close(self, what: Any = None) -> None:
        what = what or self.client
        await settled(what.close() if self.kind == "sync" else what.aclose())

    async def guarded(self, guard: Guard, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """
        `fn(...)`, a method of this face, within a call of *guard*; the sync one in the caller's own thread.
        """
        if self.kind != "sync":
            return await guard.acall(fn, *args, **options)
        return guard.using(isolate=None).call(lambda: unsuspended(fn(*args, **options)))


def make(kind: Kind, module: Any, **options: Any) -> Face:
    """
    A client of *module*, which is a library or our module for it.
    """
    options.setdefault("trust_env", False)
    if "transport" not in options:
        options.setdefault("verify", SHARED_CONTEXT)
    return Face(kind, (module.Client if kind == "sync" else module.AsyncClient)(**options))


def unsuspended(awaitable: Awaitable[T]) -> T:
    """
    Run what never suspends.
    """
    awaiting = awaitable.__await__()
    try:
        next(awaiting)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("a sync client suspended")


def run(kind: Kind, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
    """
    Run a scenario to its end.
    """
    if kind == "sync":
        return unsuspended(fn(*args))
    if kind == "trio":
        return trio.run(fn, *args)

    async def main() -> T:
        return await fn(*args)

    return asyncio.run(main())


def run_with(kind: Kind, module: Any, scenario: Callable[[Face], Awaitable[T]], **options: Any) -> T:
    """
    Run a scenario with a client of its own, closed at its end.
    """

    async def main() -> T:
        face = make(kind, module, **options)
        try:
            return await scenario(face)
        finally:
            await face.close()

    return run(kind, main)


def both(kind: Kind, library: Library, scenario: Callable[[Face], Awaitable[T]], **options: Any) -> T:
    """
    Run a scenario over the stock client and over ours; check that it comes to the same, and return that.
    """
    stock = run_with(kind, library.stock, scenario, **options)
    ours = run_with(kind, library.ours, scenario, **options)
    assert stock == ours, (stock, ours)
    return ours


def facts(response: Any) -> tuple[Any, ...]:
    """
    What a user sees of a response.
    """
    return (
        response.status_code,
        response.reason_phrase,
        response.http_version,
        response.headers.multi_items(),
        response.content,
    )


async def error_of(awaitable: Awaitable[Any]) -> str:
    """
    The name of the class of what is raised.
    """
    try:
        await awaitable
    except Exception as error:
        return f"{type(error).__module__}.{type(error).__name__}"
    return "nothing"
