"""
Workers say how they are, and the API, another process, reads it; probes have a lane of their own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from examples.images.board.health import PostgresBoard
from examples.images.board.probes import PostgresProbes
from examples.images.board.statements import MIGRATIONS, Pool
from examples.images.ports import HealthBoard, ProbeLog
from hungframe import Guard

SNAPSHOT: dict[str, Any] = json.loads(Guard("images", timeout=20).snapshot().to_json())


@pytest.fixture
def database(empty_database: str) -> str:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute((MIGRATIONS / "0001_board.sql").read_bytes())
    return empty_database


def in_database(url: str, steps: Callable[[Pool], Awaitable[None]], *, autocommit: bool = False) -> None:
    """
    Run *steps* with an open pool.
    """
    from psycopg_pool import AsyncConnectionPool

    async def main() -> None:
        settings = {"autocommit": autocommit}
        async with AsyncConnectionPool(url, min_size=1, max_size=4, open=False, kwargs=settings) as pool:
            await steps(pool)

    asyncio.run(main())


def execute(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_worker_is_read_as_it_posted_last(database: str, autocommit: bool) -> None:
    """
    One entry a worker, the latest, whatever kind of connections the pool has.
    """

    async def steps(pool: Pool) -> None:
        board: HealthBoard = PostgresBoard(pool)
        await board.post("b:1", {"where": r"C:\u0000"})
        await board.post("a:1", {"state": "half_open"})
        await board.post("b:1", SNAPSHOT)

        first, second = await board.read()
        assert ("a:1", {"state": "half_open"}) == (first["worker"], first["snapshot"])
        assert ("b:1", SNAPSHOT) == (second["worker"], second["snapshot"])
        assert 0 <= second["seen_seconds_ago"] < 5

    in_database(database, steps, autocommit=autocommit)


def test_a_silent_worker_falls_off_the_board(database: str) -> None:
    """
    After 15 s it is not read any more, after a day somebody else's post deletes it, and nothing else does.
    """

    async def steps(pool: Pool) -> None:
        board = PostgresBoard(pool)
        for worker in ("lively", "silent", "gone"):
            await board.post(worker, {})
        execute(database, "UPDATE workers SET seen_at = clock_timestamp() - interval '14 s' WHERE worker = 'lively'")
        execute(database, "UPDATE workers SET seen_at = clock_timestamp() - interval '15.1 s' WHERE worker = 'silent'")
        execute(database, "UPDATE workers SET seen_at = clock_timestamp() - interval '25 h' WHERE worker = 'gone'")

        assert ["lively"] == [entry["worker"] for entry in await board.read()]
        await board.post("lively", {})
        assert [("lively",), ("silent",)] == execute(database, "SELECT worker FROM workers ORDER BY worker")

        await board.post("silent", {})
        assert ["lively", "silent"] == [entry["worker"] for entry in await board.read()]

    in_database(database, steps)


def test_a_worker_that_was_gone_for_days_posts_again(database: str) -> None:
    """
    The clean-up spares the row that the same statement writes.
    """

    async def steps(pool: Pool) -> None:
        board = PostgresBoard(pool)
        await board.post("back", {})
        execute(database, "UPDATE workers SET seen_at = clock_timestamp() - interval '25 h'")
        await board.post("back", {"state": "closed"})
        assert [{"state": "closed"}] == [entry["snapshot"] for entry in await board.read()]

    in_database(database, steps)


def test_a_post_waits_for_nobody_elses_clean_up(database: str) -> None:
    """
    An old row that somebody holds is left to the next post.
    """

    async def steps(pool: Pool) -> None:
        board = PostgresBoard(pool)
        await board.post("old", {})
        execute(database, "UPDATE workers SET seen_at = clock_timestamp() - interval '25 h'")
        with psycopg.connect(database) as holds:
            holds.execute("SELECT FROM workers WHERE worker = 'old' FOR UPDATE")
            await asyncio.wait_for(board.post("lively", {}), 2)
        assert [("lively",), ("old",)] == execute(database, "SELECT worker FROM workers ORDER BY worker")
        await board.post("lively", {})
        assert [("lively",)] == execute(database, "SELECT worker FROM workers")

    in_database(database, steps)


@pytest.mark.parametrize(
    "worker, snapshot, error, says",
    [
        ("", {}, ValueError, "worker must be 1 to 200 characters without NUL, got ''"),
        ("a\0b", {}, ValueError, "worker must be"),
        ("w" * 201, {}, ValueError, "worker must be"),
        ("w", {"timeout": float("inf")}, ValueError, "JSON"),
        ("w", {"where": "a\0b"}, ValueError, "worker 'w': Postgres stores no NUL"),
        ("w", {"where": "\\\0"}, ValueError, "stores no NUL"),
        ("w", {"guard": object()}, TypeError, "object"),
    ],
)
def test_what_cannot_be_stored_is_refused_early(
    worker: str, snapshot: dict[str, Any], error: type[Exception], says: str
) -> None:
    """
    It is said before a connection is taken: the pool here is not even open.
    """
    from psycopg_pool import AsyncConnectionPool

    async def main() -> None:
        pool: Pool = AsyncConnectionPool("", open=False)
        with pytest.raises(error, match=says):
            await PostgresBoard(pool).post(worker, snapshot)

    asyncio.run(main())


def test_a_probe_is_logged_from_begin_to_end(database: str) -> None:
    """
    It has no outcome until it ends, and ends once.
    """

    async def steps(pool: Pool) -> None:
        probes: ProbeLog = PostgresProbes(pool)
        number = await probes.begin("w", "timeout")
        other = await probes.begin("w", "burst")
        assert number != other
        assert [("timeout", None, None, False), ("burst", None, None, False)] == logged()

        await probes.end(number, "success", 1.5)
        assert ("timeout", "success", 1.5, True) in logged()
        for again in (number, other + 1):
            with pytest.raises(LookupError, match=f"probe {again} is not running"):
                await probes.end(again, "success", 1.5)

    def logged() -> list[tuple[Any, ...]]:
        columns = "kind, outcome, latency_seconds, ended_at >= started_at AND ended_at IS NOT NULL"
        return execute(database, f"SELECT {columns} FROM probes ORDER BY id")

    in_database(database, steps)


def test_the_log_of_probes_does_not_grow_for_ever(database: str) -> None:
    """
    Those older than 30 days go with the next one that begins.
    """

    async def steps(pool: Pool) -> None:
        probes = PostgresProbes(pool)
        await probes.begin("w", "timeout")
        execute(database, "UPDATE probes SET started_at = clock_timestamp() - interval '31 days'")
        kept = await probes.begin("w", "timeout")
        await probes.begin("w", "timeout")
        assert [(kept,), (kept + 1,)] == execute(database, "SELECT id FROM probes ORDER BY id")

    in_database(database, steps)


def test_a_probe_has_no_place_for_an_image(database: str) -> None:
    """
    No column of the probes' table can hold a url, bytes or a document: its results are not to be stored.
    """
    columns = execute(database, "SELECT column_name FROM information_schema.columns WHERE table_name = 'probes'")
    assert {"id", "worker", "kind", "started_at", "ended_at", "outcome", "latency_seconds"} == {
        name for (name,) in columns
    }


@pytest.mark.parametrize("outcome, latency", [("", 1.0), ("success", -1.0), ("success", float("nan"))])
def test_a_probe_ends_with_an_outcome_and_seconds(outcome: str, latency: float) -> None:
    """
    Anything else is refused before a connection is taken.
    """
    from psycopg_pool import AsyncConnectionPool

    async def main() -> None:
        pool: Pool = AsyncConnectionPool("", open=False)
        with pytest.raises(ValueError, match="outcome|latency_seconds"):
            await PostgresProbes(pool).end(1, outcome, latency)

    asyncio.run(main())
