"""
A stream that was aborted keeps nothing alive, and, over HTTP, no connection.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, closing
from typing import Any

import anyio
import httpx2
import pytest

from hungframe import CallTimeoutError
from hungframe.testing import HostileProvider
from tests.abort.measure import LONG, hostile_guard
from tests.guard.fakes import Backend, on_each_backend


class Payload:
    """
    Something big that callee, consumer or caller holds.
    """


@pytest.fixture
def without_gc() -> Iterator[None]:
    """
    What must be dead is dead by its reference count.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def told(error: BaseException) -> BaseException:
    """
    An error that somebody keeps.
    """
    return error


@on_each_backend
@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize("ends", ["hangs", "raises", "late for the whole", "closed"])
def test_error_keeps_nothing(ends: str, backend: Backend) -> None:
    """
    Neither the callee's frame, nor what it was called with, nor what it has yielded.
    """
    guard = hostile_guard(timeout=0.3)
    refs: list[weakref.ref[Payload]] = []

    def payload() -> Payload:
        made = Payload()
        refs.append(weakref.ref(made))
        return made

    @guard
    async def stream(_: Payload) -> AsyncGenerator[Payload, None]:
        held = payload()
        yield payload()
        if ends == "raises":
            raise ValueError
        await anyio.sleep(LONG)
        del held

    async def consume() -> BaseException | None:
        items = stream(payload())
        try:
            await anext(items)
            if ends == "closed":
                await items.aclose()
            if ends == "late for the whole":
                await anyio.sleep(0.35)
            await anext(items)
        except (CallTimeoutError, ValueError, StopAsyncIteration) as error:
            return told(error)
        return None

    async def main() -> None:
        error = await consume()
        # asyncio and trio hold a cancellation until the next step.
        await anyio.sleep(0.01)
        if ends == "raises":
            # The callee's own error has the callee's own frames.
            assert error is not None
            error.__traceback__ = None
        assert 3 == len(refs)
        assert [None, None, None] == [ref() for ref in refs]
        del error

    anyio.run(main, backend=backend)


@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize("ends", ["hangs", "late for the whole", "closed"])
def test_sync_error_keeps_nothing(ends: str) -> None:
    """
    The same in threads, once the thread has ended.
    """
    guard = hostile_guard(timeout=0.3)
    refs: list[weakref.ref[Payload]] = []
    let_go = threading.Event()

    def payload() -> Payload:
        made = Payload()
        refs.append(weakref.ref(made))
        return made

    @guard
    def stream(_: Payload) -> Generator[Payload, None, None]:
        held = payload()
        yield payload()
        let_go.wait(LONG)
        yield held

    def consume() -> BaseException | None:
        items = stream(payload())
        try:
            next(items)
            if ends == "closed":
                items.close()
            if ends == "late for the whole":
                time.sleep(0.35)
            next(items)
        except (CallTimeoutError, StopIteration) as error:
            return told(error)
        return None

    error = consume()
    let_go.set()
    until = time.monotonic() + LONG
    while any(ref() for ref in refs) and time.monotonic() < until:
        time.sleep(0.002)
    assert [None, None, None] == [ref() for ref in refs]
    assert 0 == guard.snapshot().orphans
    del error


@on_each_backend
@pytest.mark.usefixtures("without_gc")
def test_no_cycle_in_a_stream_that_ends_well(backend: Backend) -> None:
    """
    Nothing is left for the garbage collector.
    """
    guard = hostile_guard(timeout=LONG)

    @guard
    async def stream() -> AsyncGenerator[int, None]:
        yield 1
        await anyio.sleep(0)
        yield 2

    async def main() -> None:
        for _ in range(3):
            async for _ in stream():
                pass
            async with aclosing(stream()) as items:
                await anext(items)
        await anyio.sleep(0.005)
        gc.collect()
        for _ in range(10):
            async for _ in stream():
                pass
            async with aclosing(stream()) as items:
                await anext(items)
        await anyio.sleep(0.005)
        assert not [thing for thing in _collected() if "hungframe" in type(thing).__module__]

    anyio.run(main, backend=backend)


def _collected() -> list[Any]:
    """
    What only the garbage collector can free.
    """
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


# -- over HTTP ------------------------------------------------------------------------------------------------------


async def events(url: str, client: httpx2.AsyncClient) -> AsyncGenerator[str, None]:
    """
    The events of a stream, by a stock client.
    """
    async with client.stream("GET", url) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line:
                yield line


def open_connections(client: Any) -> int:
    """
    Connections that the client's pool knows.
    """
    return len(client._transport._pool.connections)


@on_each_backend
def test_stream_of_a_provider(backend: Backend) -> None:
    """
    Each event comes as it is sent, the whole is one success, and the connection is used again.
    """
    guard = hostile_guard(timeout=10, first_item=5, between_items=5)

    async def main() -> None:
        with HostileProvider("stream:4:0.01") as provider:
            async with httpx2.AsyncClient() as client:
                for _ in range(2):
                    lines = [line async for line in guard(events)(provider.url, client)]
                    assert 5 == len(lines)
                    assert 1 == open_connections(client)
        assert 2 == guard.snapshot().counts["success"]

    anyio.run(main, backend=backend)


@on_each_backend
def test_provider_that_stalls_between_two_events(backend: Backend) -> None:
    """
    The consumer is told what was missed, the connection is closed, and the client goes on.
    """
    guard = hostile_guard(timeout=10, first_item=5, between_items=0.1, grace=0.2)

    async def main() -> None:
        with HostileProvider("stream-stall") as provider:
            async with httpx2.AsyncClient(timeout=None, limits=httpx2.Limits(max_connections=2)) as client:
                for _ in range(3):
                    lines = 0
                    with pytest.raises(CallTimeoutError, match="no next item within 0.1 s") as aborted:
                        async for _ in guard.call(events, provider.url, client):
                            lines += 1
                    assert (3, "clean") == (lines, aborted.value.receipt)
                    assert 0 == open_connections(client)
        assert (3, 0, 0) == (
            guard.snapshot().counts["timeout"],
            guard.snapshot().in_flight,
            guard.snapshot().orphans,
        )

    anyio.run(main, backend=backend)


@on_each_backend
@pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")  # trio's own, of generators of httpx2
def test_consumer_that_leaves_a_stream_of_a_provider(backend: Backend) -> None:
    """
    Its connection is closed where it leaves.
    """
    guard = hostile_guard(timeout=10, grace=0.2)

    async def main() -> None:
        with HostileProvider("stream-stall") as provider:
            async with httpx2.AsyncClient(timeout=None) as client:
                async with aclosing(guard.call(events, provider.url, client)) as lines:
                    await anext(lines)
                    assert 1 == open_connections(client)
                assert 0 == open_connections(client)
        assert (1, 0) == (guard.snapshot().counts["cancelled"], guard.snapshot().in_flight)

    anyio.run(main, backend=backend)


def test_status_of_a_provider() -> None:
    """
    A refusal in the headers is what it is.
    """
    guard = hostile_guard(timeout=10)

    async def main() -> None:
        with HostileProvider("429") as provider:
            async with httpx2.AsyncClient() as client:
                with pytest.raises(httpx2.HTTPStatusError):
                    await anext(guard.call(events, provider.url, client))

    asyncio.run(main())
    assert 1 == guard.snapshot().counts["quota"]


def test_sync_stream_of_a_provider() -> None:
    """
    In threads: each event as it comes; a stall leaves its thread at most until the client's own timeout.
    """
    guard = hostile_guard(timeout=10, first_item=5, between_items=0.1, grace=0.05)

    @guard
    def lines(url: str) -> Generator[str, None, None]:
        with httpx2.Client(timeout=0.5) as client, client.stream("GET", url) as response:
            for line in response.iter_lines():
                if line:
                    yield line

    with HostileProvider("stream:3:0.01") as provider:
        assert 4 == len(list(lines(provider.url)))
    with HostileProvider("stream-stall") as provider:
        with closing(lines(provider.url)) as items, pytest.raises(CallTimeoutError) as aborted:
            list(items)
        # An orphan, unless the guard can close the sockets of its threads.
        assert aborted.value.receipt in ("orphan", "clean")
        until = time.monotonic() + 2
        while guard.snapshot().orphans and time.monotonic() < until:
            time.sleep(0.01)
        assert 0 == guard.snapshot().orphans
        assert aborted.value.receipt in ("late", "clean")
