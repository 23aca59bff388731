"""
One Postgres server a run, and a database of its own for each test that asks for one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from examples.images.start.postgres import Postgres

# What the example runs on is installed by `make test`, and not on each Python of `make matrix`.
collect_ignore_glob = [] if find_spec("psycopg") else ["test_*.py"]

QUEUE_MIGRATIONS = Path(__file__).parents[3] / "examples/images/queue/migrations"

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    """
    The URL of a database in which nothing is.
    """
    import psycopg

    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres.url.removesuffix("/postgres") + f"/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def jobs_database(postgres: Postgres) -> str:
    """
    The URL of a database with the table of jobs, for all tests: each takes a queue of its own (queues.py).
    """
    import psycopg

    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE jobs")
    url = postgres.url.removesuffix("/postgres") + "/jobs"
    with psycopg.connect(url) as connection:
        connection.execute((QUEUE_MIGRATIONS / "0001_jobs.sql").read_bytes())
    return url
