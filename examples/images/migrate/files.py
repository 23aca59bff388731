"""
The files of migrations: their numbers, their directives, and what must be true of them before any is run.

A file is called `0001_what_it_does.sql`. Its header comments may hold directives:

    -- migrate: transaction      all of it or nothing; the default
    -- migrate: no-transaction   one statement that Postgres runs in no transaction: CREATE INDEX CONCURRENTLY
    -- migrate: batches          one statement, run again and again (see `steps.py`)
    -- migrate: timeout 15min    the longest that a statement of it may take
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from examples.images.migrate.errors import MigrationFileError

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_DIRECTIVE = re.compile(r"\s*--\s*migrate\s*:\s*(.*?)\s*", re.IGNORECASE)
_TIMEOUT = re.compile(r"timeout ([1-9]\d{0,5}(?:ms|s|min|h))")
# Each file is one transaction with its line in the ledger, and must not end it before that line is there.
_ENDS_TRANSACTION = re.compile(r"^\s*(?:COMMIT|ROLLBACK)\b[^;]*;", re.IGNORECASE | re.MULTILINE)
# In what is left without comments, strings, quoted names and bodies of functions.
_CONTROLS_TRANSACTION = re.compile(
    r"(?:\A|;)\s*(?:COMMIT|ROLLBACK|ABORT|BEGIN|START\s+TRANSACTION|PREPARE\s+TRANSACTION)\b", re.IGNORECASE
)
# The end of a body in plain SQL looks the same.
_END = re.compile(r"(?:\A|;)\s*END\b", re.IGNORECASE)
_ATOMIC = re.compile(r"\bBEGIN\s+ATOMIC\b", re.IGNORECASE)
_NO_CODE = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | \be'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "[^"]*"
    | (?P<tag>\$(?:[a-z_]\w*)?\$).*?(?P=tag)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


class Mode(Enum):
    """
    How a file is run; the values are the directives.
    """

    TRANSACTION = "transaction"
    NO_TRANSACTION = "no-transaction"
    BATCHES = "batches"


# DDL in a transaction holds the strongest lock there is, so it has to be short; the others block nobody.
_TIMEOUTS: Mapping[Mode, str] = {Mode.TRANSACTION: "5s", Mode.NO_TRANSACTION: "1h", Mode.BATCHES: "5s"}


@dataclass(frozen=True, slots=True)
class Migration:
    """
    One file.

    Attributes:
        component: Whose it is.

        number: From 1, without a gap, within the component.

        name: What it does, from the file's name.

        sql: All of the file.

        sha256: Of the file, with line ends as on Unix: a checkout on Windows is no change.

        timeout: As Postgres's statement_timeout takes it.
    """

    component: str
    number: int
    name: str
    sql: str
    sha256: bytes
    mode: Mode
    timeout: str

    @property
    def label(self) -> str:
        """
        Name it in one word: `frames/0003_backfill`.
        """
        return f"{self.component}/{self.number:04d}_{self.name}"


def read(components: Mapping[str, Path]) -> list[Migration]:
    """
    Read the migrations of all *components*, in the order in which they are run.

    Args:
        components: The folder of each, by name; one that builds on another comes after it.

    Raises:
        MigrationFileError: If a file's name, number or directive is wrong, or there is no file at all.
    """
    return [migration for component, folder in components.items() for migration in _folder(component, folder)]


def until(migrations: list[Migration], to: str | None) -> list[Migration]:
    """
    Keep those up to *to*, itself included: a label, or its beginning down to the number (`frames/0003`).

    Raises:
        MigrationFileError: If there is none of that name.
    """
    if to is None:
        return migrations
    for end, migration in enumerate(migrations, 1):
        if to in (migration.label, f"{migration.component}/{migration.number:04d}"):
            return migrations[:end]
    known = ", ".join(migration.label for migration in migrations)
    raise MigrationFileError(f"to must name a migration, got {to!r}; there are {known}")


def _folder(component: str, folder: Path) -> list[Migration]:
    if not folder.is_dir():
        raise MigrationFileError(f"{component}: {folder} is no folder; it should hold 0001_<what_it_does>.sql")
    found = sorted((_file(component, path) for path in folder.glob("*.sql")), key=lambda each: each.number)
    if not found:
        raise MigrationFileError(f"{component}: no .sql file in {folder}; were they left out of the installation?")
    for expected, migration in enumerate(found, 1):
        if migration.number != expected:
            fault = "is there twice" if migration.number < expected else f"follows {expected - 1:04d}"
            raise MigrationFileError(f"{migration.label}: number {migration.number:04d} {fault}; number it anew")
    return found


def _file(component: str, path: Path) -> Migration:
    named = _NAME.fullmatch(path.name)
    if named is None:
        raise MigrationFileError(f"{component}: {path.name!r} should be called like 0001_what_it_does.sql")
    where = f"{component}/{path.stem}"
    content = path.read_bytes().replace(b"\r\n", b"\n")
    try:
        sql = content.decode()
    except UnicodeDecodeError as error:
        raise MigrationFileError(f"{where}: is not UTF-8: {error}") from error
    if "\0" in sql:
        raise MigrationFileError(f"{where}: holds a NUL, at which Postgres would stop reading; take it out")
    mode, timeout = _directives(where, sql)
    if _controls_transaction(sql):
        raise MigrationFileError(
            f"{where}: begins or ends its transaction by itself; leave COMMIT and ROLLBACK to the migrator"
        )
    return Migration(
        component=component,
        number=int(named[1]),
        name=named[2],
        sql=sql,
        sha256=hashlib.sha256(content).digest(),
        mode=mode,
        timeout=timeout or _TIMEOUTS[mode],
    )


def _controls_transaction(sql: str) -> bool:
    if _ENDS_TRANSACTION.search(sql):
        return True
    code = _NO_CODE.sub(" ", sql)
    return bool(_CONTROLS_TRANSACTION.search(code) or (_END.search(code) and not _ATOMIC.search(code)))


def _directives(where: str, sql: str) -> tuple[Mode, str | None]:
    modes: list[Mode] = []
    timeout: str | None = None
    in_header = True
    for line in sql.splitlines():
        in_header = in_header and (not line.strip() or line.lstrip().startswith("--"))
        directive = _DIRECTIVE.fullmatch(line)
        if directive is None:
            continue
        word = directive[1]
        if not in_header:
            raise MigrationFileError(f"{where}: the directive {word!r} comes after SQL; it belongs above")
        if timed := _TIMEOUT.fullmatch(word):
            timeout = timed[1]
        elif word in [mode.value for mode in Mode]:
            modes.append(Mode(word))
        else:
            known = ", ".join(mode.value for mode in Mode)
            raise MigrationFileError(f"{where}: unknown directive {word!r}; there are {known}, timeout <15min>")
    if len(modes) > 1:
        said = " and ".join(mode.value for mode in modes)
        raise MigrationFileError(f"{where}: is to be run as {said}; keep one of them")
    return (modes[0] if modes else Mode.TRANSACTION), timeout
