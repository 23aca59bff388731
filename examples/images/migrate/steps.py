"""
Run one migration, in the way that its file asks for. Killed at any point, each goes on when it is run again.
"""

from __future__ import annotations

import time
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import dict_row

from examples.images.migrate import indexes, ledger
from examples.images.migrate.errors import MigrationFailedError
from examples.images.migrate.files import Migration, Mode
from examples.images.migrate.patience import Patience, Report, patiently
from examples.images.migrate.session import set_to

# A row that a batch changes is locked for as long as the batch takes, and who writes to that row waits.
_BATCH_SECONDS = 0.03
# On a busy machine a batch takes long however small it is: a floor keeps it from shrinking until nothing gets done.
_FIRST_BATCH, _SMALLEST_BATCH, _LARGEST_BATCH = 200, 200, 5_000

# A batch finds its rows by key. On a table that was never analysed, or is small, the planner would rather read all of
# it, each time: 20,000 rows took 57 s under load instead of 6.
_BY_KEY = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")


def run(connection: Connection[Any], migration: Migration, patience: Patience, report: Report) -> None:
    """
    Run it to its end.

    Raises:
        MigrationBlockedError: If a lock was in its way for too long.

        MigrationFailedError: If it contradicts itself or what is in the database.

        psycopg.Error: If Postgres refuses it, or goes away.
    """
    set_to(connection, "statement_timeout", migration.timeout)
    if migration.mode is Mode.TRANSACTION:
        _in_transaction(connection, migration, patience, report)
    elif migration.mode is Mode.NO_TRANSACTION:
        _in_no_transaction(connection, migration, patience, report)
    else:
        _in_batches(connection, migration, patience, report)


def _in_transaction(connection: Connection[Any], migration: Migration, patience: Patience, report: Report) -> None:
    # The file and its line in the ledger go out as one query, which is one transaction: between them there is no
    # moment at which a migrator that is stopped or cut off would hold the locks.
    whole = sql.SQL(migration.sql) + sql.SQL("\n;\n") + ledger.done_at_once(migration)
    patiently(lambda: connection.execute(whole), connection, migration.label, patience, report)


def _in_no_transaction(connection: Connection[Any], migration: Migration, patience: Patience, report: Report) -> None:
    index = indexes.built_by(migration)
    begun = (migration.component, migration.number) in ledger.read(connection)
    # Looked at before it is written down that we build it: from then on one that is there is ours.
    if index and not begun and indexes.is_valid(connection, index):
        raise MigrationFailedError(
            f"{migration.label}: there is an index {index} that no migration has built; drop or rename it"
        )
    ledger.begin(connection, migration)
    # Its locks block neither readers nor writers, while it is right that it waits for those who were there before.
    set_to(connection, "lock_timeout", "0")

    def build() -> None:
        if index:
            valid = indexes.is_valid(connection, index)
            if valid:
                return
            if valid is False:
                report(f"{migration.label}: dropping the INVALID index {index} that an earlier build has left")
                indexes.drop(connection, index)
        connection.execute(migration.sql)

    try:
        patiently(build, connection, migration.label, patience, report)
    finally:
        if not connection.closed:
            set_to(connection, "lock_timeout", f"{max(1, round(patience.lock_timeout * 1000))}ms")
    ledger.done(connection, migration)


def _in_batches(connection: Connection[Any], migration: Migration, patience: Patience, report: Report) -> None:
    """
    Run the file's statement until it finds no row, each time in a transaction of its own.

    The statement gets `%(after)s`, the key up to which all is done (null at first), and `%(limit)s`. It returns one
    row: `last`, the largest key that it has looked at, or null if there was none, and `touched`, how many rows it
    has changed.
    """
    after = ledger.begin(connection, migration)
    for way in _BY_KEY:
        set_to(connection, way, "off")
    limit, touched = _FIRST_BATCH, 0

    def batch() -> tuple[int | None, int]:
        with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(migration.sql, {"after": after, "limit": limit}).fetchone()
            if row is None or row.keys() != {"last", "touched"}:
                raise MigrationFailedError(f"{migration.label}: a batch must return one row of `last` and `touched`")
            if row["last"] is not None:
                if after is not None and row["last"] <= after:
                    raise MigrationFailedError(f"{migration.label}: `last` must grow, got {row['last']} after {after}")
                ledger.progress(connection, migration, row["last"], row["touched"])
            return row["last"], row["touched"]

    while True:
        began = time.perf_counter()
        last, changed = patiently(batch, connection, migration.label, patience, report)
        took = time.perf_counter() - began
        if last is None:
            break
        after = last
        touched += changed
        limit = _next_limit(limit, took, changed)
        # Every other moment is left to those for whom the database is there.
        time.sleep(min(took, _BATCH_SECONDS))
    for way in _BY_KEY:
        connection.execute(sql.SQL("RESET {}").format(sql.Identifier(way)))
    ledger.done(connection, migration)
    report(f"{migration.label}: {touched} rows changed")


def _next_limit(limit: int, took: float, touched: int) -> int:
    """
    Choose the size of the next batch, so that it locks its rows for about as long as it should.
    """
    if touched == 0 or took < _BATCH_SECONDS / 2:
        return min(_LARGEST_BATCH, limit * 3 // 2)
    if took > _BATCH_SECONDS:
        return max(_SMALLEST_BATCH, limit // 2)
    return limit
