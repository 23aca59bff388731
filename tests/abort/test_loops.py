"""
The abort works on every loop that users run: uvloop, eager tasks, debug mode, many of them, one within another.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio

from hungframe import Bulkhead, CallTimeoutError, Guard
from tests.abort.asyncio_callees import (
    awaits_a_task_that_swallows,
    cleans_up_within_its_grace,
    ignores_close,
    in_the_executor,
    spins,
    swallows_forever,
)
from tests.abort.measure import LONG, AsyncCallee, Ended, best, call_on_asyncio, check_timed_out, hostile_guard

CALLEES: list[AsyncCallee] = [
    swallows_forever,
    ignores_close,
    awaits_a_task_that_swallows,
    cleans_up_within_its_grace,
    in_the_executor,
    spins,
]
Run = Callable[[Coroutine[Any, Any, Ended]], Ended]


def on_uvloop(coro: Coroutine[Any, Any, Ended]) -> Ended:
    uvloop = pytest.importorskip("uvloop")
    loop = uvloop.new_event_loop()
    try:
        ended: Ended = loop.run_until_complete(coro)
        return ended
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def on_eager_tasks(coro: Coroutine[Any, Any, Ended]) -> Ended:
    if sys.version_info < (3, 12):
        coro.close()
        pytest.skip("eager tasks came with 3.12")

    async def main() -> Ended:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[arg-type, attr-defined, unused-ignore]
        return await asyncio.create_task(coro)

    return asyncio.run(main())


def in_debug_mode(coro: Coroutine[Any, Any, Ended]) -> Ended:
    return asyncio.run(coro, debug=True)


@pytest.mark.parametrize("run", [on_uvloop, on_eager_tasks, in_debug_mode])
@pytest.mark.parametrize("callee", CALLEES, ids=lambda callee: callee.__name__)
def test_back_in_time(run: Run, callee: AsyncCallee) -> None:
    """
    Back in time, with the right receipt, also there.
    """
    check_timed_out(best(lambda: run(call_on_asyncio(callee))))


@pytest.mark.parametrize("run", [on_uvloop, on_eager_tasks, in_debug_mode])
def test_a_result_in_the_deadlines_tick(run: Callable[[Any], str]) -> None:
    """
    A result that comes up with the deadline is returned, also there.
    """

    async def main() -> str:
        asyncio.get_running_loop().call_later(0.01, time.sleep, 0.09)
        return await hostile_guard().acall(asyncio.sleep, 0.03, "in time")

    assert "in time" == run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_a_guarded_call_that_is_a_task_from_its_first_step() -> None:
    """
    An eager task that never suspends, one that does, and one that hangs.
    """
    guard = hostile_guard()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[arg-type, attr-defined, unused-ignore]

        async def at_once() -> str:
            return "at once"

        assert "at once" == await asyncio.create_task(guard.acall(at_once))
        assert 1 == await asyncio.create_task(guard.acall(asyncio.sleep, 0.001, 1))
        with pytest.raises(CallTimeoutError):
            await asyncio.create_task(guard.acall(asyncio.sleep, LONG))

    asyncio.run(main())
    assert {"success": 2, "timeout": 1} == {name: count for name, count in guard.snapshot().counts.items() if count}


def test_a_loop_for_each_test() -> None:
    """
    A hundred loops one after another, as a test suite has them: none but the last is remembered.
    """
    guard = hostile_guard(timeout=LONG)
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await guard.acall(asyncio.sleep, 0)

    for _ in range(100):
        asyncio.run(main())
    gc.collect()

    assert sum(loop() is not None for loop in loops) <= 1
    assert 100 == guard.snapshot().counts["success"]
    assert 0 == guard.snapshot().in_flight


def test_a_loop_that_was_stopped_with_calls_in_flight() -> None:
    """
    Calls whose loop was closed under them are in flight no longer, and a new loop works.
    """
    guard = hostile_guard(timeout=LONG)
    loop = asyncio.new_event_loop()
    task = loop.create_task(guard.acall(asyncio.sleep, LONG))
    loop.run_until_complete(asyncio.sleep(0.001))
    assert 1 == guard.snapshot().in_flight
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()

    assert 0 == guard.snapshot().in_flight
    asyncio.run(guard.acall(asyncio.sleep, 0))


def test_many_loops_in_many_threads() -> None:
    """
    One guard, twenty threads with a loop each: each call ends in its own loop, and the counts are exact.
    """
    guard = hostile_guard(breaker=None)
    wrong: list[BaseException] = []

    async def one(number: int) -> None:
        if number % 2:
            await guard.acall(asyncio.sleep, 0.001)
        else:
            with pytest.raises(CallTimeoutError):
                await guard.acall(asyncio.sleep, LONG)

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(20)))

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == wrong
    snapshot = guard.snapshot()
    assert (200, 200) == (snapshot.counts["success"], snapshot.counts["timeout"])
    assert 0 == snapshot.in_flight == snapshot.orphans


def test_a_sync_call_within_a_running_loop() -> None:
    """
    In a notebook a loop runs already; `call` works there, and its deadline holds.
    """
    guard = hostile_guard()

    async def cell() -> str:
        with pytest.raises(CallTimeoutError):
            guard.call(time.sleep, 0.2)
        return guard.call(str.upper, "done")

    assert "DONE" == asyncio.run(cell())


def test_trio_as_a_guest_of_asyncio() -> None:
    """
    In guest mode both libraries run in one thread, and each guarded call is driven by its own.
    """
    guard = hostile_guard(breaker=None)

    async def on_trio() -> str:
        with pytest.raises(CallTimeoutError):
            await guard.acall(trio.sleep, LONG)
        await guard.acall(trio.sleep, 0.001)
        return "trio is done"

    async def on_asyncio() -> str:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            on_trio,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=done.set_result,
        )
        with pytest.raises(CallTimeoutError):
            await guard.acall(asyncio.sleep, LONG)
        await guard.acall(asyncio.sleep, 0.001)
        outcome = await done
        result: str = outcome.unwrap()
        return result

    assert "trio is done" == asyncio.run(on_asyncio())
    assert {"success": 2, "timeout": 2} == {name: count for name, count in guard.snapshot().counts.items() if count}


def test_outside_of_any_task() -> None:
    """
    A guarded coroutine that is stepped by hand says what is missing, and gives its permit back.
    """
    guard = Guard("hostile")

    async def callee() -> None:
        await asyncio.sleep(1)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[BaseException] = loop.create_future()

        def step() -> None:
            try:
                guard.acall(callee).send(None)
            except BaseException as error:
                told.set_result(error)

        loop.call_soon(step)
        assert "inside a task" in str(await told)

    asyncio.run(main())
    assert 0 == guard.snapshot().in_flight


@pytest.mark.parametrize("queue", [0, 1])
@pytest.mark.parametrize("where", ["asyncio", "trio", "thread"])
def test_slot_of_a_call_whose_loop_was_closed(where: str, queue: int) -> None:
    """
    Nobody resumes it: its slot goes to the next who asks, wherever that is, and is given back once.
    """
    guard = Guard("hostile", bulkhead=Bulkhead(1, queue=queue), max_wait=0)

    async def answers() -> str:
        return "done"

    loop = asyncio.new_event_loop()
    # A task that is destroyed while it is pending is told to the log.
    loop.set_exception_handler(lambda *_: None)
    task = loop.create_task(guard.acall(asyncio.sleep, LONG))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert 1 == guard.snapshot().in_flight
    loop.close()

    if where == "asyncio":
        assert "done" == asyncio.run(guard.acall(answers))
    elif where == "trio":
        assert "done" == trio.run(guard.acall, answers)
    else:
        assert "done" == guard.call(str, "done")

    del task, loop
    # The lane of the old loop makes room for the new one.
    asyncio.run(guard.acall(asyncio.sleep, 0))
    gc.collect()
    assert 0 == guard.snapshot().in_flight == guard._engine.bulkhead.in_flight  # type: ignore[attr-defined]
    assert 1 == guard._engine.bulkhead.limit  # type: ignore[attr-defined]  # One of ours.


def test_collected_with_its_loop() -> None:
    """
    A call whose loop was closed under it is collected without a word, and what it falls back to is not asked.
    """
    asked: list[Exception] = []
    guard = Guard("hostile", fallback=asked.append)

    def close_under_it() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        tasks = [loop.create_task(guard.acall(asyncio.sleep, LONG)) for _ in range(3)]
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert len(tasks) == guard.snapshot().in_flight
        lane: Any = guard._engine.lanes.last
        loop.close()
        # The collector may come to a callee before it comes to its caller.
        next(iter(lane.calls)).coro.close()
        for task in tasks:
            coro: Any = task.get_coro()
            coro.close()

    close_under_it()
    # The lane of the old loop makes room for the new one.
    asyncio.run(guard.acall(asyncio.sleep, 0))
    gc.collect()

    assert [] == asked
    counts = guard.snapshot().counts
    assert (3, 1, 4) == (counts["cancelled"], counts["success"], sum(counts.values()))
