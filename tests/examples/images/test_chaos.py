"""
Workers that are killed, stopped and told to go, as processes, over a real queue: every job ends once.
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from examples.images.worker.pace import Pace
from hungframe.testing import HostileProvider

psycopg = pytest.importorskip("psycopg")
if sys.platform == "win32":
    pytest.skip("it has no SIGKILL and no SIGSTOP", allow_module_level=True)

from tests.examples.images.chaos_worker import (  # noqa: E402  # After what it cannot be imported without.
    PACE,
    STEPS,
    Plan,
    WorkerProcess,
    migrated,
    pool_of,
    queue_of,
)

JOBS = 200
CALL_SECONDS = 0.08


class Place:
    """
    A database with jobs, a provider, and the workers that were started; looked at from outside.
    """

    def __init__(self, url: str, provider: HostileProvider, log: Path) -> None:
        self.url = url
        self.provider = provider
        self.log = log
        self._started: list[WorkerProcess] = []
        self._connection: Any = None
        self.connect()

    def connect(self) -> None:
        self._connection = psycopg.connect(self.url, autocommit=True)

    def close_connection(self) -> None:
        self._connection.close()

    def add(self, jobs: int) -> None:
        async def main() -> None:
            async with pool_of(self.url) as pool:
                queue = queue_of(pool)
                for number in range(jobs):
                    payload = {"prompt": f"cat {number}", "model": "gpt-image-1-mini", "size": "1024x1024", "seed": 1}
                    await queue.enqueue(hashlib.sha256(str(number).encode()).digest(), payload)
                await queue.close()

        asyncio.run(main())

    def start(self, name: str, **plan: Any) -> WorkerProcess:
        worker = WorkerProcess(Plan(name, self.url, self.provider.url, **plan), self.log)
        self._started.append(worker)
        return worker

    def ask(self, sql: str) -> Any:
        """
        The first value of the first row.
        """
        return self._connection.execute(sql).fetchone()[0]

    def states(self) -> dict[str, int]:
        return dict(self._connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())

    def until(self, holds: Callable[[], bool], within: float = 60.0) -> None:
        ends_at = time.monotonic() + within
        while not holds():
            assert time.monotonic() < ends_at, f"{self.states()}\n{self.log.read_text()[-3000:]}"
            time.sleep(0.02)

    def check_each_ended_once(self, jobs: int) -> None:
        """
        Done, each with one image of its own, and the database saw each end once.
        """
        assert {"done": jobs} == self.states()
        assert jobs == self.ask("SELECT count(*) FROM ends") == self.ask("SELECT count(DISTINCT job_id) FROM ends")
        assert jobs == self.ask("SELECT count(*) FROM frames WHERE image_url <> ''")
        assert jobs == self.ask("SELECT count(*) FROM jobs JOIN frames ON frames.job_id = jobs.id")
        assert jobs == self.ask("SELECT count(*) FROM images WHERE octet_length(content) > 1000")

    def close(self) -> None:
        for worker in self._started:
            worker.close()
        self.close_connection()


@pytest.fixture
def place(empty_database: str, tmp_path: Path) -> Iterator[Place]:
    migrated(empty_database)
    (tmp_path / "log").touch()
    with HostileProvider(f"sleep:{CALL_SECONDS}") as provider:
        place = Place(empty_database, provider, tmp_path / "log")
        try:
            yield place
        finally:
            place.close()


def test_killed_at_every_step_each_job_ends_once(place: Place, record_property: Callable[[str, object], None]) -> None:
    """
    Three workers, each killed with SIGKILL at each step of its work, one after the other, while 200 jobs are drawn.
    """
    place.add(JOBS)
    # Another order for each, so that at no time all die of the same; and not at the first passing of all.
    lives = [STEPS[turn:] + STEPS[:turn] for turn in (0, 2, 4)]
    workers = [place.start(f"w{n}.0", at=steps[0], nth=2) for n, steps in enumerate(lives)]
    killed: list[str] = []

    def all_have_died() -> bool:
        for number, worker in enumerate(workers):
            if worker.process.is_alive():
                continue
            at = worker.plan.at
            assert at is not None and -signal.SIGKILL == worker.process.exitcode, place.log.read_text()[-3000:]
            killed.append(at)
            life = int(worker.plan.name.split(".")[1]) + 1
            following = lives[number][life] if life < len(STEPS) else None
            workers[number] = place.start(f"w{number}.{life}", at=following, nth=1)
        return len(killed) == 3 * len(STEPS)

    place.until(all_have_died)
    assert 0 < place.states().get("done", 0) < JOBS, "all jobs were done before the last worker was killed"
    place.until(lambda: place.states().get("done") == JOBS)
    for worker in workers:
        worker.send(signal.SIGTERM)
    assert [0, 0, 0] == [worker.ended() for worker in workers]

    place.check_each_ended_once(JOBS)
    assert sorted(3 * STEPS) == sorted(killed)
    # At least once: what was drawn and not stored is drawn again.
    calls = place.provider.stats.requests
    record_property("provider_calls", calls)
    print(f"{calls} calls of the provider for {JOBS} jobs and {len(killed)} kills")
    assert calls >= JOBS


@pytest.mark.parametrize("step", ["in-call", "drawn", "inserted"])
def test_a_worker_that_slept_past_its_lease_changes_nothing(place: Place, step: str) -> None:
    """
    SIGSTOP, another takes the job, SIGCONT while that one draws: the first one drops what it has, and goes on working.
    """
    place.add(1)
    pace = replace(PACE, concurrency=1)
    # It sleeps in a transaction at "inserted": the server ends that one after the queue's timeout.
    sleeper = place.start("sleeper", at=step, how=signal.SIGSTOP, pace=pace, queue_timeout=0.4)
    assert sleeper.reached_its_step(30), place.log.read_text()
    place.provider.play("sleep:2")
    other = place.start("other", pace=pace, lease=10.0)
    place.until(lambda: place.ask("SELECT state || worker FROM jobs") == "runningother")

    sleeper.send(signal.SIGCONT)
    place.until(lambda: "lost" in place.log.read_text())
    assert ("runningother", 0) == (
        place.ask("SELECT state || worker FROM jobs"),
        place.ask("SELECT count(*) FROM frames"),
    )
    place.until(lambda: place.states() == {"done": 1})
    assert ("other", 2) == (place.ask("SELECT worker FROM jobs"), place.ask("SELECT attempts FROM jobs"))
    other.send(signal.SIGTERM)
    assert 0 == other.ended()
    place.provider.play("ok")
    place.add(2)
    place.until(lambda: place.states() == {"done": 2})
    sleeper.send(signal.SIGTERM)
    assert 0 == sleeper.ended()

    tally = sleeper.tally()
    assert (1, 1, 0) == (tally.lost, tally.done, tally.left)
    place.check_each_ended_once(2)


def test_told_to_go_it_finishes_what_it_has(place: Place) -> None:
    """
    SIGTERM with four calls under way: four are done, the others wait for another worker, as if nothing had been.
    """
    place.provider.play("sleep:0.4")
    place.add(10)
    worker = place.start("w", lease=10.0)
    place.until(lambda: place.provider.stats.requests == 4)

    worker.send(signal.SIGTERM)

    assert 0 == worker.ended()
    assert ({"done": 4, "queued": 6}, 4) == (place.states(), place.provider.stats.requests)
    assert 4 == place.ask("SELECT sum(attempts) FROM jobs")


@pytest.mark.parametrize("times", [1, 2])
def test_told_to_go_it_gives_back_what_hangs(place: Place, times: int) -> None:
    """
    After the time it gets, or at once when told again: no job is running, and no attempt was counted.
    """
    place.provider.play("silent")
    place.add(5)
    pace: Pace = replace(PACE, drain=0.3 if times == 1 else 60.0)
    worker = place.start("w", pace=pace, lease=10.0)
    place.until(lambda: place.provider.stats.requests == 4)

    began_at = time.monotonic()
    for _ in range(times):
        worker.send(signal.SIGTERM)
        time.sleep(0.05)

    assert 0 == worker.ended()
    assert 20 > time.monotonic() - began_at
    assert ({"queued": 5}, 0) == (place.states(), place.ask("SELECT sum(attempts) FROM jobs"))
    assert 4 == worker.tally().given_back
