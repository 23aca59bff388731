"""
The caller's own cancellation wins over the deadline, and is never swallowed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hungframe import CallTimeoutError, Guard
from tests.abort.measure import DEADLINE, GRACE, LONG, SLACK, hostile_guard

COUNTS = sys.version_info >= (3, 11)
needs_counts = pytest.mark.skipif(not COUNTS, reason="before 3.11 a task does not count who cancelled it")

Callee = Callable[[], Awaitable[Any]]


async def sleeps() -> None:
    await asyncio.sleep(LONG)


async def spins() -> None:
    while True:
        await asyncio.sleep(0)


async def awaits_a_task() -> None:
    await asyncio.create_task(asyncio.sleep(LONG))


async def gathers() -> None:
    await asyncio.gather(asyncio.sleep(LONG), asyncio.sleep(LONG))


async def cleans_up() -> None:
    try:
        await asyncio.sleep(LONG)
    finally:
        await asyncio.sleep(0.02)


async def awaits_one_that_cleans_up() -> None:
    await asyncio.create_task(cleans_up())


async def swallows() -> str:
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        pass
    return "a value"


async def raises_its_own() -> None:
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        raise ValueError("the callee's own mess") from None


async def swallows_forever() -> str:
    until = time.monotonic() + 0.4
    while time.monotonic() < until:
        try:
            await asyncio.sleep(0.4)
        except asyncio.CancelledError:
            pass
    return "a value"


GOOD = [sleeps, spins, awaits_a_task, gathers, cleans_up, awaits_one_that_cleans_up]
BAD = [swallows, raises_its_own, swallows_forever]

# A cancellation that comes up through a task has lost its message on 3.10, and
# with it who it was; one that cleans up is then ended by the deadline.
BELOW_A_TASK = pytest.param(
    awaits_one_that_cleans_up,
    marks=pytest.mark.skipif(not COUNTS, reason="3.10 cannot tell who cancelled a task below"),
)
GOOD_IN_A_TICK = [sleeps, spins, awaits_a_task, gathers, cleans_up, BELOW_A_TASK]


async def _cancelled(guard: Guard, callee: Callee, at: list[float], stall: bool = False) -> tuple[str, float]:
    """
    Cancel a task that makes a guarded call; tell how the call ended, and when.
    """
    ended: list[str] = []

    async def calls() -> None:
        before = asyncio.current_task().cancelling() if COUNTS else 0  # type: ignore[union-attr]  # Within a task.
        try:
            await guard.acall(callee)
            ended.append("returned")
        except BaseException as error:
            ended.append(type(error).__name__)
            if COUNTS:
                after = asyncio.current_task().cancelling()  # type: ignore[union-attr]  # Within a task.
                assert len(sent) == after - before
            raise

    sent: list[bool] = []
    task = asyncio.create_task(calls())
    await asyncio.sleep(0)
    loop, began = asyncio.get_running_loop(), time.monotonic()
    for seconds in at:
        loop.call_later(seconds, lambda: sent.append(task.cancel()))
    if stall:
        time.sleep(0.1)
    await asyncio.wait([task])
    assert ("CancelledError" in ended) == task.cancelled()
    if not task.cancelled():
        task.exception()
    return ended[0], time.monotonic() - began


@pytest.mark.parametrize("callee", GOOD_IN_A_TICK)
@pytest.mark.parametrize("at", [0.03, 0.07], ids=["theirs first", "ours first"])
def test_both_in_one_tick(callee: Callee, at: float) -> None:
    """
    The loop was held up, and both come up in one turn of it: the caller's wins.
    """
    guard = hostile_guard()

    ended, _ = asyncio.run(_cancelled(guard, callee, [at], stall=True))

    assert "CancelledError" == ended
    assert 1 == guard.snapshot().counts["cancelled"] == sum(guard.snapshot().counts.values())
    assert 0.0 == guard.snapshot().weight


@pytest.mark.parametrize("callee", GOOD)
def test_before_the_deadline(callee: Callee) -> None:
    """
    A cancellation long before the deadline is the caller's, and counts as such.
    """
    guard = hostile_guard(timeout=LONG)

    ended, _ = asyncio.run(_cancelled(guard, callee, [0.01]))

    assert "CancelledError" == ended
    assert 1 == guard.snapshot().counts["cancelled"] == sum(guard.snapshot().counts.values())


@pytest.mark.parametrize("at", [0.04, 0.06], ids=["before", "after"])
@pytest.mark.parametrize("callee", [cleans_up, BELOW_A_TASK])
def test_while_the_callee_cleans_up(callee: Callee, at: float) -> None:
    """
    The callee is still cleaning up after one of the two when the other comes.
    """
    guard = hostile_guard()

    ended, _ = asyncio.run(_cancelled(guard, callee, [at]))

    assert "CancelledError" == ended
    assert 1 == guard.snapshot().counts["cancelled"] == sum(guard.snapshot().counts.values())


@pytest.mark.parametrize("offset", [-0.004, -0.001, 0.0, 0.001, 0.004])
@pytest.mark.parametrize("callee", [sleeps, spins, awaits_a_task, cleans_up])
def test_around_the_deadline(callee: Callee, offset: float) -> None:
    """
    Wherever around the deadline the cancellation falls: the task is cancelled, or the call had timed out before.
    """
    guard = hostile_guard()

    ended, _ = asyncio.run(_cancelled_or_over(guard, callee, DEADLINE + offset))

    counts = guard.snapshot().counts
    assert 1 == sum(counts.values())
    assert 1 == counts["cancelled" if ended == "CancelledError" else "timeout"]
    if offset < -0.003:
        assert "CancelledError" == ended


async def _cancelled_or_over(guard: Guard, callee: Callee, at: float) -> tuple[str, bool]:
    task = asyncio.create_task(guard.acall(callee))
    await asyncio.sleep(0)
    delivered: list[bool] = []
    asyncio.get_running_loop().call_later(at, lambda: delivered.append(task.cancel()))
    await asyncio.wait([task])
    if task.cancelled():
        return "CancelledError", True
    error = task.exception()
    assert isinstance(error, CallTimeoutError)
    if delivered and COUNTS:
        # A cancellation that was accepted while the call ran must have won.
        assert not delivered[0]
    return type(error).__name__, False


@needs_counts
@pytest.mark.parametrize("callee", BAD)
def test_a_callee_that_swallows_it(callee: Callee) -> None:
    """
    The caller is cancelled within its grace whatever the callee makes of it, and never told of a success.
    """
    guard = hostile_guard(timeout=LONG)

    for _ in range(3):
        ended, seconds = asyncio.run(_cancelled(guard, callee, [0.01]))
        if seconds < 0.01 + GRACE + SLACK:
            break

    assert "CancelledError" == ended
    assert seconds < 0.01 + GRACE + SLACK
    assert guard.snapshot().counts["cancelled"] == sum(guard.snapshot().counts.values())


@needs_counts
@pytest.mark.parametrize("callee", BAD)
@pytest.mark.parametrize("at", [0.03, 0.07], ids=["theirs first", "ours first"])
def test_a_callee_that_swallows_both(callee: Callee, at: float) -> None:
    """
    One that swallows a deadline and a cancellation in one tick cannot hide either.
    """
    guard = hostile_guard()

    ended, _ = asyncio.run(_cancelled(guard, callee, [at], stall=True))

    assert "CancelledError" == ended
    assert 1 == guard.snapshot().counts["cancelled"] == sum(guard.snapshot().counts.values())


@pytest.mark.parametrize("callee", [*GOOD, pytest.param(swallows_forever, marks=needs_counts)])
def test_cancelled_again_and_again(callee: Callee) -> None:
    """
    Several cancellations before, at and after the deadline are all there when the call is over.
    """
    guard = hostile_guard()

    ended, _ = asyncio.run(_cancelled(guard, callee, [0.01, 0.01, 0.01]))

    assert "CancelledError" == ended
    assert 1 == sum(guard.snapshot().counts.values())


@needs_counts
@pytest.mark.parametrize("callee", [*GOOD, *BAD])
def test_a_timeout_leaves_no_cancellation_behind(callee: Callee) -> None:
    """
    After a deadline the task is as little cancelled as before, and can go on.
    """
    guard = hostile_guard()

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(CallTimeoutError):
            await guard.acall(callee)
        assert 0 == task.cancelling()  # type: ignore[attr-defined]  # Since 3.11.
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)

    asyncio.run(main())


@needs_counts
def test_a_task_that_was_cancelled_before_keeps_its_count() -> None:
    """
    A guarded call in the clean-up of a cancelled task may still time out, and the count stays.
    """
    guard = hostile_guard()

    async def cleaning() -> str:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            with pytest.raises(CallTimeoutError):
                await guard.acall(sleeps)
            assert 1 == asyncio.current_task().cancelling()  # type: ignore[union-attr]  # Within a task.
            raise
        return "not cancelled"

    async def main() -> None:
        task = asyncio.create_task(cleaning())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    assert 1 == guard.snapshot().counts["timeout"]


def test_a_thread_that_runs_on_after_a_cancellation_is_counted() -> None:
    """
    A callee in a thread is an orphan also where its caller was cancelled.
    """
    guard = hostile_guard(timeout=LONG)

    async def to_thread() -> None:
        await asyncio.to_thread(time.sleep, 0.1)

    async def main() -> None:
        task = asyncio.create_task(guard.acall(to_thread))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert 1 == guard.snapshot().orphans
        await asyncio.sleep(0.12)
        assert 0 == guard.snapshot().orphans

    asyncio.run(main())
