"""
Bring a database up to date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection

from examples.images.migrate import files, indexes, ledger, steps
from examples.images.migrate.errors import MigrationFailedError, MigrationFileError
from examples.images.migrate.files import Migration, Mode
from examples.images.migrate.patience import Patience, Report
from examples.images.migrate.session import become_the_only_one, connected


@dataclass(frozen=True, slots=True)
class Status:
    """
    How it stands with one migration.

    Attributes:
        label: `component/number_name`.

        state: "pending", "running" (or killed while it ran), "failed", "done", "changed" (its file, after it had been
            run) or "no file".

        rows_touched: What one that runs in batches has changed so far.
    """

    label: str
    state: str
    rows_touched: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Migrator:
    """
    Runs each file once, in order, while readers and writers go on.

    Two at once are safe: the second waits for the first, and finds nothing left to do. One that was killed, cut off or
    refused is run again, and goes on where it was.

    Args:
        url: Of the database; through a pooler only if that keeps a session for as long as the client stays.

        components: The folder of each component's files, in the order in which the components are migrated.

        patience: How it waits for locks and for another migrator.

        report: Called with each line of progress.

    Raises:
        MigrationFileError: If a file is not what a migration should be.
    """

    def __init__(
        self,
        url: str,
        components: Mapping[str, Path],
        *,
        patience: Patience | None = None,
        report: Report = lambda line: None,
    ) -> None:
        self._url = url
        self._patience = patience or Patience()
        self._report = report
        self._migrations = files.read(components)
        for migration in self._migrations:
            _check(migration)

    def up(self, to: str | None = None, *, dry_run: bool = False) -> list[Migration]:
        """
        Run what is not done, and return it.

        Args:
            to: The last to be run, as `frames/0003`; None: all of them.

            dry_run: Whether to report and return what would be run, and to change nothing.

        Raises:
            MigrationError: One of `errors.py`; what was done before stays done.

            psycopg.OperationalError: If the database cannot be reached.
        """
        wanted = files.until(self._migrations, to)
        with connected(self._url, self._patience) as connection:
            if dry_run:
                left = self._left(connection, wanted)
                for migration in left:
                    self._report(f"would run {migration.label} ({migration.mode.value})")
                return left
            become_the_only_one(connection, self._patience, self._report)
            ledger.create(connection)
            left = self._left(connection, wanted)
            for migration in left:
                self._report(f"{migration.label} ({migration.mode.value})")
                self._run(connection, migration)
            return left

    def status(self) -> list[Status]:
        """
        Look how it stands with each, without waiting for a migrator that is at work.

        Raises:
            psycopg.OperationalError: If the database cannot be reached.
        """
        with connected(self._url, self._patience) as connection:
            lines = dict(ledger.read(connection))
        found = []
        for migration in self._migrations:
            line = lines.pop((migration.component, migration.number), None)
            if line is None:
                found.append(Status(migration.label, "pending"))
                continue
            state = "changed" if ledger.is_changed(migration, line) else line.state
            found.append(Status(migration.label, state, line.rows_touched, line.started_at, line.finished_at))
        known = {migration.component for migration in self._migrations}
        found += [
            Status(line.label, "no file", line.rows_touched, line.started_at, line.finished_at)
            for _, line in sorted(lines.items())
            if line.component in known
        ]
        return found

    def _left(self, connection: Connection[Any], wanted: list[Migration]) -> list[Migration]:
        # All files are checked, also those that are not wanted now.
        left = ledger.pending(self._migrations, ledger.read(connection))
        return [migration for migration in left if migration in wanted]

    def _run(self, connection: Connection[Any], migration: Migration) -> None:
        try:
            steps.run(connection, migration, self._patience, self._report)
        except psycopg.Error as error:
            self._failed(connection, migration)
            left = "" if connection.closed else _left_behind(connection, migration)
            said = " ".join(str(error).split())
            raise MigrationFailedError(f"{migration.label}: {said}{left}; mend it and run it again") from error

    def _failed(self, connection: Connection[Any], migration: Migration) -> None:
        if connection.closed:
            return
        try:
            ledger.begin(connection, migration, "failed")
        except psycopg.Error:
            # The error that is on its way says more. The line is missing or says "running", and both are run again.
            self._report(f"{migration.label}: that it failed could not be written down")


def _check(migration: Migration) -> None:
    index = indexes.built_by(migration)
    if index and migration.mode is not Mode.NO_TRANSACTION:
        raise MigrationFileError(
            f"{migration.label}: CONCURRENTLY needs the directive `-- migrate: no-transaction` above it"
        )


def _left_behind(connection: Connection[Any], migration: Migration) -> str:
    index = indexes.built_by(migration)
    if index and indexes.is_valid(connection, index) is False:
        return f" (it has left the index {index} INVALID; the next run drops it first)"
    return ""
