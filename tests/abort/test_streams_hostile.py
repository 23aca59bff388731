"""
Streams that do not want to end: the consumer is back in time, one outcome is counted, and what is left is told.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from hungframe import CallTimeoutError, Guard
from hungframe.abort.asyncio_driver import COUNTS_CANCELS
from hungframe.snapshot import Snapshot
from tests.abort.measure import DEADLINE, GRACE, LONG, SLACK, TRIES, Leash, hostile_guard
from tests.abort.stream_callees import BLOCK, CLOSE, CLOSE_SYNC, HANG, HANG_WHEN_CLOSED, Stream, SyncStream
from tests.guard.fakes import Backend, on_each_backend


@dataclass
class Back:
    """
    How a consumer came back, and what there was when all had ended.
    """

    seconds: float
    error: BaseException | None
    running: int
    then: Snapshot
    after: Snapshot
    heard: list[str]


async def come_back(guard: Guard, leash: Leash, consume: Callable[[], Awaitable[Any]]) -> Back:
    """
    Consume, tell how long that took, let go, and wait for what was left.
    """
    heard: list[str] = []
    if _on_asyncio():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["message"]))
    error: BaseException | None = None
    began = time.monotonic()
    try:
        await consume()
    except BaseException as raised:
        error = raised
    seconds = time.monotonic() - began
    running, then = leash.running, guard.snapshot()
    leash.release()
    until = time.monotonic() + 2 * LONG
    while (leash.running or guard.snapshot().orphans or guard.snapshot().in_flight) and time.monotonic() < until:
        await anyio.sleep(0.002)
    gc.collect()
    await anyio.sleep(0.002)
    return Back(seconds, error, running, then, guard.snapshot(), heard)


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def in_time(measure: Callable[[], Back], most: float) -> Back:
    """
    Measure again where the consumer was late: a busy machine is late once, a guard every time.
    """
    back = measure()
    for _ in range(TRIES - 1):
        if back.seconds <= most + SLACK:
            break
        back = measure()
    assert back.seconds <= most + SLACK
    return back


def check_one(back: Back, outcome: str) -> None:
    """
    Check that one outcome was counted, and that nothing stays.
    """
    for snapshot in (back.then, back.after):
        assert {outcome: 1} == {name: count for name, count in snapshot.counts.items() if count}
    assert (0, 0, 0) == (back.after.in_flight, back.after.orphans, back.after.suspects)
    assert 0 == back.then.in_flight
    assert [] == back.heard


@on_each_backend
@pytest.mark.parametrize("limit", ["timeout", "items"])
@pytest.mark.parametrize("callee", HANG)
def test_back_at_the_deadline(callee: Stream, limit: str, backend: Backend) -> None:
    """
    Whatever the callee does with its cancellation.
    """
    settings = {"timeout": DEADLINE} if limit == "timeout" else {"first_item": DEADLINE, "between_items": DEADLINE}

    def measure() -> Back:
        guard, leash = hostile_guard(**{"timeout": 10 * LONG, **settings}), Leash()

        async def consume() -> None:
            async for _ in guard(callee)(leash):
                pass

        return anyio.run(come_back, guard, leash, consume, backend=backend)

    back = in_time(measure, DEADLINE + GRACE)
    assert isinstance(back.error, CallTimeoutError)
    assert (1 if back.running else 0) == back.then.orphans
    check_one(back, "timeout")


@on_each_backend
@pytest.mark.parametrize("callee", HANG)
def test_cancelled_within_a_step(callee: Stream, backend: Backend) -> None:
    """
    The consumer is back a grace after it was cancelled (one for the step, one for a clean-up), with its cancellation.
    """
    if backend == "asyncio" and not COUNTS_CANCELS:
        pytest.skip("3.10 cannot tell who cancels a task: what swallows that is left at its deadline")

    def measure() -> Back:
        guard, leash = hostile_guard(timeout=10 * LONG), Leash()

        async def loop() -> None:
            async for _ in guard(callee)(leash):
                pass
            raise AssertionError

        async def consume() -> None:
            if backend == "asyncio":
                # Natively: a scope of anyio asks nobody who hides in a shield.
                task = asyncio.ensure_future(loop())
                await asyncio.sleep(DEADLINE)
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
                return
            with anyio.move_on_after(DEADLINE) as scope:
                await loop()
            assert scope.cancelled_caught

        return anyio.run(come_back, guard, leash, consume, backend=backend)

    back = in_time(measure, DEADLINE + 2 * GRACE)
    assert back.error is None
    assert (1 if back.running else 0) == back.then.orphans
    check_one(back, "cancelled")


@on_each_backend
@pytest.mark.parametrize("callee", CLOSE)
def test_closed_by_its_consumer(callee: Stream, backend: Backend) -> None:
    """
    Leaving an `aclosing` block takes the grace at most; what goes on then is an orphan.
    """

    def measure() -> Back:
        guard, leash = hostile_guard(timeout=10 * LONG), Leash()

        async def consume() -> None:
            async with aclosing(guard(callee)(leash)) as items:
                assert 1 == await anext(items)

        return anyio.run(come_back, guard, leash, consume, backend=backend)

    back = in_time(measure, GRACE)
    assert back.error is None
    assert (1 if back.running else 0) == back.then.orphans
    if callee not in HANG_WHEN_CLOSED:
        assert 0 == back.running
    check_one(back, "cancelled")


@on_each_backend
@pytest.mark.parametrize("callee", CLOSE)
def test_consumer_that_is_cancelled_at_its_own_work(callee: Stream, backend: Backend) -> None:
    """
    The stream is closed within the grace on its consumer's way out.
    """

    def measure() -> Back:
        guard, leash = hostile_guard(timeout=10 * LONG), Leash()

        async def consume() -> None:
            with anyio.move_on_after(DEADLINE):
                async with aclosing(guard(callee)(leash)) as items:
                    async for _ in items:
                        await anyio.sleep(10)

        return anyio.run(come_back, guard, leash, consume, backend=backend)

    back = in_time(measure, DEADLINE + GRACE)
    assert back.error is None
    assert (1 if back.running else 0) == back.then.orphans
    check_one(back, "cancelled")


@on_each_backend
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # trio's own, of a loop that is left
@pytest.mark.parametrize("callee", CLOSE)
def test_loop_that_is_left(callee: Stream, backend: Backend) -> None:
    """
    `break`, and nobody closes: the event loop's hook does, and nothing stays.
    """

    def measure() -> Back:
        guard, leash = hostile_guard(timeout=10 * LONG), Leash()

        async def consume() -> None:
            async for _ in guard(callee)(leash):
                break
            began = time.monotonic()
            while guard.snapshot().in_flight and time.monotonic() < began + LONG:
                await anyio.sleep(0.002)

        return anyio.run(come_back, guard, leash, consume, backend=backend)

    back = in_time(measure, GRACE + SLACK)
    assert back.error is None
    check_one(back, "cancelled")


# Whose clean-up trio waits for at the end of a run, as it does for every shield; and, on asyncio, whose own generators
# the loop knows, and closes for as long as that takes.
SLOW_AT_THE_END = {
    "asyncio": {"stalls_in_a_generator_below"},
    "trio": {"closes_and_swallows", "closes_in_a_shield", "shields_its_clean_up", "stalls_in_a_generator_below"},
}


@on_each_backend
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # trio's own, of a generator below the callee
@pytest.mark.parametrize("callee", [*CLOSE, *HANG])
def test_open_at_the_end_of_the_loop(callee: Stream, backend: Backend) -> None:
    """
    The loop's own shutdown closes what is still open, in the grace; it has never heard of the callee's generator.
    """

    def measure() -> Back:
        guard, leash = hostile_guard(timeout=10 * LONG, first_item=DEADLINE), Leash()
        kept: list[Any] = []

        async def main() -> float:
            items = guard(callee)(leash)
            kept.append(items)
            try:
                await anext(items)
            except CallTimeoutError:
                pass
            return time.monotonic()

        ended_at = anyio.run(main, backend=backend)
        seconds, then = time.monotonic() - ended_at, guard.snapshot()
        leash.release()
        return Back(seconds, None, 0, then, then, [])

    most = 2 * LONG if callee.__name__ in SLOW_AT_THE_END[backend] else GRACE
    then = in_time(measure, most).then
    assert 1 == sum(then.counts.values()) == then.counts["cancelled"] + then.counts["timeout"]
    assert 0 == then.in_flight


@on_each_backend
def test_error_of_a_clean_up(backend: Backend) -> None:
    """
    What the callee raises when it is closed is told to whoever closes it.
    """
    guard = hostile_guard(timeout=LONG)

    @guard
    async def fails_to_close() -> Any:
        try:
            yield 1
        finally:
            raise ValueError("cannot close")

    async def main() -> None:
        with pytest.raises(ValueError, match="cannot close"):
            async with aclosing(fails_to_close()) as items:
                await anext(items)

    anyio.run(main, backend=backend)
    assert 1 == guard.snapshot().counts["cancelled"]


def test_error_of_a_clean_up_after_the_loop_was_left() -> None:
    """
    Where nobody closes, the event loop's exception handler is told.
    """
    guard = hostile_guard(timeout=LONG)
    heard: list[Any] = []

    @guard
    async def fails_to_close() -> Any:
        try:
            yield 1
        finally:
            raise ValueError("cannot close")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["exception"]))
        async for _ in fails_to_close():
            break
        await asyncio.sleep(0.01)
        gc.collect()

    asyncio.run(main())
    assert [ValueError] == [type(error) for error in heard]


# -- in threads -----------------------------------------------------------------------------------------------------


def come_back_sync(guard: Guard, leash: Leash, consume: Callable[[], Any]) -> Back:
    """
    The same in this thread.
    """
    error: BaseException | None = None
    began = time.monotonic()
    try:
        consume()
    except BaseException as raised:
        error = raised
    seconds = time.monotonic() - began
    running, then = leash.running, guard.snapshot()
    leash.release()
    until = time.monotonic() + 2 * LONG
    while (leash.running or guard.snapshot().orphans) and time.monotonic() < until:
        time.sleep(0.002)
    return Back(seconds, error, running, then, guard.snapshot(), [])


@pytest.mark.parametrize("limit", ["timeout", "items"])
@pytest.mark.parametrize("callee", BLOCK)
def test_sync_back_at_the_deadline(callee: SyncStream, limit: str) -> None:
    """
    A thread that blocks is left, and is an orphan until it has ended and closed its generator.
    """
    settings = {"timeout": DEADLINE} if limit == "timeout" else {"first_item": DEADLINE, "between_items": DEADLINE}

    def measure() -> Back:
        guard, leash = hostile_guard(**{"timeout": 10 * LONG, **settings}), Leash()

        def consume() -> None:
            for _ in guard(callee)(leash):
                pass

        return come_back_sync(guard, leash, consume)

    back = in_time(measure, DEADLINE + GRACE)
    assert isinstance(back.error, CallTimeoutError)
    assert "late" == back.error.receipt
    assert 1 == back.then.orphans
    assert "block" in back.error.where
    check_one(back, "timeout")


@pytest.mark.parametrize("callee", CLOSE_SYNC)
def test_sync_closed_by_its_consumer(callee: SyncStream) -> None:
    """
    Closing takes the grace at most; the thread that goes on is an orphan.
    """

    def measure() -> Back:
        guard, leash = hostile_guard(timeout=10 * LONG), Leash()

        def consume() -> None:
            with closing(guard(callee)(leash)) as items:
                next(items)

        return come_back_sync(guard, leash, consume)

    back = in_time(measure, GRACE)
    assert back.error is None
    assert (1 if back.running else 0) == back.then.orphans
    check_one(back, "cancelled")


@pytest.mark.parametrize("callee", CLOSE_SYNC)
def test_sync_loop_that_is_left(callee: SyncStream) -> None:
    """
    Collected, it is closed just so.
    """

    def measure() -> Back:
        guard, leash = hostile_guard(timeout=10 * LONG), Leash()

        def consume() -> None:
            for _ in guard(callee)(leash):
                break

        return come_back_sync(guard, leash, consume)

    back = in_time(measure, GRACE)
    check_one(back, "cancelled")


def test_keyboard_interrupt_within_a_step() -> None:
    """
    It goes through, and nothing is learned.
    """
    guard = hostile_guard(timeout=LONG)

    @guard
    def interrupted() -> Any:
        yield 1
        raise KeyboardInterrupt

    items = interrupted()
    next(items)
    with pytest.raises(KeyboardInterrupt):
        next(items)

    assert 1 == guard.snapshot().counts["cancelled"] == sum(guard.snapshot().counts.values())
    assert 0 == guard.snapshot().in_flight
