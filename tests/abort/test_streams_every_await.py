"""
Cancel a guarded stream at each of its await points, or close it: nothing is lost, and its end is told once.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
import trio

from hungframe import Guard
from hungframe.testing import RecordingSink
from tests.abort.measure import LONG
from tests.abort.test_every_await import Steps, check_all_given_back, half_open_guard

Checkpoint = Callable[[], Awaitable[None]]
Shape = Callable[[Guard, Checkpoint], Awaitable[None]]


async def _items(checkpoint: Checkpoint) -> AsyncGenerator[int, None]:
    try:
        await checkpoint()
        yield 1
        await checkpoint()
        yield 2
    finally:
        await checkpoint()


async def to_the_end(guard: Guard, checkpoint: Checkpoint) -> None:
    async with aclosing(guard(_items)(checkpoint)) as items:
        async for _ in items:
            await checkpoint()


async def left_early(guard: Guard, checkpoint: Checkpoint) -> None:
    async with aclosing(guard(_items)(checkpoint)) as items:
        async for _ in items:
            break
        await checkpoint()


async def thrown_into(guard: Guard, checkpoint: Checkpoint) -> None:
    async with aclosing(guard(_items)(checkpoint)) as items:
        await anext(items)
        await checkpoint()
        try:
            await items.athrow(KeyError("mine"))
        except KeyError:
            await checkpoint()


async def nested(guard: Guard, checkpoint: Checkpoint) -> None:
    inner = Guard("inner", timeout=LONG)

    async def callee() -> AsyncGenerator[int, None]:
        async with aclosing(inner(_items)(checkpoint)) as items:
            async for item in items:
                yield item
                await inner.acall(checkpoint)

    async with aclosing(guard(callee)()) as items:
        async for _ in items:
            await checkpoint()
    assert 0 == inner.snapshot().in_flight


async def swallowing(guard: Guard, checkpoint: Checkpoint) -> None:
    async def callee() -> AsyncGenerator[int, None]:
        for number in range(3):
            try:
                await checkpoint()
            except BaseException:
                pass
            yield number

    async with aclosing(guard(callee)()) as items:
        async for _ in items:
            await checkpoint()


SHAPES: list[Shape] = [to_the_end, left_early, thrown_into, nested, swallowing]


def _until_it_ends(run: Callable[[int], bool]) -> None:
    """
    Step 0, 1, 2, ... until the stream ends before it is cancelled.
    """
    assert any(not run(at) for at in itertools.takewhile(lambda at: at < 30, itertools.count()))


@pytest.mark.parametrize("shape", SHAPES)
def test_at_every_await_on_asyncio(shape: Shape) -> None:
    """
    Cancelled from within: by the callee's own code, or the consumer's.
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
        return steps.done

    _until_it_ends(lambda at: asyncio.run(main(at)))


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

    _until_it_ends(lambda at: trio.run(main, at))


@pytest.mark.parametrize("shape", SHAPES)
def test_cancelled_between_the_awaits_on_asyncio(shape: Shape) -> None:
    """
    Cancelled from beside, when the task has been stepped so often.
    """

    async def turn() -> None:
        await asyncio.sleep(0)

    async def main(steps: int) -> bool:
        sink = RecordingSink()
        guard, clock = half_open_guard(sink)
        tokens = guard.snapshot().budget
        assert tokens is not None
        task: asyncio.Task[None] = asyncio.create_task(shape(guard, turn))  # type: ignore[arg-type]  # Of either shape.
        for _ in range(steps):
            await asyncio.sleep(0)
        was_running = task.cancel()
        await asyncio.wait([task])
        assert (steps > 0) == check_all_given_back(guard, clock, sink, tokens)
        return was_running

    _until_it_ends(lambda at: asyncio.run(main(at)))


async def plain(guard: Guard, checkpoint: Checkpoint) -> None:
    async def callee() -> AsyncGenerator[int, None]:
        await checkpoint()
        yield 1
        await checkpoint()
        yield 2

    async for _ in guard(callee)():
        await checkpoint()


def test_closed_at_every_await() -> None:
    """
    A consumer whose coroutine is closed, and not cancelled, gives back what it had.
    """
    shape = plain

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
        del coro
        gc.collect()
        for _ in range(10):
            await asyncio.sleep(0)
        check_all_given_back(guard, clock, sink, tokens)
        return True

    _until_it_ends(lambda at: asyncio.run(main(at)))
