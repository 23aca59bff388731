"""
`with prober:` probes from a daemon thread, which is joined in time, and which a forked child does not have.
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

import anyio
import pytest

from hungframe import CircuitBreaker, CircuitOpenError, Guard
from hungframe.recovery import Prober
from hungframe.testing import RecordingSink
from tests.abort.test_fork import in_child
from tests.guard.recovering import ended, never_later, opened, probed_guard


def quick() -> CircuitBreaker:
    """
    A breaker that is half-open 0.05 s after it opened.
    """
    return CircuitBreaker(open_for=0.05, max_open_for=0.05)


def wait_until(is_so: Callable[[], bool], seconds: float = 5.0) -> None:
    """
    Wait for real.
    """
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


def probers() -> list[threading.Thread]:
    """
    The threads of probers that run now.
    """
    return [thread for thread in threading.enumerate() if thread.name == "hungframe-prober"]


async def answers() -> str:
    await anyio.sleep(0)
    return "a shape"


@pytest.mark.parametrize("probe", [answers, lambda: "a shape"])
def test_a_daemon_thread_closes_it(probe: Callable[[], object]) -> None:
    """
    With sync and async probes; no thread is left after the block.
    """
    sink = RecordingSink()
    guard, prober = probed_guard(probe, sink, every=0.03, breaker=quick())
    with prober:
        opened(guard)
        assert [True] == [thread.daemon for thread in probers()]
        wait_until(lambda: guard.snapshot().state == "closed")
        assert "A" == guard.call(str.upper, "a")
    assert [] == probers()
    assert [("timeout", "success")] * 3 == ended(sink)


def test_user_calls_are_not_probes() -> None:
    """
    Eight threads that call all the time are refused until it is closed.
    """
    sink = RecordingSink()
    guard, prober = probed_guard(answers, sink, every=0.1, breaker=quick())
    let_in: list[str] = []

    def call_until_closed() -> None:
        while guard.snapshot().state != "closed":
            try:
                guard.call(lambda: let_in.append(guard.snapshot().state))
            except CircuitOpenError:
                time.sleep(0.001)

    with prober:
        opened(guard)
        threads = [threading.Thread(target=call_until_closed) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 3 == len(ended(sink))
    assert set(let_in) <= {"closed"}


@pytest.mark.parametrize("is_async", [False, True])
def test_a_probe_that_hangs_does_not_hold_the_block(is_async: bool) -> None:
    """
    The block is left within grace and a little, its permit is given back, the orphan is counted.
    """
    let_go = threading.Event()
    began = threading.Event()

    def blocks() -> None:
        began.set()
        let_go.wait(5.0)

    async def blocks_its_loop() -> None:
        blocks()

    guard, prober = probed_guard(blocks_its_loop if is_async else blocks, every=0.05, breaker=quick(), grace=0.02)
    with prober:
        opened(guard)
        assert began.wait(5.0)
        left_at = time.monotonic()
    assert time.monotonic() - left_at < 2.0
    if not is_async:
        # A loop that is blocked cannot say what it has left behind.
        assert 1 == guard.snapshot().orphans
        assert "A" == guard.call(str.upper, "a")
    let_go.set()
    wait_until(lambda: guard.snapshot().orphans == 0)
    wait_until(lambda: not probers())


def test_it_does_not_hold_up_the_exit() -> None:
    """
    A program that ends within the block ends, though a probe hangs.
    """
    program = """
        import threading, time
        from hungframe import CircuitBreaker, Guard
        from hungframe.recovery import Prober

        began = threading.Event()

        def hangs():
            began.set()
            time.sleep(60)

        prober = Prober(hangs, every=0.05)
        guard = Guard("images", recovery=prober, breaker=CircuitBreaker(open_for=0.05))
        prober.__enter__()
        for _ in range(3):
            guard.health.record_failure("timeout")
        assert began.wait(10)
    """
    began_at = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert time.monotonic() - began_at < 20


def test_an_event_loop_that_opens_the_breaker_wakes_the_thread() -> None:
    """
    The prober runs in its thread, the calls on a loop; idle, it would look again in 60 s only.
    """
    sink = RecordingSink()
    prober = Prober(answers, random=never_later)
    guard = Guard("images", recovery=prober, breaker=CircuitBreaker(open_for=0.1, close_after=1), sinks=[sink])

    async def main() -> None:
        with prober:
            opened(guard)
            with anyio.fail_after(5):
                while guard.snapshot().state != "closed":
                    await anyio.sleep(0.01)

    asyncio.run(main())
    assert [("timeout", "success")] == ended(sink)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_has_the_lane_back() -> None:
    """
    The thread does not run in the child: there user calls are probes again, and leaving the block waits for nobody.
    """
    guard, prober = probed_guard(answers, every=100.0, breaker=quick())
    prober._lane.due_at = 1e12
    with prober:
        opened(guard)
        prober._lane.due_at = 1e12
        time.sleep(0.06)
        with pytest.raises(CircuitOpenError):
            guard.acquire()

        def check() -> None:
            assert "A" == guard.call(str.upper, "a")
            began_at = time.monotonic()
            prober.schedule_probe("timeout")
            prober.__exit__(None, None, None)
            assert time.monotonic() - began_at < 0.5

        in_child(check)
        with pytest.raises(CircuitOpenError):
            guard.acquire()
