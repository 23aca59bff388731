"""
What runs beside a worker's jobs: signals, the reaper, the health board, the log of the probes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from examples.images.worker.pace import Pace
from examples.images.worker.probes import ProbeLane
from examples.images.worker.reaper import reap
from examples.images.worker.signals import stop_at_signals
from examples.images.worker.telling import post
from examples.images.worker.waiting import within
from hungframe import CircuitBreaker, Guard
from hungframe.recovery import Prober
from hungframe.testing import run_virtual
from tests.examples.images.memory_queue import CAT, Draws, MemoryQueue
from tests.examples.images.test_worker import worker_of

PACE = Pace(reap_every=10.0, board_every=2.0)


async def for_seconds(seconds: float, *loops: Any) -> None:
    """
    Let endless loops run so long.
    """
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(ended, asyncio.CancelledError)


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_for_an_end(number: signal.Signals) -> None:
    """
    The event is set, nothing is cancelled, and after the block the signal is what it was.
    """
    before = signal.getsignal(signal.SIGTERM)

    async def main() -> str:
        with stop_at_signals() as stop:
            os.kill(os.getpid(), number)
            await asyncio.wait_for(stop.wait(), 5)
            await asyncio.sleep(0.01)
        after = signal.getsignal(signal.SIGTERM)
        return "ended by itself" if after is before else f"SIGTERM is {after!r} still"

    assert "ended by itself" == asyncio.run(main())


def test_the_second_signal_cancels_the_block_and_no_more() -> None:
    """
    Who comes after the block is not cancelled, and a third signal changes nothing.
    """

    async def main() -> str:
        with stop_at_signals() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(stop.wait(), 5)
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.sleep(0.01)
                raise
        await asyncio.sleep(0.01)
        task: Any = asyncio.current_task()
        assert sys.version_info < (3, 11) or 0 == task.cancelling()
        return "after the block"

    assert "after the block" == asyncio.run(main())


def test_a_cancellation_by_others_goes_on() -> None:
    """
    The block is left by it, as by any other error.
    """

    async def block() -> None:
        with stop_at_signals():
            await asyncio.sleep(5)

    async def main() -> bool:
        task = asyncio.ensure_future(block())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main())


def test_a_worker_that_is_told_twice_gives_back_what_it_holds() -> None:
    """
    Once: it would wait for the long calls. Twice: they are another's at once.
    """

    async def main() -> tuple[MemoryQueue, float]:
        queue = MemoryQueue(jobs=2)
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        with stop_at_signals() as stop:
            for after in (0.05, 0.1):
                loop.call_later(after, os.kill, os.getpid(), signal.SIGTERM)
            await worker_of(queue, Draws(60.0)).run(stop)
        return queue, loop.time() - began_at

    queue, seconds = asyncio.run(main())
    assert ({"queued": 2}, True) == (queue.states(), seconds < 2)


# --- the reaper -------------------------------------------------------------------------------------------------------


def test_the_reaper_comes_again_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    """
    Between half an interval and one and a half, and a database that is gone or hangs is no end.
    """

    async def main() -> None:
        came_at: list[float] = []
        draws = iter([0.0, 0.99, 0.5, 0.5, 0.5, 0.5])

        async def step(where: str) -> None:
            came_at.append(asyncio.get_running_loop().time())
            if len(came_at) == 2:
                raise OSError("connection refused")
            if len(came_at) == 3:
                await asyncio.sleep(1e6)

        await for_seconds(60, reap("w1", MemoryQueue(step=step), PACE, lambda: next(draws)))

        assert [5, 19.9, 29.9, 49.9, 59.9] == pytest.approx(came_at, abs=0.01)

    run_virtual(main)
    assert "could not reap (OSError: connection refused)" in caplog.text


# --- the board --------------------------------------------------------------------------------------------------------


class Board:
    """
    A `HealthBoard` that remembers, and fails when told to.
    """

    def __init__(self) -> None:
        self.posts: list[tuple[float, str, Mapping[str, Any]]] = []
        self.down = False

    async def post(self, worker: str, snapshot: Mapping[str, Any]) -> None:
        if self.down:
            raise OSError("connection refused")
        self.posts.append((asyncio.get_running_loop().time(), worker, snapshot))

    async def read(self) -> Sequence[Mapping[str, Any]]:
        return []


def test_the_guard_is_posted_every_two_seconds(caplog: pytest.LogCaptureFixture) -> None:
    """
    As plain values; a failure is told once, and is no end.
    """

    async def main() -> None:
        board, guard = Board(), Guard("images")
        loop = asyncio.get_running_loop()
        loop.call_later(3, setattr, board, "down", True)
        loop.call_later(9, setattr, board, "down", False)

        await for_seconds(13, post("w1", guard, board, PACE))

        assert [0, 2, 10, 12] == pytest.approx([at for at, _, _ in board.posts], abs=0.01)
        assert ("w1", "closed", 0) == (board.posts[0][1], board.posts[0][2]["state"], board.posts[0][2]["in_flight"])

    run_virtual(main)
    assert 1 == caplog.text.count("cannot post to the health board")


# --- the probes -------------------------------------------------------------------------------------------------------


class Log:
    """
    A `ProbeLog` that remembers, and fails at its first row.
    """

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self.failures = 1

    async def begin(self, worker: str, kind: str) -> int:
        if self.failures:
            self.failures -= 1
            raise OSError("connection refused")
        self.rows.append([worker, kind])
        return len(self.rows) - 1

    async def end(self, probe_id: int, outcome: str, latency_seconds: float) -> None:
        self.rows[probe_id] += [outcome, latency_seconds]


def test_probes_close_the_breaker_beside_the_queue_and_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """
    No job is touched while the breaker is not closed; each probe is a row, but the one the database did not take.
    """

    async def main() -> None:
        log, queue, images = Log(), MemoryQueue(jobs=3), Draws(1.0)
        lane = ProbeLane("w1", log, PACE)

        async def probe() -> str:
            await asyncio.sleep(2.0)
            return "a picture that nobody stores"

        prober = Prober(probe, every=10, jitter=0.0, on_result=lane.note)
        guard = Guard("images", breaker=CircuitBreaker(open_for=20, close_after=3), recovery=prober)
        for _ in range(3):
            guard.acquire().settle("timeout")
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(60, stop.set)
        async with prober:
            await worker_of(queue, images, guard, probes=lane).run(stop)

        # Probes end at 22, 32 and 42: then it is closed. The poller was told to come again at 50.
        assert [50.0] * 3 == pytest.approx(images.asked_at, abs=0.01)
        assert [["w1", "timeout", "success", 2.0]] * 2 == log.rows
        assert {"done": 3} == queue.states() and all(entry.payload == CAT for entry in queue.entries.values())

    run_virtual(main)
    assert 1 == caplog.text.count("a probe (timeout, success) is not in the log")


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("concurrency", 0), ("concurrency", 1.5), ("lease", 0), ("lease", float("inf")), ("drain", -1), ("backoff", -0.1)],
)
def test_a_pace_that_makes_no_sense_is_refused(name: str, value: Any) -> None:
    """
    By its name, with the value that was given.
    """
    with pytest.raises(ValueError, match=f"{name} must be .* got {value!r}"):
        Pace(**{name: value})


def test_what_does_not_leave_is_left_behind() -> None:
    """
    A wait is as long as it says, although what is waited for swallows its cancellation.
    """

    async def stays() -> None:
        while asyncio.get_running_loop().time() < 10:
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                pass

    async def main() -> None:
        with pytest.raises(TimeoutError, match="a guest has not ended within 2 s"):
            await within(2.0, stays(), "a guest")
        assert 3.0 == pytest.approx(asyncio.get_running_loop().time())
        await asyncio.sleep(30)

    run_virtual(main)
