"""
Queues to test with: each has a name of its own in the one table.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool

from examples.images.queue import PostgresQueue

_numbers = itertools.count(1)


def key(of: object) -> bytes:
    """
    Make an idempotency key.
    """
    return hashlib.sha256(repr(of).encode()).digest()


def new_name() -> str:
    return f"queue-{next(_numbers)}"


@contextlib.asynccontextmanager
async def opened(url: str, *, size: int = 4, autocommit: bool = True, options: str = "") -> AsyncIterator[Any]:
    """
    Open a pool.
    """
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        url, min_size=1, max_size=size, open=False, kwargs={"autocommit": autocommit, "options": options}
    )
    async with pool:
        yield pool


@contextlib.asynccontextmanager
async def queue_at(url: str, *, size: int = 4, **settings: Any) -> AsyncIterator[PostgresQueue]:
    """
    Open an empty queue, with a pool of its own.
    """
    async with opened(url, size=size) as pool:
        queue = PostgresQueue(pool, new_name(), **settings)
        try:
            yield queue
        finally:
            await queue.close()


def let_leases_run_out(url: str, queue: PostgresQueue) -> None:
    """
    Let an hour pass for the leases.
    """
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE jobs SET lease_until = lease_until - %s WHERE queue = %s AND state = 'running'",
            (timedelta(hours=1), queue.name),
        )


def let_waits_end(url: str, queue: PostgresQueue) -> None:
    """
    Let two hours pass for the jobs that wait for their time.
    """
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE jobs SET run_at = run_at - %s WHERE queue = %s AND state = 'queued' AND NOT ready",
            (timedelta(hours=2), queue.name),
        )


async def waiting_for_a_lock(connection: psycopg.AsyncConnection[Any], but: int = 0) -> list[int]:
    """
    Wait until a statement waits for a lock; returns the process ids of those that do.
    """
    while True:
        cursor = await connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        found = [pid for (pid,) in await cursor.fetchall() if pid != but]
        if found:
            return found
        await asyncio.sleep(0.002)


async def state_of(queue: PostgresQueue, job_id: UUID) -> tuple[str, int]:
    """
    Tell a job's state, and its attempts.
    """
    job = await queue.get(job_id)
    assert job is not None
    return job.state, job.attempts
