"""
`current_deadline` and `time_left`: what a callee, and all that it calls, can see of the deadline around it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import anyio
import anyio.to_thread
import pytest

from hungframe import CallTimeoutError, Guard, current_deadline, time_left
from hungframe.testing import VirtualClock, run_virtual
from tests.guard.fakes import Backend, about, on_each_backend, sleeps

Seen = list[object]


def test_outside_of_any_call_there_is_none() -> None:
    """
    None, and None.
    """
    assert (None, None) == (current_deadline(), time_left())


@on_each_backend
def test_inside_of_a_call(backend: Backend) -> None:
    """
    The deadline stands still and what is left of it shrinks.
    """
    clock = VirtualClock(start=1000.0)
    guard = Guard("images", timeout=5, clock=clock)

    async def callee() -> Seen:
        seen: Seen = [current_deadline(), time_left()]
        await anyio.sleep(2)
        return [*seen, current_deadline(), time_left()]

    seen = run_virtual(guard.acall, callee, backend=backend)

    assert [about(each) for each in (1005.0, 5.0, 1005.0, 3.0)] == seen
    assert (None, None) == (current_deadline(), time_left())


@pytest.mark.parametrize("isolate", ["auto", None])
def test_inside_of_a_sync_call(isolate: str | None) -> None:
    """
    Also in a worker thread; and 0 is left, not less, when it has passed.
    """
    clock = VirtualClock()
    guard = Guard("images", timeout=5, clock=clock, isolate=isolate)  # type: ignore[arg-type]  # a literal, once known

    def callee() -> Seen:
        seen: Seen = [current_deadline(), time_left()]
        clock.advance(2)
        seen.append(time_left())
        clock.advance(7)
        return [*seen, time_left()]

    assert [5.0, 5.0, 3.0, 0.0] == guard.call(callee)
    assert None is current_deadline()


def test_call_without_a_deadline_has_none() -> None:
    """
    None, though a call is around.
    """
    guard = Guard("images", timeout=None)

    assert None is guard.call(current_deadline)
    assert None is guard.call(time_left)


@on_each_backend
def test_nested_deadlines_shrink_only(backend: Backend) -> None:
    """
    The innermost call is told, never with more than the one around it; after it the outer one is back.
    """
    clock = VirtualClock()
    outer = Guard("outer", timeout=10, clock=clock)

    async def inside() -> Seen:
        return [time_left()]

    async def around() -> Seen:
        await anyio.sleep(4)
        seen = await Guard("shorter", timeout=2, clock=clock).acall(inside)
        seen += await Guard("longer", timeout=60, clock=clock).acall(inside)
        seen += await Guard("without", timeout=None, clock=clock).acall(inside)
        return [*seen, time_left()]

    seen = run_virtual(outer.acall, around, backend=backend)

    assert [about(each) for each in (2.0, 6.0, 6.0, 6.0)] == seen


@on_each_backend
def test_inner_call_never_outlives_the_outer_deadline(backend: Backend) -> None:
    """
    A hung inner call with a longer timeout of its own is ended at the outer deadline.
    """
    outer, inner = Guard("outer", timeout=3), Guard("inner", timeout=60)

    async def main() -> None:
        began_at = anyio.current_time()
        with pytest.raises(CallTimeoutError):
            await outer.acall(inner.acall, sleeps, 100)
        assert about(3) == anyio.current_time() - began_at

    run_virtual(main, backend=backend)

    # Of the inner call it is the outer one's end that is told, or its own, whichever came first in that tick.
    assert (1, 0) == (outer.snapshot().counts["timeout"], inner.snapshot().counts["success"])


def test_guards_on_different_clocks() -> None:
    """
    What is left is compared, not instants: two guards' clocks may have begun at different times.
    """
    outer = Guard("outer", timeout=5, clock=VirtualClock(start=1e6), isolate=None)
    inner = Guard("inner", timeout=60, clock=VirtualClock(start=7.0), isolate=None)

    assert 12.0 == about(outer.call(inner.call, current_deadline))


def test_outer_deadline_that_has_passed_leaves_nothing() -> None:
    """
    A call within a call whose time is up has none.
    """
    clock = VirtualClock()
    outer = Guard("outer", timeout=5, clock=clock, isolate=None)
    inner = Guard("inner", clock=clock, isolate=None)

    def callee() -> float | None:
        clock.advance(6)
        return inner.call(time_left)

    assert 0.0 == outer.call(callee)


@on_each_backend
def test_child_tasks_see_it(backend: Backend) -> None:
    """
    A task that a callee starts has the callee's deadline.
    """
    seen: Seen = []

    async def child() -> None:
        await anyio.sleep(1)
        seen.append(time_left())

    async def callee() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(child)

    run_virtual(Guard("images", timeout=5).acall, callee, backend=backend)

    assert [about(4.0)] == seen


def test_deadline_of_what_is_over_binds_nobody() -> None:
    """
    A task that outlives the call which started it has no deadline any more, and neither has a call that it makes.
    """
    seen: Seen = []
    guard = Guard("images", timeout=5)

    async def stays() -> None:
        seen.append(time_left())
        await anyio.sleep(3)
        seen.append(time_left())
        with guard.acquire() as permit:
            seen.append(permit.timeout)

    async def main() -> None:
        tasks: list[asyncio.Task[None]] = []

        async def callee() -> None:
            tasks.append(asyncio.create_task(stays()))
            await anyio.sleep(1)

        await guard.acall(callee)
        await tasks[0]

    run_virtual(main)

    assert [about(5.0), None, 5.0] == seen


def test_outer_call_is_back_when_the_inner_is_over() -> None:
    """
    A task that was started two calls deep sees the outer deadline once the inner call has ended.
    """
    seen: Seen = []
    outer, inner = Guard("outer", timeout=50), Guard("inner", timeout=5)

    async def stays() -> None:
        await anyio.sleep(3)
        seen.append(time_left())

    async def main() -> None:
        async def callee() -> asyncio.Task[None]:
            return asyncio.create_task(stays())

        async def around() -> None:
            task = await inner.acall(callee)
            await task

        await outer.acall(around)

    run_virtual(main)

    assert [about(47.0)] == seen


@on_each_backend
def test_sibling_tasks_do_not_see_it(backend: Backend) -> None:
    """
    A call in one task is nothing to the task beside it.
    """
    seen: Seen = []

    async def beside() -> None:
        await anyio.sleep(1)
        seen.append(time_left())

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(beside)
            await Guard("images", timeout=5).acall(sleeps, 2)

    run_virtual(main, backend=backend)

    assert [None] == seen


def test_threads_do_not_see_it_unless_context_goes_along() -> None:
    """
    A plain thread starts without its starter's context; `asyncio.to_thread` and anyio's take it along.
    """
    seen: Seen = []
    guard = Guard("images", timeout=50)

    def callee() -> None:
        thread = threading.Thread(target=lambda: seen.append(current_deadline()))
        thread.start()
        thread.join()

    guard.call(callee)
    for to_thread in (anyio.to_thread.run_sync, asyncio.to_thread):
        seen.append(asyncio.run(guard.acall(to_thread, time_left)))

    assert None is seen[0]
    assert all(isinstance(left, float) and 45 < left <= 50 for left in seen[1:])


@pytest.mark.parametrize("ends", [lambda: None, lambda: 1 / 0, lambda: (_ for _ in ()).throw(KeyboardInterrupt())])
@pytest.mark.parametrize("isolate", ["auto", None])
def test_nothing_is_left_after_a_call(isolate: str | None, ends: Callable[[], object]) -> None:
    """
    However the callee ends, the caller's context is as it was.
    """
    guard = Guard("images", isolate=isolate)  # type: ignore[arg-type]  # a literal, once known

    try:
        guard.call(ends)
    except (ZeroDivisionError, KeyboardInterrupt):
        pass

    assert None is current_deadline()


@on_each_backend
def test_nothing_is_left_after_an_abort(backend: Backend) -> None:
    """
    Also after a timeout and a cancellation.
    """
    guard = Guard("images", timeout=5)

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await guard.acall(sleeps, 10)
        assert None is current_deadline()
        with anyio.move_on_after(1):
            await guard.acall(sleeps, 10)
        assert None is current_deadline()

    run_virtual(main, backend=backend)
