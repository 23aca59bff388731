"""
Timeouts and groups of others around a guarded call work as around any other await.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio

from hungframe import CallTimeoutError
from tests.abort.measure import DEADLINE, GRACE, LONG, SLACK, hostile_guard

Callee = Callable[[], Awaitable[Any]]
since_3_11 = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout and TaskGroup came with 3.11")
OFFSETS = [-0.002, 0.0, 0.002]


async def sleeps() -> None:
    await anyio.sleep(LONG)


async def spins() -> None:
    while True:
        await anyio.lowlevel.checkpoint()


async def awaits_a_task() -> None:
    await asyncio.create_task(asyncio.sleep(LONG))


async def swallows() -> str:
    try:
        await anyio.sleep(LONG)
    except BaseException:
        pass
    return "a value"


async def raises_its_own() -> None:
    try:
        await anyio.sleep(LONG)
    except BaseException:
        raise ValueError("the callee's own mess") from None


async def swallows_forever() -> str:
    until = time.monotonic() + 0.4
    while time.monotonic() < until:
        try:
            await asyncio.sleep(0.4)
        except asyncio.CancelledError:
            pass
    return "a value"


ALL = [sleeps, spins, awaits_a_task, swallows, raises_its_own, swallows_forever]
COUNTING = pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 cannot tell who cancelled")


@pytest.mark.parametrize(
    "callee",
    [
        sleeps,
        spins,
        awaits_a_task,
        pytest.param(swallows, marks=COUNTING),
        pytest.param(raises_its_own, marks=COUNTING),
        pytest.param(swallows_forever, marks=COUNTING),
    ],
)
def test_move_on_after_moves_on(callee: Callee) -> None:
    """
    A scope of anyio that is over before the deadline is left quietly, within the grace.
    """
    guard = hostile_guard(timeout=LONG)

    async def main() -> float:
        began = time.monotonic()
        with anyio.move_on_after(0.01) as scope:
            await guard.acall(callee)
        assert scope.cancelled_caught
        seconds = time.monotonic() - began
        # Nothing is left that would cancel what comes next.
        await asyncio.sleep(0.01)
        if sys.version_info >= (3, 11):
            assert 0 == asyncio.current_task().cancelling()  # type: ignore[union-attr]  # Within a task.
        return seconds

    assert min(asyncio.run(main()) for _ in range(2)) < 0.01 + GRACE + SLACK
    assert guard.snapshot().counts["cancelled"] == sum(guard.snapshot().counts.values())


@pytest.mark.parametrize("stall", [False, True], ids=["turning", "held up"])
@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("callee", [sleeps, spins, awaits_a_task])
def test_move_on_after_around_the_deadline(callee: Callee, offset: float, stall: bool) -> None:
    """
    Where both times are up at once it is either a timeout or a scope that was left, and nothing else leaks out.
    """
    guard = hostile_guard()

    async def main() -> str:
        ended = "moved on"
        with anyio.move_on_after(DEADLINE + offset):
            if stall:
                asyncio.get_running_loop().call_later(0.01, time.sleep, DEADLINE + 0.02)
            try:
                await guard.acall(callee)
            except CallTimeoutError:
                ended = "timed out"
        await asyncio.sleep(0.002)
        if sys.version_info >= (3, 11):
            assert 0 == asyncio.current_task().cancelling()  # type: ignore[union-attr]  # Within a task.
        return ended

    ended = asyncio.run(main())

    counts = guard.snapshot().counts
    assert 1 == counts["timeout" if ended == "timed out" else "cancelled"] == sum(counts.values())


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("callee", [sleeps, spins, swallows, raises_its_own])
def test_move_on_after_around_the_deadline_on_trio(callee: Callee, offset: float) -> None:
    """
    The same on trio.
    """
    guard = hostile_guard()

    async def main() -> str:
        ended = "moved on"
        with trio.move_on_after(DEADLINE + offset):
            try:
                await guard.acall(callee)
            except CallTimeoutError:
                ended = "timed out"
        return ended

    ended = trio.run(main)

    counts = guard.snapshot().counts
    assert 1 == counts["timeout" if ended == "timed out" else "cancelled"] == sum(counts.values())


@since_3_11
@pytest.mark.parametrize("callee", ALL)
def test_asyncio_timeout_times_out(callee: Callee) -> None:
    """
    asyncio.timeout around a guarded call raises its own TimeoutError, whatever the callee does.
    """
    guard = hostile_guard(timeout=LONG)

    async def main() -> None:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.01):  # type: ignore[attr-defined, unused-ignore]  # Since 3.11.
                await guard.acall(callee)
        assert type(caught.value) is TimeoutError
        assert 0 == asyncio.current_task().cancelling()  # type: ignore[union-attr]  # Within a task.

    asyncio.run(main())
    assert 1 == guard.snapshot().counts["cancelled"] == sum(guard.snapshot().counts.values())


@since_3_11
@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("callee", [sleeps, spins, awaits_a_task, swallows])
def test_asyncio_timeout_around_the_deadline(callee: Callee, offset: float) -> None:
    """
    Where both times are up at once it is one timeout or the other, and no cancellation leaks out.
    """
    guard = hostile_guard()

    async def main() -> type[BaseException]:
        try:
            async with asyncio.timeout(DEADLINE + offset):  # type: ignore[attr-defined, unused-ignore]  # Since 3.11.
                await guard.acall(callee)
        except TimeoutError as error:
            await asyncio.sleep(0.002)
            assert 0 == asyncio.current_task().cancelling()  # type: ignore[union-attr]  # Within a task.
            return type(error)
        raise AssertionError("nobody timed out")

    kind = asyncio.run(main())

    counts = guard.snapshot().counts
    assert 1 == counts["timeout" if kind is CallTimeoutError else "cancelled"] == sum(counts.values())


@pytest.mark.parametrize("callee", [sleeps, spins, awaits_a_task])
def test_wait_for_around(callee: Callee) -> None:
    """
    asyncio.wait_for raises its own TimeoutError.
    """
    guard = hostile_guard(timeout=LONG)

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError) as caught:
            await asyncio.wait_for(guard.acall(callee), 0.01)
        assert not isinstance(caught.value, CallTimeoutError)

    asyncio.run(main())
    assert 1 == guard.snapshot().counts["cancelled"]


@since_3_11
@pytest.mark.parametrize("callee", ALL)
def test_a_task_group_ends_its_guarded_children(callee: Callee) -> None:
    """
    A child that fails has its siblings cancelled, and only its own error comes out.
    """
    guard = hostile_guard(timeout=LONG)

    async def fails() -> None:
        await asyncio.sleep(0.01)
        raise KeyError("the sibling's")

    async def main() -> None:
        with pytest.raises(BaseException, match="TaskGroup") as caught:
            async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined, unused-ignore]  # Since 3.11.
                group.create_task(guard.acall(callee))
                group.create_task(guard.acall(callee))
                group.create_task(fails())
        assert ["KeyError"] == [type(error).__name__ for error in caught.value.exceptions]  # type: ignore[attr-defined]

    asyncio.run(main())
    assert 2 == guard.snapshot().counts["cancelled"]


@since_3_11
def test_a_timeout_in_a_task_group_is_that_childs_error() -> None:
    """
    The deadline of one child ends the group with `CallTimeoutError`; its sibling was cancelled.
    """
    guard, other = hostile_guard(), hostile_guard(timeout=LONG)

    async def main() -> None:
        with pytest.raises(BaseException, match="TaskGroup") as caught:
            async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined, unused-ignore]  # Since 3.11.
                group.create_task(guard.acall(sleeps))
                group.create_task(other.acall(sleeps))
        assert [CallTimeoutError] == [type(error) for error in caught.value.exceptions]  # type: ignore[attr-defined]

    asyncio.run(main())
    assert 1 == guard.snapshot().counts["timeout"]
    assert 1 == other.snapshot().counts["cancelled"]
