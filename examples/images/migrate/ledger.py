"""
The table `schema_migrations`: what has been run, when, and how far one that is not through has come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection, sql
from psycopg.errors import UndefinedTable
from psycopg.rows import class_row

from examples.images.migrate.errors import MigrationChangedError
from examples.images.migrate.files import Migration
from examples.images.migrate.statements import SQL


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line of the ledger, as its columns are.
    """

    component: str
    number: int
    name: str
    sha256: bytes
    state: str
    cursor_at: int | None
    rows_touched: int
    started_at: datetime
    finished_at: datetime | None

    @property
    def label(self) -> str:
        """
        Name it as its file is named.
        """
        return f"{self.component}/{self.number:04d}_{self.name}"


Ledger = Mapping[tuple[str, int], Line]


def create(connection: Connection[Any]) -> None:
    """
    Make the table where there is none.
    """
    connection.execute(SQL["create_ledger"])


def read(connection: Connection[Any]) -> Ledger:
    """
    Read all of it; it is empty where there is no table yet.
    """
    with connection.cursor(row_factory=class_row(Line)) as cursor:
        try:
            lines = cursor.execute(SQL["read_ledger"]).fetchall()
        except UndefinedTable:
            return {}
    return {(line.component, line.number): line for line in lines}


def pending(migrations: Sequence[Migration], ledger: Ledger) -> list[Migration]:
    """
    Find those that are not done.

    Raises:
        MigrationChangedError: If a file was changed or taken away after it had been run.
    """
    there = {(each.component, each.number) for each in migrations}
    components = {each.component for each in migrations}
    for key, line in sorted(ledger.items()):
        if line.component in components and key not in there:
            raise MigrationChangedError(
                f"{line.label} was run here, and there is no such file: is this code older than the database?"
            )
    for migration in migrations:
        if is_changed(migration, ledger.get((migration.component, migration.number))):
            raise MigrationChangedError(
                f"{migration.label} was changed after it had been run; put it back as it was, "
                "and what is to be different into a new file"
            )
    return [each for each in migrations if not _is_done(ledger.get((each.component, each.number)))]


def is_changed(migration: Migration, line: Line | None) -> bool:
    """
    Tell whether the file differs from what was run. One that never came to its end may be mended.
    """
    return _is_done(line) and line is not None and (line.name, line.sha256) != (migration.name, migration.sha256)


def begin(connection: Connection[Any], migration: Migration, state: str = "running") -> int | None:
    """
    Write down that it runs, and find where it was left.
    """
    row = connection.execute(SQL["begin"], {**_identity(migration), "state": state}).fetchone()
    cursor_at: int | None = row[0] if row else None
    return cursor_at


def progress(connection: Connection[Any], migration: Migration, cursor_at: int, touched: int) -> None:
    """
    Write down how far it has come, within the transaction in which it came there.
    """
    connection.execute(SQL["progress"], {**_identity(migration), "cursor_at": cursor_at, "touched": touched})


def done(connection: Connection[Any], migration: Migration) -> None:
    """
    Write down that it has come to its end.
    """
    connection.execute(SQL["done"], _identity(migration))


def done_at_once(migration: Migration) -> sql.Composed:
    """
    Make the statement that writes down a migration which is one transaction, to be the last within it.
    """
    literals = {name: sql.Literal(value) for name, value in _identity(migration).items()}
    return sql.SQL(SQL["done_at_once"]).format(**literals)


def _is_done(line: Line | None) -> bool:
    return line is not None and line.state == "done"


def _identity(migration: Migration) -> dict[str, Any]:
    return {
        "component": migration.component,
        "number": migration.number,
        "name": migration.name,
        "sha256": migration.sha256,
    }
