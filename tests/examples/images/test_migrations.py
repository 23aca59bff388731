"""
The migrator on a real Postgres: once each, in order, one at a time, and again after whatever went wrong.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from examples.images import frames
from examples.images.migrate import (
    MigrationBlockedError,
    MigrationBusyError,
    MigrationChangedError,
    MigrationFailedError,
    Migrator,
    Patience,
)

IMPATIENT = Patience(longest=0.3, first_pause=0.02, longest_pause=0.1)
PATIENT = Patience(longest=20.0, first_pause=0.02, longest_pause=0.1)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query).fetchall()


def run(url: str, *queries: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for query in queries:
            connection.execute(query)


def write(folder: Path, name: str, sql: str) -> None:
    (folder / f"{name}.sql").write_text(sql)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """
    A folder with two migrations.
    """
    write(tmp_path, "0001_goods", "CREATE TABLE goods (id int PRIMARY KEY, price int, seen int NOT NULL DEFAULT 0)")
    write(tmp_path, "0002_first_goods", "INSERT INTO goods SELECT n, n FROM generate_series(1, 1000) n; -- no newline")
    return tmp_path


def test_each_is_run_once(empty_database: str, shop: Path) -> None:
    """
    What has been run is not run again, and status says which is which.
    """
    migrator = Migrator(empty_database, {"shop": shop})
    assert ["pending", "pending"] == [each.state for each in migrator.status()]

    assert ["shop/0001_goods"] == [each.label for each in migrator.up("shop/0001")]
    assert ["shop/0002_first_goods"] == [each.label for each in migrator.up()]
    assert [] == migrator.up()

    assert [(1000,)] == rows(empty_database, "SELECT count(*) FROM goods")
    assert [("shop/0001_goods", "done"), ("shop/0002_first_goods", "done")] == [
        (each.label, each.state) for each in migrator.status()
    ]
    for each in migrator.status():
        assert each.started_at and each.finished_at and each.started_at <= each.finished_at


def test_a_dry_run_changes_nothing(empty_database: str, shop: Path) -> None:
    """
    It tells what would be done, and not even its own table is made.
    """
    told: list[str] = []
    migrator = Migrator(empty_database, {"shop": shop}, report=told.append)

    assert ["shop/0001_goods", "shop/0002_first_goods"] == [each.label for each in migrator.up(dry_run=True)]

    assert ["would run shop/0001_goods (transaction)", "would run shop/0002_first_goods (transaction)"] == told
    assert [] == rows(empty_database, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")


def test_a_changed_file_is_an_error_that_names_it(empty_database: str, shop: Path) -> None:
    """
    A file that was changed, renamed or taken away after it had been run stops the migrator before it runs anything.
    """
    Migrator(empty_database, {"shop": shop}).up()
    write(shop, "0003_more", "INSERT INTO goods VALUES (0)")
    original = (shop / "0001_goods.sql").read_text()
    write(shop, "0001_goods", original + " ")
    changed = Migrator(empty_database, {"shop": shop})
    for dry_run in (True, False):
        with pytest.raises(MigrationChangedError, match="^shop/0001_goods was changed after it had been run"):
            changed.up(dry_run=dry_run)
    assert ["changed", "done", "pending"] == [each.state for each in changed.status()]

    write(shop, "0001_goods", original)
    (shop / "0002_first_goods.sql").rename(shop / "0002_goods_to_start_with.sql")
    with pytest.raises(MigrationChangedError, match="^shop/0002_goods_to_start_with was changed"):
        Migrator(empty_database, {"shop": shop}).up()

    (shop / "0002_goods_to_start_with.sql").unlink()
    (shop / "0003_more.sql").unlink()
    older = Migrator(empty_database, {"shop": shop})
    with pytest.raises(MigrationChangedError, match="shop/0002_first_goods was run here, and there is no such file"):
        older.up()
    assert ["done", "no file"] == [each.state for each in older.status()]
    assert [(1000,)] == rows(empty_database, "SELECT count(*) FROM goods")


def test_a_failing_step_leaves_nothing_and_is_run_again(empty_database: str, shop: Path) -> None:
    """
    What Postgres refuses is rolled back whole, said in its words, and may be mended: it never came to its end.
    """
    write(shop, "0003_wrong", "CREATE TABLE half (); SELECT 1 / 0;")
    with pytest.raises(MigrationFailedError, match="^shop/0003_wrong: division by zero; mend it and run it again"):
        Migrator(empty_database, {"shop": shop}).up()
    migrator = Migrator(empty_database, {"shop": shop})
    assert ["done", "done", "failed"] == [each.state for each in migrator.status()]
    assert [(None,)] == rows(empty_database, "SELECT to_regclass('half')::text")

    write(shop, "0003_wrong", "CREATE TABLE half ();")
    assert ["shop/0003_wrong"] == [each.label for each in Migrator(empty_database, {"shop": shop}).up()]
    assert [("half",)] == rows(empty_database, "SELECT to_regclass('half')::text")


def test_two_at_once(empty_database: str, shop: Path) -> None:
    """
    Of four migrators one does the work, an index built CONCURRENTLY too; the others wait, say so, and find it done.
    """
    write(shop, "0003_slow", "SELECT pg_sleep(0.3)")
    write(shop, "0004_index", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY goods_price ON goods (price)")
    done: list[list[str]] = []
    told: list[str] = []

    def migrate() -> None:
        migrator = Migrator(empty_database, {"shop": shop}, patience=PATIENT, report=told.append)
        done.append([each.label for each in migrator.up()])

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [0, 0, 0, 4] == sorted(map(len, done))
    assert 3 == sum("another migrator (pid " in line for line in told)
    assert [(1000,)] == rows(empty_database, "SELECT count(*) FROM goods")


def test_waiting_for_another_migrator_ends(empty_database: str, shop: Path) -> None:
    """
    The wait for another migrator is bounded, and the message says who that is.
    """
    write(shop, "0003_slow", "SELECT pg_sleep(1.2)")
    begun = threading.Event()

    def told(line: str) -> None:
        if "0003" in line:
            begun.set()

    busy = Migrator(empty_database, {"shop": shop}, report=told)
    thread = threading.Thread(target=busy.up)
    thread.start()
    try:
        assert begun.wait(10)
        with pytest.raises(MigrationBusyError, match=r"another migrator \(pid \d+ .* is still at work after 0.3 s"):
            Migrator(empty_database, {"shop": shop}, patience=IMPATIENT).up()
    finally:
        thread.join()


def test_a_long_transaction_blocks_nobody_but_the_migrator(empty_database: str) -> None:
    """
    While somebody holds the table, the migrator tries again and again, and no reader waits for longer than 100 ms.
    """
    Migrator(empty_database, {"frames": frames.MIGRATIONS}).up("frames/0001")
    run(empty_database, "INSERT INTO frames (response) SELECT '{}' FROM generate_series(1, 100)")
    told: list[str] = []
    waited: list[float] = []
    migrator = Migrator(empty_database, {"frames": frames.MIGRATIONS}, patience=PATIENT, report=told.append)
    thread = threading.Thread(target=migrator.up)
    with psycopg.connect(empty_database) as holder, psycopg.connect(empty_database, autocommit=True) as reader:
        holder.execute("SELECT count(*) FROM frames")
        thread.start()
        ends_at = time.monotonic() + 10
        while sum("a lock is in the way" in line for line in told) < 3 and time.monotonic() < ends_at:
            began = time.monotonic()
            reader.execute("SELECT count(*) FROM frames", prepare=False)
            waited.append(time.monotonic() - began)
        holder.rollback()
    thread.join()

    assert ["frames/0002_columns_and_audit: a lock is in the way; attempt 2"] == [
        line.partition(" in 0.")[0] for line in told if "attempt 2" in line and "0002" in line
    ]
    assert {"done"} == {each.state for each in migrator.status()}
    assert max(waited) <= 0.1


def test_patience_ends_and_names_who_is_in_the_way(empty_database: str) -> None:
    """
    A lock that is never let go of ends the step, with the holder's pid and none of its words, and nothing changed.
    """
    Migrator(empty_database, {"frames": frames.MIGRATIONS}).up("frames/0001")
    migrator = Migrator(empty_database, {"frames": frames.MIGRATIONS}, patience=IMPATIENT)
    with psycopg.connect(empty_database, application_name="report") as holder:
        holder.execute("SELECT count(*), 'secret' FROM frames")
        with pytest.raises(MigrationBlockedError) as blocked:
            migrator.up()
        pid = holder.info.backend_pid
    said = str(blocked.value)
    assert said.startswith("frames/0002_columns_and_audit: no lock, asked for ")
    assert f"in a transaction: pid {pid} (report, idle in transaction) for 0 s" in said
    assert "secret" not in said
    assert [(None,)] == rows(empty_database, "SELECT to_regclass('frames_audit')::text")

    assert 7 == len(migrator.up())


def test_the_owner_of_the_database_may_migrate_it(empty_database: str) -> None:
    """
    What only a superuser may set is left out, and whose transaction is in the way is not made up.
    """
    name = f"owner_of_{empty_database.rpartition('/')[2]}"
    owned = empty_database.replace("//postgres@", f"//{name}@")
    run(empty_database, f"CREATE ROLE {name} LOGIN", f"ALTER SCHEMA public OWNER TO {name}")
    try:
        migrator = Migrator(owned, {"frames": frames.MIGRATIONS}, patience=IMPATIENT)
        migrator.up("frames/0001")
        with psycopg.connect(empty_database) as holder:
            holder.execute("SELECT count(*) FROM frames")
            with pytest.raises(MigrationBlockedError, match="whose transaction holds it cannot be seen from here"):
                migrator.up()
        migrator.up()
        assert {"done"} == {each.state for each in migrator.status()}
    finally:
        run(empty_database, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


def test_a_locked_row_delays_a_batch_and_loses_none(empty_database: str) -> None:
    """
    A batch that comes to a row which somebody is writing to waits for it, however often it takes.
    """
    Migrator(empty_database, {"frames": frames.MIGRATIONS}).up("frames/0002")
    run(
        empty_database,
        "ALTER TABLE frames DISABLE TRIGGER frames_fill_url",
        """INSERT INTO frames (response) SELECT '{"data": [{"url": "/1.png"}]}' FROM generate_series(1, 500)""",
    )
    told: list[str] = []
    migrator = Migrator(empty_database, {"frames": frames.MIGRATIONS}, patience=PATIENT, report=told.append)
    thread = threading.Thread(target=migrator.up, args=("frames/0003",))
    with psycopg.connect(empty_database) as writer:
        writer.execute("UPDATE frames SET created_at = clock_timestamp() WHERE id = 300")
        thread.start()
        ends_at = time.monotonic() + 10
        while sum("a lock is in the way" in line for line in told) < 2 and time.monotonic() < ends_at:
            time.sleep(0.01)
        writer.commit()
    thread.join()
    assert any("0003_backfill: a lock is in the way" in line for line in told)
    assert [(500,)] == rows(empty_database, "SELECT count(*) FROM frames WHERE image_url = '/1.png'")


def test_an_invalid_index_is_dropped_and_built_anew(empty_database: str, shop: Path) -> None:
    """
    A unique index that fails on a duplicate stays behind, INVALID; the next run drops it, and never takes it for built.
    """
    write(
        shop,
        "0003_unique",
        "-- migrate: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY goods_price ON goods (price)",
    )
    told: list[str] = []
    migrator = Migrator(empty_database, {"shop": shop}, report=told.append)
    migrator.up("shop/0002")
    run(empty_database, "INSERT INTO goods VALUES (0, 1)")
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('goods_price')"

    for _ in range(2):
        with pytest.raises(MigrationFailedError, match=r"could not create unique index .*it has left .* INVALID"):
            migrator.up()
        assert [(False,)] == rows(empty_database, valid)

    run(empty_database, "DELETE FROM goods WHERE id = 0")
    migrator.up()
    assert [(True,)] == rows(empty_database, valid)
    assert 2 == told.count("shop/0003_unique: dropping the INVALID index goods_price that an earlier build has left")


def test_an_index_of_somebody_else_is_not_taken_for_ours(empty_database: str, shop: Path) -> None:
    """
    An index of the same name that no migration has built is an error, each time.
    """
    write(shop, "0003_index", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY goods_price ON goods (price)")
    migrator = Migrator(empty_database, {"shop": shop})
    migrator.up("shop/0002")
    run(empty_database, "CREATE INDEX goods_price ON goods (id)")
    for _ in range(2):
        with pytest.raises(MigrationFailedError, match="there is an index goods_price that no migration has built"):
            migrator.up()


def test_batches_go_on_where_they_were_left(empty_database: str, shop: Path) -> None:
    """
    A batch that fails is rolled back alone; the next run begins with it, and touches no row twice.
    """
    sweep = """-- migrate: batches
        WITH batch AS MATERIALIZED (
            SELECT id FROM goods WHERE id > coalesce(%(after)s::bigint, 0) ORDER BY id LIMIT least(%(limit)s, 100)
        ), touched AS (
            UPDATE goods SET seen = seen + 1, price = 100 / (price - 555) FROM batch WHERE goods.id = batch.id
            RETURNING goods.id
        )
        SELECT (SELECT max(id) FROM batch) AS last, (SELECT count(*) FROM touched) AS touched"""
    write(shop, "0003_sweep", sweep)
    migrator = Migrator(empty_database, {"shop": shop})
    with pytest.raises(MigrationFailedError, match="division by zero"):
        migrator.up()
    assert [(500,)] == rows(empty_database, "SELECT max(id) FROM goods WHERE seen = 1")
    assert [("failed", 500, 500)] == rows(
        empty_database, "SELECT state, cursor_at, rows_touched FROM schema_migrations WHERE number = 3"
    )
    assert 500 == migrator.status()[2].rows_touched

    run(empty_database, "UPDATE goods SET price = 0 WHERE id = 555")
    migrator.up()
    assert [(1, 1000)] == rows(empty_database, "SELECT seen, count(*) FROM goods GROUP BY seen")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1 AS last", "must return one row of `last` and `touched`"),
        ("SELECT 1 AS last, 1 AS touched LIMIT %(limit)s * 0", "must return one row"),
        ("SELECT 1 AS last, 1 AS touched", "`last` must grow, got 1 after 1"),
    ],
)
def test_batches_that_would_never_end(empty_database: str, shop: Path, sql: str, said: str) -> None:
    """
    A statement that does not say where it is, or does not go on, is an error and not an endless loop.
    """
    write(shop, "0003_sweep", f"-- migrate: batches\n{sql}")
    with pytest.raises(MigrationFailedError) as failed:
        Migrator(empty_database, {"shop": shop}).up()
    assert said in str(failed.value)


def test_a_statement_that_takes_too_long_is_ended(empty_database: str, shop: Path) -> None:
    """
    A file's timeout is Postgres's own: a step that holds locks cannot hold them for long.
    """
    write(shop, "0003_slow", "-- migrate: timeout 50ms\nSELECT pg_sleep(5)")
    began = time.monotonic()
    with pytest.raises(MigrationFailedError, match="statement timeout"):
        Migrator(empty_database, {"shop": shop}).up()
    assert time.monotonic() - began < 3
