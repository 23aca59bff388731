"""
Cancel a guarded call at each of its await points: no permit and no token is lost, and its end is told once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from hungframe import CallRejectedError, CircuitBreaker, CircuitOpenError, Guard, TokenBucket
from hungframe.testing import RecordingSink, VirtualClock
from tests.abort.measure import LONG

FINAL = {"gen.success", "gen.fail", "gen.reject", "gen.cancelled"}
AWAITS = 4

Shape = Callable[[Guard, Callable[[], Awaitable[None]]], Awaitable[None]]


async def acall(guard: Guard, checkpoint: Callable[[], Awaitable[None]]) -> None:
    async def callee() -> None:
        for _ in range(AWAITS):
            await checkpoint()

    await guard.acall(callee)


async def decorated(guard: Guard, checkpoint: Callable[[], Awaitable[None]]) -> None:
    @guard
    async def callee() -> None:
        try:
            await checkpoint()
            await checkpoint()
        finally:
            await checkpoint()

    await callee()


async def _turn() -> None:
    await asyncio.sleep(0)


async def attempt(guard: Guard, checkpoint: Callable[[], Awaitable[None]]) -> None:
    async with guard.attempt():
        for _ in range(AWAITS):
            await checkpoint()


async def nested(guard: Guard, checkpoint: Callable[[], Awaitable[None]]) -> None:
    inner = Guard("inner", timeout=LONG)

    async def callee() -> None:
        await checkpoint()
        await inner.acall(checkpoint)
        async with inner.attempt():
            await checkpoint()
        await checkpoint()

    await guard.acall(callee)
    assert 0 == inner.snapshot().in_flight


async def swallowing(guard: Guard, checkpoint: Callable[[], Awaitable[None]]) -> None:
    async def callee() -> None:
        for _ in range(AWAITS):
            try:
                await checkpoint()
            except BaseException:
                pass

    await guard.acall(callee)


SHAPES: list[Shape] = [acall, decorated, attempt, nested, swallowing]


def half_open_guard(sink: RecordingSink) -> tuple[Guard, VirtualClock]:
    """
    A guard that lets one probe through, with tokens enough.
    """
    clock = VirtualClock()
    guard = Guard(
        "hostile",
        timeout=LONG,
        grace=0.01,
        breaker=CircuitBreaker(open_for=1.0, probe_every=1.0),
        budget=TokenBucket(capacity=50),
        sinks=[sink],
        clock=clock,
    )
    for _ in range(3):
        guard.acquire().settle("timeout")
    assert "open" == guard.snapshot().state
    clock.advance(1.0)
    assert "half_open" == guard.snapshot().state
    sink.clear()
    return guard, clock


def check_all_given_back(guard: Guard, clock: VirtualClock, sink: RecordingSink, tokens: int) -> bool:
    """
    Check that one call has left nothing behind; tell whether it was let through.
    """
    snapshot = guard.snapshot()
    requests = sink.names().count("gen.request")
    finals = [name for name in sink.names() if name in FINAL]
    assert requests == len(finals)
    assert 0 == snapshot.in_flight
    assert snapshot.budget is not None and tokens - requests <= snapshot.budget
    # The probe's slot is free again, now or when its interval is over.
    clock.advance(1.0)
    try:
        guard.acquire().cancel()
    except CallRejectedError as error:
        raise AssertionError("the probe's slot is lost") from error
    return requests > 0


class Steps:
    """
    A checkpoint that cancels at its *at*-th passing.
    """

    def __init__(self, at: int, cancel: Callable[[], Any], asleep: Callable[[], Awaitable[None]]) -> None:
        self.passed = 0
        self.done = False
        self._at = at
        self._cancel = cancel
        self._asleep = asleep

    async def __call__(self) -> None:
        if self.passed == self._at:
            self._cancel()
            self.done = True
        self.passed += 1
        await self._asleep()


@pytest.mark.parametrize("shape", SHAPES)
def test_at_every_await_on_asyncio(shape: Shape) -> None:
    """
    Step 0, 1, 2, ... until the call ends before it is cancelled.
    """

    async def main(at: int) -> bool:
        sink = RecordingSink()
        guard, clock = half_open_guard(sink)
        tokens = guard.snapshot().budget
        assert tokens is not None
        steps = Steps(at, lambda: task.cancel(), lambda: asyncio.sleep(0))
        task: asyncio.Task[None] = asyncio.create_task(shape(guard, steps))  # type: ignore[arg-type]
        await asyncio.wait([task])
        assert check_all_given_back(guard, clock, sink, tokens)
        if steps.done:
            assert "gen.success" not in sink.names() or not task.cancelled()
        return steps.done

    assert any(not asyncio.run(main(at)) for at in itertools.takewhile(lambda at: at < 20, itertools.count()))


@pytest.mark.parametrize("shape", SHAPES)
def test_at_every_await_on_trio(shape: Shape) -> None:
    """
    The same on trio.
    """

    async def main(at: int) -> bool:
        sink = RecordingSink()
        guard, clock = half_open_guard(sink)
        tokens = guard.snapshot().budget
        assert tokens is not None
        with trio.CancelScope() as scope:
            steps = Steps(at, scope.cancel, trio.lowlevel.checkpoint)
            await shape(guard, steps)
        assert check_all_given_back(guard, clock, sink, tokens)
        return steps.done

    assert any(not trio.run(main, at) for at in itertools.takewhile(lambda at: at < 20, itertools.count()))


@pytest.mark.parametrize("shape", SHAPES)
def test_cancelled_between_the_awaits_on_asyncio(shape: Shape) -> None:
    """
    Cancelled from beside, when the task has been stepped so often.
    """

    async def main(steps: int) -> bool:
        sink = RecordingSink()
        guard, clock = half_open_guard(sink)
        tokens = guard.snapshot().budget
        assert tokens is not None
        task: asyncio.Task[None] = asyncio.create_task(shape(guard, _turn))  # type: ignore[arg-type]
        for _ in range(steps):
            await asyncio.sleep(0)
        was_running = task.cancel()
        await asyncio.wait([task])
        assert (steps > 0) == check_all_given_back(guard, clock, sink, tokens)
        return was_running

    assert any(not asyncio.run(main(at)) for at in itertools.takewhile(lambda at: at < 20, itertools.count()))


@pytest.mark.parametrize("shape", [acall, decorated, attempt, nested])
def test_closed_at_every_await(shape: Shape) -> None:
    """
    A coroutine that is closed, and not cancelled, gives back what it had.
    """

    async def main(steps: int) -> bool:
        sink = RecordingSink()
        guard, clock = half_open_guard(sink)
        tokens = guard.snapshot().budget
        assert tokens is not None

        async def nap() -> None:
            await asyncio.sleep(0)

        coro: Any = shape(guard, nap)
        try:
            for _ in range(steps + 1):
                coro.send(None)
        except StopIteration:
            return False
        try:
            coro.close()
        except RuntimeError:
            # Its own clean-up awaits something, which a closed coroutine may not.
            pass
        check_all_given_back(guard, clock, sink, tokens)
        return True

    assert any(not asyncio.run(main(at)) for at in itertools.takewhile(lambda at: at < 20, itertools.count()))


def test_a_call_that_was_never_awaited_took_nothing() -> None:
    """
    The policies are asked when the call begins, not when it is written down.
    """
    guard = Guard("hostile", budget=TokenBucket())

    async def callee() -> None:
        raise AssertionError

    guard.acall(callee).close()

    assert 5 == guard.snapshot().budget
    assert 0 == sum(guard.snapshot().counts.values())


def test_a_probe_is_admitted_again_at_once_after_it_was_cancelled() -> None:
    """
    A cancelled probe has proved nothing: the next one need not wait for another interval.
    """
    sink = RecordingSink()
    guard, _ = half_open_guard(sink)

    async def main() -> None:
        task = asyncio.create_task(guard.acall(asyncio.sleep, LONG))
        await asyncio.sleep(0)
        with pytest.raises(CircuitOpenError):
            guard.acquire()
        task.cancel()
        await asyncio.wait([task])
        guard.acquire().cancel()

    asyncio.run(main())
