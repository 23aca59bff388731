"""
The queue against a model that is slow and obvious, in any order of calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg_pool import AsyncConnectionPool

from examples.images.queue import Claim, LeaseLostError, PostgresQueue
from tests.examples.images.queues import key, let_leases_run_out, let_waits_end, new_name

T = TypeVar("T")

HOUR = 3600.0
MAX_ATTEMPTS = 2


@dataclass
class ModelJob:
    """
    A job, as one would keep it in a list.
    """

    urgency: int
    # In boosts, each an hour; then the order in which they came.
    rank: tuple[int, int]
    state: str = "queued"
    waits: bool = False
    attempts: int = 0
    reason: str | None = None
    token: UUID | None = None
    ends: int = 0


@dataclass
class Model:
    """
    All of them, and what may happen to them.
    """

    jobs: dict[UUID, ModelJob] = field(default_factory=dict)
    came: int = 0

    def next_rank(self, urgency: int, delay_hours: int = 0) -> tuple[int, int]:
        self.came += 1
        return delay_hours - urgency, self.came

    def claimable(self, limit: int) -> list[UUID]:
        ready = [id for id, job in self.jobs.items() if job.state == "queued" and not job.waits]
        return sorted(ready, key=lambda id: self.jobs[id].rank)[:limit]

    def holds(self, claim: Claim) -> bool:
        job = self.jobs[claim.id]
        return job.state == "running" and job.token == claim.token

    def end(self, claim: Claim, state: str, reason: str | None) -> None:
        job = self.jobs[claim.id]
        job.state, job.reason, job.token = state, reason, None
        job.ends += state in ("done", "dead")


class QueueMachine(RuleBasedStateMachine):
    """
    Do to both what comes to mind.
    """

    url: str
    loop: asyncio.AbstractEventLoop
    pool: AsyncConnectionPool[Any]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.claims: list[Claim] = []
        self.ids: dict[int, UUID] = {}
        self.requeued: dict[UUID, int] = {}

    @initialize()
    def open_queue(self) -> None:
        self.queue = PostgresQueue(
            self.pool, new_name(), max_attempts=MAX_ATTEMPTS, boost=HOUR, backoff_base=1e-9, backoff_cap=1e-9
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    # --- the producer's and the operator's ---

    @rule(number=st.integers(0, 5), urgency=st.integers(0, 9), delayed=st.booleans())
    def enqueue(self, number: int, urgency: int, delayed: bool) -> None:
        given = self.run(self.queue.enqueue(key(number), {}, urgency=urgency, delay=HOUR if delayed else 0.0))
        assert given.created == (number not in self.ids)
        assert given.id == self.ids.setdefault(number, given.id)
        if given.created:
            self.model.jobs[given.id] = ModelJob(urgency, self.model.next_rank(urgency, int(delayed)), waits=delayed)

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.model.jobs)))
        job = self.model.jobs[id]
        assert self.run(self.queue.requeue(id)) == (job.state == "dead")
        if job.state == "dead":
            job.state, job.waits, job.attempts = "queued", False, 0
            job.rank = self.model.next_rank(job.urgency)
            self.requeued[id] = self.requeued.get(id, 0) + 1

    # --- the consumer's ---

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        expected = self.model.claimable(limit)
        claims = self.run(self.queue.claim(limit))
        assert expected == [claim.id for claim in claims]
        for claim in claims:
            job = self.model.jobs[claim.id]
            job.state, job.token, job.attempts = "running", claim.token, job.attempts + 1
            assert job.attempts == claim.attempt
        self.claims += claims

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), how=st.sampled_from(["complete", "raise", "fail", "bury", "snooze", "put off"]))
    def end(self, data: st.DataObject, how: str) -> None:
        # Of all claims that there ever were: most are lost by now.
        claim = data.draw(st.sampled_from(self.claims))
        job = self.model.jobs[claim.id]
        if not self.model.holds(claim):
            with pytest.raises(LeaseLostError):
                self.run(self.ended(claim, how))
            return
        self.run(self.ended(claim, how))
        if how == "complete":
            self.model.end(claim, "done", None)
        elif how == "bury":
            self.model.end(claim, "dead", "buried")
        elif how == "fail" and job.attempts == MAX_ATTEMPTS:
            self.model.end(claim, "dead", "attempts-exhausted")
        elif how == "fail":
            self.model.end(claim, "queued", "failed")
            job.waits, job.rank = False, self.model.next_rank(job.urgency)
        elif how != "raise":
            self.model.end(claim, "queued", job.reason)
            job.waits, job.attempts = how == "put off", job.attempts - 1

    async def ended(self, claim: Claim, how: str) -> None:
        if how in ("complete", "raise"):
            try:
                async with self.queue.completing(claim):
                    if how == "raise":
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass
        elif how == "bury":
            await self.queue.bury(claim, "buried", "")
        elif how == "fail":
            state = await self.queue.fail(claim, "failed", "")
            assert ("dead" if self.model.jobs[claim.id].attempts == MAX_ATTEMPTS else "queued") == state
        else:
            await self.queue.snooze(claim, HOUR if how == "put off" else 0.0)

    @precondition(lambda self: self.claims)
    @rule()
    def heartbeat(self) -> None:
        lost = self.run(self.queue.heartbeat(self.claims))
        assert lost == [claim for claim in self.claims if not self.model.holds(claim)]

    # --- time, and death ---

    @rule()
    def leases_run_out_and_are_reaped(self) -> None:
        running = [job for job in self.model.jobs.values() if job.state == "running"]
        assert 0 == self.run(self.queue.reap())
        let_leases_run_out(self.url, self.queue)
        assert len(running) == self.run(self.queue.reap())
        for job in running:
            job.state, job.token, job.reason, job.waits = "queued", None, "worker-died", False
            if job.attempts == MAX_ATTEMPTS:
                job.state = "dead"
                job.ends += 1

    @rule()
    def waits_end(self) -> None:
        let_waits_end(self.url, self.queue)
        for job in self.model.jobs.values():
            job.waits = False

    @invariant()
    def they_are_the_same(self) -> None:
        seen = self.run(self.all_jobs())
        assert {id: (job.state, job.attempts, job.reason) for id, job in self.model.jobs.items()} == seen
        for id, job in self.model.jobs.items():
            # Once, and once more for each time that an operator took it out.
            assert job.ends <= 1 + self.requeued.get(id, 0)

    async def all_jobs(self) -> dict[UUID, tuple[str, int, str | None]]:
        # At once, and not by `get` one by one, which takes most of the test's time.
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT id, state, attempts, reason FROM jobs WHERE queue = %s", (self.queue.name,)
            )
            return {id: (state, attempts, reason) for id, state, attempts, reason in await cursor.fetchall()}


def test_the_queue_does_what_the_model_does(jobs_database: str) -> None:
    """
    Whatever is called in whatever order, the queue and the model agree: on order, states, attempts, reasons, on which
    claims still hold, and on each job's ending once.
    """
    loop = asyncio.new_event_loop()
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        jobs_database, min_size=1, max_size=1, open=False, kwargs={"autocommit": True}
    )
    try:
        loop.run_until_complete(pool.open(wait=True))

        class Machine(QueueMachine):
            pass

        Machine.url, Machine.loop, Machine.pool = jobs_database, loop, pool
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=30,
                stateful_step_count=20,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        loop.run_until_complete(pool.close())
        loop.close()
