"""
The settings reach what they set, a worker outlives a database that is down, and the command line tells its faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from examples.images import bootstrap
from examples.images.__main__ import main
from examples.images.ports import JobView
from examples.images.queue import PostgresQueue
from examples.images.seldom import Seldom
from examples.images.settings import Settings, SettingsError, read_settings
from hungframe import CircuitOpenError
from hungframe.testing import HostileProvider

from .queues import key

ROOT = Path(__file__).parents[3]
CLOSED_PORT = "postgresql://nobody@127.0.0.1:1/nothing"
NO_JOB = str(uuid4())
PAYLOAD = {"prompt": "a cat", "model": "gpt-image-2", "size": "1024x1024", "seed": 1}


def settings_of(url: str, **more: str) -> Settings:
    return read_settings({"DATABASE_URL": url, "OPENAI_API_KEY": "none", **more})


def migrated(url: str) -> str:
    bootstrap.migrator_of(url, lambda line: None).up()
    return url


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_reach_the_guard() -> None:
    """
    Budget, timeout, and for how long an open breaker stays so.
    """
    guard = bootstrap.guard_of(
        settings_of(CLOSED_PORT, IMAGES_BUDGET="7", IMAGES_TIMEOUT_SECONDS="3.5", IMAGES_OPEN_SECONDS="42")
    )

    assert (7, 3.5) == (guard.snapshot().budget, guard.snapshot().timeout)
    for _ in range(6):
        with contextlib.suppress(ConnectionError, CircuitOpenError):
            guard.call(_refuses)
    assert "open" == guard.snapshot().state
    assert 41 < (guard.snapshot().retry_after or 0) <= 42


def test_a_provider_that_refuses_all_of_us_opens_the_breaker(empty_database: str) -> None:
    """
    A key that has expired: a few calls find it out, and not one for each job; none of them has used up an attempt.
    """

    async def main() -> tuple[int, list[JobView | None]]:
        with HostileProvider("401") as provider:
            settings = settings_of(
                migrated(empty_database),
                OPENAI_BASE_URL=provider.base_url,
                IMAGES_BUDGET="100",
                IMAGES_REFILL_SECONDS="0.01",
                IMAGES_TIMEOUT_SECONDS="5",
            )
            async with bootstrap.operator_queue_of(settings) as jobs, bootstrap.worker_of(settings) as worker:
                ids = [(await jobs.enqueue(key(n), {**PAYLOAD, "seed": n})).id for n in range(40)]
                stop = asyncio.Event()
                working = asyncio.ensure_future(worker.run(stop))
                await _until(lambda: provider.stats.requests >= 5)
                await asyncio.sleep(0.3)
                stop.set()
                await working
                return provider.stats.requests, [await jobs.get(one) for one in ids]

    requests, jobs = asyncio.run(main())

    assert 5 <= requests <= 5 + 4
    assert {("queued", 0)} == {(job.state, job.attempts) for job in jobs if job}


async def _until(true: Callable[[], bool]) -> None:
    until = asyncio.get_running_loop().time() + 10
    while not true():
        assert asyncio.get_running_loop().time() < until
        await asyncio.sleep(0.02)


def test_without_a_timeout_it_is_learned() -> None:
    """
    A new guard knows nothing, and gives the first calls a minute.
    """
    assert 60 == bootstrap.guard_of(settings_of(CLOSED_PORT)).snapshot().timeout


def test_settings_reach_the_queue(empty_database: str) -> None:
    """
    The lease is as long as they say, and a job is tried as often.
    """
    settings = settings_of(migrated(empty_database), IMAGES_LEASE_SECONDS="123", IMAGES_ATTEMPTS="1")

    async def once() -> str:
        async with bootstrap.operator_queue_of(settings) as queue:
            await queue.enqueue(key(1), PAYLOAD)
            [claim] = await queue.claim(5)
            assert 120 < _seconds_left(empty_database, claim.id) <= 123
            return await queue.fail(claim, "timeout", "no answer")

    assert "dead" == asyncio.run(once())


@pytest.mark.parametrize("part", ["worker", "api"])
def test_a_model_that_nobody_knows_is_refused_before_anything_is_opened(part: str) -> None:
    """
    Its jobs would all be dead letters.
    """
    settings = settings_of(CLOSED_PORT, IMAGES_MODEL="crayons")

    async def make() -> None:
        if part == "api":
            bootstrap.api_of(settings)
        async with bootstrap.worker_of(settings):
            pass

    with pytest.raises(SettingsError, match="IMAGES_MODEL is 'crayons': it should be one of gpt-image-"):
        asyncio.run(make())


# --- a database that is down ------------------------------------------------------------------------------------------


def test_a_worker_that_starts_without_its_database_waits_for_it(empty_database: str) -> None:
    """
    Nobody has to start it again: when the database comes up, its jobs are drawn.
    """
    migrated(empty_database)

    async def ended(queue: PostgresQueue, job: UUID) -> JobView:
        while (view := await queue.get(job)) is None or view.state in ("queued", "running"):
            await asyncio.sleep(0.02)
        return view

    async def work() -> JobView:
        here = settings_of(empty_database)
        door = Door(empty_database)
        there = settings_of(door.url, OPENAI_BASE_URL=provider.base_url, IMAGES_BUDGET="10", IMAGES_DRAIN_SECONDS="0")
        stop = asyncio.Event()
        async with bootstrap.operator_queue_of(here) as queue, bootstrap.worker_of(there) as worker:
            job = await queue.enqueue(key(1), PAYLOAD)
            working = asyncio.ensure_future(worker.run(stop))
            await asyncio.sleep(0.3)
            assert not working.done()
            async with door:
                view = await asyncio.wait_for(ended(queue, job.id), 20)
                stop.set()
                await working
        return view

    with HostileProvider(["ok"]) as provider:
        view = asyncio.run(work())
    assert ("done", 1) == (view.state, view.attempts)


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, empty_database: str) -> Callable[..., int]:
    def run(*words: str, **environ: str) -> int:
        known: Mapping[str, str] = {"DATABASE_URL": empty_database, "OPENAI_API_KEY": "none", **environ}
        monkeypatch.setattr(os, "environ", known)
        monkeypatch.setattr(sys, "argv", ["images", *words])
        return main()

    return run


def test_migrate_says_what_it_would_do_and_does_it(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str], empty_database: str
) -> None:
    """
    A dry run changes nothing, `--to` stops where it says, and the status tells both.
    """
    assert 0 == command("migrate", "--dry-run")
    told = capsys.readouterr().out.splitlines()
    assert ["  would run queue/0001_jobs (transaction)", "  10 migrations to be run"] == [told[0], told[-1]]
    with psycopg.connect(empty_database) as connection:
        assert (None,) == connection.execute("SELECT to_regclass('jobs')").fetchone()

    assert 0 == command("migrate", "--to", "frames/0002")
    assert "  4 migrations run" == capsys.readouterr().out.splitlines()[-1]
    assert 0 == command("migrate", "--status")
    states = {label: state for state, label in map(str.split, capsys.readouterr().out.splitlines())}
    assert ("done", "done", "pending") == tuple(
        states[name] for name in ("queue/0001_jobs", "frames/0002_columns_and_audit", "frames/0003_backfill")
    )

    assert 0 == command("migrate")
    assert 0 == command("migrate", "--dry-run")
    assert "  0 migrations to be run" == capsys.readouterr().out.splitlines()[-1]


def test_requeue_takes_out_a_dead_letter_and_nothing_else(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str], empty_database: str
) -> None:
    """
    A job that is queued, or that there is not, is none.
    """
    settings = settings_of(migrated(empty_database))

    async def two_jobs() -> tuple[UUID, UUID]:
        async with bootstrap.operator_queue_of(settings) as queue:
            dead = await queue.enqueue(key("dead"), PAYLOAD)
            [claim] = await queue.claim(1)
            await queue.bury(claim, "no-image-url", "none")
            return dead.id, (await queue.enqueue(key("queued"), PAYLOAD)).id

    dead, queued = asyncio.run(two_jobs())

    assert 0 == command("requeue", str(dead))
    assert f"  job {dead} is queued again\n" == capsys.readouterr().out
    for none in (dead, queued, uuid4()):
        assert 1 == command("requeue", str(none))
        assert f"error: {none} is no dead letter; only what has failed for good can be queued again\n" == (
            capsys.readouterr().err
        )


@pytest.mark.parametrize(
    ("words", "environ", "told"),
    [
        (
            ["worker"],
            {"IMAGES_BUDGET": "0", "OPENAI_API_KEY": ""},
            ["OPENAI_API_KEY is not set", "IMAGES_BUDGET is"],
        ),
        (["api"], {"IMAGES_LOG_LEVEL": "LOUD"}, ["IMAGES_LOG_LEVEL is 'LOUD': it should be 'DEBUG', "]),
        (["migrate", "--status"], {"DATABASE_URL": "postgresql://[x"}, ["DATABASE_URL is (not shown): must be like"]),
        (["worker"], {"IMAGES_MODEL": "crayons"}, ["IMAGES_MODEL is 'crayons': it should be one of"]),
        (["migrate", "--to", "frames/0099"], {}, ["to must name a migration, got 'frames/0099'; there are queue/0001"]),
        (
            ["migrate"],
            {"DATABASE_URL": CLOSED_PORT},
            ["connection failed: connection to server at "],
        ),
        (["requeue", NO_JOB], {"DATABASE_URL": CLOSED_PORT}, ["connection failed: connection to server at "]),
        (
            ["requeue", NO_JOB],
            {},
            ["the database has not been migrated: run `python -m "],
        ),
    ],
)
def test_a_fault_is_a_line_and_no_traceback(
    words: list[str],
    environ: Mapping[str, str],
    told: list[str],
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Each with the status 1, and with what would do.
    """
    assert 1 == command(*words, **environ)
    lines = capsys.readouterr().err.splitlines()
    assert sorted(f"error: {start}" for start in told) == sorted(
        line[: len("error: ") + len(start)] for line, start in zip(sorted(lines), sorted(told), strict=True)
    )


# --- what they need ---------------------------------------------------------------------------------------------------


def _refuses() -> None:
    raise ConnectionError


def _seconds_left(url: str, job: UUID) -> float:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT extract(epoch FROM lease_until - clock_timestamp()) FROM jobs WHERE id = %s", [job]
        ).fetchone()
    assert row is not None
    return float(row[0])


class Door:
    """
    A port that leads to the server of *url*, as long as the block lasts; before it, nobody listens there.
    """

    def __init__(self, url: str) -> None:
        self._to = int(str(conninfo_to_dict(url)["port"]))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self.url = url.replace(f":{self._to}/", f":{self._port}/")
        self._through: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> None:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", self._port)

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._through:
            task.cancel()
        await asyncio.gather(*self._through, return_exceptions=True)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self._to)
        for source, target in ((reader, there[1]), (there[0], writer)):
            self._through.add(asyncio.ensure_future(self._pass_on(source, target)))

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        finally:
            target.close()


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        ("postgresql://{role}@", "permission denied for schema public"),
        ("?options=-c%20default_transaction_read_only%3Don", "in a read-only transaction"),
    ],
    ids=["no-rights", "a-replica"],
)
def test_a_database_that_takes_no_migration_is_told_in_one_line(
    refused: str, told: str, command: Callable[..., int], capsys: pytest.CaptureFixture[str], empty_database: str
) -> None:
    """
    A role that may not make tables, as is the default since Postgres 15; and a replica.
    """
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS of_little_right; CREATE ROLE of_little_right LOGIN")
    url = empty_database + refused
    if refused.startswith("postgresql://"):
        url = refused.format(role="of_little_right") + empty_database.partition("@")[2]

    assert 1 == command("migrate", DATABASE_URL=url)

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and told in line


def told_until(command: str, words: str, signals: int, **settings: str) -> tuple[int, str]:
    """
    Run a command until it has said *words*, and interrupt it so many times; returns how it ended, and all it said.
    """
    argv = [sys.executable, "-m", "examples.images", command]
    environ = {**os.environ, "OPENAI_API_KEY": "none", **settings}
    with subprocess.Popen(argv, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = ""
        while words not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
        told += process.communicate(timeout=20)[1]

    return process.returncode, told


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT for one process")
def test_ctrl_c_ends_the_api_without_a_traceback(empty_database: str) -> None:
    """
    It is how one ends it, and no error.
    """
    code, told = told_until("api", "Uvicorn running", 1, DATABASE_URL=empty_database, IMAGES_PORT="0")

    assert 0 == code, told
    assert "Traceback" not in told


@pytest.mark.skipif(sys.platform == "win32", reason="its loop takes no signal handlers")
def test_a_worker_tells_why_it_has_no_database(empty_database: str) -> None:
    """
    A wrong password or name is no outage that passes; and it is not told three times a second.
    """
    url = empty_database.replace("postgres@", "nobody-of-that-name@")

    _, told = told_until("worker", "the queue cannot be asked", 2, DATABASE_URL=url)

    assert 1 == told.count('role "nobody-of-that-name" does not exist'), told


def test_one_kind_of_message_is_told_seldom() -> None:
    """
    Whatever its values are; another kind is told at once.
    """
    now = 0.0
    seldom = Seldom(60, lambda: now)

    def passes(message: str, *values: object) -> bool:
        return seldom.filter(logging.LogRecord("pool", logging.WARNING, __file__, 1, message, values, None))

    assert passes("no connection: %s", 1)
    assert not passes("no connection: %s", 2)
    assert passes("discarded: %s", 1)
    now = 59.9
    assert not passes("no connection: %s", 3)
    now = 60.0
    assert passes("no connection: %s", 4)
