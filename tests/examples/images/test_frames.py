"""
Frames and images on a real Postgres: stored once, refused without an image, and read past rows that have none.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import AsyncConnection
from psycopg.errors import CheckViolation, IntegrityError, NotNullViolation
from psycopg_pool import AsyncConnectionPool

from examples.images.frames import MIGRATIONS, PostgresFrames, is_shown
from examples.images.migrate import Migrator
from examples.images.ports import FramePage, FrameReader, FrameWriter, Image, NoImageError
from examples.images.start.postgres import Postgres
from tests.examples.images.test_frames_guard import BAD, GOOD

PNG = Image(b"\x89PNG\r\n\x1a\n-1", "image/png")
WEBP = Image(b"RIFF....WEBP-2", "image/webp")

Pool = AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]]


def migrated(url: str, to: str | None = None) -> str:
    Migrator(url, {"frames": MIGRATIONS}).up(to)
    return url


def with_pool(url: str, use: Callable[[Pool], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncConnectionPool(url, min_size=1, max_size=2, open=False) as pool:
            await use(pool)

    asyncio.run(main())


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query).fetchall()


def legacy(url: str, *image_urls: str | None) -> None:
    """
    Add rows as they are before the database refuses any.
    """
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO frames (image_url) VALUES (%s)", [(each,) for each in image_urls])


@pytest.fixture(scope="module")
def databases(postgres: Postgres) -> Iterator[tuple[str, str]]:
    """
    Two databases for all tests of the file, as making one takes longer than most of them: one that is migrated to the
    end, and one in which rows without an image are possible still.
    """
    names = ("frames_of_now", "frames_of_old")
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name}")
        now, old = (postgres.url.removesuffix("/postgres") + f"/{name}" for name in names)
        yield migrated(now), migrated(old, "frames/0002")
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def emptied(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE frames, images, frames_audit, frames_refetch RESTART IDENTITY")
    return url


@pytest.fixture
def now(databases: tuple[str, str]) -> str:
    """
    The URL of an empty database that is migrated to the end.
    """
    return emptied(databases[0])


@pytest.fixture
def old(databases: tuple[str, str]) -> str:
    """
    The URL of an empty database that is migrated up to `frames/0002`.
    """
    return emptied(databases[1])


def name_of(image: Image, ending: str) -> str:
    return f"{hashlib.sha256(image.content).hexdigest()}.{ending}"


def test_an_image_is_stored_once_a_job(now: str) -> None:
    """
    A second image of the same job changes nothing; the same image of another job is stored once.
    """
    first, second = uuid4(), uuid4()

    async def use(pool: Pool) -> None:
        frames = PostgresFrames(pool)
        writer: FrameWriter = frames
        reader: FrameReader = frames
        for job_id, image in ((first, PNG), (first, PNG), (first, WEBP), (second, PNG)):
            async with pool.connection() as connection:
                await writer.insert(connection, job_id, image)
        page = await reader.page()
        assert [(first, f"/images/{name_of(PNG, 'png')}"), (second, f"/images/{name_of(PNG, 'png')}")] == [
            (frame.job_id, frame.image_url) for frame in page.frames
        ]
        assert (0, None) == (page.dropped, page.next_after)
        assert page.frames[1] == await reader.of_job(second)
        assert await reader.of_job(uuid4()) is None
        assert PNG == await reader.image(name_of(PNG, "png"))

    with_pool(now, use)
    assert [(1,)] == rows(now, "SELECT count(*) FROM images")


def test_insert_is_part_of_the_callers_transaction(now: str) -> None:
    """
    What the caller rolls back is not there.
    """

    async def use(pool: Pool) -> None:
        async with pool.connection() as connection:
            async with connection.transaction(force_rollback=True):
                await PostgresFrames(pool).insert(connection, uuid4(), PNG)

    with_pool(now, use)
    assert [(0, 0)] == rows(now, "SELECT (SELECT count(*) FROM frames), (SELECT count(*) FROM images)")


@pytest.mark.parametrize("image", [Image(b"", "image/png"), Image(b"GIF89a", "image/gif"), Image(b"<svg>", "")])
def test_what_is_no_image_is_refused_before_the_insert(now: str, image: Image) -> None:
    """
    An empty image, or one of a type that is not served, is a NoImageError, and the transaction is still usable.
    """

    async def use(pool: Pool) -> None:
        async with pool.connection() as connection:
            with pytest.raises(NoImageError, match="is not stored"):
                await PostgresFrames(pool).insert(connection, uuid4(), image)
            await connection.execute("SELECT 1")

    with_pool(now, use)


def test_an_old_row_of_the_job_gets_the_image(old: str) -> None:
    """
    A job whose row has no image, from before the migrations, is mended by drawing it again.
    """
    job_id = uuid4()

    async def use(pool: Pool) -> None:
        frames = PostgresFrames(pool)
        async with pool.connection() as connection:
            await connection.execute("INSERT INTO frames (job_id, image_url) VALUES (%s, ' ')", (job_id,))
        assert await frames.of_job(job_id) is None
        async with pool.connection() as connection:
            await frames.insert(connection, job_id, PNG)
        assert (found := await frames.of_job(job_id)) and found.image_url == f"/images/{name_of(PNG, 'png')}"

    with_pool(old, use)
    assert [(1,)] == rows(old, "SELECT count(*) FROM frames_refetch")


def test_names_that_are_not_ours_are_no_image(now: str) -> None:
    """
    Paths, other endings, upper case and unknown hashes: None, and no error.
    """

    async def use(pool: Pool) -> None:
        frames = PostgresFrames(pool)
        async with pool.connection() as connection:
            await frames.insert(connection, uuid4(), PNG)
        name = name_of(PNG, "png")
        others = [
            name.replace("png", "jpg"),
            name.upper(),
            name + "\n",
            f"/images/{name}",
            f"../{name}",
            f"{'0' * 64}.png",
        ]
        for each in ["", "x", "\x00", name[:-4], *others]:
            assert await frames.image(each) is None, each
        assert PNG == await frames.image(name)

    with_pool(now, use)


def test_the_database_refuses_a_frame_without_an_image(now: str) -> None:
    """
    Whoever writes to it: missing, empty, white space of any kind, and what is no URL; by INSERT and by UPDATE.
    """
    with psycopg.connect(now, autocommit=True) as connection:
        with pytest.raises(NotNullViolation):
            connection.execute("INSERT INTO frames (job_id) VALUES (gen_random_uuid())")
        for image_url in GOOD:
            connection.execute("INSERT INTO frames (image_url) VALUES (%s)", (image_url,))
        # Zero-width characters within a path are the read path's to find; a NUL does not even get to the database.
        for bad in (each for each in BAD if each is None or "\x00" not in each):
            for query in ("INSERT INTO frames (image_url) VALUES (%s)", "UPDATE frames SET image_url = %s"):
                with pytest.raises((CheckViolation, NotNullViolation)):
                    connection.execute(query, (bad,))
    assert [(len(GOOD),)] == rows(now, "SELECT count(*) FROM frames")


def test_the_database_refuses_images_that_are_not_what_they_say(now: str) -> None:
    """
    No content, a wrong hash, an unknown type, and a frame whose image is not there.
    """
    insert = "INSERT INTO images (sha256, media_type, content) VALUES (%s, %s, %s)"
    good = hashlib.sha256(b"x").digest()
    with psycopg.connect(now, autocommit=True) as connection:
        for values in (
            (hashlib.sha256(b"").digest(), "image/png", b""),
            (good, "image/png", b"y"),
            (good, "a/b", b"x"),
        ):
            with pytest.raises(CheckViolation):
                connection.execute(insert, values)
        with pytest.raises(IntegrityError):
            connection.execute("INSERT INTO frames (image_url, sha256) VALUES ('/x', %s)", (good,))


def test_the_old_version_goes_on_while_the_new_one_is_rolled_out(empty_database: str) -> None:
    """
    It knows only `response`: its good rows get their URL from the database at each point, its bad ones are refused.
    """
    url = migrated(empty_database, "frames/0001")
    write = "INSERT INTO frames (response) VALUES (%s::jsonb)"
    good, bad = '{"data": [{"url": " /1.png\\n"}]}', '{"data": [{"url": "  "}]}'
    last = len(list(MIGRATIONS.glob("*.sql")))
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(1, last + 1):
            migrated(url, f"frames/{number:04d}")
            connection.execute(write, (good,))
            if number < 4:
                connection.execute(write, (bad,))
            else:
                with pytest.raises((CheckViolation, NotNullViolation)):
                    connection.execute(write, (bad,))
    assert [("/1.png", last)] == rows(url, "SELECT image_url, count(*) FROM frames GROUP BY 1")
    # The third came in behind the back of the first sweep.
    assert [("no-image-url", 3)] == rows(url, "SELECT reason, count(*) FROM frames_audit GROUP BY 1")


def test_what_cannot_be_recovered_is_kept_in_the_audit_table(empty_database: str) -> None:
    """
    Each row that is taken out is there with all that it held, and says why.
    """
    url = migrated(empty_database, "frames/0001")
    answers = {
        None: "no-response",
        "{}": "no-image-url",
        "null": "no-image-url",
        '"text"': "no-image-url",
        '{"data": {"url": "/1.png"}}': "no-image-url",
        '{"data": [{"url": null}]}': "no-image-url",
        '{"data": [{"url": "\\t"}]}': "no-image-url",
        '{"data": [{"url": 5}]}': "bad-image-url",
        '{"data": [{"url": "ftp://x/1.png"}]}': "bad-image-url",
    }
    with psycopg.connect(url, autocommit=True) as connection:
        for answer in answers:
            connection.execute("INSERT INTO frames (job_id, response) VALUES (gen_random_uuid(), %s)", (answer,))
        before = connection.execute("SELECT id, job_id, response, created_at FROM frames ORDER BY id").fetchall()
        migrated(url)
        after = connection.execute(
            "SELECT frame_id, job_id, response, created_at, reason FROM frames_audit ORDER BY frame_id"
        ).fetchall()
    assert [(*row, reason) for row, reason in zip(before, answers.values(), strict=True)] == after
    assert [(0,)] == rows(url, "SELECT count(*) FROM frames")


def test_bad_rows_are_asked_for_again_once(old: str) -> None:
    """
    The ids of bad rows go to `on_bad`, each once; by default to the table `frames_refetch`.
    """
    legacy(old, None, "/1.png", "", "/2.png")
    asked: list[Sequence[int]] = []

    async def on_bad(ids: Sequence[int]) -> None:
        asked.append(ids)

    async def use(pool: Pool) -> None:
        for frames in (PostgresFrames(pool, on_bad), PostgresFrames(pool), PostgresFrames(pool)):
            for _ in range(2):
                assert 2 == (await frames.page()).dropped

    with_pool(old, use)
    assert [[1, 3]] == asked
    assert [(1,), (3,)] == rows(old, "SELECT frame_id FROM frames_refetch ORDER BY 1")


def test_asking_again_that_fails_costs_no_client_its_page(old: str, caplog: pytest.LogCaptureFixture) -> None:
    """
    The page is there all the same, the error is logged, and the next read asks again.
    """
    legacy(old, "/1.png", " ")
    asked: list[Sequence[int]] = []

    async def on_bad(ids: Sequence[int]) -> None:
        asked.append(ids)
        raise ConnectionError("the queue is away")

    async def use(pool: Pool) -> None:
        frames = PostgresFrames(pool, on_bad)
        with caplog.at_level(logging.WARNING):
            assert 1 == (await frames.page()).dropped
            assert 1 == len((await frames.page()).frames)

    with_pool(old, use)
    assert [[2], [2]] == asked
    assert "the queue is away" in caplog.text
    assert "1 rows without an image were kept from a client" in caplog.text


def test_a_long_stretch_of_bad_rows_makes_no_short_page(old: str) -> None:
    """
    A page is filled from behind 5,000 bad rows, in few queries.
    """
    legacy(old, "/1.png")
    with psycopg.connect(old, autocommit=True) as connection:
        connection.execute("INSERT INTO frames (image_url) SELECT '' FROM generate_series(1, 5000)")
    legacy(old, "/2.png", "/3.png")

    async def use(pool: Pool) -> None:
        frames = PostgresFrames(pool)
        before = pool.get_stats().get("requests_num", 0)
        page = await frames.page(limit=2)
        assert ["/1.png", "/2.png"] == [frame.image_url for frame in page.frames]
        assert (5000, page.frames[-1].id) == (page.dropped, page.next_after)
        assert pool.get_stats().get("requests_num", 0) - before < 20

    with_pool(old, use)


def test_odd_arguments(now: str) -> None:
    """
    Ids beyond those of the table are an empty page; a limit below one is an error.
    """

    async def use(pool: Pool) -> None:
        frames = PostgresFrames(pool)
        async with pool.connection() as connection:
            await frames.insert(connection, UUID(int=1), PNG)
        assert FramePage((), 0, None) == await frames.page(after=10**30)
        assert 1 == len((await frames.page(after=-(10**30), limit=10**6)).frames)
        with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
            await frames.page(limit=0)

    with_pool(now, use)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_pages_show_each_good_row_once_and_no_bad_one(old: str, loop: asyncio.AbstractEventLoop) -> None:
    """
    Whatever the rows are, the pages together are the good ones in order, full but for the last, and name the bad once.
    """
    pool: Pool = AsyncConnectionPool(old, min_size=1, max_size=1, open=False)
    loop.run_until_complete(pool.open())
    stored = [each for each in BAD if each is None or "\x00" not in each]

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from([*GOOD, *GOOD, *GOOD, *stored]), max_size=25), st.integers(1, 6))
    def check(image_urls: list[str | None], limit: int) -> None:
        async def main() -> list[FramePage]:
            async with pool.connection() as connection, connection.cursor() as cursor:
                await cursor.execute("DELETE FROM frames")
                await cursor.executemany("INSERT INTO frames (image_url) VALUES (%s)", [(each,) for each in image_urls])
            frames = PostgresFrames(pool)
            pages = [await frames.page(limit=limit)]
            while pages[-1].next_after is not None:
                pages.append(await frames.page(after=pages[-1].next_after, limit=limit))
            return pages

        pages = loop.run_until_complete(main())
        shown = [frame.image_url for page in pages for frame in page.frames]
        assert [each for each in image_urls if is_shown(each)] == shown
        assert len(image_urls) - len(shown) == sum(page.dropped for page in pages)
        assert all(len(page.frames) == limit for page in pages[:-1])
        assert pages[-1].frames or len(pages) == 1

    try:
        check()
    finally:
        loop.run_until_complete(pool.close())
