"""
The whole way through: whatever the provider sends and whatever lies in the database, no bad frame reaches a client.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg.types.json import Jsonb

from examples.images import bootstrap
from examples.images.start import children
from hungframe.testing import HostileProvider

BAD = [
    "image-empty-url",
    "image-null-url",
    "image-broken-bytes",
    "image-truncated",
    "image-error-body",
    "image-no-data",
]
GOOD_JOBS = 18
READS = 1_000
READERS = 4

MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


class Service:
    """
    The API and a worker, each a process, as an operator starts them.
    """

    def __init__(self, environ: Mapping[str, str], port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.environ = environ

    @contextlib.contextmanager
    def running(self) -> Iterator[Service]:
        started = [
            children.spawn(
                [sys.executable, "-m", "examples.images", name], when_we_die=signal.SIGKILL, environ=self.environ
            )
            for name in ("api", "worker")
        ]
        try:
            self._wait()
            yield self
        finally:
            for process in started:
                children.stop(process, signal.SIGTERM, 10)
        # uvicorn ends by the signal that it was sent, when it is through.
        assert [-signal.SIGTERM, 0] == [process.returncode for process in started]

    def _wait(self) -> None:
        until = time.monotonic() + 20
        while True:
            try:
                httpx2.get(f"{self.address}/frames", timeout=1).raise_for_status()
                return
            except httpx2.HTTPError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def insert_legacy_rows(url: str, provider: HostileProvider) -> None:
    """
    Rows as the service wrote them before its images had a column: some have no image, in all ways that were ever seen.
    """
    responses: list[Any] = [
        {"data": [{"url": f"{provider.url}/frames/legacy-1.png"}]},
        {"data": [{"url": ""}]},
        {"data": [{"url": None}]},
        {"data": [{"url": "  \t"}]},
        {"data": [{}]},
        {"data": []},
        {"error": {"message": "no"}},
        None,
        {"data": [{"url": f"{provider.url}/frames/legacy-2.png"}]},
    ]
    with psycopg.connect(url, autocommit=True) as connection:
        for response in responses * 20:
            connection.execute(
                "INSERT INTO frames (response) VALUES (%s)", [None if response is None else Jsonb(response)]
            )


class Reader:
    """
    A client that looks at every frame that it is given.
    """

    def __init__(self, address: str) -> None:
        self._client = httpx2.Client(base_url=address, timeout=10)
        self._looked_at: dict[str, bool] = {}
        self.frames = self.bad = self.dropped = 0

    def read(self, times: int) -> None:
        page = "/frames?limit=20"
        for _ in range(times):
            answer = self._client.get(page).raise_for_status().json()
            self.dropped += answer["dropped"]
            for frame in answer["frames"]:
                self.frames += 1
                self.bad += not self._is_good(frame["image_url"])
            page = answer["next"] or "/frames?limit=20"

    def _is_good(self, image_url: object) -> bool:
        if not isinstance(image_url, str) or not image_url.strip():
            return False
        if image_url not in self._looked_at:
            answer = self._client.get(image_url)
            self._looked_at[image_url] = answer.status_code == 200 and answer.content.startswith(MAGIC)
        return self._looked_at[image_url]

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def provider() -> Iterator[HostileProvider]:
    with HostileProvider([*BAD, *["sleep:0.05"] * (GOOD_JOBS - 1), "sleep:0.05"]) as one:
        yield one


def test_no_bad_frame_reaches_a_client(empty_database: str, provider: HostileProvider) -> None:
    """
    The provider sends no image in six ways, legacy rows have none, and migrations run, while 1,000 reads are made.
    """
    migrator = bootstrap.migrator_of(empty_database, lambda line: None)
    migrator.up("frames/0002")
    insert_legacy_rows(empty_database, provider)
    port = free_port()
    service = Service(
        {
            **os.environ,
            "DATABASE_URL": empty_database,
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": provider.base_url,
            "IMAGES_PORT": str(port),
            "IMAGES_BUDGET": "1000",
            "IMAGES_LOG_LEVEL": "ERROR",
            # Six answers without an image in a row would open it, and this test is about what is stored.
            "GEN_BREAKER_ENABLED": "false",
        },
        port,
    )

    with service.running(), ThreadPoolExecutor(READERS) as pool:
        jobs = [
            httpx2.post(f"{service.address}/jobs", json={"prompt": "a cat", "seed": seed}).raise_for_status().json()
            for seed in range(len(BAD) + GOOD_JOBS)
        ]
        readers = [Reader(service.address) for _ in range(READERS)]
        reading = [pool.submit(reader.read, READS // READERS) for reader in readers]
        migrator.up()
        for done in reading:
            done.result()
        states = _when_all_have_ended(service.address, [job["id"] for job in jobs])
        for reader in readers:
            reader.close()

    assert 0 == sum(reader.bad for reader in readers)
    assert READS < sum(reader.frames for reader in readers)
    assert 0 < sum(reader.dropped for reader in readers)
    assert {"done": GOOD_JOBS, "dead": len(BAD)} == Counter(states.values())
    with psycopg.connect(empty_database) as connection:
        dead = connection.execute(
            "SELECT reason, attempts, token, finished_at FROM jobs WHERE state = 'dead'"
        ).fetchall()
        # Acked: nobody holds it, and it was tried once.
        assert {("no-image-url", 1, None)} == {row[:3] for row in dead}
        assert all(row[3] for row in dead)
        stored = connection.execute("SELECT count(*), count(DISTINCT job_id) FROM frames WHERE job_id IS NOT NULL")
        assert (GOOD_JOBS, GOOD_JOBS) == stored.fetchone()
        assert (0,) == connection.execute(
            "SELECT count(*) FROM frames WHERE coalesce(btrim(image_url), '') = ''"
        ).fetchone()
        assert (140,) == connection.execute("SELECT count(*) FROM frames_audit").fetchone()
    asked = [request.path for request in provider.requests if request.path.endswith("/images/generations")]
    assert len(BAD) + GOOD_JOBS == len(asked)


def _when_all_have_ended(address: str, ids: list[str]) -> dict[str, str]:
    until = time.monotonic() + 20
    while True:
        states = {job: httpx2.get(f"{address}/jobs/{job}").raise_for_status().json()["state"] for job in ids}
        if set(states.values()) <= {"done", "dead"} or time.monotonic() > until:
            return states
        time.sleep(0.1)
