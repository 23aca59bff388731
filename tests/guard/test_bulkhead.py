"""
A guard with a bulkhead: who is let in, and that each slot is given back once, however its call ends (semantics 4).
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trio

from hungframe import (
    BudgetExhaustedError,
    Bulkhead,
    BulkheadFullError,
    CallTimeoutError,
    CircuitOpenError,
    Guard,
    Retry,
    TokenBucket,
    TooManyOrphansError,
    time_left,
)
from hungframe.testing import RecordingSink, VirtualClock, run_virtual
from hungframe.testing.hostile import ignores_close, leaks_thread, swallows_cancel
from tests.abort.test_fork import in_child
from tests.guard.fakes import (
    Backend,
    StatusError,
    about,
    on_each_backend,
    open_by_timeouts,
    outcome_of,
    raises,
    raises_async,
    sleeps,
)


def bulkhead_of(guard: Guard) -> Bulkhead:
    """
    The bulkhead that a guard has.
    """
    bulkhead: Bulkhead = guard._engine.bulkhead  # type: ignore[attr-defined]  # One of ours.
    return bulkhead


def check_free(guard: Guard) -> None:
    """
    Check that no slot is taken and nobody waits.
    """
    bulkhead = bulkhead_of(guard)
    assert (0, 0) == (bulkhead.in_flight, bulkhead.waiting)


def wait_until(true: Callable[[], bool]) -> None:
    """
    Wait for what another thread does, two seconds at most.
    """
    until = time.monotonic() + 2
    while not true():
        assert time.monotonic() < until
        time.sleep(0.002)


def virtual(main: Callable[[], Awaitable[Any]], backend: Backend) -> Any:
    async def no_longer_than_a_day() -> Any:
        with anyio.fail_after(86_400):
            return await main()

    return run_virtual(no_longer_than_a_day, backend=backend)


def leave_waiting(guard: Guard, count: int = 1) -> list[Any]:
    """
    Make calls in a loop that is closed while they wait: nothing will ever resume them.
    """
    loop = asyncio.new_event_loop()
    tasks: list[Any] = [loop.create_task(guard.acall(sleeps, 0)) for _ in range(count)]
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    for task in tasks:
        task._log_destroy_pending = False
    return tasks


def close(tasks: list[Any]) -> None:
    """
    Close what nothing will ever resume.
    """
    for task in tasks:
        task.get_coro().close()


# -- let in, in line, refused ------------------------------------------------------


@on_each_backend
def test_no_more_at_once_than_the_limit(backend: Backend) -> None:
    """
    So many run, so many wait, and the next is refused at once; each is counted once.
    """

    async def main() -> None:
        guard = Guard("images", bulkhead=Bulkhead(3, queue=4), timeout=100)
        running, most, ended = 0, 0, list[str]()

        async def callee() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await anyio.sleep(1)
            running -= 1

        async def call() -> None:
            ended.append(await outcome_of(lambda: guard.acall(callee)))

        began_at = anyio.current_time()
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(call)
            await anyio.sleep(0.5)
            assert (3, 4) == (bulkhead_of(guard).in_flight, bulkhead_of(guard).waiting)
            assert ["BulkheadFullError"] * 3 == ended
        assert (3, 7) == (most, ended.count("in"))
        assert 3.0 == about(anyio.current_time() - began_at)
        assert (7, 3) == (guard.snapshot().counts["success"], guard.snapshot().counts["rejected"])
        check_free(guard)

    virtual(main, backend)


@on_each_backend
def test_the_more_important_goes_first_and_sheds(backend: Backend) -> None:
    """
    Whoever is more important goes before others in line, and where that is full takes the place of the least important.
    """

    async def main() -> None:
        sink, order = RecordingSink(), list[str]()
        guard = Guard("images", bulkhead=Bulkhead(1, queue=2), timeout=100, sinks=[sink])

        async def call(name: str, priority: float) -> None:
            async def callee() -> None:
                order.append(name)
                await anyio.sleep(1)

            ended = await outcome_of(lambda: guard.using(priority=priority).acall(callee))
            if ended != "in":
                order.append(f"{name}: {ended}")

        async with anyio.create_task_group() as group:
            for name, priority in (("a", 0), ("b", 0), ("c", -1), ("urgent", 5), ("d", 0), ("e", 0.5)):
                group.start_soon(call, name, priority)
                await anyio.sleep(0.01)
            assert ["a", "c: BulkheadFullError", "d: BulkheadFullError", "b: BulkheadFullError"] == order
        assert ["urgent", "e"] == order[4:]
        assert ["bulkhead_full"] * 3 == [event.reason for event in sink.of("gen.reject")]  # type: ignore[attr-defined]
        check_free(guard)

    virtual(main, backend)


@on_each_backend
@pytest.mark.parametrize("settings", [{"max_wait": 2.0}, {"total_timeout": 2.0, "timeout": 100}])
def test_wait_in_line_has_an_end(backend: Backend, settings: dict[str, Any]) -> None:
    """
    As long as it may wait, or as the whole may take, and then it is refused, and out of the line.
    """

    async def main() -> None:
        guard = Guard("images", bulkhead=Bulkhead(1, queue=2), timeout=100)
        permit, began_at = guard.acquire(), anyio.current_time()
        with pytest.raises(BulkheadFullError):
            await guard.using(**settings).acall(sleeps, 0)
        assert 2.0 == about(anyio.current_time() - began_at)
        permit.cancel()
        check_free(guard)

    virtual(main, backend)


def test_who_has_no_time_to_wait_takes_nobodys_place() -> None:
    """
    However important it is: it would be refused all the same, and the other turned away for nothing.
    """
    guard = Guard("images", bulkhead=Bulkhead(1, queue=1), timeout=5)
    permit = guard.acquire()
    done = threading.Event()
    thread = threading.Thread(target=guard.call, args=(done.set,))
    thread.start()
    wait_until(lambda: bulkhead_of(guard).waiting == 1)

    with pytest.raises(BulkheadFullError):
        guard.using(priority=5, max_wait=0).call(str)

    permit.cancel()
    assert done.wait(2)
    thread.join()
    check_free(guard)


def test_who_waits_for_nothing_is_refused_for_what_is_missing() -> None:
    """
    With a slot free and no token, that is the token.
    """
    guard = Guard("images", bulkhead=1, budget=TokenBucket(1, refill_every=10.0), on_empty="wait", max_wait=0)
    guard.call(str)
    with pytest.raises(BudgetExhaustedError):
        guard.call(str)
    check_free(guard)


@on_each_backend
def test_call_around_bounds_the_wait(backend: Backend) -> None:
    """
    Nobody waits for longer than the call around has time, nor for a slot that this call itself holds.
    """

    async def main() -> None:
        guard = Guard("images", bulkhead=Bulkhead(1, queue=2), timeout=3)

        async def asks_itself() -> str:
            began_at = anyio.current_time()
            ended = await outcome_of(lambda: guard.using(timeout=100).acall(sleeps, 0))
            assert 2.9 < anyio.current_time() - began_at < 3.1
            return ended

        try:
            await guard.acall(asks_itself)
        except CallTimeoutError:
            pass
        check_free(guard)

    virtual(main, backend)


def test_slot_is_shared() -> None:
    """
    Two guards with one bulkhead have its slots together, whichever of them waits.
    """
    bulkhead = Bulkhead(1, queue=1)
    images, text = Guard("images", bulkhead=bulkhead, timeout=5), Guard("text", bulkhead=bulkhead, timeout=5)
    assert images._engine.lock is text._engine.lock
    permit = images.acquire()
    with pytest.raises(BulkheadFullError, match="text"):
        text.acquire()
    done = threading.Event()
    thread = threading.Thread(target=text.call, args=(done.set,))
    thread.start()
    wait_until(lambda: bulkhead.waiting == 1)
    permit.settle("success")
    assert done.wait(2)
    thread.join()
    check_free(images)


def test_snapshot_tells_of_slots_and_of_who_waits() -> None:
    """
    The limit in force, and how many stand in either line.
    """
    assert (0, None) == (Guard("images").snapshot().waiting, Guard("images").snapshot().slots)
    assert 10 == Guard("images", bulkhead=Bulkhead("adaptive")).snapshot().slots
    guard = Guard(
        "images",
        bulkhead=Bulkhead(1, queue=5),
        budget=TokenBucket(1, refill_every=1000.0),
        on_empty="wait",
        max_wait=10_000.0,
        timeout=5,
    )
    guard.call(str)
    tasks = leave_waiting(guard, 3)
    snapshot = guard.snapshot()
    # One has the slot, and waits for a token.
    assert (3, 1, 0) == (snapshot.waiting, snapshot.slots, snapshot.in_flight)
    close(tasks)
    assert 0 == guard.snapshot().waiting


# -- given back once -----------------------------------------------------------------


ENDS: list[BaseException | None] = [
    None,
    ValueError("mine"),
    StatusError(500),
    StatusError(429),
    StatusError(404),
    TimeoutError(),
    KeyboardInterrupt(),
    SystemExit(),
    GeneratorExit(),
    asyncio.CancelledError(),
]


@pytest.mark.parametrize("isolate", ["auto", None])
@pytest.mark.parametrize("limit", [1, "adaptive"])
@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_however_a_call_ends(end: BaseException | None, limit: Any, isolate: Any) -> None:
    """
    Sync, as a block, by hand, as a stream: the slot is free again, and was given back once.
    """
    clock, bulkhead = VirtualClock(), Bulkhead("adaptive", min=5) if limit == "adaptive" else Bulkhead(limit)
    guard = Guard("images", bulkhead=bulkhead, breaker=None, isolate=isolate, timeout=5, clock=clock)
    held = guard.acquire() if limit == "adaptive" else None

    def ends() -> Any:
        if end is not None:
            raise end
        return "done"

    def items() -> Generator[int, None, None]:
        yield 1
        ends()

    def block() -> None:
        with guard.attempt():
            ends()

    def by_hand() -> None:
        with guard.acquire():
            ends()

    in_flight = bulkhead_of(guard).in_flight
    calls: list[Callable[[], object]] = [lambda: guard.call(ends), block, by_hand]
    if not isinstance(end, GeneratorExit):
        calls.append(lambda: list(guard(items)()))
    for call in calls:
        # A 429 has paused it.
        clock.advance(1000)
        if end is None:
            call()
        else:
            with pytest.raises(type(end)):
                call()
        assert in_flight == bulkhead_of(guard).in_flight
    if held is not None:
        held.cancel()
    check_free(guard)


@on_each_backend
@pytest.mark.parametrize("end", ENDS[:6], ids=repr)
def test_however_an_async_call_ends(backend: Backend, end: BaseException | None) -> None:
    """
    Likewise, after it has waited or not; timed out and cancelled too.
    """

    async def main() -> None:
        guard = Guard("images", bulkhead=1, breaker=None, timeout=5)

        async def rested() -> None:
            check_free(guard)
            # A 429 has paused it.
            await anyio.sleep(1000)

        async def ends(seconds: float = 0.0) -> None:
            if seconds:
                await anyio.sleep(seconds)
            if end is not None:
                raise end

        for seconds in (0.0, 1.0):
            await swallow(guard.acall(ends, seconds))
            await rested()
        async with swallowing(), guard.attempt():
            await ends(1.0)
        await rested()
        with pytest.raises(CallTimeoutError):
            await guard.acall(ends, 100)
        await rested()
        with anyio.move_on_after(1):
            await guard.acall(ends, 100)
        await rested()
        with anyio.move_on_after(1):
            async with guard.attempt():
                await ends(100)
        await rested()

    virtual(main, backend)


async def swallow(call: Awaitable[Any]) -> None:
    """
    Await a call, whatever it raises.
    """
    async with swallowing():
        await call


@asynccontextmanager
async def swallowing() -> AsyncGenerator[None, None]:
    """
    Let no exception out.
    """
    try:
        yield
    except Exception:
        pass


def test_refused_by_another_policy() -> None:
    """
    A slot is taken before the others are asked; who is refused by them has none.
    """
    guard = Guard("images", bulkhead=1)
    open_by_timeouts(guard)
    with pytest.raises(CircuitOpenError):
        guard.acquire()
    check_free(guard)

    guard = Guard("images", bulkhead=1, budget=TokenBucket(1))
    guard.call(str)
    with pytest.raises(BudgetExhaustedError):
        guard.call(str)
    check_free(guard)

    let_go = threading.Event()
    guard = Guard("images", bulkhead=5, max_orphans=1, timeout=0.01, grace=0.01)
    with pytest.raises(CallTimeoutError):
        guard.call(let_go.wait, 5)
    with pytest.raises(TooManyOrphansError):
        guard.acquire()
    assert 1 == bulkhead_of(guard).in_flight
    let_go.set()
    wait_until(lambda: bulkhead_of(guard).in_flight == 0)


@pytest.mark.parametrize("when", ["gen.request", "gen.success", "gen.fail", "gen.cancelled", "gen.reject"])
@pytest.mark.parametrize("how", ["call", "attempt", "permit"])
def test_sink_that_is_interrupted_from_the_keyboard(when: str, how: str) -> None:
    """
    Whichever event it was being told, the slot comes back.
    """

    def interrupted(event: Any) -> None:
        if event.evt == when:
            raise KeyboardInterrupt

    guard = Guard("images", bulkhead=1, breaker=None, budget=TokenBucket(2), sinks=[interrupted], isolate=None)
    ends: list[BaseException | None] = [None, StatusError(500), KeyboardInterrupt(), None]
    for end in ends:
        try:
            if how == "call":
                guard.call(str) if end is None else guard.call(raises, end)
            else:
                with guard.attempt() if how == "attempt" else guard.acquire():
                    if end is not None:
                        raise end
        except BaseException:
            pass
        check_free(guard)


@on_each_backend
def test_stream_holds_its_slot_until_it_is_closed(backend: Backend) -> None:
    """
    From its first item on; who stops early, and who is cancelled in line before it, holds none.
    """

    async def main() -> None:
        guard = Guard("images", bulkhead=Bulkhead(1, queue=1), timeout=100)

        @guard
        async def numbers() -> AsyncGenerator[int, None]:
            for number in range(3):
                await anyio.sleep(1)
                yield number

        stream = numbers()
        assert 0 == bulkhead_of(guard).in_flight
        await stream.__anext__()
        assert 1 == bulkhead_of(guard).in_flight
        second = numbers()
        with anyio.move_on_after(1):
            await second.__anext__()
        assert (1, 0) == (bulkhead_of(guard).in_flight, bulkhead_of(guard).waiting)
        await second.aclose()
        await stream.aclose()
        check_free(guard)
        assert [0, 1, 2] == [number async for number in numbers()]
        check_free(guard)

    virtual(main, backend)


@on_each_backend
def test_cancelled_in_the_tick_of_its_slot(backend: Backend) -> None:
    """
    Granted and cancelled at once, in either order, alone or with the one behind: the slot goes to who is left.
    """

    async def main(order: str, cancelled: int) -> None:
        guard = Guard("images", bulkhead=Bulkhead(1, queue=5), timeout=100)
        permit, ended = guard.acquire(), list[str]()
        scopes = [anyio.CancelScope() for _ in range(3)]

        async def call(number: int) -> None:
            with scopes[number]:
                await guard.acall(sleeps, 1)
                ended.append(f"{number}")

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(call, number)
                await anyio.sleep(0.1)
            if order == "granted first":
                permit.settle("success")
            for scope in scopes[:cancelled]:
                scope.cancel()
            if order != "granted first":
                permit.settle("success")
        if order != "granted first":
            assert [f"{number}" for number in range(cancelled, 3)] == ended
        else:
            assert ended[-1:] == ["2"] or cancelled == 3
        check_free(guard)

    for order in ("granted first", "cancelled first"):
        for cancelled in (1, 2, 3):
            virtual(functools.partial(main, order, cancelled), backend)


# -- many at once -----------------------------------------------------------------------


def test_threads_never_exceed_the_limit() -> None:
    """
    Forty threads through five slots, a third of them too late, some refused: never more than five, and none is lost.
    """
    guard = Guard("images", bulkhead=Bulkhead(5, queue=20), timeout=0.03, grace=0.0, max_wait=5, breaker=None)
    most, running, lock, ended = 0, 0, threading.Lock(), list[str]()

    def callee(seconds: float) -> None:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(seconds)
        with lock:
            running -= 1

    def calls(number: int) -> None:
        for at in range(10):
            try:
                guard.using(priority=number % 3).call(callee, 0.06 if (number + at) % 3 == 0 else 0.001)
                ended.append("in")
            except Exception as error:
                ended.append(type(error).__name__)

    threads = [threading.Thread(target=calls, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: bulkhead_of(guard).in_flight == 0)

    assert most <= 5
    assert 400 == len(ended) == sum(guard.snapshot().counts.values())
    assert set(ended) <= {"in", "CallTimeoutError", "BulkheadFullError"}
    check_free(guard)


def test_asyncio_trio_and_threads_in_one_line() -> None:
    """
    Two loops of asyncio, one of trio, and a thread take turns at one slot.
    """
    guard = Guard("images", bulkhead=Bulkhead(1, queue=10), timeout=5)
    running = list[str]()

    async def waits(name: str) -> None:
        async def callee() -> None:
            running.append(name)
            await anyio.sleep(0.001)
            assert [name] == running
            running.clear()

        for _ in range(20):
            await guard.acall(callee)

    def in_thread() -> None:
        def callee() -> None:
            running.append("thread")
            time.sleep(0.001)
            assert ["thread"] == running
            running.clear()

        for _ in range(20):
            guard.call(callee)

    kinds: list[Callable[[], Any]] = [
        lambda: asyncio.run(waits("asyncio")),
        lambda: trio.run(waits, "trio"),
        lambda: asyncio.run(waits("other")),
        in_thread,
    ]
    threads = [threading.Thread(target=kind) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert 80 == guard.snapshot().counts["success"]
    check_free(guard)


# -- orphans -------------------------------------------------------------------------


def test_orphan_in_a_thread_holds_its_slot() -> None:
    """
    Until it has ended, since it takes the provider's capacity; who waits gets in then.
    """
    guard = Guard("images", bulkhead=Bulkhead(1, queue=1), timeout=0.02, grace=0.01, max_wait=5)
    let_go = threading.Event()
    with pytest.raises(CallTimeoutError):
        guard.call(let_go.wait, 5)
    with pytest.raises(BulkheadFullError):
        guard.acquire()
    done = threading.Event()
    thread = threading.Thread(target=guard.call, args=(done.set,))
    thread.start()
    wait_until(lambda: bulkhead_of(guard).waiting == 1)
    time.sleep(0.05)
    assert not done.is_set()
    let_go.set()
    assert done.wait(2)
    thread.join()
    check_free(guard)


@pytest.mark.parametrize("orphan", [swallows_cancel, ignores_close, leaks_thread])
def test_orphan_on_a_loop_holds_its_slot(orphan: Callable[[float], Awaitable[str]]) -> None:
    """
    One that swallows its cancellation, one that ignores that it is closed, and one that has left a thread behind.
    """

    async def main() -> None:
        guard = Guard("images", bulkhead=Bulkhead(1, queue=1), timeout=0.02, grace=0.01, max_wait=5)
        began_at = time.monotonic()
        with pytest.raises(CallTimeoutError):
            await guard.acall(orphan, 0.3)
        # Who only swallows its cancellation is closed, and is no orphan.
        held = int(orphan is not swallows_cancel)
        assert (held, held) == (bulkhead_of(guard).in_flight, guard.snapshot().orphans)
        await guard.acall(asyncio.sleep, 0)
        if held:
            assert 0.25 < time.monotonic() - began_at < 3
        check_free(guard)

    asyncio.run(main())


# -- learning ------------------------------------------------------------------------


@on_each_backend
def test_adaptive_learns_from_calls(backend: Backend) -> None:
    """
    Calls that time out make it smaller, and calls that answer quickly make it greater again; in between nothing leaks.
    """

    async def main() -> None:
        guard = Guard("images", bulkhead=Bulkhead("adaptive", queue=50, max=40), breaker=None, timeout=10)
        bulkhead = bulkhead_of(guard)

        async def load(seconds: float, calls: int) -> None:
            async def worker() -> None:
                for _ in range(calls):
                    await swallow(guard.acall(sleeps, seconds))

            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(worker)

        await load(1, 20)
        grown = bulkhead.limit
        await load(30, 5)
        shrunk = bulkhead.limit
        assert shrunk < grown
        await load(1, 60)
        assert shrunk < bulkhead.limit <= 40
        check_free(guard)

    virtual(main, backend)


# -- nobody there any more -------------------------------------------------------


def test_slot_of_one_on_a_closed_loop_goes_to_the_next() -> None:
    """
    Who waits on a loop that was closed takes no slot away, and nobody's place.
    """
    guard = Guard("images", bulkhead=Bulkhead(1, queue=10), timeout=5)
    permit = guard.acquire()
    tasks = leave_waiting(guard, 3)
    done = threading.Event()
    thread = threading.Thread(target=guard.call, args=(done.set,))
    thread.start()
    wait_until(lambda: bulkhead_of(guard).waiting == 4)

    permit.cancel()

    assert done.wait(2)
    thread.join()
    check_free(guard)
    close(tasks)
    check_free(guard)


def test_a_thousand_on_a_closed_loop() -> None:
    """
    However many they are: the slot is free at once, and no recursion is too deep.
    """
    guard = Guard("images", bulkhead=Bulkhead(1, queue=1500), timeout=5)
    permit = guard.acquire()
    tasks = leave_waiting(guard, 1500)
    assert 1500 == bulkhead_of(guard).waiting

    permit.cancel()

    check_free(guard)
    assert "A" == guard.call(str.upper, "a")
    close(tasks)
    check_free(guard)


def test_shed_on_a_closed_loop() -> None:
    """
    Who is more important takes the place of one who is gone, and nothing else happens.
    """
    guard = Guard("images", bulkhead=Bulkhead(1, queue=1), timeout=5)
    permit = guard.acquire()
    tasks = leave_waiting(guard)
    done = threading.Event()
    thread = threading.Thread(target=guard.using(priority=1).call, args=(done.set,))
    thread.start()
    wait_until(lambda: not tasks[0].get_coro().cr_frame or bulkhead_of(guard).waiting == 1)
    time.sleep(0.02)
    permit.cancel()
    assert done.wait(2)
    thread.join()
    close(tasks)
    check_free(guard)


def test_loop_that_closes_after_it_was_woken() -> None:
    """
    A slot was granted to a call that will never go on: it comes back when that is collected.
    """
    guard = Guard("images", bulkhead=Bulkhead(1, queue=1), timeout=5)
    permit = guard.acquire()
    loop = asyncio.new_event_loop()
    task: Any = loop.create_task(guard.acall(sleeps, 0))
    task._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0))
    permit.cancel()
    loop.close()
    assert 1 == bulkhead_of(guard).in_flight

    coro = task.get_coro()
    del task
    coro.close()

    check_free(guard)


# -- the garbage collector ------------------------------------------------------------


def test_collected_in_line_while_the_lock_is_held() -> None:
    """
    The collector comes by anywhere, also in a thread that holds the guard's lock: who waited leaves both lines.
    """
    guard = Guard(
        "images",
        bulkhead=Bulkhead(1, queue=1),
        budget=TokenBucket(1, refill_every=1000.0),
        on_empty="wait",
        max_wait=10_000.0,
        timeout=5,
    )
    guard.call(str)
    # One waits for a token and has the slot, the other for the slot.
    for_token = leave_waiting(guard)
    for_slot = leave_waiting(guard)
    assert (1, 1) == (bulkhead_of(guard).in_flight, bulkhead_of(guard).waiting)
    assert 2 == guard._engine.waiting()

    with guard._engine.lock:
        close(for_slot)
    wait_until(lambda: bulkhead_of(guard).waiting == 0)
    with guard._engine.lock:
        close(for_token)
    wait_until(lambda: bulkhead_of(guard).in_flight == 0 and guard._engine.commons.lines == {})


def test_slot_granted_to_one_who_is_collected_under_the_lock() -> None:
    """
    It goes to the next, although the thread that passes it on holds the lock.
    """
    guard = Guard("images", bulkhead=Bulkhead(1, queue=2), timeout=5)
    permit = guard.acquire()
    loop = asyncio.new_event_loop()
    task: Any = loop.create_task(guard.acall(sleeps, 0))
    task._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0))
    done = threading.Event()
    thread = threading.Thread(target=guard.call, args=(done.set,))
    thread.start()
    wait_until(lambda: bulkhead_of(guard).waiting == 2)
    permit.cancel()
    loop.close()

    with guard._engine.lock:
        task.get_coro().close()

    assert done.wait(2)
    thread.join()
    check_free(guard)


def test_orphan_that_the_collector_finds_ended_under_the_lock() -> None:
    """
    Its slot comes back, and nothing hangs.
    """
    guard = Guard("images", bulkhead=1, timeout=0.02, grace=0.01)
    let_go = threading.Event()
    with pytest.raises(CallTimeoutError):
        guard.call(let_go.wait, 5)
    (leftover,) = guard._engine.orphans.running.values()
    assert 1 == bulkhead_of(guard).in_flight

    with guard._engine.lock:
        leftover.end()  # type: ignore[attr-defined]  # What the test has left.

    wait_until(lambda: bulkhead_of(guard).in_flight == 0)
    let_go.set()
    time.sleep(0.05)
    check_free(guard)


def test_call_that_is_closed_under_the_lock() -> None:
    """
    A guarded coroutine that nobody resumes, and a permit that nobody settles, are collected there: both give back.
    """
    guard = Guard("images", bulkhead=2, budget=TokenBucket(5), timeout=5)
    loop = asyncio.new_event_loop()
    task: Any = loop.create_task(guard.acall(sleeps, 100))
    task._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    permits = [guard.acquire()]
    assert 2 == bulkhead_of(guard).in_flight

    with guard._engine.lock:
        task.get_coro().close()
        with pytest.warns(ResourceWarning):
            permits.clear()

    wait_until(lambda: bulkhead_of(guard).in_flight == 0)
    assert 2 == guard.snapshot().counts["cancelled"]


def test_call_that_is_collected_within_another() -> None:
    """
    Whatever it is that the garbage collector closes within a guarded call, that call keeps its deadline.
    """
    guard = Guard("images", bulkhead=3, timeout=5, retry=Retry(3), breaker=None)
    loop = asyncio.new_event_loop()
    callees: list[Callable[[], Awaitable[Any]]] = [
        lambda: sleeps(100),
        lambda: raises_async(StatusError(503)),
    ]
    tasks: list[Any] = [loop.create_task(guard.using(total_timeout=50).acall(callee)) for callee in callees]

    @guard
    async def items() -> AsyncGenerator[str, None]:
        yield await sleeps(100)

    async def consumes() -> None:
        async for _ in items():
            pass

    @guard
    async def cleans_up() -> AsyncGenerator[str, None]:
        try:
            yield "an item"
        finally:
            await sleeps(100)

    async def closes() -> None:
        stream = cleans_up()
        await stream.__anext__()
        await stream.aclose()

    tasks += [loop.create_task(consumes()), loop.create_task(closes())]
    for _ in range(5):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    def within() -> float | None:
        for task in tasks:
            task._log_destroy_pending = False
            task.get_coro().close()
        return time_left()

    left = guard.using(isolate=None, timeout=30).call(within)

    assert left is not None
    assert 29 < left <= 30
    check_free(guard)


# -- forking -------------------------------------------------------------------------


Fork = Callable[[Callable[[], None]], None]

forks = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    # 3.12 warns of every fork beside threads; that is what is tested.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


@pytest.fixture(params=[pytest.param("", marks=forks)])
def fork() -> Fork:
    """
    Runs a check in a forked child.
    """
    return in_child


def test_forked_child_has_slots_of_its_own(fork: Fork) -> None:
    """
    What ran and waited in the parent's other threads, its orphans too, takes nothing away in the child; nor comes back.
    """
    guard = Guard("images", bulkhead=Bulkhead(3, queue=2), timeout=10, grace=0.01)
    other = Guard("text", bulkhead=bulkhead_of(guard), timeout=10)
    let_go = threading.Event()
    with pytest.raises(CallTimeoutError):
        guard.using(timeout=0.01).call(let_go.wait, 5)
    (leftover,) = guard._engine.orphans.running.values()
    permit = guard.acquire()
    threads = [threading.Thread(target=each.call, args=(let_go.wait, 5)) for each in (other, guard, other)]
    for thread in threads:
        thread.start()
    wait_until(lambda: bulkhead_of(guard).waiting == 2)

    def check() -> None:
        check_free(guard)
        for each in (guard, other):
            assert "A" == each.call(str.upper, "a")
        permits = [each.acquire() for each in (guard, other, guard)]
        with pytest.raises(BulkheadFullError):
            guard.acquire()
        # They end here after all: what they had is not theirs to give.
        leftover.end()  # type: ignore[attr-defined]  # What the test has left.
        permit.settle("success")
        assert 3 == bulkhead_of(guard).in_flight
        for mine in permits:
            mine.settle("success")
        check_free(guard)

    fork(check)

    assert (3, 2) == (bulkhead_of(guard).in_flight, bulkhead_of(guard).waiting)
    let_go.set()
    for thread in threads:
        thread.join()
    permit.cancel()
    wait_until(lambda: bulkhead_of(guard).in_flight == 0)


def test_fork_within_a_call(fork: Fork) -> None:
    """
    The call that forks goes on in both, and holds a slot in both until it ends.
    """
    guard = Guard("images", bulkhead=2, isolate=None, timeout=10)
    in_parent = guard.acquire()

    def check() -> None:
        assert 1 == bulkhead_of(guard).in_flight
        guard.acquire().settle("success")
        assert 1 == bulkhead_of(guard).in_flight

    def forks_itself() -> None:
        fork(check)
        assert 2 == bulkhead_of(guard).in_flight

    async def forks_on_a_loop() -> None:
        forks_itself()

    guard.call(forks_itself)
    asyncio.run(guard.acall(forks_on_a_loop))
    in_parent.cancel()
    check_free(guard)


def test_fork_within_a_call_that_ends_in_the_child(fork: Fork) -> None:
    """
    It gives its one slot back there.
    """
    guard = Guard("images", bulkhead=1, isolate=None, timeout=10)
    pids: list[int] = []

    def forks_itself() -> None:
        pids.append(os.fork())

    guard.call(forks_itself)
    if pids == [0]:
        code = 1
        try:
            check_free(guard)
            guard.acquire().settle("success")
            check_free(guard)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pids[0], 0)
    assert 0 == os.waitstatus_to_exitcode(status)
    check_free(guard)


def test_waiters_of_the_parent_that_are_collected_in_the_child(fork: Fork) -> None:
    """
    Whether they stood in line, had just been granted a slot, or waited for a token with one.
    """
    guard = Guard(
        "images",
        bulkhead=Bulkhead(1, queue=5),
        budget=TokenBucket(2, refill_every=1000.0),
        on_empty="wait",
        max_wait=10_000.0,
        timeout=5,
    )
    permit = guard.acquire()
    waiting = leave_waiting(guard, 2)
    loop = asyncio.new_event_loop()
    granted: Any = loop.create_task(guard.acall(sleeps, 0))
    granted._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0))
    permit.settle("success")
    loop.close()
    assert (1, 0) == (bulkhead_of(guard).in_flight, bulkhead_of(guard).waiting)

    def check() -> None:
        check_free(guard)
        held = guard.acquire()
        close([granted, *waiting])
        assert 1 == bulkhead_of(guard).in_flight
        held.settle("success")
        check_free(guard)

    fork(check)
    close([granted, *waiting])
    check_free(guard)


def test_token_waiter_that_is_collected_in_the_child(fork: Fork) -> None:
    """
    It has a slot in the parent, and none in the child.
    """
    bulkhead = Bulkhead(1, queue=5)
    guard = Guard(
        "images",
        bulkhead=bulkhead,
        budget=TokenBucket(1, refill_every=1000.0),
        on_empty="wait",
        max_wait=10_000.0,
        timeout=5,
    )
    other = Guard("text", bulkhead=bulkhead)
    guard.call(str)
    waiting = leave_waiting(guard)
    assert 1 == bulkhead.in_flight

    def check() -> None:
        held = other.acquire()
        close(waiting)
        assert 1 == bulkhead.in_flight
        held.settle("success")
        check_free(guard)

    fork(check)
    close(waiting)
    check_free(guard)


def test_guard_that_had_not_been_used_at_the_fork(fork: Fork) -> None:
    """
    It shares a bulkhead, or a bucket, with one that had: the lock that another thread held is not its lock.
    """
    bulkhead, bucket = Bulkhead(2), TokenBucket(5)
    used, unused = Guard("images", bulkhead=bulkhead), Guard("text", bulkhead=bulkhead)
    sink = RecordingSink()
    spends, has_not = Guard("images", budget=bucket), Guard("text", budget=bucket, sinks=[sink])
    used.call(str)
    spends.call(str)
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with used._engine.lock, spends._engine.lock:
            held.set()
            let_go.wait(5)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(5)

    def check() -> None:
        for guard, other in ((used, unused), (spends, has_not)):
            assert "A" == other.call(str.upper, "a") == guard.call(str.upper, "a")
            assert guard._engine.lock is other._engine.lock

    try:
        fork(check)
    finally:
        let_go.set()
        thread.join()
