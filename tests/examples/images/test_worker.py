"""
Each job of a worker ends once, however its call ends, and none stays behind when the worker stops.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from examples.images.ports import Image, ImageRequest, NoImageError, Verdict
from examples.images.worker.pace import Pace
from examples.images.worker.run import Worker
from examples.images.worker.running import Running
from hungframe import CallTimeoutError, Guard, TokenBucket
from hungframe.testing import RecordingSink, run_virtual
from tests.examples.images.memory_queue import CAT, PICTURE, Draws, MemoryQueue, always_retry

PACE = Pace(concurrency=4, lease=6.0, drain=10.0, backoff=0.5, backoff_at_most=4.0)


def guard_of(timeout: float = 1000.0) -> Guard:
    return Guard("images", timeout=timeout, grace=0.25, budget=TokenBucket(capacity=50, refill_every=100_000))


def worker_of(queue: MemoryQueue, images: Any, guard: Guard | None = None, **others: Any) -> Worker:
    given: dict[str, Any] = {"pace": PACE, "draw": lambda: 0.5, **others}
    verdict = given.pop("verdict", always_retry)
    return Worker("w1", guard or guard_of(), queue, images, queue, verdict, **given)


async def work(worker: Worker, seconds: float) -> float:
    """
    Let it work so long, then ask it to stop; returns when it has stopped.
    """
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    stop = asyncio.Event()
    loop.call_later(seconds, stop.set)
    await worker.run(stop)
    return loop.time() - began_at


def test_jobs_are_drawn_and_stored() -> None:
    """
    Ten jobs in four places, each one call, and its image in the end.
    """

    async def main() -> None:
        queue, images = MemoryQueue(jobs=10), Draws(20.0)
        worker = worker_of(queue, images)

        await work(worker, 70)

        assert ({"done": 10}, 10, 10) == (queue.states(), worker.tally.done, len(images.asked_at))
        assert all(PICTURE == entry.image for entry in queue.entries.values())
        # A heartbeat each two seconds for all that run, and one before each look for the jobs of the dead.
        assert 4 == queue.beats[0] and 34 == pytest.approx(len(queue.beats), abs=2)

    run_virtual(main)


@pytest.mark.parametrize(
    ("verdict", "state", "attempts", "calls"),
    [
        (Verdict("retry", "timeout", "too slow"), "dead", 3, 3),
        (Verdict("bury", "no-image-url", "nothing in it"), "dead", 1, 1),
        (Verdict("snooze", "quota", "asked to wait", 15.0), "queued", 0, 2),
    ],
)
def test_a_failed_job_ends_as_the_verdict_says(verdict: Verdict, state: str, attempts: int, calls: int) -> None:
    """
    Tried until its attempts are used up, buried at once, or put back; and a dead letter is told once.
    """

    async def main() -> None:
        sink, queue, images = RecordingSink(), MemoryQueue(jobs=1), Draws(1.0, RuntimeError("no luck"))

        def fails(event: object) -> None:
            raise OSError("this sink is broken")

        given: list[BaseException] = []

        def judge(error: Exception) -> Verdict:
            given.append(error)
            return verdict

        worker = worker_of(queue, images, verdict=judge, sinks=[fails, sink])
        if verdict.kind == "snooze":
            # The queue in memory gives a snoozed job out again at once.
            await work(worker, 1.5)
        else:
            await work(worker, 30)

        (entry,) = queue.entries.values()
        assert (state, attempts, calls) == (entry.state, entry.attempts, len(images.asked_at))
        assert calls == len(given) and "no luck" == str(given[0])
        dead = [(event.to_json(), event.guard) for event in sink.of("queue.deadletter")]
        assert (1 if state == "dead" else 0) == len(dead) == worker.tally.dead
        if dead:
            assert str(entry.id) in dead[0][0] and verdict.reason in dead[0][0] and "images" == dead[0][1]
        else:
            assert [15.0, 15.0] == queue.snoozed

    run_virtual(main)


def test_a_call_that_hangs_is_ended_by_the_guard_and_judged() -> None:
    """
    Although the provider's client does not hear of its cancellation.
    """

    class NeverReturns:
        async def draw(self, request: ImageRequest) -> Image:
            while True:
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    if asyncio.get_running_loop().time() > 50:
                        raise

    async def main() -> None:
        queue, given = MemoryQueue(jobs=1), []

        def judge(error: Exception) -> Verdict:
            given.append(type(error))
            return Verdict("bury", "timeout", "hung")

        guard = guard_of(timeout=5.0)
        await work(worker_of(queue, NeverReturns(), guard, verdict=judge), 10)

        assert ([CallTimeoutError], {"dead": 1}) == (given, queue.states())
        assert (1, 0) == (guard.snapshot().counts["timeout"], guard.snapshot().in_flight)
        await asyncio.sleep(100)

    run_virtual(main)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {**CAT, "prompt": ""},
        {**CAT, "prompt": None},
        {**CAT, "seed": "7"},
        {**CAT, "seed": True},
        {**CAT, "size": 1024},
        ["a cat"],
    ],
)
def test_a_payload_that_nothing_can_be_drawn_from_is_buried(payload: Any, caplog: pytest.LogCaptureFixture) -> None:
    """
    Without a call, and its token is there as before.
    """

    async def main() -> None:
        queue, images, guard, sink = MemoryQueue(), Draws(), guard_of(), RecordingSink()
        entry = queue.add(payload)

        await work(worker_of(queue, images, guard, sinks=[sink]), 5)

        assert ("dead", "bad-payload") == (entry.state, entry.reason)
        assert (50, []) == (guard.snapshot().budget, images.asked_at)
        assert ["queue.deadletter"] == sink.names()

    run_virtual(main)
    assert "a cat" not in caplog.text


def test_a_lost_lease_ends_the_call_and_stores_nothing() -> None:
    """
    Another worker has it: told by the next heartbeat, and not by the end of a long call.
    """

    async def main() -> None:
        queue, images = MemoryQueue(jobs=2), Draws(100.0)
        guard = guard_of()
        stolen = next(iter(queue.entries.values()))
        loop = asyncio.get_running_loop()
        loop.call_later(3, queue.steal, stolen)
        free: list[int] = []
        loop.call_later(4.5, lambda: free.append(guard.snapshot().in_flight))
        worker = worker_of(queue, images, guard)

        await work(worker, 120)

        assert ["running", "done"] == [entry.state for entry in queue.entries.values()]
        assert (None, [1]) == (stolen.image, free)
        assert not [where for where, _ in queue.asked if where in ("fail", "snooze", "bury")]
        assert (1, 1) == (worker.tally.lost, worker.tally.done)

    run_virtual(main)


def test_a_lease_that_is_lost_when_the_image_is_there_stores_nothing() -> None:
    """
    The queue refuses, and that is no failure of the job.
    """

    async def main() -> None:
        queue = MemoryQueue(jobs=1)
        (entry,) = queue.entries.values()
        asyncio.get_running_loop().call_later(0.9, queue.steal, entry)
        worker = worker_of(queue, Draws(1.0))

        await work(worker, 5)

        assert ("running", None, 1) == (entry.state, entry.image, worker.tally.lost)

    run_virtual(main)


def test_an_image_that_is_paid_for_waits_for_the_database() -> None:
    """
    As long as the lease holds: it is stored when the database is back, and drawn once.
    """

    async def main() -> None:
        queue, images = MemoryQueue(jobs=1), Draws(3.0)
        worker = worker_of(queue, images)
        loop = asyncio.get_running_loop()
        loop.call_later(2.5, setattr, queue, "down", True)
        loop.call_later(5, setattr, queue, "down", False)

        await work(worker, 10)

        assert ({"done": 1}, 1, 0) == (queue.states(), len(images.asked_at), worker.tally.left)

    run_virtual(main)


def test_an_image_is_dropped_when_its_lease_is_over_and_the_database_is_still_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The reaper has the job then; the worker says so, and goes on.
    """

    async def main() -> None:
        queue, images = MemoryQueue(jobs=1), Draws(3.0)
        worker = worker_of(queue, images)
        asyncio.get_running_loop().call_later(2.5, setattr, queue, "down", True)

        await work(worker, 20)

        assert ({"running": 1}, 1, 1) == (queue.states(), len(images.asked_at), worker.tally.left)
        # The last heartbeat that came through was sent at 2.
        assert [3.0, 3.375, 4.125, 5.625] == pytest.approx([at for where, at in queue.asked if where == "completing"])

    run_virtual(main)
    assert "is left to the reaper" in caplog.text


def test_an_image_that_the_store_finds_to_be_none_is_judged() -> None:
    """
    At once, and not stored again and again.
    """

    async def main() -> None:
        async def step(where: str) -> None:
            if where == "insert":
                raise NoImageError("an empty file")

        queue = MemoryQueue(jobs=1, step=step)

        def judge(error: Exception) -> Verdict:
            assert isinstance(error, NoImageError)
            return Verdict("bury", error.reason, "an empty file")

        await work(worker_of(queue, Draws(), verdict=judge), 1)

        (entry,) = queue.entries.values()
        assert ("dead", "no-image-url") == (entry.state, entry.reason)

    run_virtual(main)


def test_a_call_that_cancels_itself_is_a_failure() -> None:
    """
    A client that raises CancelledError by itself has not drawn, and the job is tried again.
    """

    async def main() -> None:
        queue = MemoryQueue(jobs=1)
        worker = worker_of(queue, Draws(error=asyncio.CancelledError()))

        await work(worker, 10)

        (entry,) = queue.entries.values()
        assert ("dead", "cancelled", 2) == (entry.state, entry.reason, worker.tally.retried)

    run_virtual(main)


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_stopped_it_lets_running_jobs_end() -> None:
    """
    And claims no other.
    """

    async def main() -> None:
        queue, images = MemoryQueue(jobs=10), Draws(8.0)

        assert 8.0 == pytest.approx(await work(worker_of(queue, images), 1), abs=0.1)

        assert {"done": 4, "queued": 6} == queue.states()

    run_virtual(main)


def test_what_has_not_ended_in_time_is_given_back() -> None:
    """
    After `drain` the calls are cancelled, and the jobs are another's, with no attempt counted.
    """

    async def main() -> None:
        queue, images, guard = MemoryQueue(jobs=6), Draws(100.0), guard_of()
        worker = worker_of(queue, images, guard)

        assert 11.0 == pytest.approx(await work(worker, 1), abs=0.1)

        assert ({"queued": 6}, 4, 0) == (queue.states(), worker.tally.given_back, guard.snapshot().in_flight)
        assert all(0 == entry.attempts for entry in queue.entries.values())

    run_virtual(main)


def test_cancelled_it_gives_everything_back_at_once() -> None:
    """
    And the cancellation goes on when that is done.
    """

    async def main() -> None:
        queue, guard = MemoryQueue(jobs=6), guard_of()
        worker = worker_of(queue, Draws(100.0), guard)
        task = asyncio.ensure_future(worker.run(asyncio.Event()))
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled() and 5.1 > asyncio.get_running_loop().time()
        assert ({"queued": 6}, 0) == (queue.states(), guard.snapshot().in_flight)

    run_virtual(main)


def test_cancelled_while_the_database_is_gone_it_ends_all_the_same() -> None:
    """
    The jobs are the reaper's then.
    """

    async def main() -> None:
        queue = MemoryQueue(jobs=3)
        pace = replace(PACE, lease=60.0)
        task = asyncio.ensure_future(worker_of(queue, Draws(100.0), pace=pace).run(asyncio.Event()))
        await asyncio.sleep(3)
        queue.down = True
        task.cancel()
        await asyncio.wait([task])

        assert 3 + PACE.give_back_within + 1 > asyncio.get_running_loop().time()

    run_virtual(main)


def test_cancelled_again_and_again_it_still_gives_everything_back() -> None:
    """
    Who insists waits as long as who does not.
    """

    async def slow(where: str) -> None:
        await asyncio.sleep(0.1)

    async def main() -> None:
        queue, guard = MemoryQueue(jobs=6, step=slow), guard_of()
        task = asyncio.ensure_future(worker_of(queue, Draws(100.0), guard).run(asyncio.Event()))
        await asyncio.sleep(5)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0.01)

        assert task.cancelled() and {"queued": 6} == queue.states()

    run_virtual(main)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_job_that_is_aborted_before_it_begins_makes_no_call(turns: int) -> None:
    """
    Its permit comes back, and so does the job.
    """

    async def main() -> None:
        queue, images, guard = MemoryQueue(jobs=1), Draws(100.0), guard_of()
        running = Running(worker_of(queue, images, guard)._hands)
        (claim,) = await queue.claim(1)
        running.start(claim, guard.acquire())
        for _ in range(turns):
            await asyncio.sleep(0)
        running.abort("stopped")
        running.abort("stopped")
        await running.none_left()

        assert ({"queued": 1}, 0) == (queue.states(), guard.snapshot().in_flight)
        assert turns > 1 or (50, []) == (guard.snapshot().budget, images.asked_at)

    run_virtual(main)


async def _hang(where: str) -> None:
    await asyncio.sleep(1e6)


def test_a_database_that_never_answers_holds_up_no_stop() -> None:
    """
    Each of its answers is waited for so long, and no longer.
    """

    async def main() -> None:
        queue = MemoryQueue(jobs=3)
        worker = worker_of(queue, Draws(100.0))
        loop = asyncio.get_running_loop()
        loop.call_later(3, setattr, queue, "_step", _hang)

        assert 40 > await work(worker, 4)

    run_virtual(main)


@pytest.mark.parametrize("images", [Draws(), Draws(1.0), Draws(0.0, RuntimeError("no"))], ids=["now", "later", "no"])
def test_cancelled_at_each_await_it_leaves_nothing_behind(images: Draws) -> None:
    """
    Step 0, 1, 2, ... of the event loop: no job of its own is running in the queue, no permit and no task is left.
    """

    async def turn(where: str) -> None:
        await asyncio.sleep(0)

    async def main(steps: int) -> None:
        queue, guard = MemoryQueue(jobs=3, step=turn), guard_of()
        task = asyncio.ensure_future(worker_of(queue, images, guard).run(asyncio.Event()))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
        assert "running" not in queue.states(), queue.states()
        assert 0 == guard.snapshot().in_flight
        assert {asyncio.current_task()} == asyncio.all_tasks()

    for steps in range(60):
        run_virtual(main, steps)


def test_a_mistake_in_a_part_ends_one_job_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """
    A verdict that raises costs its job this attempt, and the worker goes on.
    """

    async def main() -> None:
        queue = MemoryQueue(jobs=1)

        def judge(error: Exception) -> Verdict:
            raise KeyError("a mistake")

        worker = worker_of(queue, Draws(1.0, RuntimeError("no")), verdict=judge)

        await work(worker, 5)

        assert ({"running": 1}, 1) == (queue.states(), worker.tally.left)

    run_virtual(main)
    assert "broke the worker's own code" in caplog.text
