"""
What a folder of migrations must be like, and what is said where it is not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.images import frames
from examples.images.migrate import MigrationFileError, Migrator, Mode, Patience
from examples.images.migrate.files import Migration, read, until

NOWHERE = "postgresql://127.0.0.1:1/never_connected_to"


def written(folder: Path, **files: str) -> Path:
    for name, sql in files.items():
        (folder / f"{name.removeprefix('_')}.sql").write_text(sql)
    return folder


def one(folder: Path, sql: str) -> Migration:
    return read({"shop": written(folder, _0001_first=sql)})[0]


def test_order_is_by_component_then_number(tmp_path: Path) -> None:
    """
    Components run in the order in which they are given, their files by number.
    """
    first, second = tmp_path / "z", tmp_path / "a"
    first.mkdir()
    second.mkdir()
    written(first, _0002_b="SELECT 2", _0001_a="SELECT 1")
    written(second, _0001_c="SELECT 3")

    assert ["z/0001_a", "z/0002_b", "a/0001_c"] == [each.label for each in read({"z": first, "a": second})]


def test_directives_are_read_from_the_header(tmp_path: Path) -> None:
    """
    Without a directive a file is one transaction; with one it is run as that says.
    """
    assert Mode.TRANSACTION is one(tmp_path, "-- A story.\nSELECT 1").mode
    found = one(tmp_path, "-- A story.\n\n--  migrate:  no-transaction \n-- migrate: timeout 15min\nSELECT 1")
    assert (Mode.NO_TRANSACTION, "15min") == (found.mode, found.timeout)
    assert Mode.BATCHES is one(tmp_path, "-- MIGRATE: batches\nSELECT 1").mode


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("-- migrate: in-batches\nSELECT 1", "unknown directive 'in-batches'; there are transaction, no-transaction"),
        ("-- migrate:\nSELECT 1", "unknown directive ''"),
        ("-- migrate: timeout soon\nSELECT 1", "unknown directive 'timeout soon'"),
        ("-- migrate: batches\n-- migrate: no-transaction\nSELECT 1", "batches and no-transaction; keep one"),
        ("SELECT 1;\n-- migrate: batches\nSELECT 2", "'batches' comes after SQL; it belongs above"),
        ("SELECT 1;\nCOMMIT;\nSELECT 2", "leave COMMIT and ROLLBACK to the migrator"),
        ("SELECT 1; COMMIT; SELECT 2", "leave COMMIT and ROLLBACK to the migrator"),
        ("SELECT 1;\nCOMMIT", "leave COMMIT and ROLLBACK to the migrator"),
        ("SELECT 1; /* so far */ end; SELECT 2", "leave COMMIT and ROLLBACK to the migrator"),
        ("CREATE TABLE t ();\nABORT;", "leave COMMIT and ROLLBACK to the migrator"),
        ("-- all of it\nBEGIN; SELECT 1", "begins or ends its transaction by itself"),
        ("START TRANSACTION; SELECT 1", "begins or ends its transaction by itself"),
        ("SELECT 1; PREPARE TRANSACTION 'x'", "begins or ends its transaction by itself"),
        ("SELECT 1;\0SELECT 2", "holds a NUL"),
        (
            "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)",
            "IF NOT EXISTS would keep an INVALID index",
        ),
        ("-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY ON t (a)", "name the index"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", "CONCURRENTLY needs the directive"),
        (
            "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY i ON t (a);\nCREATE INDEX CONCURRENTLY j ON t (b);",
            "builds 2 indexes; give each a file of its own",
        ),
    ],
)
def test_a_wrong_file_is_named_and_nothing_runs(tmp_path: Path, sql: str, said: str) -> None:
    """
    A file that contradicts itself is refused before there is a connection, and the message names it.
    """
    written(tmp_path, _0001_first=sql)
    with pytest.raises(MigrationFileError, match="^shop/0001_first: ") as refused:
        Migrator(NOWHERE, {"shop": tmp_path})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "sql",
    [
        "DO $$ BEGIN PERFORM 1; END; $$;",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $f$\nBEGIN\n  RETURN 1;\nEND;\n$f$;",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END;",
        "INSERT INTO t VALUES ('; COMMIT;'), (E'\\'; ABORT;'), ('it''s; end');",
        'SELECT CASE WHEN a THEN b END AS "; END;" FROM t; -- ; ROLLBACK;',
        "SELECT 1; /* ; BEGIN; */ SELECT end_at, begins FROM t; END_IT;",
    ],
)
def test_what_only_looks_like_the_end_of_a_transaction_is_none(tmp_path: Path, sql: str) -> None:
    """
    Bodies of functions, strings, names and comments may hold those words.
    """
    assert sql == one(tmp_path, sql).sql


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["0001_a", "0003_c"], "shop/0003_c: number 0003 follows 0001"),
        (["0001_a", "0001_b"], "number 0001 is there twice"),
        (["0002_a"], "shop/0002_a: number 0002 follows 0000"),
        (["1_a"], "'1_a.sql' should be called like 0001_what_it_does.sql"),
        (["0001_A b"], "should be called like"),
        ([], "no .sql file in"),
    ],
)
def test_wrong_numbers_are_named(tmp_path: Path, names: list[str], said: str) -> None:
    """
    A gap, a number that is there twice, and a name without a number are errors.
    """
    for name in names:
        (tmp_path / f"{name}.sql").write_text("SELECT 1")
    with pytest.raises(MigrationFileError) as refused:
        read({"shop": tmp_path})
    assert said in str(refused.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """
    A component whose folder is not there is an error, not one without migrations.
    """
    with pytest.raises(MigrationFileError, match="shop: .*nowhere is no folder"):
        read({"shop": tmp_path / "nowhere"})


def test_line_ends_are_no_change(tmp_path: Path) -> None:
    """
    A checkout with the line ends of Windows has the same hash.
    """
    unix = one(tmp_path, "SELECT 1;\nSELECT 2;\n")
    (tmp_path / "0001_first.sql").write_bytes(b"SELECT 1;\r\nSELECT 2;\r\n")
    assert unix == read({"shop": tmp_path})[0]


def test_up_to_one_that_is_not_there_names_those_that_are() -> None:
    """
    `to` takes a label or its beginning down to the number.
    """
    all_of_them = read({"frames": frames.MIGRATIONS})
    assert ["frames/0001_frames"] == [each.label for each in until(all_of_them, "frames/0001")]
    assert all_of_them[:3] == until(all_of_them, "frames/0003_backfill")
    with pytest.raises(MigrationFileError, match="got 'frames/0099'; there are frames/0001_frames, "):
        until(all_of_them, "frames/0099")


def test_pauses_grow_and_differ() -> None:
    """
    Pauses double up to the longest, and two migrators do not come back together.
    """
    patience = Patience(first_pause=0.1, longest_pause=3.0)
    for attempt in range(2_000):
        mean = min(2.0, 0.1 * 2 ** min(attempt, 30))
        assert 0.5 * mean <= patience.pause(attempt) <= 1.5 * mean <= 3.0
    assert len({patience.pause(3) for _ in range(100)}) > 90
