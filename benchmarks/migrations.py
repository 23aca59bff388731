"""
Migrate a table under load, and tell how long anybody was blocked: ``python -m benchmarks.migrations [--rows N]``.

The table is that of examples/images as it was before its URLs had a column. Readers and writers of the old version of
the service go on throughout, each statement of theirs timed, first with nothing else running, then with the migrations.
A watcher asks every few milliseconds how long any of them has been waiting for a lock: what a statement takes beyond
that, the machine takes, which is as busy as it is. A reporter reads the table in transactions
of half a second, which a change of the table has to wait for, and all who come after it with it, if it lets them.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.errors import CheckViolation, NotNullViolation

from examples.images.frames import MIGRATIONS
from examples.images.migrate import Migrator, Patience
from examples.images.start.postgres import database

ROWS = 200_000
"""Rows of the table before it is migrated."""

BAD = 0.01
"""Share of the rows that have no image, of old and of new ones."""

CLIENTS = {"reader": 4, "writer": 4, "watcher": 1}
"""How many there are of each."""

LONGEST_BLOCKED = 0.1
"""Seconds that a reader or writer may wait for a lock."""

_PAUSE = 0.005
# The reporter lets nobody in for long, so that short pauses find the moment sooner.
_PATIENCE = Patience(first_pause=0.05, longest_pause=0.3)
_REPORT_TAKES, _REPORT_EVERY = 0.5, 0.65
_GOOD_ANSWER = '{"data": [{"url": " https://images.example/1.png "}]}'
_BAD_ANSWERS: tuple[str | None, ...] = (
    None,
    '{"data": []}',
    '{"data": [{"url": null}]}',
    '{"data": [{"url": ""}]}',
    '{"data": [{"url": " \\t"}]}',
    '{"error": {"message": "overloaded"}}',
)

_FILL = """
INSERT INTO frames (job_id, response)
SELECT gen_random_uuid(), CASE WHEN n %% %(every)s = 0 THEN (%(bad)s::text[])[1 + (n / %(every)s) %% %(kinds)s]
    ELSE %(good)s END::jsonb
FROM generate_series(1, %(rows)s) AS n
"""
_READ = "SELECT * FROM frames WHERE id > %s ORDER BY id LIMIT 50"
_INSERT = "INSERT INTO frames (job_id, response) VALUES (gen_random_uuid(), %s::jsonb)"
_WAITING = """
SELECT max(extract(epoch FROM clock_timestamp() - waitstart))::float8
FROM pg_locks
WHERE NOT granted AND pid = ANY (%s)
"""
_TOUCH = "UPDATE frames SET created_at = clock_timestamp() WHERE id = %s"


@dataclass
class Load:
    """
    Hold what readers and writers have seen.

    Args:
        took: When each statement began and how long it took, in seconds, by who ran it.

        waits: When a reader or writer was seen waiting for a lock, and for how long it had been, in seconds.

        refused: How many bad rows the database has refused.
    """

    took: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {who: [] for who in CLIENTS})
    waits: list[tuple[float, float]] = field(default_factory=list)
    refused: int = 0
    pids: list[int] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def longest(self, who: str, begin: float, end: float) -> float:
        """
        Find the longest statement that overlaps a time.
        """
        return max((took for at, took in self.took[who] if at < end and at + took > begin), default=0.0)

    def blocked(self, begin: float, end: float) -> float:
        """
        Find the longest that a reader or writer was seen waiting for a lock.
        """
        return max((waited for at, waited in self.waits if begin <= at < end), default=0.0)


@dataclass(frozen=True)
class Measured:
    """
    Hold one run.

    Args:
        steps: When each migration began, by its label, and the end of the last one.
    """

    load: Load
    quiet: tuple[float, float]
    steps: Sequence[tuple[str, float]]
    counts: dict[str, int]

    @property
    def migrating(self) -> tuple[float, float]:
        """
        When the migrations began and ended.
        """
        return self.steps[0][1], self.steps[-1][1]

    def blocked(self) -> float:
        """
        Find the longest that a reader or writer waited for a lock while the migrations ran.
        """
        return self.load.blocked(*self.migrating)


def measure(url: str, rows: int, quiet_for: float, report: Callable[[str], object] = lambda line: None) -> Measured:
    """
    Fill the table in an empty database, put it under load, and migrate it.
    """
    Migrator(url, {"frames": MIGRATIONS}).up("frames/0001")
    with psycopg.connect(url, autocommit=True) as connection:
        every = round(1 / BAD)
        connection.execute(
            _FILL,
            {"every": every, "bad": list(_BAD_ANSWERS), "kinds": len(_BAD_ANSWERS), "good": _GOOD_ANSWER, "rows": rows},
        )
    steps: list[tuple[str, float]] = []

    def told(line: str) -> None:
        if line.endswith(")"):
            steps.append((line.partition(" ")[0], time.perf_counter()))
        report(line)

    with _under_load(url, rows) as load:
        # The first statements of a session fill its caches: they take up to 0.2 s, whatever else goes on.
        while not load.errors and any(len(load.took[who]) < 50 * count for who, count in CLIENTS.items()):
            time.sleep(0.01)
        began = time.perf_counter()
        time.sleep(quiet_for)
        quiet = (began, time.perf_counter())
        Migrator(url, {"frames": MIGRATIONS}, patience=_PATIENCE, report=told).up()
        steps.append(("", time.perf_counter()))
    if load.errors:
        raise load.errors[0]
    with psycopg.connect(url) as connection:
        counts = {
            "frames": _count(connection, "SELECT count(*) FROM frames"),
            "audited": _count(connection, "SELECT count(*) FROM frames_audit"),
            "bad frames": _count(connection, "SELECT count(*) FROM frames WHERE frames_clean_url(image_url) IS NULL"),
            "bad rows refused": load.refused,
        }
    return Measured(load, quiet, steps, counts)


@contextmanager
def _under_load(url: str, rows: int) -> Iterator[Load]:
    load = Load()
    enough = threading.Event()
    clients = [
        threading.Thread(target=_client, args=(url, who, rows, load, enough), name=f"{who} {number}")
        for who, count in CLIENTS.items()
        for number in range(count)
    ]
    clients.append(threading.Thread(target=_reporter, args=(url, load, enough)))
    for client in clients:
        client.start()
    try:
        yield load
    finally:
        enough.set()
        for client in clients:
            client.join()


def _client(url: str, who: str, rows: int, load: Load, enough: threading.Event) -> None:
    rng = random.Random(threading.current_thread().name)
    step = {"reader": _read, "writer": _write, "watcher": _watch}[who]
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            if who != "watcher":
                load.pids.append(connection.info.backend_pid)
            while not enough.wait(_PAUSE):
                began = time.perf_counter()
                try:
                    step(connection, rng, rows, load)
                except (CheckViolation, NotNullViolation):
                    load.refused += 1
                load.took[who].append((began, time.perf_counter() - began))
    except BaseException as error:
        load.errors.append(error)


def _reporter(url: str, load: Load, enough: threading.Event) -> None:
    try:
        with psycopg.connect(url) as connection:
            while not enough.wait(_REPORT_EVERY - _REPORT_TAKES):
                connection.execute("SELECT id FROM frames LIMIT 1")
                enough.wait(_REPORT_TAKES)
                connection.rollback()
    except BaseException as error:
        load.errors.append(error)


def _read(connection: Connection[Any], rng: random.Random, rows: int, load: Load) -> None:
    # Not prepared: a prepared `SELECT *` fails once its columns have changed.
    connection.execute(_READ, (rng.randrange(rows),), prepare=False).fetchall()


def _write(connection: Connection[Any], rng: random.Random, rows: int, load: Load) -> None:
    if rng.random() < 0.5:
        connection.execute(_TOUCH, (rng.randrange(rows),))
    else:
        answer = rng.choice(_BAD_ANSWERS) if rng.random() < BAD else _GOOD_ANSWER
        connection.execute(_INSERT, (answer,))


def _watch(connection: Connection[Any], rng: random.Random, rows: int, load: Load) -> None:
    row = connection.execute(_WAITING, (load.pids,)).fetchone()
    if row is not None and row[0] is not None:
        load.waits.append((time.perf_counter(), row[0]))


def _count(connection: Connection[Any], query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _table(measured: Measured) -> Iterator[str]:
    load = measured.load
    yield "| while | seconds | longest wait for a lock | longest read | longest write | P99 read | P99 write |"
    yield "|---|---|---|---|---|---|---|"
    spans = [("nothing else runs", *measured.quiet), ("the migrations run", *measured.migrating)]
    steps = itertools.pairwise(measured.steps)
    spans += [(label, began, ended) for (label, began), (_, ended) in steps]
    for label, began, ended in spans:
        longest = [f"{load.blocked(began, ended) * 1e3:.1f} ms"]
        longest += [f"{load.longest(who, began, ended) * 1e3:.1f} ms" for who in ("reader", "writer")]
        p99 = []
        for who in ("reader", "writer"):
            took = sorted(each for at, each in load.took[who] if began <= at < ended)
            p99.append(f"{took[int(len(took) * 0.99)] * 1e3:.1f} ms" if took else "-")
        yield f"| {' | '.join([label, f'{ended - began:.2f}', *longest, *p99])} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Measure, and print; 1 if anybody was blocked for too long.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migrations", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows of the table ({ROWS:,})")
    parser.add_argument("--url", help="an empty database; by default, a server of its own")
    options = parser.parse_args(arguments)
    with database(options.url) as url:
        measured = measure(url, options.rows, quiet_for=5.0, report=lambda line: print(line, file=sys.stderr))
    print(f"{options.rows:,} rows, {BAD:.0%} bad, {CLIENTS['reader']} readers, {CLIENTS['writer']} writers\n")
    print("\n".join(_table(measured)))
    print("\n" + ", ".join(f"{name}: {count:,}" for name, count in measured.counts.items()))
    print(f"longest blocked: {measured.blocked() * 1e3:.1f} ms, at most {LONGEST_BLOCKED * 1e3:.0f} ms wanted")
    return 0 if measured.blocked() <= LONGEST_BLOCKED else 1


if __name__ == "__main__":
    sys.exit(main())
