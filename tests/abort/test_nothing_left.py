"""
After 30 aborted calls, and after 1,000, everything is back where it was.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import trio

from hungframe import CallTimeoutError, Guard
from hungframe.testing import HostileProvider

CALLS = pytest.mark.parametrize("calls", [30, 1000])
AT_ONCE = 100


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    """
    What is there already need not be looked through by each collection.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def guard_of(**settings: Any) -> Guard:
    return Guard("hostile", **{"timeout": 0.02, "grace": 0.02, "breaker": None, "max_orphans": 10_000, **settings})


async def _back(before: tuple[int, int, int]) -> None:
    """
    Wait until no more tasks, threads and descriptors are there than *before*; the other end needs its time, too.
    """
    until = time.monotonic() + 2.0
    while True:
        now = (len(asyncio.all_tasks()), threads(), descriptors())
        if all(was >= is_now for was, is_now in zip(before, now, strict=True)):
            return
        assert time.monotonic() < until, f"{before} before, {now} after"
        await asyncio.sleep(0.01)


def descriptors() -> int:
    """
    Count open file descriptors, or say 0 where that cannot be done.
    """
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0


def threads() -> int:
    """
    Count the threads, but for the guard's workers: those wait for their next call for a while.
    """
    return len([thread for thread in threading.enumerate() if "hungframe-worker" not in thread.name])


async def _aborted(guard: Guard, callee: Callable[[], Awaitable[Any]]) -> None:
    try:
        await guard.acall(callee)
    except CallTimeoutError:
        return
    raise AssertionError("it ended in time")


async def _many(guard: Guard, callee: Callable[[], Awaitable[Any]], calls: int) -> None:
    for first in range(0, calls, AT_ONCE):
        await asyncio.gather(*(_aborted(guard, callee) for _ in range(min(AT_ONCE, calls - first))))


async def sleeps() -> None:
    await asyncio.sleep(5.0)


async def swallows() -> None:
    for _ in range(20):
        try:
            await asyncio.sleep(5.0)
        except asyncio.CancelledError:
            pass


async def waits_for_one_that_swallows() -> None:
    task = asyncio.create_task(asyncio.sleep(0.06))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task


@CALLS
@pytest.mark.parametrize("callee", [sleeps, swallows, waits_for_one_that_swallows])
def test_async_callees(callee: Callable[[], Awaitable[Any]], calls: int) -> None:
    """
    Tasks, threads, descriptors and memory are where they were.
    """
    guard = guard_of()

    async def main() -> None:
        await _many(guard, callee, AT_ONCE)
        await asyncio.sleep(0.1)
        gc.collect()
        before = (len(asyncio.all_tasks()), threads(), descriptors())
        tracemalloc.start()
        memory, _ = tracemalloc.get_traced_memory()
        try:
            await _many(guard, callee, calls)
            await asyncio.sleep(0.1)
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - memory
        finally:
            tracemalloc.stop()
        await _back(before)
        assert grown < 100_000

    asyncio.run(main())
    snapshot = guard.snapshot()
    assert AT_ONCE + calls == snapshot.counts["timeout"] == sum(snapshot.counts.values())
    assert (0, 0) == (snapshot.in_flight, snapshot.orphans)


@CALLS
def test_on_trio(calls: int) -> None:
    """
    The same on trio.
    """
    guard = guard_of()

    async def many(number: int) -> None:
        for first in range(0, number, AT_ONCE):
            async with trio.open_nursery() as nursery:
                for _ in range(min(AT_ONCE, number - first)):
                    # Not a long sleep: trio keeps up to 1,000 deadlines that
                    # are of no more use, and their scopes, until they pass.
                    nursery.start_soon(_aborted, guard, trio.sleep_forever)

    async def main() -> None:
        await many(AT_ONCE)
        await trio.sleep(0.05)
        gc.collect()
        tasks = trio.lowlevel.current_statistics().tasks_living
        before = (threads(), descriptors())
        tracemalloc.start()
        try:
            memory, _ = tracemalloc.get_traced_memory()
            await many(calls)
            await trio.sleep(0.05)
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - memory
        finally:
            tracemalloc.stop()
        assert tasks == trio.lowlevel.current_statistics().tasks_living
        assert before >= (threads(), descriptors())
        assert grown < 100_000

    trio.run(main)
    assert (0, 0) == (guard.snapshot().in_flight, guard.snapshot().orphans)


@CALLS
def test_sync_callees(calls: int) -> None:
    """
    Threads that were left are gone when their callees are.
    """
    guard = guard_of(timeout=0.01, grace=0.0)

    def callers(number: int) -> None:
        for _ in range(0, number, AT_ONCE):
            let_go = threading.Event()
            for _ in range(min(AT_ONCE, number)):
                with pytest.raises(CallTimeoutError):
                    guard.using(timeout=0.0005).call(let_go.wait, 5.0)
            let_go.set()
            until = time.monotonic() + 5.0
            while guard.snapshot().orphans and time.monotonic() < until:
                time.sleep(0.001)
        # A worker that was left ends a moment after its callee has.
        time.sleep(0.02)

    callers(30)
    gc.collect()
    before = (threading.active_count(), descriptors())
    callers(calls)

    assert (0, 0) == (guard.snapshot().in_flight, guard.snapshot().orphans)
    assert before[0] >= threading.active_count()
    assert before[1] >= descriptors()
    assert 30 + calls == guard.snapshot().counts["timeout"]


@CALLS
def test_real_sockets(calls: int) -> None:
    """
    A provider that never answers: every connection is closed, and the same client works again.
    """
    guard = guard_of(timeout=0.1, grace=0.1)

    async def many(number: int) -> None:
        # A client for each hundred: that the pool of httpx loses count when it is cancelled in the middle of
        # connecting is not the guard's doing, and the same under asyncio.timeout.
        for first in range(0, number, AT_ONCE):
            async with httpx.AsyncClient(timeout=30.0, verify=False) as client:
                silent = functools.partial(client.get, f"{provider.url}/?mode=silent")
                await _many(guard, silent, min(AT_ONCE, number - first))

    async def main() -> None:
        await many(30)
        assert await asyncio.to_thread(provider.wait_closed, 2.0)
        gc.collect()
        before = (len(asyncio.all_tasks()), threads(), descriptors())
        await many(calls)
        gc.collect()
        await _back(before)
        async with httpx.AsyncClient(verify=False) as client:
            assert 200 == (await client.get(f"{provider.url}/?mode=ok")).status_code

    with HostileProvider() as provider:
        asyncio.run(main())
        assert provider.wait_closed(2.0)
    assert 30 + calls == guard.snapshot().counts["timeout"]
    assert (0, 0) == (guard.snapshot().in_flight, guard.snapshot().orphans)
