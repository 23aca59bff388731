"""
Worker threads: used again, daemons, with the caller's variables, bounded when they are lost.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable

import anyio.to_thread
import pytest

from hungframe import CallTimeoutError, TooManyOrphansError
from tests.abort.measure import LONG, hostile_guard


def _workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "hungframe" in thread.name]


def test_used_again_when_calls_end_in_time() -> None:
    """
    Two hundred calls one after another need a thread or two, never one each.
    """
    guard = hostile_guard(timeout=LONG)
    idents = {guard.call(threading.get_ident) for _ in range(200)}
    names = {id(thread) for thread in _workers()}

    assert len(idents) <= 3
    assert threading.get_ident() not in idents
    assert len(names) <= 64


def test_as_many_as_calls_at_once() -> None:
    """
    Calls at the same time have a thread each, and leave them to the next ones.
    """
    guard = hostile_guard(timeout=LONG, breaker=None)
    together = threading.Barrier(10)

    def one() -> None:
        guard.call(together.wait, 5.0)

    for _ in range(5):
        callers = [threading.Thread(target=one) for _ in range(10)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        # A worker is put back a moment after its caller is free.
        time.sleep(0.01)

    assert 50 == guard.snapshot().counts["success"]
    assert len(_workers()) <= 30


def test_they_are_daemons() -> None:
    """
    No worker may hold up the interpreter's exit.
    """
    hostile_guard(timeout=LONG).call(len, "x")

    assert _workers()
    assert all(thread.daemon for thread in _workers())


def test_one_that_was_left_dies_with_its_callee() -> None:
    """
    A worker whose caller has gone is not used again.
    """
    guard = hostile_guard()
    let_go, ran_in = threading.Event(), []

    def callee() -> None:
        ran_in.append(threading.current_thread())
        let_go.wait(LONG)

    with pytest.raises(CallTimeoutError):
        guard.call(callee)
    assert ran_in[0].is_alive()
    let_go.set()
    ran_in[0].join(1.0)

    assert not ran_in[0].is_alive()
    assert 0 == guard.snapshot().orphans
    assert "fine" == guard.call(lambda: "fine")


def test_past_max_orphans_calls_are_refused_until_one_ends() -> None:
    """
    A leak becomes an error, and is over when the leak is.
    """
    guard = hostile_guard(timeout=0.01, grace=0.0, max_orphans=3, breaker=None)
    let_go = threading.Event()
    for _ in range(3):
        with pytest.raises(CallTimeoutError):
            guard.call(let_go.wait, LONG)
    assert 3 == guard.snapshot().orphans

    with pytest.raises(TooManyOrphansError) as caught:
        guard.call(len, "x")
    assert "hostile" in str(caught.value)
    let_go.set()
    until = time.monotonic() + 2.0
    while guard.snapshot().orphans and time.monotonic() < until:
        time.sleep(0.001)

    assert 1 == guard.call(len, "x")
    assert 1 == guard.snapshot().counts["rejected"]


def test_a_thousand_threads_on_one_guard() -> None:
    """
    The counts are exact, and nothing is in flight when all are through.
    """
    guard = hostile_guard(timeout=LONG, isolate=None, breaker=None)
    start = threading.Event()

    def one(number: int) -> None:
        start.wait(10.0)
        for _ in range(3):
            if number % 10:
                guard.call(len, "x")
            else:
                with pytest.raises(ZeroDivisionError):
                    guard.call(lambda: 1 // 0)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(1000)]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join()

    snapshot = guard.snapshot()
    assert (2700, 300) == (snapshot.counts["success"], snapshot.counts["unknown"])
    assert 0 == snapshot.in_flight == snapshot.orphans


def _run(program: str, *, interrupt_after: str = "") -> tuple[subprocess.Popen[str], str, str, float]:
    # A shell starts what runs in its background with the signal ignored, and
    # a child inherits that.
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", heeds + textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = ""
    if interrupt_after:
        first = process.stdout.readline()
        assert interrupt_after == first.strip()
        process.send_signal(signal.SIGINT)
    began = time.monotonic()
    try:
        out, err = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process, out, err, time.monotonic() - began


def test_an_orphan_does_not_hold_up_the_exit() -> None:
    """
    The interpreter ends although an abandoned thread would run for another minute.
    """
    process, out, err, seconds = _run(
        """
        import time
        from hungframe import CallTimeoutError, Guard
        try:
            Guard("hostile", timeout=0.05, grace=0.01).call(time.sleep, 60)
        except CallTimeoutError as error:
            print(error.receipt)
        """
    )

    assert ("orphan\n", "", 0) == (out, err, process.returncode)
    assert seconds < 5


def test_idle_workers_do_not_hold_up_the_exit() -> None:
    """
    Nor do workers that wait for their next call.
    """
    process, out, err, seconds = _run(
        """
        from hungframe import Guard
        print(Guard("hostile").call(str.upper, "done"))
        """
    )

    assert ("DONE\n", "", 0) == (out, err, process.returncode)
    assert seconds < 5


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send to a child")
def test_ctrl_c_in_the_caller_that_waits() -> None:
    """
    The interrupt reaches the caller at once, as a cancellation; the callee it has left is an orphan.
    """
    process, out, err, seconds = _run(
        """
        import time
        from hungframe import Guard
        guard = Guard("hostile", timeout=60)
        try:
            guard.call(lambda: (print("begun", flush=True), time.sleep(30)))
        except KeyboardInterrupt:
            snapshot = guard.snapshot()
            counts = {name: count for name, count in snapshot.counts.items() if count}
            print(counts, snapshot.in_flight, snapshot.orphans)
            print(guard.call(str.upper, "done"))
        """,
        interrupt_after="begun",
    )

    assert ("{'cancelled': 1} 0 1\nDONE\n", "", 0) == (out, err, process.returncode)
    assert seconds < 5


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send to a child")
@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_ctrl_c_in_an_async_call(library: str) -> None:
    """
    The interrupt ends the program as it does without a guard, and the call was cancelled.
    """
    process, out, err, seconds = _run(
        f"""
        import {library}
        from hungframe import Guard
        guard = Guard("hostile", timeout=60)
        async def callee():
            print("begun", flush=True)
            await {library}.sleep(30)
        async def main():
            await guard.acall(callee)
        try:
            {library}.run(main{"()" if library == "asyncio" else ""})
        except KeyboardInterrupt:
            snapshot = guard.snapshot()
            counts = {{name: count for name, count in snapshot.counts.items() if count}}
            print(counts, snapshot.in_flight, snapshot.orphans)
        """,
        interrupt_after="begun",
    )

    assert ("{'cancelled': 1} 0 0\n", "", 0) == (out, err, process.returncode)
    assert seconds < 5


@pytest.mark.parametrize("where", [asyncio.to_thread, anyio.to_thread.run_sync])
def test_a_collection_does_not_lose_an_orphan(where: Callable[..., Awaitable[object]]) -> None:
    """
    A thread that was left is taken off when it ends, also where the garbage collector has run meanwhile.
    """
    guard, let_go = hostile_guard(), threading.Event()

    async def callee() -> None:
        await where(let_go.wait, 20)

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await guard.acall(callee)
        # How long this takes depends on what other tests have left.
        gc.collect()
        assert 1 == guard.snapshot().orphans
        let_go.set()
        until = time.monotonic() + 5
        while guard.snapshot().orphans and time.monotonic() < until:
            await asyncio.sleep(0.01)
        assert 0 == guard.snapshot().orphans

    asyncio.run(main())
