"""
What the queue promises, one by one, on a real Postgres.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from examples.images import ports
from examples.images.queue import Claim, LeaseLostError, PostgresQueue
from tests.examples.images.queues import (
    key,
    let_leases_run_out,
    let_waits_end,
    new_name,
    opened,
    queue_at,
    state_of,
    waiting_for_a_lock,
)

Ends = Callable[[PostgresQueue, Claim], Awaitable[object]]


async def complete(queue: PostgresQueue, claim: Claim) -> None:
    async with queue.completing(claim):
        pass


ENDS: dict[str, Ends] = {
    "complete": complete,
    "fail": lambda queue, claim: queue.fail(claim, "boom", "it broke"),
    "bury": lambda queue, claim: queue.bury(claim, "no-image-url", "there is none"),
    "snooze": lambda queue, claim: queue.snooze(claim, 0.0),
}

each_end = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)


async def one_claim(queue: PostgresQueue, of: object = 1) -> Claim:
    await queue.enqueue(key(of), {"n": 1})
    [claim] = await queue.claim(1)
    return claim


def test_it_is_what_the_ports_ask_for(jobs_database: str) -> None:
    """
    The queue knows nothing of the ports, and is a producer and a consumer all the same: mypy says so here.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            producer: ports.Producer = queue
            consumer: ports.Consumer = queue
            assert [] == await consumer.claim(1)
            assert (await producer.enqueue(key(1), {})).created

    asyncio.run(main())


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_job_is_queued_claimed_and_done(jobs_database: str, autocommit: bool) -> None:
    """
    A job is running from its claim on, with its payload as it was given, and done when the block is left; and that over
    a pool that commits by itself and over one that does not.
    """

    async def main() -> None:
        async with opened(jobs_database, autocommit=autocommit) as pool:
            queue = PostgresQueue(pool, new_name(), worker="w-1")
            payload = {"prompt": "a cat, ünïcödé \\u0000 🐈", "seed": 1.5, "more": [None, {"deep": True}]}
            given = await queue.enqueue(key(1), payload, urgency=3)

            assert given.created
            assert ("queued", 0) == await state_of(queue, given.id)
            assert {"queued": 1, "running": 0, "done": 0, "dead": 0} == await queue.counts()
            assert 0 <= (await queue.oldest_age() or -1) < 5

            [claim] = await queue.claim(5)
            assert (given.id, 1, payload, 3) == (claim.id, claim.attempt, claim.payload, claim.urgency)
            assert ("running", 1) == await state_of(queue, given.id)
            assert await queue.oldest_age() is None
            assert "cat" not in repr(claim)

            async with queue.completing(claim) as connection:
                assert [(1,)] == await (await connection.execute("SELECT 1")).fetchall()
                assert ("running", 1) == await state_of(queue, given.id)
            job = await queue.get(given.id)
            assert job is not None and job.finished_at is not None
            assert ("done", "w-1", None) == (job.state, job.worker, job.reason)

            assert [] == await queue.claim(5)
            assert [] == await queue.claim(0)
            assert await queue.get(uuid4()) is None
            await queue.close()

    asyncio.run(main())


def test_a_repeat_waits_for_nobody_who_has_the_job_locked(jobs_database: str) -> None:
    """
    An image that takes seconds to be stored makes no client wait that asks for the same, and a repeat writes nothing.
    """

    async def main() -> None:
        async with queue_at(jobs_database, timeout=1.0) as queue:
            first = await queue.enqueue(key(1), {})
            [claim] = await queue.claim(1)
            async with queue.completing(claim) as connection:
                cursor = await connection.execute("SELECT ctid::text FROM jobs WHERE id = %s", (first.id,))
                before = await cursor.fetchone()
                again = await queue.enqueue(key(1), {})
                assert (first.id, False) == (again.id, again.created)
                cursor = await connection.execute("SELECT ctid::text FROM jobs WHERE id = %s", (first.id,))
                assert before == await cursor.fetchone()

    asyncio.run(main())


def test_a_repeat_finds_the_job_and_changes_nothing(jobs_database: str) -> None:
    """
    A key is one job's, whatever has become of it: a repeat neither changes its payload nor its place, nor revives it.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            first = await queue.enqueue(key(1), {"n": 1})

            async def repeated() -> object:
                again = await queue.enqueue(key(1), {"n": 2}, urgency=9)
                assert (first.id, False) == (again.id, again.created)
                job = await queue.get(first.id)
                assert job is not None and 0 == job.urgency
                return job.state

            assert "queued" == await repeated()
            [claim] = await queue.claim(1)
            assert {"n": 1} == claim.payload
            assert "running" == await repeated()
            await queue.bury(claim, "no-image-url", "")
            assert "dead" == await repeated()
            assert [] == await queue.claim(1)

    asyncio.run(main())


def test_of_twenty_who_enqueue_at_once_one_creates(jobs_database: str) -> None:
    """
    Twenty producers with one key get one job, and one of them is told that it is new.
    """

    async def main() -> None:
        async with queue_at(jobs_database, size=8) as queue:
            found = await asyncio.gather(*(queue.enqueue(key(1), {}) for _ in range(20)))

            assert 1 == len({each.id for each in found})
            assert 1 == sum(each.created for each in found)

    asyncio.run(main())


def test_queues_do_not_see_each_other(jobs_database: str) -> None:
    """
    One table serves several queues: a key, a job and a claim of one are nothing to the other.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as one, queue_at(jobs_database) as other:
            mine = await one.enqueue(key(1), {})

            assert (await other.enqueue(key(1), {})).created
            assert await other.get(mine.id) is None
            assert 1 == len(await other.claim(5))
            assert 1 == (await one.counts())["queued"]

    asyncio.run(main())


def test_the_urgent_come_first_then_the_old(jobs_database: str) -> None:
    """
    A claim takes the most urgent, and of the equally urgent the oldest, and returns them in that order.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            for n, urgency in enumerate([0, 5, 9, 5, 0, 9]):
                await queue.enqueue(key(n), {"n": n}, urgency=urgency)

            assert [2, 5, 1, 3] == [claim.payload["n"] for claim in await queue.claim(4)]
            assert [0, 4] == [claim.payload["n"] for claim in await queue.claim(4)]

    asyncio.run(main())


def test_an_old_job_overtakes_the_urgent_that_come_later(jobs_database: str) -> None:
    """
    More than nine boosts after a job of urgency 0 the most urgent come too late to be served before it.
    """

    async def main() -> None:
        async with queue_at(jobs_database, boost=0.005) as queue:
            await queue.enqueue(key("old"), {"n": "old"})
            await queue.enqueue(key("soon"), {"n": "soon"}, urgency=9)
            await asyncio.sleep(9 * 0.005 + 0.01)
            await queue.enqueue(key("late"), {"n": "late"}, urgency=9)

            assert ["soon", "old", "late"] == [claim.payload["n"] for claim in await queue.claim(3)]

    asyncio.run(main())


def test_what_waits_for_its_time_is_not_taken(jobs_database: str) -> None:
    """
    Delayed and snoozed jobs are not claimed before their time, and are then, in the place that they had.
    """

    async def main() -> None:
        async with queue_at(jobs_database, boost=600) as queue:
            await queue.enqueue(key(1), {"n": 1}, delay=3600, urgency=9)
            await queue.enqueue(key(2), {"n": 2})
            await queue.enqueue(key(3), {"n": 3})
            [second] = await queue.claim(1)
            assert {"n": 2} == second.payload
            await queue.snooze(second, 3600)
            [third] = await queue.claim(5)
            assert {"n": 3} == third.payload
            assert [] == await queue.claim(5)
            await queue.snooze(third, 0)
            let_waits_end(jobs_database, queue)
            assert [(1, 1), (2, 1), (3, 1)] == [(each.payload["n"], each.attempt) for each in await queue.claim(5)]

    asyncio.run(main())


@each_end
def test_who_lost_the_lease_can_end_nothing(jobs_database: str, end: Ends) -> None:
    """
    A worker whose lease ran out and whose job another has taken is told so, however it ends it, and changes nothing.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            late = await one_claim(queue)
            let_leases_run_out(jobs_database, queue)
            assert 1 == await queue.reap()
            with pytest.raises(LeaseLostError, match=f"job {late.id} is not leased .* store nothing"):
                await end(queue, late)
            [second] = await queue.claim(1)
            with pytest.raises(LeaseLostError):
                await end(queue, late)

            with pytest.raises(LeaseLostError):
                async with queue.completing(late):
                    raise AssertionError("the block must not run")

            assert ("running", 2) == await state_of(queue, late.id)
            await complete(queue, second)
            for claim in (late, second):
                with pytest.raises(LeaseLostError):
                    await end(queue, claim)
            assert ("done", 2) == await state_of(queue, late.id)

    asyncio.run(main())


def test_the_error_of_a_lost_lease_is_the_callers(jobs_database: str) -> None:
    """
    Workers catch the class of their ports, which the queue does not know: it is handed in.
    """

    async def main() -> None:
        async with queue_at(jobs_database, lease_lost=ports.LeaseLostError) as queue:
            claim = await one_claim(queue)
            await queue.bury(claim, "why", "")
            with pytest.raises(ports.LeaseLostError, match="not leased"):
                async with queue.completing(claim):
                    raise AssertionError("the block must not run")

    asyncio.run(main())


@each_end
def test_a_lease_that_ran_out_still_holds_until_it_is_reaped(jobs_database: str, end: Ends) -> None:
    """
    Late is not lost: the paid work of a slow worker counts as long as nobody else has begun.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            claim = await one_claim(queue)
            let_leases_run_out(jobs_database, queue)
            await end(queue, claim)

            assert 0 == await queue.reap()
            assert "running" != (await state_of(queue, claim.id))[0]

    asyncio.run(main())


def test_heartbeats_keep_leases_and_name_the_lost(jobs_database: str) -> None:
    """
    One heartbeat prolongs every lease that is still held, and returns the claims that are not.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            for n in range(4):
                await queue.enqueue(key(n), {})
            held, ended, lost, idle = await queue.claim(4)
            await complete(queue, ended)
            await queue.fail(lost, "boom", "")
            let_leases_run_out(jobs_database, queue)

            assert [ended, lost] == await queue.heartbeat([held, ended, lost])
            assert [] == await queue.heartbeat([])
            assert 1 == await queue.reap()
            assert [idle] == await queue.heartbeat([idle, held])
            assert ("running", 1) == await state_of(queue, held.id)

    asyncio.run(main())


def test_a_heartbeat_waits_for_no_completion(jobs_database: str) -> None:
    """
    A job that is being completed is locked, and the heartbeat of its worker's other jobs goes on meanwhile.
    """

    async def main() -> None:
        async with queue_at(jobs_database, timeout=1.0) as queue:
            for n in range(2):
                await queue.enqueue(key(n), {})
            slow, other = await queue.claim(2)
            async with queue.completing(slow):
                assert [] == await queue.heartbeat([slow, other])

    asyncio.run(main())


def test_failures_back_off_and_end_as_a_dead_letter(jobs_database: str) -> None:
    """
    A failed job waits between nothing and base x 2 ** (n - 1), at most the cap, on top of what the provider asked for;
    after its last attempt it is dead, and its detail tells the last reason.
    """

    async def main() -> None:
        async with queue_at(jobs_database, max_attempts=5, backoff_base=100.0, backoff_cap=300.0) as queue:
            waits: list[float] = []
            given = await queue.enqueue(key(1), {})
            for attempt, most in enumerate([100.0, 200.0, 300.0, 300.0], start=1):
                [claim] = await queue.claim(1)
                assert attempt == claim.attempt
                assert "queued" == await queue.fail(claim, "boom", "it broke", 1000.0)
                job = await queue.get(given.id)
                assert job is not None and job.heartbeat_at is not None
                waits.append((job.run_at - job.heartbeat_at).total_seconds() - 1000.0)
                assert 0 <= waits[-1] <= most + 1
                assert ("boom", "it broke") == (job.reason, job.detail)
                assert [] == await queue.claim(1)
                let_waits_end(jobs_database, queue)
            assert 4 == len(set(waits))

            [claim] = await queue.claim(1)
            assert "dead" == await queue.fail(claim, "boom", "nul\0 and half \ud83d, " + 9000 * "x")
            job = await queue.get(given.id)
            assert job is not None and job.detail is not None
            assert ("dead", "attempts-exhausted") == (job.state, job.reason)
            assert job.detail.startswith("boom: nul\ufffd and half ?, xxx") and len(job.detail) < 2100
            assert [] == await queue.claim(1)

    asyncio.run(main())


def test_snoozing_costs_no_attempt(jobs_database: str) -> None:
    """
    A job with a single attempt may be given back as often as one likes.
    """

    async def main() -> None:
        async with queue_at(jobs_database, max_attempts=1) as queue:
            claim = await one_claim(queue)
            for _ in range(3):
                await queue.snooze(claim, 0)
                [claim] = await queue.claim(1)
                assert 1 == claim.attempt
            assert "dead" == await queue.fail(claim, "boom", "")

    asyncio.run(main())


def test_the_dead_stay_dead_until_an_operator_says_otherwise(jobs_database: str) -> None:
    """
    Nothing takes a dead letter out but `requeue`, which gives it all its attempts anew and takes nothing else.
    """

    async def main() -> None:
        async with queue_at(jobs_database, max_attempts=1) as queue:
            claim = await one_claim(queue)
            assert not await queue.requeue(claim.id)
            await queue.bury(claim, "no-image-url", "the answer had none")
            job = await queue.get(claim.id)
            assert job is not None
            assert ("dead", "no-image-url", "the answer had none") == (job.state, job.reason, job.detail)
            assert (0, [], 1) == (await queue.reap(), await queue.claim(1), (await queue.counts())["dead"])

            assert not await queue.requeue(uuid4())
            assert await queue.requeue(claim.id)
            assert not await queue.requeue(claim.id)
            assert ("queued", 0) == await state_of(queue, claim.id)
            [again] = await queue.claim(1)
            await complete(queue, again)
            assert not await queue.requeue(claim.id)

    asyncio.run(main())


def test_the_reaper_gives_back_and_buries(jobs_database: str) -> None:
    """
    The job of a dead worker is queued again while it has attempts left, and is a dead letter "worker-died" after them.
    """

    async def main() -> None:
        async with queue_at(jobs_database, max_attempts=2, worker="w-9") as queue:
            claim = await one_claim(queue)
            assert 0 == await queue.reap()
            let_leases_run_out(jobs_database, queue)
            assert (1, 0) == (await queue.reap(), await queue.reap())
            assert ("queued", 1) == await state_of(queue, claim.id)

            await queue.claim(1)
            let_leases_run_out(jobs_database, queue)
            dead = list[UUID]()
            assert (1, [claim.id]) == (await queue.reap(dead.append), dead)
            job = await queue.get(claim.id)
            assert job is not None and job.detail is not None
            assert ("dead", 2, "worker-died") == (job.state, job.attempts, job.reason)
            assert "worker w-9 was last heard of at" in job.detail

    asyncio.run(main())


def test_reapers_share_the_work(jobs_database: str) -> None:
    """
    Five reapers at once find each expired lease once.
    """

    async def main() -> None:
        async with queue_at(jobs_database, size=5) as queue:
            await asyncio.gather(*(queue.enqueue(key(n), {}) for n in range(50)))
            assert 50 == len(await queue.claim(100))
            let_leases_run_out(jobs_database, queue)

            assert 50 == sum(await asyncio.gather(*(queue.reap() for _ in range(5))))

    asyncio.run(main())


def test_the_reaper_leaves_alone_what_is_being_completed(jobs_database: str) -> None:
    """
    Who has passed the fence completes, also when the lease runs out in the middle of it.
    """

    async def main() -> None:
        async with queue_at(jobs_database, lease=0.001) as queue:
            claim = await one_claim(queue)
            async with queue.completing(claim):
                await asyncio.sleep(0.01)
                assert 0 == await queue.reap()
            assert ("done", 1) == await state_of(queue, claim.id)

    asyncio.run(main())


def test_work_and_end_are_stored_together_or_not_at_all(jobs_database: str) -> None:
    """
    What the block stores is gone when it raises, and when its own error made the transaction one that cannot commit,
    even if it swallowed that; the claim holds all the while.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            claim = await one_claim(queue)
            other = "UPDATE jobs SET worker = 'stored' WHERE id = %s"

            with pytest.raises(ZeroDivisionError):
                async with queue.completing(claim) as connection:
                    await connection.execute(other, (claim.id,))
                    raise ZeroDivisionError
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                async with queue.completing(claim) as connection:
                    await connection.execute(other, (claim.id,))
                    with pytest.raises(psycopg.errors.DivisionByZero):
                        await connection.execute("SELECT 1 / 0")

            job = await queue.get(claim.id)
            assert job is not None and ("running", "anonymous") == (job.state, job.worker)
            async with queue.completing(claim) as connection:
                await connection.execute(other, (claim.id,))
            job = await queue.get(claim.id)
            assert job is not None and ("done", "stored") == (job.state, job.worker)

    asyncio.run(main())


def test_a_block_that_never_ends_holds_the_job_no_longer_than_the_timeout(jobs_database: str) -> None:
    """
    The server ends a transaction in which nothing happens, so that the job is the reaper's again.
    """

    async def main() -> None:
        async with queue_at(jobs_database, lease=0.01, timeout=0.15) as queue:
            claim = await one_claim(queue)
            with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
                async with queue.completing(claim):
                    await asyncio.sleep(0.25)
                    assert 1 == await queue.reap()
            assert ("queued", 1) == await state_of(queue, claim.id)

    asyncio.run(main())


def test_twenty_pollers_claim_each_job_once(jobs_database: str) -> None:
    """
    Twenty pollers at once over 200 jobs: each job is claimed once, no claim is larger than its limit, none is left.
    """

    async def main() -> None:
        async with queue_at(jobs_database, size=20) as queue:
            await asyncio.gather(*(queue.enqueue(key(n), {}) for n in range(200)))
            taken: list[UUID] = []

            async def poller(limit: int) -> None:
                misses = 0
                while misses < 3:
                    claims = await queue.claim(limit)
                    assert len(claims) <= limit
                    misses = 0 if claims else misses + 1
                    taken.extend(claim.id for claim in claims)

            await asyncio.gather(*(poller(1 + n % 5) for n in range(20)))

            assert (200, 200) == (len(taken), len(set(taken)))

    asyncio.run(main())


@pytest.mark.parametrize(
    "plan",
    [
        "",
        "enable_indexscan=off -c enable_bitmapscan=off -c enable_indexonlyscan=off",
        "enable_seqscan=off",
        "enable_nestloop=off",
        "enable_hashjoin=off -c enable_mergejoin=off -c enable_material=off",
        "plan_cache_mode=force_generic_plan",
    ],
)
def test_no_plan_claims_more_than_the_limit(jobs_database: str, plan: str) -> None:
    """
    Whatever plan the server chooses, a claim takes its limit and the most urgent, and a reaper what has run out.
    """

    async def main() -> None:
        async with opened(jobs_database, options=f"-c {plan}" if plan else "") as pool:
            queue = PostgresQueue(pool, new_name())
            for n in range(10):
                await queue.enqueue(key(n), {"n": n}, urgency=n)
            for expected in ([9, 8, 7], [6, 5, 4], [3, 2, 1], [0], []):
                assert expected == [claim.payload["n"] for claim in await queue.claim(3)]
            let_leases_run_out(jobs_database, queue)
            assert 10 == await queue.reap()
            claims = await queue.claim(5)
            assert [] == await queue.heartbeat(claims)
            assert {"queued": 5, "running": 5, "done": 0, "dead": 0} == await queue.counts()

    asyncio.run(main())


def test_what_takes_too_long_is_cancelled_at_the_server(jobs_database: str) -> None:
    """
    A statement that waits behind a lock is given up after the timeout, and no longer waits at the server either.
    """

    async def main() -> None:
        async with queue_at(jobs_database, timeout=0.1) as queue:
            async with await psycopg.AsyncConnection.connect(jobs_database) as blocker:
                await blocker.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
                with pytest.raises(TimeoutError, match=r"enqueue did not end within 0.1 s; whether it took effect"):
                    await queue.enqueue(key(1), {})
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(waiting_for_a_lock(blocker), 0.02)
            assert (await queue.enqueue(key(1), {})).created

    asyncio.run(main())


@pytest.mark.parametrize(
    "change",
    [
        "state = 'lost'",
        "urgency = 10",
        "urgency = -1",
        "key = 'short'",
        "payload = '[]'",
        "state = 'running'",
        "state = 'done'",
        "state = 'dead', finished_at = now()",
        "state = 'dead', finished_at = now(), reason = ' ', ready = false",
        "token = gen_random_uuid()",
        "lease_until = now()",
        "attempts = -1",
        "attempts = max_attempts",
        "finished_at = now()",
        "state = 'done', finished_at = now()",
    ],
)
def test_the_database_refuses_what_cannot_be(jobs_database: str, change: str) -> None:
    """
    A state and its columns belong together, whoever writes.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            job: Any = await queue.enqueue(key(1), {})
            async with await psycopg.AsyncConnection.connect(jobs_database) as connection:
                with pytest.raises(psycopg.errors.CheckViolation):
                    await connection.execute(f"UPDATE jobs SET {change} WHERE id = %s".encode(), (job.id,))

    asyncio.run(main())
