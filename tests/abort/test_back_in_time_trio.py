"""
On trio the caller is back at deadline and grace, whatever the callee does, and is told the truth.
"""

from __future__ import annotations

import pytest
import trio

from hungframe import CallTimeoutError
from hungframe.testing import hostile
from tests.abort.measure import SLACK, AsyncCallee, Leash, best, call_on_trio, check_timed_out, hostile_guard
from tests.abort.trio_callees import HANG, shields


@pytest.mark.parametrize("callee", HANG, ids=lambda callee: callee.__name__)
def test_back_in_time(callee: AsyncCallee) -> None:
    """
    Back by deadline and grace; the receipt says what is true; the orphan is gone when the callee is.
    """
    check_timed_out(best(lambda: trio.run(call_on_trio, callee)))


@pytest.mark.parametrize("callee", hostile.ASYNC, ids=lambda callee: callee.__name__)
def test_back_from_the_callees_of_the_kit(callee: AsyncCallee) -> None:
    """
    Back in time from the hostile callees that users are given.
    """

    async def for_a_while(leash: Leash) -> None:
        with leash.busy():
            await callee(0.2)  # type: ignore[arg-type]  # A callee of any shape.

    ended = best(lambda: trio.run(call_on_trio, for_a_while))

    assert type(ended.error) is CallTimeoutError
    assert ended.late <= SLACK
    assert ended.truth() == ended.receipt
    assert (ended.receipt == "orphan") == (1 == ended.then.orphans)
    assert 0 == ended.after.orphans


def test_an_orphan_that_raises_does_not_end_the_run() -> None:
    """
    What an abandoned callee raises at its end harms nobody.
    """

    async def shields_and_raises(leash: Leash) -> None:
        await shields(leash)
        raise RuntimeError("nobody is there to hear it")

    check_timed_out(best(lambda: trio.run(call_on_trio, shields_and_raises)))


def test_an_orphan_leaves_the_callers_variables_alone() -> None:
    """
    An abandoned callee that goes on to make guarded calls of its own sets no deadline for its caller.
    """
    guard = hostile_guard()
    others = hostile_guard(timeout=5.0)
    seen = []

    async def orphan() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.12)
            # Its caller has gone by now.
            await others.using(timeout=0.2).acall(trio.sleep, 0.1)

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await guard.acall(orphan)
        await trio.sleep(0.07)
        async with others.attempt() as attempt:
            seen.append(attempt.timeout)

    trio.run(main)

    assert [5.0] == seen


def test_the_run_ends_when_its_orphans_do() -> None:
    """
    trio waits for every task, and so for an orphan; then nothing is left.
    """

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(CallTimeoutError):
                await guard.acall(hostile.shields, 0.2)
        assert guard.snapshot().orphans > 0

    guard = hostile_guard()
    trio.run(main)

    assert 0 == guard.snapshot().orphans


def test_an_orphan_goes_on_after_the_thread_that_it_waits_for() -> None:
    """
    Counting the thread does not end the coroutine that waits for it: it hears from its thread, and runs to its end.
    """
    guard, leash = hostile_guard(), Leash()
    went_on: list[bool] = []

    async def waits_for_a_thread() -> None:
        await trio.to_thread.run_sync(leash.block)
        went_on.append(leash.let_go.is_set())

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await guard.acall(waits_for_a_thread)
        assert [] == went_on
        leash.release()

    trio.run(main)

    assert [True] == went_on
    assert 0 == guard.snapshot().orphans
