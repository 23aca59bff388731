"""
The queue when what it stands on breaks in the middle: nothing is lost, and the next call works.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest

from examples.images.queue import Claim, PostgresQueue
from tests.examples.images.queues import key, let_leases_run_out, queue_at, state_of, waiting_for_a_lock

Call = Callable[[PostgresQueue, Claim], Awaitable[object]]


async def complete(queue: PostgresQueue, claim: Claim) -> None:
    async with queue.completing(claim):
        pass


CALLS: dict[str, Call] = {
    "enqueue": lambda queue, claim: queue.enqueue(key("new"), {}),
    "claim": lambda queue, claim: queue.claim(5),
    "heartbeat": lambda queue, claim: queue.heartbeat([claim]),
    "complete": complete,
    "fail": lambda queue, claim: queue.fail(claim, "boom", ""),
    "bury": lambda queue, claim: queue.bury(claim, "boom", ""),
    "snooze": lambda queue, claim: queue.snooze(claim, 0),
    "reap": lambda queue, claim: queue.reap(),
    "requeue": lambda queue, claim: queue.requeue(claim.id),
    "get": lambda queue, claim: queue.get(claim.id),
    "counts": lambda queue, claim: queue.counts(),
    "oldest_age": lambda queue, claim: queue.oldest_age(),
}

each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@contextlib.asynccontextmanager
async def table_locked(url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """
    Let every statement on the table wait, as long as the block lasts.
    """
    async with await psycopg.AsyncConnection.connect(url) as blocker:
        await blocker.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        yield blocker


def all_given_back(queue: PostgresQueue) -> bool:
    stats = queue._database.pool.get_stats()
    return stats["pool_available"] == stats["pool_size"] and not stats.get("requests_waiting", 0)


async def eventually(true: Callable[[], bool]) -> None:
    async def until() -> None:
        while not true():
            await asyncio.sleep(0.002)

    await asyncio.wait_for(until(), 5)


@each_call
def test_a_connection_that_drops_in_a_statement_loses_nothing(jobs_database: str, call: Call) -> None:
    """
    The statement's connection is cut while it runs: the caller hears of it, the jobs are as they were, and the next
    call works over another connection.
    """

    async def main() -> None:
        async with queue_at(jobs_database, lease=3600) as queue:
            await queue.enqueue(key(1), {})
            [claim] = await queue.claim(1)
            waiting = await queue.enqueue(key(2), {})
            async with table_locked(jobs_database) as blocker:
                called = asyncio.ensure_future(call(queue, claim))
                for pid in await asyncio.wait_for(waiting_for_a_lock(blocker), 5):
                    await blocker.execute("SELECT pg_terminate_backend(%s)", (pid,))
                with pytest.raises(psycopg.OperationalError):
                    await called

            assert ("running", 1) == await state_of(queue, claim.id)
            assert ("queued", 0) == await state_of(queue, waiting.id)
            assert 2 == sum((await queue.counts()).values())
            await call(queue, claim)
            await eventually(lambda: all_given_back(queue))

    asyncio.run(main())


def test_a_connection_that_drops_before_done_rolls_back(jobs_database: str) -> None:
    """
    The connection is cut in the block: nothing of it is stored, the claim holds, and completing works when tried again.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            await queue.enqueue(key(1), {})
            [claim] = await queue.claim(1)
            with pytest.raises(psycopg.OperationalError):
                async with queue.completing(claim) as connection:
                    await connection.execute("UPDATE jobs SET worker = 'stored' WHERE id = %s", (claim.id,))
                    async with await psycopg.AsyncConnection.connect(jobs_database) as other:
                        await other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))

            job = await queue.get(claim.id)
            assert job is not None and ("running", "anonymous") == (job.state, job.worker)
            await complete(queue, claim)
            assert ("done", 1) == await state_of(queue, claim.id)

    asyncio.run(main())


def test_a_connection_that_drops_in_commit_stores_all_or_nothing(jobs_database: str) -> None:
    """
    COMMIT itself is cut, held up by a deferred trigger: the caller hears of it, and the job and what was stored for it
    are both as before.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            async with await psycopg.AsyncConnection.connect(jobs_database, autocommit=True) as other:
                await other.execute("""
                    CREATE TABLE slow_to_commit (job_id uuid);
                    CREATE FUNCTION wait_for_lock_7() RETURNS trigger LANGUAGE plpgsql
                        AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';
                    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow_to_commit
                        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_lock_7()
                """)
                await other.execute("SELECT pg_advisory_lock(7)")
                await queue.enqueue(key(1), {})
                [claim] = await queue.claim(1)

                async def store() -> None:
                    async with queue.completing(claim) as connection:
                        await connection.execute("INSERT INTO slow_to_commit VALUES (%s)", (claim.id,))

                storing = asyncio.ensure_future(store())
                for pid in await asyncio.wait_for(waiting_for_a_lock(other), 5):
                    await other.execute("SELECT pg_terminate_backend(%s)", (pid,))
                with pytest.raises(psycopg.OperationalError):
                    await storing
                await other.execute("SELECT pg_advisory_unlock(7)")

                assert ("running", 1) == await state_of(queue, claim.id)
                await store()
                found = await (await other.execute("SELECT job_id FROM slow_to_commit")).fetchall()
                assert [(claim.id,)] == found
            assert ("done", 1) == await state_of(queue, claim.id)

    asyncio.run(main())


@each_call
def test_a_cancelled_statement_gives_its_connection_back(jobs_database: str, call: Call) -> None:
    """
    Cancelled while its statement waits at the server, a call ends at once, its statement too, and nothing has changed.
    """

    async def main() -> None:
        async with queue_at(jobs_database, lease=3600) as queue:
            await queue.enqueue(key(1), {})
            [claim] = await queue.claim(1)
            waiting = await queue.enqueue(key(2), {})
            async with table_locked(jobs_database) as blocker:
                called = asyncio.ensure_future(call(queue, claim))
                await asyncio.wait_for(waiting_for_a_lock(blocker), 5)
                called.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(called, 1)
            # A claim goes on in the background, and gives back what it got.
            await queue.close()

            await eventually(lambda: all_given_back(queue))
            assert ("running", 1) == await state_of(queue, claim.id)
            assert ("queued", 0) == await state_of(queue, waiting.id)
            assert 2 == sum((await queue.counts()).values())

    asyncio.run(main())


@each_call
def test_a_call_cancelled_for_want_of_a_connection_changes_nothing(jobs_database: str, call: Call) -> None:
    """
    Cancelled while it waits for a connection of the pool, a call leaves the pool as it was.
    """

    async def main() -> None:
        async with queue_at(jobs_database, size=1) as queue:
            await queue.enqueue(key(1), {})
            [claim] = await queue.claim(1)
            async with queue._database.pool.connection():
                called = asyncio.ensure_future(call(queue, claim))
                await asyncio.sleep(0.01)
                called.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(called, 1)
            await queue.close()

            await eventually(lambda: all_given_back(queue))
            assert ("running", 1) == await state_of(queue, claim.id)

    asyncio.run(main())


@pytest.mark.parametrize("call", [CALLS["claim"], CALLS["complete"], CALLS["fail"]], ids=["claim", "complete", "fail"])
def test_cancelled_anywhere_nothing_is_lost(jobs_database: str, call: Call) -> None:
    """
    Cancelled after any number of turns of the loop, from none until it ends by itself, a call gives its connection
    back, and its job is either as it was or as it should be after the call.
    """

    at_once: dict[str, Any] = {"backoff_base": 1e-6, "backoff_cap": 1e-6, "max_attempts": 1000}

    async def sweep() -> int:
        async with queue_at(jobs_database, size=1, lease=3600, **at_once) as queue:
            given = await queue.enqueue(key(1), {})
            turns, ended = 0, False
            while not ended:
                claim = None
                if call is not CALLS["claim"]:
                    [claim] = await queue.claim(1)
                called = asyncio.ensure_future(call(queue, claim))  # type: ignore[arg-type]
                for _ in range(turns):
                    await asyncio.sleep(0)
                ended = called.done()
                called.cancel()
                await asyncio.wait([called])
                # No cancel is swallowed: not even one that comes in the tick in which the answer does.
                assert ended or called.cancelled()
                await queue.close()
                assert all_given_back(queue)

                state, _ = await state_of(queue, given.id)
                assert state in {"running", "queued", "done"}
                if not ended and call is CALLS["claim"]:
                    assert ("queued", 0) == await state_of(queue, given.id)
                turns += 1 + turns // 20
                if state == "done":
                    given = await queue.enqueue(key((1, turns)), {})
                elif state == "running" and claim is not None:
                    await queue.snooze(claim, 0)
            return turns

    async def main() -> None:
        # Where this process has to wait for a core, the server has answered after fewer turns.
        for _ in range(5):
            if await sweep() > 10:
                return
        raise AssertionError("it never took more than 10 turns")

    asyncio.run(main())


def test_the_queue_goes_on_when_all_its_connections_are_cut(jobs_database: str) -> None:
    """
    As after a restart of the server: each dead connection of the pool costs one call, and then all is well.
    """

    async def main() -> None:
        async with queue_at(jobs_database, size=3) as queue:
            await queue.enqueue(key(1), {})
            [claim] = await queue.claim(1)
            await asyncio.gather(*(queue.counts() for _ in range(9)))
            async with await psycopg.AsyncConnection.connect(jobs_database) as other:
                await other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            failures = 0
            while True:
                try:
                    await complete(queue, claim)
                    break
                except psycopg.OperationalError:
                    failures += 1

            assert failures <= 3
            let_leases_run_out(jobs_database, queue)
            assert 0 == await queue.reap()
            assert ("done", 1) == await state_of(queue, claim.id)

    asyncio.run(main())
