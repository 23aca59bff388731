"""
A deadline, an answer and a cancellation that come up in one tick of a loop that was held up (semantics 1).
"""

from __future__ import annotations

import anyio
import pytest

from hungframe import CallTimeoutError, Guard
from tests.guard.fakes import Backend, hold_up, on_each_backend, sleeps

DEADLINE = 0.02
# Before the deadline or after it, and in its tick.
IN_ITS_TICK = pytest.mark.parametrize("due", [0.01, 0.03])


@IN_ITS_TICK
@on_each_backend
def test_result_in_the_tick_of_the_deadline_is_returned(backend: Backend, due: float) -> None:
    """
    A callee whose answer comes up with its deadline has its answer returned, and counted once.
    """
    guard = Guard("images", timeout=DEADLINE)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(hold_up)
            assert "done" == await guard.acall(sleeps, due)

    anyio.run(main, backend=backend)

    counts = guard.snapshot().counts
    assert (1, 1) == (counts["success"], sum(counts.values()))


@IN_ITS_TICK
@on_each_backend
def test_outer_cancellation_wins_over_the_deadline(backend: Backend, due: float) -> None:
    """
    Cancelled from outside in the tick of its deadline, a call is cancelled, and nothing timed out.
    """
    guard = Guard("images", timeout=DEADLINE)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(hold_up)
            with anyio.move_on_after(due) as scope:
                await guard.acall(sleeps, 30)
                pytest.fail("the cancellation was swallowed")
            assert scope.cancelled_caught

    anyio.run(main, backend=backend)

    counts = guard.snapshot().counts
    assert (1, 1) == (counts["cancelled"], sum(counts.values()))


@IN_ITS_TICK
@on_each_backend
def test_outer_cancellation_wins_over_the_deadline_of_a_block(backend: Backend, due: float) -> None:
    """
    So it is with a guarded block.
    """
    guard = Guard("images", timeout=DEADLINE)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(hold_up)
            with anyio.move_on_after(due) as scope:
                async with guard.attempt():
                    await anyio.sleep(30)
                pytest.fail("the cancellation was swallowed")
            assert scope.cancelled_caught

    anyio.run(main, backend=backend)

    counts = guard.snapshot().counts
    assert (1, 1) == (counts["cancelled"], sum(counts.values()))


@on_each_backend
def test_loop_that_was_held_up_still_has_deadlines(backend: Backend) -> None:
    """
    A callee that has no answer in that tick is aborted.
    """
    guard = Guard("images", timeout=DEADLINE)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(hold_up)
            with pytest.raises(CallTimeoutError):
                await guard.acall(sleeps, 30)

    anyio.run(main, backend=backend)

    assert 1 == guard.snapshot().counts["timeout"]
