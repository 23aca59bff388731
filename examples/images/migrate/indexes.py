"""
Indexes that are built CONCURRENTLY: a build that failed or was killed leaves an INVALID one behind.
"""

from __future__ import annotations

import re
from typing import Any

from psycopg import Connection, sql

from examples.images.migrate.errors import MigrationFileError
from examples.images.migrate.files import Migration
from examples.images.migrate.statements import SQL

_CREATE = re.compile(
    r"^\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?P<if>IF\s+NOT\s+EXISTS\s+)?(?P<name>(?!ON\b)[\w.\"]+)?",
    re.IGNORECASE | re.MULTILINE,
)


def built_by(migration: Migration) -> str | None:
    """
    Find the name of the index that *migration* builds CONCURRENTLY, if it does.

    Raises:
        MigrationFileError: If it says IF NOT EXISTS, or builds more than one.
    """
    found = list(_CREATE.finditer(migration.sql))
    if not found:
        return None
    if len(found) > 1:
        raise MigrationFileError(f"{migration.label}: builds {len(found)} indexes; give each a file of its own")
    if found[0]["if"]:
        raise MigrationFileError(
            f"{migration.label}: IF NOT EXISTS would keep an INVALID index and say nothing; leave it out, "
            "the migrator drops one that is INVALID by itself"
        )
    if not found[0]["name"]:
        raise MigrationFileError(f"{migration.label}: name the index, or an INVALID one could not be found")
    return found[0]["name"]


def is_valid(connection: Connection[Any], name: str) -> bool | None:
    """
    Tell whether the index can be used; None: there is none of that name.
    """
    row = connection.execute(SQL["index"], {"name": name}).fetchone()
    return None if row is None else bool(row[2])


def drop(connection: Connection[Any], name: str) -> None:
    """
    Drop the index, with no lock that blocks a reader or a writer.
    """
    row = connection.execute(SQL["index"], {"name": name}).fetchone()
    if row is not None:
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(row[0], row[1])))
