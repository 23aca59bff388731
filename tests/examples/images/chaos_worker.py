"""
A whole worker in a process of its own, that kills or stops itself at one step of its work.

Everything in it is real: queue, frames, SDK. Only its ears are ours: subclasses that look at their watch, and die.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing as mp
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import UUID

import openai
from psycopg_pool import AsyncConnectionPool

from examples.images import queue as queue_package
from examples.images.drawing import OpenAIImages, verdict
from examples.images.frames import MIGRATIONS, PostgresFrames
from examples.images.migrate import Migrator
from examples.images.ports import Image, ImageRequest, LeaseLostError
from examples.images.queue import Claim, PostgresQueue
from examples.images.worker.pace import Pace
from examples.images.worker.run import Worker
from examples.images.worker.signals import stop_at_signals
from hungframe import Guard
from hungframe.transport.httpx2 import AsyncClient

STEPS = ("claimed", "in-call", "drawn", "inserted", "acked", "heartbeat")
"""Where it may end: with jobs in hand and none begun, and so on; "acked" is committed, and nobody was told."""

LEASE = 0.6
PACE = Pace(
    concurrency=4,
    lease=LEASE,
    poll_interval=0.2,
    claim_within=3.0,
    store_within=3.0,
    drain=5.0,
    give_back_within=10.0,
    backoff=0.05,
    backoff_at_most=0.2,
    reap_every=0.2,
)


def migrated(url: str) -> None:
    """
    Make the tables, and one in which the database itself writes down each end of a job.
    """
    import psycopg

    queue_migrations = Path(str(queue_package.__file__)).parent / "migrations"
    Migrator(url, {"queue": queue_migrations, "frames": MIGRATIONS}).up()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            """
            CREATE TABLE ends (job_id uuid, state text);
            CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO ends VALUES (NEW.id, NEW.state); RETURN NULL; END $$;
            CREATE TRIGGER note_end AFTER UPDATE ON jobs FOR EACH ROW
            WHEN (NEW.state IN ('done', 'dead') AND NEW.finished_at IS DISTINCT FROM OLD.finished_at)
            EXECUTE FUNCTION note_end();
            """
        )


def queue_of(pool: AsyncConnectionPool[Any], cls: type[PostgresQueue] = PostgresQueue, **settings: Any) -> Any:
    given: dict[str, Any] = {"lease": LEASE, "max_attempts": 100, "timeout": 2.0, **settings}
    return cls(pool, "images", backoff_base=0.05, backoff_cap=0.2, lease_lost=LeaseLostError, **given)


def pool_of(url: str) -> AsyncConnectionPool[Any]:
    return AsyncConnectionPool(
        url,
        open=False,
        min_size=1,
        max_size=6,
        kwargs={"autocommit": True},
        # Without that, a connection that was cut while it was idle is handed out, and fails whoever gets it.
        check=AsyncConnectionPool.check_connection,
        # The pool waits twice as long after each attempt, and begins anew after this: else it may come back from an
        # outage a minute after the database.
        reconnect_timeout=1.0,
    )


@dataclass(frozen=True)
class Plan:
    """
    `at` is one of STEPS or None, `nth` at which passing of it; `how` is the signal that it sends to itself then.
    """

    name: str
    database: str
    provider: str
    at: str | None = None
    nth: int = 1
    how: signal.Signals = signal.SIGKILL
    lease: float = LEASE
    pace: Pace = PACE
    queue_timeout: float = 2.0
    guard_timeout: float = 30.0


class Fate:
    """
    Counts the passings of the step that is planned.
    """

    def __init__(self, plan: Plan, reached: Any) -> None:
        self._plan = plan
        self._reached = reached
        self._left = plan.nth

    def at(self, step: str) -> None:
        if step != self._plan.at:
            return
        self._left -= 1
        if self._left == 0:
            self._reached.set()
            os.kill(os.getpid(), self._plan.how)


class DoomedQueue(PostgresQueue):
    fate: Fate

    async def claim(self, limit: int) -> list[Claim]:
        claims = await super().claim(limit)
        if claims:
            self.fate.at("claimed")
        return claims

    async def heartbeat(self, claims: Sequence[Any]) -> list[Any]:
        beating = asyncio.ensure_future(super().heartbeat(claims))
        # The statement is on its way.
        await asyncio.sleep(0.001)
        self.fate.at("heartbeat")
        return await beating

    @contextlib.asynccontextmanager
    async def completing(self, claim: Any) -> AsyncIterator[Any]:
        async with super().completing(claim) as connection:
            yield connection
        self.fate.at("acked")


class DoomedFrames(PostgresFrames):
    fate: Fate

    async def insert(self, connection: Any, job_id: UUID, image: Image) -> None:
        await super().insert(connection, job_id, image)
        self.fate.at("inserted")


class DoomedImages:
    def __init__(self, images: OpenAIImages, fate: Fate) -> None:
        self._images = images
        self._fate = fate

    async def draw(self, request: ImageRequest) -> Image:
        calling = asyncio.ensure_future(self._images.draw(request))
        try:
            # The request is on its way: the provider takes longer than this.
            await asyncio.wait({calling}, timeout=0.02)
            self._fate.at("in-call")
            image = await calling
        finally:
            calling.cancel()
        self._fate.at("drawn")
        return image


async def _main(plan: Plan, reached: Any, answer: Connection) -> None:
    fate = Fate(plan, reached)
    guard = Guard("images", timeout=plan.guard_timeout)
    async with pool_of(plan.database) as pool, AsyncClient() as http:
        queue: DoomedQueue = queue_of(pool, DoomedQueue, worker=plan.name, lease=plan.lease, timeout=plan.queue_timeout)
        frames = DoomedFrames(pool)
        queue.fate = frames.fate = fate
        client = openai.AsyncOpenAI(base_url=f"{plan.provider}/v1", api_key="none", max_retries=0, http_client=http)
        images = DoomedImages(OpenAIImages(client, http), fate)
        worker = Worker(plan.name, guard, queue, images, frames, verdict, pace=replace(plan.pace, lease=plan.lease))
        try:
            with stop_at_signals() as stop:
                await worker.run(stop)
        finally:
            await queue.close()
        answer.send(worker.tally)


def _process(plan: Plan, reached: Any, answer: Connection, log: str) -> None:
    logging.basicConfig(filename=log, level=logging.INFO, format=f"{plan.name} %(relativeCreated)d %(message)s")
    asyncio.run(_main(plan, reached, answer))


# All modules are imported once, in the server that forks each worker.
_context = mp.get_context("forkserver")
_context.set_forkserver_preload([__name__])


class WorkerProcess:
    """
    One worker, started.
    """

    def __init__(self, plan: Plan, log: Path) -> None:
        self.plan = plan
        self._tally, answer = _context.Pipe(duplex=False)
        self._reached = _context.Event()
        self.process = _context.Process(target=_process, args=(plan, self._reached, answer, str(log)), daemon=True)
        self.process.start()
        answer.close()

    def reached_its_step(self, within: float) -> bool:
        return self._reached.wait(within)

    def send(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def ended(self, within: float = 30.0) -> int | None:
        """
        Its exit code; None if it did not end.
        """
        self.process.join(within)
        return self.process.exitcode

    def tally(self) -> Any:
        return self._tally.recv()

    def close(self) -> None:
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self._tally.close()
        self.process.close()
