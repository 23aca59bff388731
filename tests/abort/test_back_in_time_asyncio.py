"""
On asyncio the caller is back at deadline and grace, whatever the callee does, and is told the truth.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import time

import pytest

from hungframe import CallTimeoutError
from hungframe.testing import hostile
from tests.abort.asyncio_callees import HANG
from tests.abort.measure import LONG, SLACK, AsyncCallee, Ended, Leash, best, call_on_asyncio, check_timed_out

PRESENT = [
    hostile.swallows_cancel,
    hostile.ignores_close,
    hostile.shields,
    hostile.leaks_thread,
    hostile.spins_async,
]


@functools.cache
def _ended(callee: AsyncCallee) -> Ended:
    """
    Call it once for all that is asked about it.
    """
    return best(lambda: asyncio.run(_watched(callee)))


async def _watched(callee: AsyncCallee) -> Ended:
    heard: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: heard.append(context["message"]))
    beat = asyncio.create_task(_longest_pause())
    ended = await call_on_asyncio(callee)
    beat.cancel()
    ended.held_up = await beat
    # What is new is young; a whole collection takes as long as the call.
    gc.collect(1)
    await asyncio.sleep(0.005)
    ended.heard = heard
    return ended


async def _longest_pause() -> float:
    longest, last = 0.0, time.monotonic()
    try:
        while True:
            await asyncio.sleep(0.002)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
    except asyncio.CancelledError:
        return longest


@pytest.mark.parametrize("callee", HANG, ids=lambda callee: callee.__name__)
def test_back_in_time(callee: AsyncCallee) -> None:
    """
    Back by deadline and grace; the receipt says what is true; the orphan is gone when the callee is.
    """
    check_timed_out(_ended(callee))


@pytest.mark.parametrize("callee", HANG, ids=lambda callee: callee.__name__)
def test_nothing_is_complained_of(callee: AsyncCallee) -> None:
    """
    The event loop hears of no error that nobody retrieved.
    """
    assert [] == _ended(callee).heard


@pytest.mark.parametrize("callee", HANG, ids=lambda callee: callee.__name__)
def test_the_loop_is_not_held_up(callee: AsyncCallee) -> None:
    """
    Nothing that runs beside the call is held up, neither by its end nor by what the callee does when it was left.
    """
    assert _ended(callee).held_up < SLACK


@pytest.mark.parametrize("callee", PRESENT, ids=lambda callee: callee.__name__)
def test_back_from_the_callees_of_the_kit(callee: AsyncCallee) -> None:
    """
    Back in time from the hostile callees that users are given.
    """

    async def for_a_while(leash: Leash) -> None:
        # Its own coroutine is the only thing that runs, unless it has a thread.
        await callee(0.2)  # type: ignore[arg-type]  # A callee of any shape.

    ended = best(lambda: asyncio.run(call_on_asyncio(for_a_while)))

    assert type(ended.error) is CallTimeoutError
    assert ended.late <= SLACK
    assert 1 == ended.then.counts["timeout"]
    assert (ended.receipt == "orphan") == (1 == ended.then.orphans)
    assert 0 == ended.after.orphans


def test_what_it_started_and_did_not_wait_for_is_its_own() -> None:
    """
    A task that the callee has started beside itself is neither cancelled nor counted.
    """

    async def starts_a_task(leash: Leash) -> None:
        leash.task = asyncio.create_task(leash.wait())  # type: ignore[attr-defined]  # Kept alive by it.
        with leash.busy():
            await asyncio.sleep(LONG)

    check_timed_out(best(lambda: asyncio.run(call_on_asyncio(starts_a_task))))


def test_through_the_shield_of_asyncio() -> None:
    """
    A callee that waits behind asyncio.shield is cancelled; what it shields goes on, as asyncio promises.
    """

    async def shields(leash: Leash) -> None:
        leash.task = asyncio.ensure_future(leash.wait())  # type: ignore[attr-defined]  # Kept alive by it.
        with leash.busy():
            await asyncio.shield(leash.task)  # type: ignore[attr-defined]  # Kept alive by it.

    check_timed_out(best(lambda: asyncio.run(call_on_asyncio(shields))))
