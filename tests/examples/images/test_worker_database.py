"""
The database goes away and comes back, under workers that go on: nothing is lost, nothing is stored twice.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.images.start.postgres import Postgres
from hungframe.testing import HostileProvider

psycopg = pytest.importorskip("psycopg")
if sys.platform == "win32":
    pytest.skip("its workers are ended by SIGTERM", allow_module_level=True)

from tests.examples.images.chaos_worker import migrated  # noqa: E402  # After what it cannot be imported without.
from tests.examples.images.test_chaos import Place  # noqa: E402  # After what it needs is found.

JOBS = 40
JOBS_OF_THREE = 60


@pytest.fixture
def server() -> Iterator[Postgres]:
    """
    A server that no other test needs, and that keeps what it has committed when it is killed.
    """
    with Postgres({"synchronous_commit": "on"}) as server:
        yield server


def test_connections_that_break_in_any_statement_lose_nothing(empty_database: str, tmp_path: Path) -> None:
    """
    One after the other is cut, and most often one that is in the middle of a statement or a transaction.
    """
    migrated(empty_database)
    (tmp_path / "log").touch()
    with HostileProvider("sleep:0.05") as provider:
        place = Place(empty_database, provider, tmp_path / "log")
        try:
            place.add(JOBS)
            workers = [place.start(f"w{number}") for number in range(2)]
            cut = 0

            def two_thirds_are_done() -> bool:
                nonlocal cut
                cut += place.ask(
                    """
                    SELECT count(pg_terminate_backend(pid)) FROM (
                        SELECT pid FROM pg_stat_activity
                        WHERE datname = current_database() AND pid <> pg_backend_pid()
                            AND (state <> 'idle' OR random() < 0.1)
                        ORDER BY random() LIMIT 1
                    ) AS one
                    """
                )
                time.sleep(0.01)
                return place.states().get("done", 0) > JOBS * 2 // 3

            place.until(two_thirds_are_done)
            place.until(lambda: place.states() == {"done": JOBS})
            for worker in workers:
                worker.send(signal.SIGTERM)
            assert [0, 0] == [worker.ended() for worker in workers]
            place.check_each_ended_once(JOBS)
            print(f"{cut} connections cut, {provider.stats.requests} calls of the provider for {JOBS} jobs")
            assert cut > 10
        finally:
            place.close()


def test_a_server_that_goes_and_comes_back_is_worked_with_again(server: Postgres, tmp_path: Path) -> None:
    """
    It crashes in the middle of jobs. Three workers say that it is gone, and go on where they were; each job is done
    once, and the outage is a handful of lines.
    """
    migrated(server.url)
    log = tmp_path / "log"
    log.touch()
    names = ("w0", "w1", "w2")
    with HostileProvider("sleep:0.2") as provider:
        place = Place(server.url, provider, log)
        try:
            place.add(JOBS_OF_THREE)
            workers = [place.start(name, queue_timeout=0.4) for name in names]
            place.until(lambda: place.states().get("done", 0) >= 8)
            place.close_connection()
            server.stop(signal.SIGQUIT)
            place.until(lambda: all(told(log, name, "cannot be asked") for name in names))
            server.start()
            place.connect()
            place.until(lambda: place.states() == {"done": JOBS_OF_THREE})
            for worker in workers:
                worker.send(signal.SIGTERM)
            assert [0, 0, 0] == [worker.ended() for worker in workers]
            place.check_each_ended_once(JOBS_OF_THREE)
        finally:
            place.close()
    for name in names:
        assert 1 <= told(log, name, "the queue answers again") <= told(log, name, "cannot be asked") <= 10, (
            log.read_text()
        )


def told(log: Path, worker: str, what: str) -> int:
    """
    How often one worker has said it.
    """
    return sum(line.startswith(f"{worker} ") and what in line for line in log.read_text().splitlines())
