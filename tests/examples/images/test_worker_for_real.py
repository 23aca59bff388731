"""
A worker over the real queue, the real SDK and a real socket: what becomes of a job whose image is none.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from typing import Any

import pytest

from examples.images.worker import Pace, Worker
from hungframe import Guard
from hungframe.testing import HostileProvider, RecordingSink

psycopg = pytest.importorskip("psycopg")

from tests.examples.images.chaos_worker import migrated, pool_of, queue_of  # noqa: E402  # After psycopg is found.

JOBS = 5
PACE = Pace(concurrency=2, lease=5.0, poll_interval=0.05, reap_every=60.0, drain=2.0)


def worked_on(
    url: str, modes: Sequence[str], guard: Guard, sink: RecordingSink, ended: int, prepared: str = "SELECT"
) -> tuple[list[Any], int]:
    """
    Draw JOBS jobs until so many have ended; returns the rows of all, and how often the provider was asked.

    Args:
        prepared: SQL that is run before.
    """
    import openai

    from examples.images.drawing import OpenAIImages, verdict
    from examples.images.frames import PostgresFrames
    from hungframe.transport.httpx2 import AsyncClient

    migrated(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(prepared)

    async def main(provider: HostileProvider) -> None:
        async with pool_of(url) as pool, AsyncClient() as http:
            queue = queue_of(pool, max_attempts=2)
            for number in range(JOBS):
                payload = {"prompt": f"a secret cat {number}", "model": "dall-e-3", "size": "1024x1024", "seed": number}
                await queue.enqueue(hashlib.sha256(str(number).encode()).digest(), payload)
            client = openai.AsyncOpenAI(base_url=provider.base_url, api_key="none", max_retries=0, http_client=http)
            images = OpenAIImages(client, http)
            worker = Worker("w1", guard, queue, images, PostgresFrames(pool), verdict, pace=PACE, sinks=[sink])
            stop = asyncio.Event()
            working = asyncio.ensure_future(worker.run(stop))
            ends_at = time.monotonic() + 10
            while True:
                counts = await queue.counts()
                if counts["done"] + counts["dead"] >= ended:
                    break
                assert time.monotonic() < ends_at, counts
                await asyncio.sleep(0.02)
            stop.set()
            await working
            await queue.close()

    with HostileProvider(modes) as provider:
        asyncio.run(main(provider))
        calls = provider.stats.requests
    with psycopg.connect(url, autocommit=True) as connection:
        frames = connection.execute("SELECT count(*) FROM frames").fetchone()[0]
        rows = connection.execute("SELECT state, reason, attempts, id::text, detail FROM jobs").fetchall()
    assert frames == sum(row[0] == "done" for row in rows)
    return rows, calls


def test_an_answer_without_an_image_is_a_dead_letter_at_once(
    empty_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Terminal, with its reason, told once, asked for once; and no row of frames.
    """
    sink = RecordingSink()
    modes = ["image-empty-url", "image-null-url", "image-broken-bytes", "image-error-body", "image-no-data"]

    with caplog.at_level("DEBUG"):
        rows, calls = worked_on(empty_database, modes, Guard("images", breaker=None), sink, JOBS)

    assert [("dead", "no-image-url", 1)] * JOBS == [row[:3] for row in rows]
    assert JOBS == calls
    told = sink.of("queue.deadletter")
    assert sorted(row[3] for row in rows) == sorted(event.job_id for event in told)  # type: ignore[attr-defined]
    assert {"no-image-url"} == {event.reason for event in told}  # type: ignore[attr-defined]  # Of this kind.
    assert "secret" not in caplog.text and "secret" not in str(rows)


def test_what_may_pass_is_tried_again_and_buried_when_it_does_not(empty_database: str) -> None:
    """
    The first failures are followed by an image, or by the end of its attempts.
    """
    rows, calls = worked_on(empty_database, ["500"] * 2 * JOBS, Guard("images", breaker=None), RecordingSink(), JOBS)

    assert [("dead", "attempts-exhausted", 2)] * JOBS == [row[:3] for row in rows]
    assert 2 * JOBS == calls and all("5xx" in row[4] for row in rows)


def test_a_quota_pauses_the_worker_and_is_no_attempt(empty_database: str) -> None:
    """
    After one 429 the guard lets nothing through until the time that it named, and then all is drawn at the first try.
    """
    began_at = time.monotonic()

    rows, calls = worked_on(empty_database, ["429:1", "429:1", "ok"], Guard("images"), RecordingSink(), JOBS)

    assert [("done", None, 1)] * JOBS == [row[:3] for row in rows]
    assert JOBS + 1 <= calls <= JOBS + 2 and 1.0 < time.monotonic() - began_at


def test_a_full_disk_costs_no_image(empty_database: str, caplog: pytest.LogCaptureFixture) -> None:
    """
    The first six images find no place. Each is stored when there is some again, and no job is drawn twice.
    """
    full = """
        CREATE SEQUENCE stored;
        CREATE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('stored') <= 6 THEN
                RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER is_full BEFORE INSERT ON frames FOR EACH ROW EXECUTE FUNCTION is_full();
    """

    rows, calls = worked_on(empty_database, ["ok"], Guard("images"), RecordingSink(), JOBS, full)

    assert ([("done", None, 1)] * JOBS, JOBS) == ([row[:3] for row in rows], calls)
    assert 6 == caplog.text.count("has failed (DiskFull: could not extend file: No space left on device); again in")
