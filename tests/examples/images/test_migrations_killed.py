"""
A migrator that is killed with SIGKILL in any step: the next one goes on, and the end is the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from examples.images.frames import MIGRATIONS
from examples.images.migrate import Migrator, Patience
from examples.images.migrate.files import read

ROOT = Path(__file__).parents[3]
STEPS = [each.label for each in read({"frames": MIGRATIONS})]
PATIENT = Patience(longest=20.0, first_pause=0.02, longest_pause=0.1)

# Kills itself so many seconds after it has told that the step begins, or after each batch has been written down.
VICTIM = """
import os, signal, sys, threading
from examples.images.frames import MIGRATIONS
from examples.images.migrate import Migrator, ledger

url, step, delay, batches = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
die = lambda: os.kill(os.getpid(), signal.SIGKILL)

def told(line):
    if line.startswith(step + " "):
        if delay:
            threading.Timer(delay, die).start()
        elif not batches:
            die()

progress, seen = ledger.progress, []

def until_killed(*args):
    progress(*args)
    seen.append(args)
    if len(seen) == batches:
        die()

ledger.progress = until_killed
print("ready", flush=True)
Migrator(url, {"frames": MIGRATIONS}, report=told).up()
"""


def victim(url: str, step: str, delay: float = 0.0, batches: int = 0) -> subprocess.Popen[str]:
    # src comes first, as it does here.
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, "-c", VICTIM, url, step, str(delay), str(batches)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )


def killed(url: str, step: str, delay: float = 0.0, batches: int = 0) -> int:
    """
    Let a migrator be killed, and return how it ended.
    """
    with victim(url, step, delay, batches) as process:
        return process.wait(20)


def fill(url: str, rows: int) -> None:
    Migrator(url, {"frames": MIGRATIONS}).up("frames/0001")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO frames (response) SELECT CASE WHEN n %% 10 = 0 THEN '{}'
            ELSE '{"data": [{"url": "/1.png"}]}' END::jsonb FROM generate_series(1, %s) AS n""",
            (rows,),
        )


def assert_through(url: str, rows: int) -> None:
    """
    All is done, each row is where it belongs, and the index can be used.
    """
    migrator = Migrator(url, {"frames": MIGRATIONS}, patience=PATIENT)
    migrator.up()
    assert {"done"} == {each.state for each in migrator.status()}
    with psycopg.connect(url) as connection:
        counted = connection.execute(
            """SELECT (SELECT count(*) FROM frames WHERE image_url = '/1.png'), (SELECT count(*) FROM frames),
            (SELECT count(*) FROM frames_audit), (SELECT rows_touched FROM schema_migrations WHERE number = 3),
            (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('frames_created_at'))"""
        ).fetchone()
    assert (rows - rows // 10, rows - rows // 10, rows // 10, rows, True) == counted


def test_killed_in_each_step(empty_database: str) -> None:
    """
    Killed at the beginning of each step, one after the other, and in the first moments of some of them.
    """
    fill(empty_database, 1_000)
    for number, step in enumerate(STEPS[1:]):
        delay = 0.002 if number % 2 else 0.0
        # One that is through before it is killed ends by itself.
        assert killed(empty_database, step, delay) in (-signal.SIGKILL, 0)
    assert_through(empty_database, 1_000)


def test_killed_between_the_rows_and_the_cursor_of_a_batch(empty_database: str) -> None:
    """
    Killed when a batch has changed its rows and written down where it is, and has not committed: it is done once more.
    """
    fill(empty_database, 1_000)
    for _ in range(2):
        assert -signal.SIGKILL == killed(empty_database, "frames/0003_backfill", batches=2)
    with psycopg.connect(empty_database) as connection:
        # Each of the two came one batch further.
        row = connection.execute("SELECT state, cursor_at, rows_touched FROM schema_migrations WHERE number = 3")
        state, cursor_at, touched = row.fetchone() or ()
    assert "running" == state
    assert 400 == cursor_at == touched
    assert_through(empty_database, 1_000)


def test_killed_while_it_builds_an_index(empty_database: str) -> None:
    """
    Killed while CREATE INDEX CONCURRENTLY waits for an old transaction: the INVALID index is dropped and built anew.
    """
    fill(empty_database, 100)
    Migrator(empty_database, {"frames": MIGRATIONS}).up("frames/0007")
    with psycopg.connect(empty_database) as old, psycopg.connect(empty_database, autocommit=True) as watcher:
        old.execute("INSERT INTO frames (image_url) VALUES ('/2.png')")
        with victim(empty_database, "none") as process:
            wait_for(watcher, "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass('frames_created_at')")
            process.kill()
        # Its session ends when the server has noticed; until then the index is its, and it has the migrators' lock.
        wait_for(watcher, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'migrate')")
        old.rollback()
    told: list[str] = []
    Migrator(empty_database, {"frames": MIGRATIONS}, patience=PATIENT, report=told.append).up()
    assert any("dropping the INVALID index frames_created_at" in line for line in told)
    assert_through(empty_database, 100)


def wait_for(connection: psycopg.Connection[tuple[object, ...]], question: str) -> None:
    ends_at = time.monotonic() + 10
    while time.monotonic() < ends_at:
        if (connection.execute(question).fetchone() or (None,))[0]:
            return
        time.sleep(0.02)
    pytest.fail(f"not within 10 s: {question}")
