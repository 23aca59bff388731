"""
A guard with a bulkhead: who is let in, and that each slot is given back once, however its call ends (semantics 4).
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from hungframe import (
    Bulkhead,
    BulkheadFullError,
    CallTimeoutError,
    Guard,
    TokenBucket,
)
from hungframe.testing import RecordingSink, run_virtual
from tests.abort.test_fork import in_child
from tests.guard.fakes import (
    Backend,
    sleeps,
)


def bulkhead_of(guard: Guard) -> Bulkhead:
    """
    The bulkhead that a guard has.
    """
    bulkhead: Bulkhead = guard._engine.bulkhead  # type: ignore[attr-defined]
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
    wait_until(lambda: bulkhead_of(guard).in_flight == 0)

    assert {} == guard._engine.commons.lines


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
        leftover.end()  # type: ignore[attr-defined]

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
        leftover.end()  # type: ignore[attr-defined]
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
