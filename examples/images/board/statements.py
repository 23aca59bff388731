"""
The SQL of the board, read once, and what its statements have in common.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

Pool = AsyncConnectionPool[AsyncConnection[Any]]
"""
An open pool. Each statement of the board is a transaction of its own, whether its connections are in autocommit or not.
"""

MIGRATIONS = Path(__file__).with_name("migrations")

_LONGEST_NAME = 200


def statement(name: str) -> bytes:
    """
    Read `sql/<name>.sql`. Bytes, since psycopg takes a text only where it stands in the source.
    """
    return (Path(__file__).with_name("sql") / f"{name}.sql").read_bytes()


def checked_name(what: str, value: str) -> str:
    """
    Give back a short text that Postgres can store.

    Raises:
        ValueError: If it is empty, has a NUL in it, or is longer than 200 characters.
    """
    if not value or "\0" in value or len(value) > _LONGEST_NAME:
        raise ValueError(f"{what} must be 1 to {_LONGEST_NAME} characters without NUL, got {value[:50]!r}")
    return value
