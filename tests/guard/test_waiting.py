"""
Calls that wait for a token: first come first served, within their time, and gone without a trace (semantics 3).
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio

from hungframe import (
    BudgetExhaustedError,
    Bulkhead,
    CallTimeoutError,
    CircuitOpenError,
    Guard,
    TokenBucket,
    time_left,
)
from hungframe.testing import RecordingSink, VirtualClock, run_virtual
from tests.guard.fakes import Backend, StatusError, about, on_each_backend, open_by_timeouts, raises_async, sleeps
from tests.guard.own_ports import Quota


def waiting_guard(every: float = 10.0, capacity: float = 1, **settings: Any) -> Guard:
    """
    A guard whose bucket has one token and gets another every 10 s, for which its calls wait.
    """
    budget = settings.pop("budget", None) or TokenBucket(capacity, refill_every=every)
    return Guard("images", **{"budget": budget, "on_empty": "wait", "timeout": 100, **settings})


class Callers:
    """
    Tasks that each make one call, and when each was let in and how it ended, in seconds from the beginning.
    """

    def __init__(self) -> None:
        self.began_at = anyio.current_time()
        self.let_in: dict[str, float] = {}
        self.ended: dict[str, tuple[float, str]] = {}

    def now(self) -> float:
        return round(anyio.current_time() - self.began_at, 6)

    async def call(self, name: str, guard: Guard, seconds: float = 0.0) -> None:
        async def callee() -> None:
            self.let_in[name] = self.now()
            await anyio.sleep(seconds)

        try:
            await guard.acall(callee)
        except Exception as error:
            self.ended[name] = self.now(), type(error).__name__
        else:
            self.ended[name] = self.now(), "in"


def virtual(main: Callable[[], Awaitable[Any]], backend: Backend) -> Any:
    return run_virtual(main, backend=backend)


# -- in line -------------------------------------------------------------------


@on_each_backend
def test_first_come_first_served(backend: Backend) -> None:
    """
    One is let in at once, and each other when its token is there.
    """

    async def main() -> None:
        guard, callers = waiting_guard(), Callers()
        async with anyio.create_task_group() as group:
            for name in "abcde":
                group.start_soon(callers.call, name, guard)
                await anyio.sleep(0.1)
        assert {"a": 0.0, "b": 10.0, "c": 20.0, "d": 30.0, "e": 40.0} == pytest.approx(callers.let_in)
        assert {} == guard._engine.commons.lines

    virtual(main, backend)


@on_each_backend
def test_newcomer_never_overtakes(backend: Backend) -> None:
    """
    A token that came in the very tick belongs to who waits, and not to who comes by; nor may one who does not wait.
    """

    async def main() -> None:
        guard, callers = waiting_guard(), Callers()
        impatient = guard.using(on_empty="reject")
        async with anyio.create_task_group() as group:
            group.start_soon(callers.call, "first", guard)
            await anyio.sleep(1)
            group.start_soon(callers.call, "second", guard)
            await anyio.sleep(0)
            # The loop is asleep until after the token has come.
            for at in (9.0, 10.0, 10.000001, 19.9999):
                await anyio.sleep(at - callers.now())
                with pytest.raises(BudgetExhaustedError):
                    impatient.acquire()
                with pytest.raises(BudgetExhaustedError):
                    guard.acquire()
                group.start_soon(callers.call, f"at {at}", guard)
        order = sorted(callers.let_in, key=callers.let_in.__getitem__)
        assert ["first", "second", "at 9.0", "at 10.0", "at 10.000001", "at 19.9999"] == order

    virtual(main, backend)


@on_each_backend
def test_one_who_leaves_leaves_no_hole(backend: Backend) -> None:
    """
    Whoever is cancelled in line, its head or another, the others are let in as if it had never come.
    """

    async def main() -> None:
        guard, callers = waiting_guard(), Callers()
        scopes: dict[str, anyio.CancelScope] = {}

        async def cancellable(name: str) -> None:
            with anyio.CancelScope() as scopes[name]:
                await callers.call(name, guard)

        async with anyio.create_task_group() as group:
            for name in "abcdef":
                group.start_soon(cancellable, name)
                await anyio.sleep(0.1)
            scopes["d"].cancel()
            scopes["b"].cancel()
            scopes["c"].cancel()
        assert {"a": 0.0, "e": 10.0, "f": 20.0} == pytest.approx(callers.let_in)
        assert {} == guard._engine.commons.lines

    virtual(main, backend)


@on_each_backend
def test_whole_line_cancelled(backend: Backend) -> None:
    """
    Nobody is left, no token is gone, and the next one waits no longer than the bucket says.
    """

    async def main() -> None:
        guard, callers = waiting_guard(), Callers()
        async with anyio.create_task_group() as group:
            for name in "abcdef":
                group.start_soon(callers.call, name, guard)
            await anyio.sleep(5)
            group.cancel_scope.cancel()
        assert {} == guard._engine.commons.lines
        await callers.call("next", guard)
        assert 10.0 == about(callers.let_in["next"])

    virtual(main, backend)


@on_each_backend
def test_cancelled_in_the_tick_of_its_token(backend: Backend) -> None:
    """
    Who is cancelled when its token has come takes it, or leaves it to the next: it is not lost.
    """

    async def main() -> None:
        guard, callers = waiting_guard(), Callers()
        async with anyio.create_task_group() as group:
            group.start_soon(callers.call, "a", guard)
            await anyio.sleep(0)

            async def until_cancelled() -> None:
                with anyio.move_on_at(callers.began_at + 10.0):
                    await callers.call("b", guard)

            group.start_soon(until_cancelled)
            await anyio.sleep(0.1)
            group.start_soon(callers.call, "c", guard)
        assert callers.let_in["c"] == about(20.0 if "b" in callers.let_in else 10.0)

    virtual(main, backend)


@on_each_backend
def test_several_guards_of_one_bucket_stand_in_one_line(backend: Backend) -> None:
    """
    Two models under one key: who came first is first, whichever model it asked for.
    """

    async def main() -> None:
        bucket = TokenBucket(1, refill_every=10.0)
        small, large, callers = waiting_guard(budget=bucket), waiting_guard(budget=[bucket]), Callers()
        async with anyio.create_task_group() as group:
            for name, guard in zip("abcdef", [small, large] * 3, strict=True):
                group.start_soon(callers.call, name, guard)
                await anyio.sleep(0.1)
        assert list("abcdef") == sorted(callers.let_in, key=callers.let_in.__getitem__)
        assert 50.0 == about(callers.let_in["f"])

    virtual(main, backend)


@on_each_backend
def test_token_given_back_is_taken_at_once(backend: Backend) -> None:
    """
    A permit that is cancelled gives its token to who waits, now and not when another would have come.
    """

    async def main() -> None:
        guard, callers = waiting_guard(), Callers()
        permit = guard.acquire()
        async with anyio.create_task_group() as group:
            group.start_soon(callers.call, "a", guard)
            group.start_soon(callers.call, "b", guard)
            await anyio.sleep(2)
            permit.cancel()
        assert [2.0, 12.0] == pytest.approx(sorted(callers.let_in.values()))

    virtual(main, backend)


# -- for how long --------------------------------------------------------------


@on_each_backend
def test_max_wait(backend: Backend) -> None:
    """
    Where the token comes in time it is waited for; where not, the call is refused at once, and told when it would.
    """

    async def main() -> None:
        guard, callers = waiting_guard(max_wait=10.0), Callers()
        async with anyio.create_task_group() as group:
            group.start_soon(callers.call, "a", guard)
            await anyio.sleep(0.5)
            group.start_soon(callers.call, "b", guard)
            await anyio.sleep(0)
            impatient = guard.using(max_wait=3)
            with pytest.raises(BudgetExhaustedError) as refused:
                await impatient.acall(sleeps, 1)
            assert 0.5 == callers.now()
            assert 9.5 == about(refused.value.retry_after)
            group.start_soon(callers.call, "c", guard)
        assert {"a": 0.0, "b": 10.0} == pytest.approx(callers.let_in)
        # The one behind it has waited as long as it may: its token was not to come.
        assert (10.5, "BudgetExhaustedError") == callers.ended["c"] or callers.ended["c"][0] <= 10.5

    virtual(main, backend)


def test_no_wait_at_all() -> None:
    """
    max_wait=0 refuses as on_empty="reject" does, also in a thread.
    """
    guard = waiting_guard(max_wait=0, clock=VirtualClock())
    guard.call(str)

    with pytest.raises(BudgetExhaustedError) as refused:
        guard.call(str)

    assert 10.0 == refused.value.retry_after


class Never(Quota):
    """
    A budget that is used up for good.
    """

    def __init__(self) -> None:
        super().__init__(0)

    def retry_after(self, tokens: float, now: float) -> float:
        return math.inf


@on_each_backend
def test_more_than_the_bucket_can_ever_hold(backend: Backend) -> None:
    """
    What never comes is not waited for, however long that would be allowed.
    """

    async def main() -> None:
        guard = Guard("images", budget=Never(), on_empty="wait", timeout=None)
        with pytest.raises(BudgetExhaustedError):
            await guard.acall(sleeps, 1)
        assert {} == guard._engine.commons.lines

    virtual(main, backend)


@on_each_backend
def test_total_timeout_bounds_wait_and_call(backend: Backend) -> None:
    """
    What the wait has used is gone for the call after it.
    """

    async def main() -> None:
        guard = waiting_guard(total_timeout=15.0)
        began_at = anyio.current_time()
        left: list[float | None] = []

        async def callee() -> None:
            left.append(time_left())
            await anyio.sleep(100)

        await guard.acall(sleeps, 0)
        with pytest.raises(CallTimeoutError) as late:
            await guard.acall(callee)
        assert 15.0 == about(anyio.current_time() - began_at)
        assert [5.0] == pytest.approx(left)
        assert 5.0 == about(late.value.timeout)
        # Another token comes in 10 s, at 20 s: that is in time; for 9 s it is not.
        with pytest.raises(BudgetExhaustedError):
            await guard.using(total_timeout=4.0).acall(sleeps, 1)
        assert 15.0 == about(anyio.current_time() - began_at)

    virtual(main, backend)


@on_each_backend
def test_outer_call_bounds_wait_and_call(backend: Backend) -> None:
    """
    A guarded call around it has one deadline for all that is in it; the wait is no exception.
    """

    async def main() -> None:
        guard, outer = waiting_guard(), Guard("outer", timeout=12)
        left: list[float | None] = []

        async def callee() -> None:
            left.append(time_left())
            await anyio.sleep(100)

        async def both() -> None:
            await guard.acall(sleeps, 0)
            await guard.acall(callee)

        began_at = anyio.current_time()
        with pytest.raises(CallTimeoutError):
            await outer.acall(both)
        assert 12.0 == about(anyio.current_time() - began_at)
        assert [2.0] == pytest.approx(left)

        async def in_vain() -> None:
            with pytest.raises(BudgetExhaustedError):
                await guard.acall(sleeps, 1)

        await outer.using(timeout=5).acall(in_vain)
        assert 12.0 == about(anyio.current_time() - began_at)

    virtual(main, backend)


@on_each_backend
def test_outer_call_on_another_clock_bounds_the_wait(backend: Backend) -> None:
    """
    An instant on one guard's clock says nothing on another's.
    """

    async def main() -> None:
        for start in (0.0, 1e9):
            guard, outer = waiting_guard(clock=VirtualClock(start)), Guard("outer", timeout=12)
            began_at = anyio.current_time()

            async def both(guard: Guard = guard) -> None:
                await guard.acall(sleeps, 0)
                await guard.acall(sleeps, 0)

            await outer.acall(both)
            assert 10.0 == about(anyio.current_time() - began_at)

    virtual(main, backend)


@on_each_backend
def test_timeout_begins_when_it_is_let_in(backend: Backend) -> None:
    """
    Without a total, a call that has waited has as long as any other.
    """

    async def main() -> None:
        guard = waiting_guard(every=50.0, timeout=60)
        await guard.acall(sleeps, 1)
        assert "done" == await guard.acall(sleeps, 59)

    virtual(main, backend)


# -- what may happen meanwhile ---------------------------------------------------


@on_each_backend
def test_waits_while_paused(backend: Backend) -> None:
    """
    A 429 pauses a guard with and without a budget: calls wait until it is over.
    """

    async def main() -> None:
        for budget in (None, TokenBucket(5)):
            guard = Guard("images", budget=budget, on_empty="wait", timeout=100)
            callers = Callers()
            error = StatusError(429)
            error.headers = {"Retry-After": "20"}  # type: ignore[attr-defined]
            with pytest.raises(StatusError):
                await guard.acall(raises_async, error)
            with pytest.raises(BudgetExhaustedError, match="paused") as refused:
                guard.acquire()
            assert 20.0 == about(refused.value.retry_after)
            with pytest.raises(BudgetExhaustedError, match="paused"):
                await guard.using(max_wait=19).acall(sleeps, 1)
            async with anyio.create_task_group() as group:
                group.start_soon(callers.call, "a", guard)
                group.start_soon(callers.call, "b", guard)
                await anyio.sleep(1)
                # Another answer says that it takes longer.
                guard.pause(29)
            assert {"a": 30.0, "b": 30.0} == pytest.approx(callers.let_in)

    virtual(main, backend)


@on_each_backend
def test_breaker_opens_while_one_waits(backend: Backend) -> None:
    """
    All who wait are refused at once, and take nothing.
    """

    async def main() -> None:
        sink = RecordingSink()
        guard, callers = waiting_guard(capacity=3, sinks=[sink]), Callers()
        permits = [guard.acquire() for _ in range(3)]
        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(callers.call, name, guard)
            await anyio.sleep(1)
            for permit in permits:
                permit.settle("timeout")
        assert {} == callers.let_in
        assert {"CircuitOpenError"} == {how for _, how in callers.ended.values()}
        assert 1.0 == about(max(at for at, _ in callers.ended.values()))
        assert {} == guard._engine.commons.lines
        assert 0 == guard.snapshot().budget
        waited = [event.waited_ms for event in sink.of("gen.request")[3:]]  # type: ignore[attr-defined]
        assert [1_000] * 3 == waited

    virtual(main, backend)


@on_each_backend
def test_waited_for_a_slot_and_refused_by_the_budget(backend: Backend) -> None:
    """
    The event of the refusal tells of the wait.
    """

    async def main() -> None:
        sink = RecordingSink()
        guard = Guard("images", budget=TokenBucket(2, 60), bulkhead=Bulkhead(1, queue=2), sinks=[sink])
        callers = Callers()
        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(callers.call, name, guard, 3)
                await anyio.sleep(0)
        assert {"a": 0.0, "b": 3.0} == callers.let_in
        assert (6.0, "BudgetExhaustedError") == callers.ended["c"]
        assert [None, 3_000, 6_000] == [event.waited_ms for event in sink.of("gen.request")[:3]]  # type: ignore[attr-defined]

    virtual(main, backend)


@on_each_backend
def test_event_tells_how_long_it_waited(backend: Backend) -> None:
    """
    gen.request comes when the call is let in or refused, once, and says after how long.
    """

    async def main() -> None:
        sink = RecordingSink()
        guard = waiting_guard(sinks=[sink])
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(guard.acall, sleeps, 1)
            await anyio.sleep(0.1)
            with pytest.raises(BudgetExhaustedError):
                await guard.using(max_wait=1).acall(sleeps, 1)
        assert [None, None, 10_000, 20_000] == [
            getattr(event, "waited_ms", "no such key") for event in sink.of("gen.request")
        ]
        assert (4, 3, 1) == tuple(map(sink.names().count, ("gen.request", "gen.success", "gen.reject")))

    virtual(main, backend)


# -- blocks, hands, streams, threads ---------------------------------------------


@on_each_backend
def test_a_block_waits(backend: Backend) -> None:
    """
    `async with guard.attempt()` waits like a call, and leaves the line when it is cancelled.
    """

    async def main() -> None:
        guard, began_at = waiting_guard(), anyio.current_time()
        async with guard.attempt():
            pass
        async with guard.attempt() as attempt:
            assert 100.0 == attempt.timeout
        assert 10.0 == about(anyio.current_time() - began_at)
        with anyio.move_on_after(1):
            async with guard.attempt():
                raise AssertionError
        assert {} == guard._engine.commons.lines

    virtual(main, backend)


def test_a_sync_block_waits() -> None:
    """
    So does a plain `with`, in its thread.
    """
    guard, began_at = waiting_guard(every=0.05), time.monotonic()

    for _ in range(3):
        with guard.attempt():
            pass

    assert 0.1 <= time.monotonic() - began_at


def test_by_hand_nothing_waits() -> None:
    """
    `acquire()` and `open_stream()` never wait, whatever the guard does otherwise.
    """
    guard = waiting_guard(bulkhead=Bulkhead(1, queue=5))
    guard.call(str)

    for ask in (guard.acquire, guard.open_stream):
        began_at = time.monotonic()
        with pytest.raises(BudgetExhaustedError):
            ask()
        assert time.monotonic() - began_at < 1
    assert 0 == guard._engine.bulkhead.in_flight  # type: ignore[attr-defined]  # One of ours.


@on_each_backend
def test_a_stream_waits_before_its_first_item(backend: Backend) -> None:
    """
    And at no other; who stops waiting for it leaves the line.
    """

    async def main() -> None:
        guard, began_at = waiting_guard(), anyio.current_time()

        @guard
        async def numbers() -> Any:
            for number in range(3):
                yield number

        assert [0, 1, 2] == [number async for number in numbers()]
        items = []
        async for number in numbers():
            items.append((number, round(anyio.current_time() - began_at, 6)))
        assert [(0, 10.0), (1, 10.0), (2, 10.0)] == items
        stream = numbers()
        with anyio.move_on_after(1):
            await stream.__anext__()
        assert {} == guard._engine.commons.lines
        await stream.aclose()

    virtual(main, backend)


def test_a_sync_stream_waits() -> None:
    """
    Likewise in a thread.
    """
    guard, began_at = waiting_guard(every=0.1), time.monotonic()

    @guard
    def numbers() -> Any:
        yield from range(3)

    assert [0, 1, 2, 0, 1, 2] == [*numbers(), *numbers()]
    assert 0.1 <= time.monotonic() - began_at < 1


def test_threads_stand_in_line() -> None:
    """
    In the order in which they came.
    """
    guard = waiting_guard(every=0.1, isolate=None)
    order: list[int] = []
    guard.call(str)
    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=guard.call, args=(order.append, number)))
        threads[-1].start()
        time.sleep(0.01)
    for thread in threads:
        thread.join()

    assert list(range(5)) == order
    assert {} == guard._engine.commons.lines


def test_many_threads_lose_no_token_and_no_wake_up() -> None:
    """
    Fifty threads that come at once are all let in, as soon as the bucket allows.
    """
    guard = waiting_guard(every=0.004, isolate=None)
    began_at = time.monotonic()
    threads = [threading.Thread(target=guard.call, args=(str,)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 0.19 <= time.monotonic() - began_at < 3
    assert {} == guard._engine.commons.lines


def test_asyncio_trio_and_a_thread_in_one_line() -> None:
    """
    One after the other, whatever each of them runs on: two loops of asyncio, one of trio, and a thread.
    """
    guard = waiting_guard(every=0.05)
    order: list[str] = []
    guard.call(str)

    async def waits(name: str) -> None:
        async def callee() -> None:
            order.append(name)

        for _ in range(3):
            await guard.acall(callee)

    def in_thread() -> None:
        for _ in range(3):
            guard.call(order.append, "thread")

    kinds: list[Callable[[], Any]] = [
        lambda: asyncio.run(waits("asyncio")),
        lambda: trio.run(waits, "trio"),
        lambda: asyncio.run(waits("other")),
        in_thread,
    ]
    threads = [threading.Thread(target=kind) for kind in kinds]
    for thread in threads:
        thread.start()
        time.sleep(0.005)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()

    assert 12 == len(order)
    # Each waits once before any waits a second time.
    assert all(4 == len(set(order[at : at + 4])) for at in (0, 4, 8)), order
    assert {} == guard._engine.commons.lines


# -- nobody there any more -------------------------------------------------------


def leave_one_waiting(guard: Guard) -> Any:
    """
    Make a call in a loop that is closed while it waits: nothing will ever resume it.
    """
    loop = asyncio.new_event_loop()
    task: Any = loop.create_task(guard.acall(sleeps, 0))
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    task._log_destroy_pending = False
    return task


def test_who_waits_on_a_closed_loop_is_passed_over() -> None:
    """
    The head of the line is held by nobody: who comes after it does not wait for it.
    """
    guard = waiting_guard(every=0.1, max_wait=2.0)
    guard.call(str)
    task = leave_one_waiting(guard)
    assert 1 == len(guard._engine.commons.lines)

    began_at = time.monotonic()
    guard.call(str)

    assert time.monotonic() - began_at < 1
    assert {} == guard._engine.commons.lines
    task.get_coro().close()


def test_who_waits_on_a_closed_loop_turns_nobody_away_for_good() -> None:
    """
    One who does not wait is refused once because of it, and not for ever.
    """
    clock = VirtualClock()
    guard = waiting_guard(clock=clock)
    guard.call(str)
    task = leave_one_waiting(guard)
    clock.advance(10)

    with pytest.raises(BudgetExhaustedError):
        guard.acquire()
    guard.acquire().settle("success")

    task.get_coro().close()
    assert {} == guard._engine.commons.lines


# -- scopes around ---------------------------------------------------------------


@on_each_backend
def test_scope_around_ends_the_wait(backend: Backend) -> None:
    """
    anyio's scopes, a group that is cancelled, asyncio.wait_for, trio's: the waiter leaves, and is told what it knows.
    """

    async def main() -> None:
        guard = waiting_guard()
        await guard.acall(sleeps, 0)
        with anyio.move_on_after(1) as scope:
            await guard.acall(sleeps, 0)
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            with anyio.fail_after(1):
                await guard.acall(sleeps, 0)
        if backend == "asyncio":
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await asyncio.wait_for(guard.acall(sleeps, 0), 1)
        else:
            with trio.move_on_after(1):
                await guard.acall(sleeps, 0)
        assert {} == guard._engine.commons.lines
        began_at = anyio.current_time()
        await guard.acall(sleeps, 0)
        assert 7.0 == about(anyio.current_time() - began_at)

    virtual(main, backend)


def test_half_open_probe_waits_for_its_token() -> None:
    """
    While it waits it holds no permit, so that another may probe; and one who may not is refused at once.
    """

    async def main() -> None:
        guard = Guard("images", budget=TokenBucket(3, refill_every=100.0), on_empty="wait", timeout=200)
        open_by_timeouts(guard)
        await anyio.sleep(60)
        async with anyio.create_task_group() as group:
            group.start_soon(guard.acall, sleeps, 5)
            await anyio.sleep(41)
            with pytest.raises(CircuitOpenError):
                await guard.acall(sleeps, 1)

    virtual(main, "asyncio")
