"""
A guard that was used before os.fork works in the child: prefork servers.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable

import pytest

from hungframe import CallTimeoutError, Guard, TokenBucket
from tests.abort.measure import LONG, hostile_guard

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    # 3.12 warns of every fork beside threads; that is what is tested.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


def in_child(check: Callable[[], None]) -> None:
    """
    Run *check* in a forked child; fail if it does, or if it takes longer than 5 s.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            check()
            code = 0
        except BaseException as error:
            os.write(2, f"in the child: {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert 0 == os.waitstatus_to_exitcode(status)
            return
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")


def _lock_of(guard: Guard) -> threading.Lock:
    """
    The one lock of a guard, wherever it is kept.
    """
    for owner in (guard._engine, getattr(guard._engine, "policies", None)):
        lock = getattr(owner, "lock", None)
        if lock is not None:
            return lock  # type: ignore[no-any-return]
    raise AssertionError("a guard has a lock")


def test_a_warm_guard() -> None:
    """
    Sync and async calls work in the child, in threads of its own, and past their deadlines.
    """
    guard = hostile_guard(budget=TokenBucket(capacity=100), breaker=None)
    guard.call(str.upper, "warm")
    asyncio.run(guard.acall(asyncio.sleep, 0))

    def check() -> None:
        assert "DONE" == guard.call(str.upper, "done")
        asyncio.run(guard.acall(asyncio.sleep, 0))
        with pytest.raises(CallTimeoutError):
            guard.call(time.sleep, 0.2)
        with pytest.raises(CallTimeoutError):
            asyncio.run(guard.acall(asyncio.sleep, LONG))
        snapshot = guard.snapshot()
        assert (4, 2) == (snapshot.counts["success"], snapshot.counts["timeout"])
        assert (0, 1) == (snapshot.in_flight, snapshot.orphans)
        assert 94 == snapshot.budget

    in_child(check)

    # What happens in the child is nothing to the parent.
    assert 2 == sum(guard.snapshot().counts.values())


def test_a_lock_that_another_thread_holds() -> None:
    """
    A thread that was in the middle of a decision at the fork does not lock the child out.
    """
    guard = hostile_guard()
    guard.call(str.upper, "warm")
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with _lock_of(guard):
            held.set()
            let_go.wait(5.0)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(5.0)

    def check() -> None:
        assert "DONE" == guard.call(str.upper, "done")
        assert "closed" == guard.snapshot().state

    try:
        in_child(check)
    finally:
        let_go.set()
        thread.join()


def test_calls_and_orphans_of_other_threads_are_not_the_childs() -> None:
    """
    What ran in other threads at the fork does not run in the child, and is not counted there.
    """
    guard = hostile_guard(timeout=10.0)
    let_go = threading.Event()
    threads = [threading.Thread(target=guard.call, args=(let_go.wait, 5.0)) for _ in range(3)]
    for thread in threads:
        thread.start()

    def check() -> None:
        assert (0, 0) == (guard.snapshot().in_flight, guard.snapshot().orphans)

    try:
        with pytest.raises(CallTimeoutError):
            guard.using(timeout=0.01, grace=0.0).call(let_go.wait, 5.0)
        assert (3, 1) == (guard.snapshot().in_flight, guard.snapshot().orphans)
        in_child(check)
        assert (3, 1) == (guard.snapshot().in_flight, guard.snapshot().orphans)
    finally:
        let_go.set()
        for thread in threads:
            thread.join()


def test_a_fork_within_a_guarded_call() -> None:
    """
    The call that forks is in flight in both, and ends once in each.
    """
    guard = hostile_guard(timeout=LONG, isolate=None)

    def forks() -> None:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return
        try:
            os._exit(0 if 1 == guard.snapshot().in_flight else 1)
        finally:
            os._exit(2)

    guard.call(forks)

    assert 1 == guard.snapshot().counts["success"]
    assert 0 == guard.snapshot().in_flight


def test_calls_go_on_while_others_fork() -> None:
    """
    Twenty forks beside four busy threads: no child hangs.
    """
    program = textwrap.dedent(
        """
        import os, threading, time, warnings
        from hungframe import Guard
        warnings.simplefilter("ignore")
        guard = Guard("busy", timeout=5.0, breaker=None)
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                guard.call(len, "x")
        for _ in range(4):
            threading.Thread(target=busy, daemon=True).start()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                for _ in range(5):
                    assert 1 == guard.call(len, "x")
                guard.snapshot()
                os._exit(0)
            until = time.monotonic() + 5
            while True:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    assert status == 0, status
                    break
                if time.monotonic() > until:
                    os.kill(pid, 9)
                    raise SystemExit("a child hangs")
                time.sleep(0.001)
        stop.set()
        print("fine")
        """
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)

    assert "fine\n" == ran.stdout, ran.stderr
