"""
From a request to its frame, with everything behind the API as it is in earnest: queue, frames and board in Postgres.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

import examples.images
from examples.images.api.app import create_app
from examples.images.board.health import PostgresBoard
from examples.images.frames.store import PostgresFrames
from examples.images.migrate import Migrator
from examples.images.ports import Image
from examples.images.queue.postgres_queue import PostgresQueue
from tests.examples.images.api_parts import CATALOGUE, gradient, served
from tests.examples.images.test_api import ask

FOLDER = Path(examples.images.__file__).parent
COMPONENTS = {name: FOLDER / name / "migrations" for name in ("queue", "frames", "board")}


@pytest.fixture
def address(empty_database: str) -> Iterator[str]:
    Migrator(empty_database, COMPONENTS).up()
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(empty_database, min_size=1, max_size=4, open=False)
    queue = PostgresQueue(pool, "images")
    app = create_app(
        queue,
        PostgresFrames(pool),
        PostgresBoard(pool),
        catalogue=CATALOGUE,
        default_model="gpt-image-1",
        oldest_age=queue.oldest_age,
        health_kept_for=0,
        on_open=pool.open,
        on_close=pool.close,
    )
    with served(app) as url:
        yield url


def work(url: str, images: list[Image | None]) -> None:
    """
    Do as a worker does: for each claim, store the next image, or bury the job where there is none.
    """

    async def main() -> None:
        async with AsyncConnectionPool(url, min_size=1, max_size=2, open=False) as pool:
            queue, frames = PostgresQueue(pool, "images", worker="w"), PostgresFrames(pool)
            await PostgresBoard(pool).post("w", {"state": "closed"})
            for image in images:
                (claim,) = await queue.claim(1)
                if image is None:
                    await queue.bury(claim, "no-image-url", "url is empty")
                    continue
                async with queue.completing(claim) as connection:
                    await frames.insert(connection, claim.id, image)

    asyncio.run(main())


def test_from_a_request_to_its_frame(address: str, empty_database: str) -> None:
    """
    A job is queued once, drawn, and its frame listed and served; one that came to nothing is dead, and has none.
    """
    status, headers, kite = ask(address, "POST", "/jobs", {"prompt": "a kite", "urgency": 9})
    assert (202, "queued") == (status, kite["state"])
    assert (200, kite) == ask(address, "POST", "/jobs", {"prompt": "a kite", "urgency": 9})[::2]
    boat = ask(address, "POST", "/jobs", {"prompt": "a boat"})[2]
    health = ask(address, "GET", "/internal/gen-health")[2]
    assert (["no-worker"], 2) == (health["reasons"], health["queue"]["counts"]["queued"])
    assert health["queue"]["oldest_seconds"] >= 0

    picture = gradient(200, 120, 60)
    work(empty_database, [Image(picture, "image/png"), None])

    kite = ask(address, "GET", headers["Location"])[2]
    assert ("done", 1) == (kite["state"], kite["attempts"])
    assert (200, picture) == ask(address, "GET", kite["links"]["frame"])[::2]
    boat = ask(address, "GET", boat["links"]["self"])[2]
    assert ("dead", "no-image-url", None) == (boat["state"], boat["reason"], boat["links"]["frame"])
    assert (200, boat) == ask(address, "POST", "/jobs", {"prompt": "a boat"})[::2]

    page = ask(address, "GET", "/frames")[2]
    assert [kite["links"]["frame"]] == [frame["image_url"] for frame in page["frames"]]
    assert (0, None) == (page["dropped"], page["next"])
    status, _, health = ask(address, "GET", "/internal/gen-health")
    assert (200, {"queued": 0, "running": 0, "done": 1, "dead": 1}) == (status, health["queue"]["counts"])


def test_rotten_bytes_in_the_store_are_not_served(address: str, empty_database: str) -> None:
    """
    Who reads the frame gets 404, and not an image with a flaw.
    """
    ask(address, "POST", "/jobs", {"prompt": "a kite"})
    work(empty_database, [Image(gradient(1, 2, 3), "image/png")])
    with psycopg.connect(empty_database, autocommit=True) as connection:
        # The database holds bytes to their hash, too, when they are written: a disk that rots writes none.
        connection.execute("ALTER TABLE images DROP CONSTRAINT images_check")
        connection.execute("UPDATE images SET content = set_byte(content, 60, get_byte(content, 60) # 1)")
    (frame,) = ask(address, "GET", "/frames")[2]["frames"]
    assert 404 == ask(address, "GET", frame["image_url"])[0]


def test_reads_go_on_when_all_connections_are_cut(address: str, empty_database: str) -> None:
    """
    As after a restart of the server: each dead connection costs one answer at most, and that one says what would do.
    """
    ask(address, "POST", "/jobs", {"prompt": "a kite"})
    work(empty_database, [Image(gradient(1, 2, 3), "image/png")])
    before = ask(address, "GET", "/frames")[2]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        cut = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()

    answers = [ask(address, "GET", path) for _ in range(6) for path in ("/frames", "/internal/gen-health")]

    assert cut is not None and cut[0] > 0
    failed = [answer for answer in answers[::2] if answer[0] != 200]
    assert len(failed) <= cut[0] and all("/problems/unavailable" == document["type"] for _, _, document in failed)
    assert (200, before) == answers[-2][::2] and 200 == answers[-1][0]
    assert {200, 503} >= {status for status, _, _ in answers}
