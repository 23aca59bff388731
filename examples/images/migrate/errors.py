"""
What can go wrong with a migration. After each of them the same call, made again, goes on where it was left.
"""

from __future__ import annotations


class MigrationError(Exception):
    """
    A migration was not run, or not to its end.
    """


class MigrationFileError(MigrationError):
    """
    A file cannot be read as a migration; nothing was run.
    """


class MigrationChangedError(MigrationError):
    """
    A file is not any more what the database was migrated with; nothing was run.
    """


class MigrationBusyError(MigrationError):
    """
    Another migrator has been at work for longer than this one would wait; nothing was run.
    """


class MigrationBlockedError(MigrationError):
    """
    Somebody holds a lock that the migration needs, and did not let go in time; this migration was not run.
    """


class MigrationFailedError(MigrationError):
    """
    Postgres has refused a migration; its own words are in the message, its error is the cause.
    """
