"""
The callee's own timeouts are its own: never confused with the deadline, also where both are up at once.
"""

from __future__ import annotations

import asyncio
import sys

import anyio
import pytest
import trio

from hungframe import CallTimeoutError
from tests.abort.measure import DEADLINE, LONG, hostile_guard

since_3_11 = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout came with 3.11")
OFFSETS = [-0.002, 0.0, 0.002]
# Two classes before 3.11.
TIMEOUTS = (TimeoutError, asyncio.TimeoutError)


async def moves_on(seconds: float) -> str:
    with anyio.move_on_after(seconds):
        await anyio.sleep(LONG)
    return "moved on"


async def fails_after(seconds: float) -> str:
    with anyio.fail_after(seconds):
        await anyio.sleep(LONG)
    return "not reached"


async def waits_for(seconds: float) -> str:
    await asyncio.wait_for(asyncio.sleep(LONG), seconds)
    return "not reached"


async def times_out(seconds: float) -> str:
    async with asyncio.timeout(seconds):  # type: ignore[attr-defined, unused-ignore]  # Since 3.11.
        await asyncio.sleep(LONG)
    return "not reached"


async def retries(seconds: float) -> str:
    # What an SDK does with a timeout of its own for each attempt.
    for _ in range(3):
        try:
            await waits_for(seconds)
        except TIMEOUTS:
            pass
    return "moved on"


FAIL = [fails_after, waits_for, pytest.param(times_out, marks=since_3_11)]


def _cancelling() -> int:
    task = asyncio.current_task()
    return getattr(task, "cancelling", int)()


@pytest.mark.parametrize("callee", FAIL)
def test_its_own_timeout_is_its_own(callee: object) -> None:
    """
    A TimeoutError that the callee raises by itself passes through, counts as a timeout, and is not ours.
    """
    guard = hostile_guard(timeout=LONG)

    async def main() -> None:
        with pytest.raises(TIMEOUTS) as caught:
            await guard.acall(callee, 0.01)  # type: ignore[arg-type]  # A callee of any shape.
        assert not isinstance(caught.value, CallTimeoutError)
        assert 0 == _cancelling()

    asyncio.run(main())
    assert 1 == guard.snapshot().counts["timeout"] == sum(guard.snapshot().counts.values())


@pytest.mark.parametrize("callee", [moves_on, retries])
def test_one_that_moves_on_is_a_success(callee: object) -> None:
    """
    A scope of the callee's that is over is nobody's cancellation but its own.
    """
    guard = hostile_guard(timeout=LONG)

    async def main() -> None:
        assert "moved on" == await guard.acall(callee, 0.01)  # type: ignore[arg-type]  # A callee of any shape.
        assert 0 == _cancelling()

    asyncio.run(main())
    if sys.version_info >= (3, 11):
        assert 1 == guard.snapshot().counts["success"] == sum(guard.snapshot().counts.values())


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("callee", [moves_on, retries, *FAIL])
def test_both_at_once(callee: object, offset: float) -> None:
    """
    Around the deadline a callee's own timeout and ours may come in any order; one of them is told, once.
    """
    guard = hostile_guard()

    async def main() -> str:
        try:
            await guard.acall(callee, DEADLINE + offset)  # type: ignore[arg-type]  # A callee of any shape.
            ended = "success"
        except TIMEOUTS:
            ended = "timeout"
        assert 0 == _cancelling()
        await asyncio.sleep(0.002)
        return ended

    ended = asyncio.run(main())

    counts = guard.snapshot().counts
    assert 1 == sum(counts.values())
    if sys.version_info >= (3, 11):
        assert 1 == counts[ended]


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("callee", [moves_on, fails_after])
def test_both_at_once_on_trio(callee: object, offset: float) -> None:
    """
    The same on trio.
    """
    guard = hostile_guard()

    async def main() -> str:
        try:
            await guard.acall(callee, DEADLINE + offset)  # type: ignore[arg-type]  # A callee of any shape.
        except (TimeoutError, trio.TooSlowError):
            return "timeout"
        return "success"

    ended = trio.run(main)

    assert 1 == guard.snapshot().counts[ended] == sum(guard.snapshot().counts.values())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_callee_sees_the_scopes_around_the_call(backend: str) -> None:
    """
    What asks for the time that is left sees a scope that was opened around the guarded call.
    """

    async def asks() -> float:
        return anyio.current_effective_deadline() - anyio.current_time()

    async def main() -> float:
        with anyio.move_on_after(1.0):
            return await hostile_guard(timeout=LONG).acall(asks)
        raise AssertionError

    assert 0.5 < anyio.run(main, backend=backend) <= 1.0
