"""
The migrator's connection: one at a time does the work, and none holds a lock longer than it must.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.errors import FeatureNotSupported, InsufficientPrivilege, InvalidParameterValue

from examples.images.migrate.errors import MigrationBusyError
from examples.images.migrate.patience import Patience, Report
from examples.images.migrate.statements import SQL

# Of this migrator in any database; the number means nothing.
_ADVISORY_KEY = 0x696D616765735F6D

_CONNECTS_WITHIN = 10
_ASKS_EVERY = 0.2


@contextmanager
def connected(url: str, patience: Patience) -> Iterator[Connection[Any]]:
    """
    Give a connection on which each statement is a transaction; it is closed when the block ends, however it does.
    """
    # A multi-statement query cannot be prepared, and one that was tried five times would be.
    with psycopg.connect(
        url,
        autocommit=True,
        prepare_threshold=None,
        connect_timeout=_CONNECTS_WITHIN,
        application_name="migrate",
    ) as connection:
        lock_timeout = max(1, round(patience.lock_timeout * 1000))
        settings = {
            "lock_timeout": f"{lock_timeout}ms",
            # A migrator that is stopped between two statements of a batch lets go of its rows.
            "idle_in_transaction_session_timeout": "1s",
            # One that was killed in the middle of a statement is noticed before the statement has ended.
            "client_connection_check_interval": "1s",
            # Autovacuum yields to whoever has waited for it for deadlock_timeout. That is 1 s by default, and a
            # lock_timeout below it would never see the end of a long vacuum.
            "deadlock_timeout": f"{max(1, lock_timeout // 2)}ms",
        }
        for name, value in settings.items():
            try:
                set_to(connection, name, value)
            except (InsufficientPrivilege, InvalidParameterValue, FeatureNotSupported):
                # The last two settings are not for everybody, nor on each platform: without them it only takes longer.
                if name in ("lock_timeout", "idle_in_transaction_session_timeout"):
                    raise
        yield connection


def set_to(connection: Connection[Any], name: str, value: str) -> None:
    """
    Change a setting of the session.
    """
    connection.execute("SELECT set_config(%s, %s, false)", (name, value))


def become_the_only_one(connection: Connection[Any], patience: Patience, report: Report) -> None:
    """
    Take the lock that one migrator has at a time; it is held until the connection ends, whatever ends it.

    Raises:
        MigrationBusyError: If another has had it for longer than `patience.longest`.
    """
    ends_at = time.monotonic() + patience.longest
    told = False
    # Asked for again and again, and not waited for in a statement: CREATE INDEX CONCURRENTLY waits for all
    # statements that are older than itself, that of a waiting migrator too, and they would wait for one another.
    while not _locked(connection):
        holder = connection.execute(SQL["lock_holder"], {"key": _ADVISORY_KEY}).fetchone()
        who = f"another migrator (pid {holder[0]} of the database)" if holder else "another migrator"
        if time.monotonic() > ends_at:
            raise MigrationBusyError(f"{who} is still at work after {patience.longest:g} s; try again when it is done")
        if not told:
            report(f"{who} is at work; waiting for it, {patience.longest:g} s at most")
            told = True
        time.sleep(_ASKS_EVERY)


def _locked(connection: Connection[Any]) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_ADVISORY_KEY,)).fetchone()
    return row is not None and bool(row[0])
