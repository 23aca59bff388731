"""
A worker whose event loop stands still for longer than its leases: a callee that blocks, a debugger, a paused machine.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from examples.images.ports import Image, ImageRequest, LeaseLostError
from examples.images.worker import Pace, Worker
from hungframe import Guard
from tests.examples.images.memory_queue import CAT, PICTURE, always_retry

psycopg = pytest.importorskip("psycopg")

from tests.examples.images.queues import key, queue_at  # noqa: E402  # After psycopg is found.


class Store:
    """
    Keeps no image.
    """

    async def insert(self, connection: Any, job_id: Any, image: Image) -> None:
        pass


class FirstBlocks:
    """
    The first call stops the loop for twice the lease, with another one under way.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.calls = 0

    async def draw(self, request: ImageRequest) -> Image:
        self.calls += 1
        if self.calls == 1:
            await asyncio.sleep(0.01)
            time.sleep(self.seconds)
        await asyncio.sleep(self.seconds / 4)
        return PICTURE


def test_a_worker_that_wakes_after_its_lease_does_not_reap_itself(jobs_database: str) -> None:
    """
    Nobody else has its jobs, so that they are its own still: each is drawn once, and done at its first attempt.
    """

    async def main() -> None:
        lease = 0.3
        async with queue_at(jobs_database, lease=lease, lease_lost=LeaseLostError) as queue:
            for n in range(4):
                await queue.enqueue(key(n), CAT)
            images = FirstBlocks(2 * lease)
            # The next reaping is due before the next heartbeat, and so it comes first when the loop goes on.
            pace = Pace(concurrency=4, lease=lease, poll_interval=0.05, reap_every=0.1)
            worker = Worker("w", Guard("g"), queue, images, Store(), always_retry, pace=pace, draw=lambda: 0.0)
            stop = asyncio.Event()
            working = asyncio.ensure_future(worker.run(stop))
            ends_at = time.monotonic() + 5
            while (await queue.counts())["done"] < 4 and time.monotonic() < ends_at:
                await asyncio.sleep(0.02)
            stop.set()
            await working
            with psycopg.connect(jobs_database) as connection:
                asked = "SELECT state, attempts FROM jobs WHERE queue = %s"
                assert [("done", 1)] * 4 == connection.execute(asked, (queue.name,)).fetchall()
            assert (4, 4, 0) == (images.calls, worker.tally.done, worker.tally.lost)

    asyncio.run(main())
