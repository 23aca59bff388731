"""
A thousand calls that hang at the same time are all brought back; how late is measured and told.
"""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import trio

from hungframe import CallTimeoutError
from tests.abort.measure import LONG, hostile_guard

TIMEOUT = 0.3


def _told(late: list[float], where: str) -> None:
    late.sort()
    p50, p99 = late[len(late) // 2], late[len(late) * 99 // 100]
    print(f"\n{where}: {len(late)} hung calls, back late by p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms")
    # A machine that cannot schedule a thousand of anything in 2 s proves nothing.
    assert late[-1] < 2.0


async def _swallows() -> None:
    for _ in range(3):
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            pass


@pytest.mark.parametrize("hostile", [False, True], ids=["well-behaved", "swallowing"])
def test_on_asyncio(hostile: bool) -> None:
    """
    One timer serves all of them.
    """
    guard = hostile_guard(timeout=TIMEOUT, breaker=None)
    late: list[float] = []

    async def one() -> None:
        began = time.monotonic()
        with pytest.raises(CallTimeoutError):
            await (guard.acall(_swallows) if hostile else guard.acall(asyncio.sleep, LONG))
        late.append(time.monotonic() - began - TIMEOUT)

    async def main() -> None:
        await asyncio.gather(*(one() for _ in range(1000)))

    asyncio.run(main())

    _told(late, "asyncio")
    assert 1000 == guard.snapshot().counts["timeout"]
    assert (0, 0) == (guard.snapshot().in_flight, guard.snapshot().orphans)


def test_on_trio() -> None:
    """
    A thousand system tasks come and go.
    """
    guard = hostile_guard(timeout=TIMEOUT, breaker=None)
    late: list[float] = []

    async def one() -> None:
        began = time.monotonic()
        with pytest.raises(CallTimeoutError):
            await guard.acall(trio.sleep, LONG)
        late.append(time.monotonic() - began - TIMEOUT)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(one)

    trio.run(main)

    _told(late, "trio")
    assert 1000 == guard.snapshot().counts["timeout"]
    assert (0, 0) == (guard.snapshot().in_flight, guard.snapshot().orphans)


def test_in_threads() -> None:
    """
    Two hundred callers wait for two hundred workers, and none waits longer than it must.
    """
    guard = hostile_guard(timeout=TIMEOUT, breaker=None, max_orphans=1000)
    late: list[float] = []
    let_go = threading.Event()

    def one() -> None:
        began = time.monotonic()
        with pytest.raises(CallTimeoutError):
            guard.call(let_go.wait, LONG)
        late.append(time.monotonic() - began - TIMEOUT)

    callers = [threading.Thread(target=one) for _ in range(200)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert 200 == guard.snapshot().orphans
    let_go.set()
    until = time.monotonic() + 2.0
    while guard.snapshot().orphans and time.monotonic() < until:
        time.sleep(0.005)

    _told(late, "threads")
    assert 200 == guard.snapshot().counts["timeout"]
    assert (0, 0) == (guard.snapshot().in_flight, guard.snapshot().orphans)


def test_of_all_timeouts_at_once() -> None:
    """
    Calls whose deadlines come in any order are each ended at their own.
    """
    guard = hostile_guard(timeout=LONG, breaker=None)
    wrong: list[float] = []

    async def one(timeout: float) -> None:
        began = time.monotonic()
        with pytest.raises(CallTimeoutError):
            await guard.using(timeout=timeout).acall(asyncio.sleep, LONG)
        late = time.monotonic() - began - timeout
        if not -0.001 <= late < 0.2:
            wrong.append(late)

    async def main() -> None:
        timeouts = [0.05 + 0.2 * ((number * 37) % 100) / 100 for number in range(100)]
        await asyncio.gather(*(one(timeout) for timeout in timeouts))

    asyncio.run(main())

    assert [] == wrong
    assert 0 == guard.snapshot().in_flight
