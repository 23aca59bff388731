"""
What the queue's statements cost: none that is run often reads the table, and a heartbeat writes to no index.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

psycopg = pytest.importorskip("psycopg")

from examples.images.queue import statements  # noqa: E402  # After psycopg is found.
from examples.images.start.postgres import Postgres  # noqa: E402  # After what it needs is found.
from tests.examples.images.conftest import QUEUE_MIGRATIONS  # noqa: E402  # After what it needs is found.
from tests.examples.images.queues import key, let_leases_run_out, queue_at  # noqa: E402

OFTEN = {
    "claim": statements.claim(4),
    "promote": statements.PROMOTE,
    "heartbeat": statements.HEARTBEAT,
    "fence": statements.FENCE,
    "done": statements.DONE,
    "fail": statements.FAIL,
    "bury": statements.BURY,
    "snooze": statements.SNOOZE,
    "reap": statements.REAP,
    "get": statements.GET,
    "oldest_age": statements.OLDEST_AGE,
}
_ID = uuid.uuid4()
PARAMETERS: dict[str, Any] = {
    "queue": "images",
    "limit": 4,
    "batch": 1000,
    "worker": "w",
    "promoted": False,
    "lease": 30.0,
    "id": _ID,
    "token": _ID,
    "ids": [_ID],
    "tokens": [_ID],
    "timeout_ms": "5000",
    "reason": "why",
    "detail": "what",
    "retry_after": 0.0,
    "backoff_base": 2.0,
    "backoff_cap": 300.0,
    "boost": 60.0,
    "seconds": 0.0,
}


@pytest.fixture(scope="module")
def full_table(postgres: Postgres) -> str:
    """
    The URL of a database with 20,000 jobs, most of them done.
    """
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE full_table")
    url = postgres.url.removesuffix("/postgres") + "/full_table"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute((QUEUE_MIGRATIONS / "0001_jobs.sql").read_bytes())
        connection.execute(
            """
            INSERT INTO jobs (queue, key, payload, urgency, max_attempts, run_at, ready, rank, state, finished_at)
            SELECT 'images', sha256(n::text::bytea), '{}', n % 10, 5, at, state = 'queued' AND n % 4 > 0,
                at - make_interval(secs => 60 * (n % 10)), state, CASE WHEN state = 'done' THEN at END
            FROM generate_series(1, 20000) AS n,
                LATERAL (SELECT now() - make_interval(secs => n) AS at,
                    CASE WHEN n % 4 < 3 THEN 'done' ELSE 'queued' END AS state)
            """
        )
        connection.execute("UPDATE jobs SET ready = false WHERE state = 'queued' AND urgency > 6")
        connection.execute("ANALYZE jobs")
    return url


@pytest.mark.parametrize("name", OFTEN)
def test_what_is_run_often_finds_its_rows_by_an_index(full_table: str, name: str) -> None:
    """
    It reads neither the table, whose done jobs grow for ever, nor the index that has all of them in it.
    """
    with psycopg.connect(full_table, cursor_factory=psycopg.ClientCursor) as connection:
        plan = connection.execute(b"EXPLAIN " + OFTEN[name], PARAMETERS).fetchall()

    told = "\n".join(line for (line,) in plan)
    assert "Scan" in told and "Seq Scan" not in told and "jobs_key_once" not in told, told


def test_a_heartbeat_writes_to_no_index(jobs_database: str) -> None:
    """
    It comes several times in the life of a job, and stays on the row's page (HOT): no index grows by it.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            await queue.enqueue(key(1), {})
            [claim] = await queue.claim(1)
            with psycopg.connect(jobs_database) as connection:
                given = {**PARAMETERS, "queue": queue.name, "ids": [claim.id], "tokens": [claim.token]}
                for _ in range(3):
                    connection.execute(statements.HEARTBEAT, given)
                counted = connection.execute(
                    "SELECT pg_stat_get_xact_tuples_updated(t), pg_stat_get_xact_tuples_hot_updated(t)"
                    " FROM CAST('jobs' AS regclass) AS t"
                ).fetchone()
        assert (3, 3) == counted

    asyncio.run(main())


def test_the_oldest_is_found_whatever_its_rank(jobs_database: str) -> None:
    """
    Behind an urgent one that came later, given back, to be taken later, or held by a worker: as all rows tell.
    """

    async def main() -> None:
        async with queue_at(jobs_database, lease=60.0) as queue:

            def age_of_the_oldest(*ages: float) -> Any:
                with psycopg.connect(jobs_database) as connection:
                    for number, seconds in enumerate(ages):
                        connection.execute(
                            "UPDATE jobs SET run_at = run_at - make_interval(secs => %s),"
                            " rank = rank - make_interval(secs => %s) WHERE queue = %s AND key = %s",
                            (seconds, seconds, queue.name, key(number)),
                        )
                return queue.oldest_age()

            await queue.enqueue(key(0), {}, urgency=0)
            await queue.enqueue(key(1), {}, urgency=9)
            await queue.enqueue(key(2), {}, urgency=5)
            assert await age_of_the_oldest(400, 0, 50) == pytest.approx(400, abs=5)
            [urgent] = await queue.claim(1)
            assert await queue.oldest_age() == pytest.approx(400, abs=5)
            await queue.snooze(urgent, 1000)
            assert await queue.oldest_age() == pytest.approx(400, abs=5)
            # Its time has come, and nobody has looked since.
            assert await age_of_the_oldest(0, 1900, 0) == pytest.approx(900, abs=5)
            claims = await queue.claim(3)
            assert 3 == len(claims) and await queue.oldest_age() is None
            let_leases_run_out(jobs_database, queue)
            await queue.reap()
            assert await queue.oldest_age() == pytest.approx(900, abs=5)

    asyncio.run(main())
