"""
The poller asks the guard before the queue, and each permit it took is a job's or comes back.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.images.ports import Claim
from examples.images.worker.pace import Pace
from examples.images.worker.poller import Poller
from hungframe import CircuitBreaker, Guard, TokenBucket
from hungframe.permit import GuardPermit
from hungframe.testing import run_virtual
from tests.examples.images.memory_queue import MemoryQueue

PACE = Pace(concurrency=4, poll_interval=1.0, claim_within=5.0, backoff=0.5, backoff_at_most=4.0)
LONG = 1000.0


class Places:
    """
    So many places; a job takes *seconds*, or none that anybody waits for.
    """

    def __init__(self, places: int, seconds: Callable[[], float] = lambda: 0.0) -> None:
        self.free = places
        self.started: list[Claim] = []
        self.started_at: list[float] = []
        self._seconds = seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    async def some_free(self) -> None:
        while self.free < 1:
            self._ended.clear()
            await self._ended.wait()

    def start(self, claim: Claim, permit: GuardPermit) -> None:
        assert self.free > 0
        self.free -= 1
        self.started.append(claim)
        self.started_at.append(asyncio.get_running_loop().time())
        task = asyncio.ensure_future(self._run(permit))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, permit: GuardPermit) -> None:
        with permit:
            await asyncio.sleep(self._seconds())
        self.free += 1
        self._ended.set()


def poller_of(guard: Guard, queue: MemoryQueue, places: Places, pace: Pace = PACE) -> Poller:
    async def give_back(claim: Claim) -> None:
        await queue.snooze(claim, 0.0)

    return Poller("w1", guard, queue, places, give_back, pace, draw=lambda: 0.5)


async def stopped_after(seconds: float, run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    await run(stop)


def test_claims_as_many_as_it_has_permits() -> None:
    """
    Four places and three tokens: three jobs, and nothing is taken beyond.
    """

    async def main() -> None:
        guard = Guard("images", budget=TokenBucket(capacity=3, refill_every=60), timeout=LONG)
        queue, places = MemoryQueue(jobs=10), Places(4)

        await stopped_after(30, poller_of(guard, queue, places).run)

        assert ([3], 3) == (queue.claims, len(places.started))
        assert {"queued": 7, "running": 3} == queue.states()

    run_virtual(main)


def test_gives_back_the_permits_that_no_job_came_for() -> None:
    """
    Two jobs for four permits: two tokens are there as before.
    """

    async def main() -> None:
        guard = Guard("images", budget=TokenBucket(capacity=5, refill_every=10_000), timeout=LONG)
        queue, places = MemoryQueue(jobs=2), Places(4, lambda: 100.0)

        await stopped_after(3, poller_of(guard, queue, places).run)

        assert (3, 2) == (guard.snapshot().budget, guard.snapshot().in_flight)

    run_virtual(main)


def test_with_an_empty_budget_it_asks_for_no_job_until_there_is_a_token() -> None:
    """
    To the instant that the refusal names, and not before.
    """

    async def main() -> None:
        guard = Guard("images", budget=TokenBucket(capacity=1, refill_every=60), timeout=LONG)
        queue, places = MemoryQueue(jobs=3), Places(4)

        await stopped_after(150, poller_of(guard, queue, places).run)

        assert [0.0, 60.0, 120.0] == pytest.approx(places.started_at, abs=0.01)
        # One a token, and not one beyond.
        assert [1, 1, 1] == queue.claims

    run_virtual(main)


def test_with_an_open_breaker_it_asks_for_no_job_until_it_is_half_open() -> None:
    """
    And then for one: the probe.
    """

    async def main() -> None:
        guard = Guard("images", breaker=CircuitBreaker(open_for=45, probe_every=1000), timeout=LONG)
        for _ in range(3):
            guard.acquire().settle("timeout")
        queue, places = MemoryQueue(jobs=3), Places(4, lambda: 20.0)

        await stopped_after(60, poller_of(guard, queue, places).run)

        assert [45.0] == pytest.approx(places.started_at, abs=0.01)
        assert [1] == queue.claims

    run_virtual(main)


def test_with_a_refusal_that_names_no_time_it_asks_at_each_interval() -> None:
    """
    A breaker that somebody has forced open is asked again, and no job is claimed.
    """

    async def main() -> None:
        guard = Guard("images", timeout=LONG)
        guard.force_open()
        queue, places = MemoryQueue(jobs=3), Places(4)
        loop = asyncio.get_running_loop()
        loop.call_later(10.5, guard.reset)

        await stopped_after(20, poller_of(guard, queue, places).run)

        assert [11.0] * 3 == pytest.approx(places.started_at, abs=0.01)

    run_virtual(main)


def test_an_empty_queue_is_asked_with_one_permit_and_wakes_it_by_word() -> None:
    """
    What waits is told of a new job, and the next claim takes all there are.
    """

    async def main() -> None:
        guard = Guard("images", timeout=LONG)
        queue, places = MemoryQueue(), Places(4, lambda: 100.0)

        def add() -> None:
            for _ in range(4):
                queue.add()

        asyncio.get_running_loop().call_later(2.25, add)
        await stopped_after(2.5, poller_of(guard, queue, places).run)

        assert [4, 1, 1, 1, 3] == queue.claims
        assert [2.25] * 4 == pytest.approx(places.started_at, abs=0.01)

    run_virtual(main)


def test_a_stop_ends_every_wait_at_once() -> None:
    """
    For a token, for a job, for a place, and after a failure.
    """

    async def main(guard: Guard, queue: MemoryQueue, places: Places) -> None:
        began_at = asyncio.get_running_loop().time()
        await stopped_after(0.5, poller_of(guard, queue, places, Pace(poll_interval=50, backoff=50)).run)
        assert 0.5 == pytest.approx(asyncio.get_running_loop().time() - began_at, abs=0.01)

    def budget() -> TokenBucket:
        return TokenBucket(capacity=1, refill_every=60)

    down = MemoryQueue()
    down.down = True
    run_virtual(main, Guard("images", budget=budget(), timeout=LONG), MemoryQueue(jobs=3), Places(4))
    run_virtual(main, Guard("images", timeout=LONG), MemoryQueue(), Places(4))
    run_virtual(main, Guard("images", timeout=LONG), MemoryQueue(jobs=3), Places(1, lambda: 40.0))
    run_virtual(main, Guard("images", timeout=LONG), down, Places(4))


def test_what_is_claimed_while_it_stops_goes_back() -> None:
    """
    Nobody works on it, and nothing is spent on it.
    """

    async def slow(where: str) -> None:
        if where == "claim":
            await asyncio.sleep(2)

    async def main() -> None:
        guard = Guard("images", budget=TokenBucket(capacity=5, refill_every=10_000), timeout=LONG)
        queue, places = MemoryQueue(jobs=2, step=slow), Places(4)

        await stopped_after(1, poller_of(guard, queue, places).run)

        assert ({"queued": 2}, []) == (queue.states(), places.started)
        assert (5, 0) == (guard.snapshot().budget, guard.snapshot().in_flight)

    run_virtual(main)


def test_a_database_that_is_gone_is_asked_less_and_less(caplog: pytest.LogCaptureFixture) -> None:
    """
    Half a second, doubled up to the cap; each time one line, and no permit is kept. When it is back, work goes on.
    """

    async def main() -> None:
        guard = Guard("images", budget=TokenBucket(capacity=5, refill_every=10_000), timeout=LONG)
        queue, places = MemoryQueue(jobs=1), Places(4)
        queue.down = True

        def back() -> None:
            assert (5, 0) == (guard.snapshot().budget, guard.snapshot().in_flight)
            queue.down = False

        asyncio.get_running_loop().call_later(8, back)
        await stopped_after(20, poller_of(guard, queue, places).run)

        # Each wait is three quarters of its full length here: 0.375, 0.75, 1.5, 3, 3, 3.
        assert [8.625] == pytest.approx(places.started_at, abs=0.01)

    with caplog.at_level("INFO"):
        run_virtual(main)
    told = [record.getMessage() for record in caplog.records if "worker w1" in record.getMessage()]
    assert (
        "worker w1: the queue cannot be asked (OSError: connection refused); asks again in 0.38 s" == told[0]
        and "worker w1: the queue answers again, after 5 failures" == told[-1]
    )


def test_a_claim_that_hangs_is_given_up() -> None:
    """
    After `claim_within`, and the permits are free for others.
    """

    async def hang(where: str) -> None:
        if where == "claim":
            await asyncio.sleep(LONG)

    async def main() -> None:
        guard = Guard("images", budget=TokenBucket(capacity=5, refill_every=10_000), timeout=LONG)
        queue, places = MemoryQueue(jobs=1, step=hang), Places(4)
        budgets: list[int | None] = []
        loop = asyncio.get_running_loop()
        for at in (4.9, 5.1):
            loop.call_later(at, lambda: budgets.append(guard.snapshot().budget))

        await stopped_after(5.2, poller_of(guard, queue, places).run)

        assert [1, 5] == budgets

    run_virtual(main)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("jobs", [0, 1, 3])
def test_cancelled_at_each_await_it_keeps_no_permit_and_no_job(jobs: int, down: bool) -> None:
    """
    Step 0, 1, 2, ... of the event loop: each permit is a job's or came back, and no job is held that was not started.
    """

    async def turn(where: str) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def main(steps: int) -> None:
        guard = Guard("images", budget=TokenBucket(capacity=2, refill_every=60), timeout=LONG)
        queue, places = MemoryQueue(jobs=jobs, step=turn), Places(4, lambda: LONG)
        queue.down = down
        task = asyncio.ensure_future(poller_of(guard, queue, places).run(asyncio.Event()))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
        snapshot = guard.snapshot()
        assert len(places.started) == snapshot.in_flight
        assert 2 - len(places.started) == snapshot.budget
        if not down:
            assert len(places.started) == queue.states().get("running", 0)

    for steps in range(40):
        run_virtual(main, steps)


@given(
    pollers=st.integers(1, 20),
    capacity=st.integers(1, 6),
    refill_every=st.floats(0.5, 20),
    concurrency=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_pollers_that_share_a_guard_never_exceed_its_budget(
    pollers: int, capacity: int, refill_every: float, concurrency: int, seed: int
) -> None:
    """
    Whatever comes slowly, late or not at all: at no time have more jobs been started than tokens have been there.
    """

    async def main() -> None:
        draw = random.Random(seed)

        async def slow(where: str) -> None:
            await asyncio.sleep(draw.choice([0.0, 0.0, draw.random(), 3 * draw.random()]))
            if draw.random() < 0.05:
                raise OSError("connection reset")

        guard = Guard("images", budget=TokenBucket(capacity, refill_every), timeout=LONG)
        queue = MemoryQueue(step=slow)
        all_places = [Places(concurrency, lambda: 5 * draw.random()) for _ in range(pollers)]
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        for _ in range(30):
            loop.call_later(draw.uniform(0, 40), queue.add)
        pace = Pace(concurrency=concurrency, claim_within=2.0)

        async def back(claim: Claim) -> None:
            await queue.snooze(claim, 0.0)

        async def all_of_them(stop: asyncio.Event) -> None:
            polling = (
                Poller(f"w{number}", guard, queue, places, back, pace, draw.random).run(stop)
                for number, places in enumerate(all_places)
            )
            await asyncio.gather(*polling)

        await stopped_after(60, all_of_them)

        started = sorted(at - began_at for places in all_places for at in places.started_at)
        for count, at in enumerate(started, 1):
            assert count <= capacity + at / refill_every + 1e-6, f"{count} jobs after {at:.2f} s"

    run_virtual(main)
