"""
How waiters hear of a job, and what they do while nobody can tell them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from examples.images.queue import PostgresQueue, statements
from tests.examples.images.queues import key, let_leases_run_out, new_name, opened, queue_at


async def settled(queue: PostgresQueue) -> None:
    """
    Wait until the queue listens and has looked at all that it heard.
    """
    await queue.wait(5)
    await queue.claim(100)


async def seconds_until_told(queue: PostgresQueue, *, at_most: float = 5.0) -> tuple[bool, float]:
    begun = time.monotonic()
    told = await queue.wait(at_most)
    return told, time.monotonic() - begun


def test_all_that_makes_a_job_ready_wakes_the_waiters(jobs_database: str) -> None:
    """
    A new job, one that is given back, one that is requeued and one that is reaped wake each waiter at once.
    """

    async def main() -> None:
        async with queue_at(jobs_database, max_attempts=2) as queue:
            await settled(queue)

            async def wakes(doing: Any) -> None:
                waiters = [asyncio.ensure_future(seconds_until_told(queue)) for _ in range(3)]
                await asyncio.sleep(0.005)
                await doing
                assert all(told and took < 2 for told, took in await asyncio.gather(*waiters))

            await wakes(queue.enqueue(key(1), {}))
            [claim] = await queue.claim(1)
            await queue.claim(1)
            await wakes(queue.snooze(claim, 0))
            [claim] = await queue.claim(1)
            await queue.claim(1)
            let_leases_run_out(jobs_database, queue)
            await wakes(queue.reap())
            [claim] = await queue.claim(1)
            await queue.claim(1)
            await queue.bury(claim, "boom", "")
            await wakes(queue.requeue(claim.id))

    asyncio.run(main())


def test_nothing_to_take_wakes_nobody(jobs_database: str) -> None:
    """
    A repeat, a job for later and a job of another queue are no reason to look.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue, queue_at(jobs_database) as other:
            given = await queue.enqueue(key(1), {})
            async with await psycopg.AsyncConnection.connect(jobs_database) as blocker:
                await blocker.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", (given.id,))
                await settled(queue)
            waiter = asyncio.ensure_future(seconds_until_told(queue, at_most=0.15))
            await asyncio.sleep(0.01)
            assert not (await queue.enqueue(key(1), {})).created
            await queue.enqueue(key(2), {}, delay=100)
            await other.enqueue(key(1), {})

            told, took = await waiter
            assert not told
            assert 0.14 <= took < 2

    asyncio.run(main())


def test_who_enqueues_the_same_at_once_hides_it_from_no_waiter(jobs_database: str) -> None:
    """
    The second of two has the row locked while a claim looks, which passes it over: the waiter is told once it is free.
    """

    async def main() -> None:
        async with (
            queue_at(jobs_database) as queue,
            await psycopg.AsyncConnection.connect(jobs_database) as first,
            await psycopg.AsyncConnection.connect(jobs_database) as second,
        ):
            await settled(queue)
            job = {"queue": queue.name, "key": key(1), "payload": "{}"}
            values: dict[str, Any] = {**job, "urgency": 0, "max_attempts": 5, "delay": 0.0, "boost": 60.0}
            await first.execute(statements.ENQUEUE, values)
            enqueuing = asyncio.ensure_future(second.execute(statements.ENQUEUE, values))
            await asyncio.sleep(0.05)
            await first.commit()
            await enqueuing
            assert await queue.wait(5)
            assert [] == await queue.claim(1)

            await second.commit()
            assert await queue.wait(2)
            assert 1 == len(await queue.claim(1))

    asyncio.run(main())


def test_what_was_said_between_claim_and_wait_is_not_missed(jobs_database: str) -> None:
    """
    A job that comes after an empty claim and before the wait ends the wait at once.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            await settled(queue)
            assert [] == await queue.claim(1)
            await queue.enqueue(key(1), {})
            await asyncio.sleep(0.05)

            assert await queue.wait(0)
            assert 1 == len(await queue.claim(1))
            assert await queue.wait(0), "the claim was full: there may be more"
            assert [] == await queue.claim(1)
            assert not await queue.wait(0)

    asyncio.run(main())


def test_what_was_said_during_a_claim_is_not_missed(jobs_database: str) -> None:
    """
    A job that is announced after the claim has looked, and before it returns, ends the wait that follows.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            await settled(queue)
            connected = queue._database.connected

            async def connected_then_told(doing: str, work: Any) -> Any:
                found = await connected(doing, work)
                queue._listener._tell()
                return found

            queue._database.connected = connected_then_told  # type: ignore[method-assign]  # Of this one only.
            assert [] == await queue.claim(1)
            assert await queue.wait(0)

    asyncio.run(main())


def test_one_connection_serves_all_waiters_and_is_not_the_pools(jobs_database: str) -> None:
    """
    Twenty waiters over a pool of one connection leave it free, and listen over one more.
    """

    async def main() -> None:
        async with queue_at(jobs_database, size=1) as queue:
            waiters = [asyncio.ensure_future(queue.wait(5)) for _ in range(20)]
            assert all(await asyncio.gather(*waiters))
            await queue.claim(1)
            waiters = [asyncio.ensure_future(queue.wait(0.05)) for _ in range(20)]
            async with await psycopg.AsyncConnection.connect(jobs_database) as other:
                cursor = await other.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
                )
                assert (1,) == await cursor.fetchone()
            await queue.enqueue(key(1), {})
            await asyncio.gather(*waiters)

    asyncio.run(main())


def test_a_lost_connection_is_told_once_and_made_again(jobs_database: str, caplog: pytest.LogCaptureFixture) -> None:
    """
    When the listening connection is cut, waiting raises nothing, one line says so and one that it is back; what came
    meanwhile is heard of.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            await settled(queue)
            waiter = asyncio.ensure_future(seconds_until_told(queue))
            async with await psycopg.AsyncConnection.connect(jobs_database) as other:
                await other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
                )
            told, took = await waiter
            assert told and took < 3
            await queue.claim(1)
            waiter = asyncio.ensure_future(seconds_until_told(queue))
            await asyncio.sleep(0.005)
            await queue.enqueue(key(1), {})
            assert (await waiter)[0]

    with caplog.at_level(logging.INFO, "examples.images.queue"):
        asyncio.run(main())
    assert 2 == len(caplog.messages), caplog.messages
    assert "polls until it can listen again" in caplog.messages[0] and "\n" not in caplog.messages[0]
    assert "listens again, after 1 failures" in caplog.messages[1]


def test_without_a_server_waiting_is_sleeping(caplog: pytest.LogCaptureFixture) -> None:
    """
    Where nobody answers, a wait ends after its time with False, again and again, and the log has one line for all.
    """

    async def main() -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            pool: AsyncConnectionPool[Any] = AsyncConnectionPool(f"postgresql://x@127.0.0.1:{port}/x", open=False)
            queue = PostgresQueue(pool, new_name())
            for _ in range(5):
                told, took = await seconds_until_told(queue, at_most=0.05)
                assert not told
                assert 0.045 <= took < 1
            await queue.close()
            await queue.close()
            assert not await queue.wait(0.01)

    with caplog.at_level(logging.INFO, "examples.images.queue"):
        asyncio.run(main())
    assert 1 == len(caplog.messages), caplog.messages


def test_a_pool_may_be_told_where_to_connect_by_a_function(jobs_database: str) -> None:
    """
    Pools take their address from a function too, for passwords that change; so does the listening connection.
    """

    async def where() -> str:
        return jobs_database

    async def main() -> None:
        async with AsyncConnectionPool(where, open=False, min_size=1) as pool:
            queue = PostgresQueue(pool, new_name())
            assert await queue.wait(5)
            await queue.close()

    asyncio.run(main())


def test_a_cancelled_wait_leaves_the_others_alone(jobs_database: str) -> None:
    """
    One waiter that is cancelled ends, and the next job still wakes the other.
    """

    async def main() -> None:
        async with opened(jobs_database) as pool:
            queue = PostgresQueue(pool, new_name())
            await settled(queue)
            one, other = (asyncio.ensure_future(queue.wait(5)) for _ in range(2))
            await asyncio.sleep(0.005)
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
            await queue.enqueue(key(1), {})
            assert await other
            await queue.close()

    asyncio.run(main())
