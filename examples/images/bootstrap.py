"""
The composition root: the one place that knows who stands behind each port.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

from openai import AsyncOpenAI
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette

from examples.images import drawing
from examples.images.api.app import create_app
from examples.images.board.health import PostgresBoard
from examples.images.board.probes import PostgresProbes
from examples.images.drawing import OpenAIImages, verdict
from examples.images.frames import PostgresFrames
from examples.images.ports import LeaseLostError
from examples.images.queue import PostgresQueue
from examples.images.schema import MIGRATIONS, migrator_of
from examples.images.settings import Settings, SettingsError
from examples.images.worker.pace import Pace
from examples.images.worker.probes import ProbeLane
from examples.images.worker.run import Worker
from hungframe import AdaptiveTimeout, CircuitBreaker, Guard, Outcome, TokenBucket
from hungframe.events import Event
from hungframe.ports import EventSink
from hungframe.recovery import Prober
from hungframe.transport.httpx2 import AsyncClient

__all__ = ["MIGRATIONS", "QUEUE", "api_of", "guard_of", "migrator_of", "operator_queue_of", "queue_of", "worker_of"]

QUEUE = "images"

_log = logging.getLogger(__name__)

# Of a worker: one for each job that is being stored, one for its heartbeat and one for all else.
_MORE_CONNECTIONS = 2
_API_CONNECTIONS = 8

# A network without an answer ends within seconds, and not within the kernel's quarter of an hour.
_CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 3,
    "tcp_user_timeout": 5_000,
    "application_name": "hungframe",
}

# An image of 20 MB, the most that is taken, in base64 and with what stands around it.
_LARGEST_ANSWER = 32 * 2**20


def guard_of(settings: Settings, prober: Prober | None = None, sinks: Sequence[EventSink] = ()) -> Guard:
    """
    Make the guard of the provider. Its state is this process's own.
    """
    return Guard(
        "openai-images",
        breaker=CircuitBreaker(open_for=settings.images_open_seconds, probe_every=settings.images_probe_seconds),
        budget=TokenBucket(settings.images_budget, settings.images_refill_seconds),
        timeout=settings.images_timeout_seconds or AdaptiveTimeout(),
        recovery=prober,
        classify=_outcome,
        sinks=sinks,
    )


def _outcome(ended: object) -> Outcome | None:
    """
    Count a provider that refuses all of us (a key that has expired, no credit) as one that fails.

    For the built-in rules a 4xx is that one caller's fault, and workers would go on asking for each job of the queue.
    """
    return Outcome.UNKNOWN if isinstance(ended, Exception) and drawing.is_our_fault(ended) else None


@contextlib.asynccontextmanager
async def worker_of(settings: Settings) -> AsyncIterator[Worker]:
    """
    Make a worker and all that it needs, for as long as the block lasts.

    Raises:
        SettingsError: If the model of the settings is not known.
    """
    _known(settings)
    # Two containers may have the same of both.
    name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
    lease = settings.images_lease_seconds
    pace = Pace(concurrency=settings.images_concurrency, lease=lease, drain=settings.images_drain_seconds)
    async with contextlib.AsyncExitStack() as stack:
        pool = _pool(settings, pace.concurrency + _MORE_CONNECTIONS)
        stack.push_async_callback(pool.close)
        # Without waiting: a database that is down when the worker starts is one that comes back.
        await pool.open()
        jobs = queue_of(settings, pool, name)
        stack.push_async_callback(jobs.close)
        http = await stack.enter_async_context(AsyncClient(max_response_bytes=_LARGEST_ANSWER))
        client = AsyncOpenAI(
            api_key=settings.openai_api_key.get_secret_value(),
            base_url=str(settings.openai_base_url) if settings.openai_base_url else None,
            http_client=http,
            max_retries=0,
        )
        images = OpenAIImages(client, http)

        async def probe() -> None:
            await drawing.probe(images, settings.images_model)

        lane = ProbeLane(name, PostgresProbes(pool), pace)
        prober = Prober(probe, every=settings.images_probe_seconds, on_result=lane.note)
        guard = guard_of(settings, prober, [tell])
        await stack.enter_async_context(prober)
        yield Worker(
            name,
            guard,
            jobs,
            images,
            PostgresFrames(pool),
            verdict,
            pace=pace,
            sinks=[tell],
            board=PostgresBoard(pool),
            probes=lane,
        )


def api_of(settings: Settings) -> Starlette:
    """
    Make the API.

    Raises:
        SettingsError: If the model of the settings is not known.
    """
    _known(settings)
    pool = _pool(settings, _API_CONNECTIONS)
    jobs = queue_of(settings, pool, "api")

    async def close() -> None:
        await jobs.close()
        await pool.close()

    return create_app(
        jobs,
        PostgresFrames(pool),
        PostgresBoard(pool),
        catalogue=drawing.sizes(),
        default_model=settings.images_model,
        oldest_age=jobs.oldest_age,
        on_open=pool.open,
        on_close=close,
    )


@contextlib.asynccontextmanager
async def operator_queue_of(settings: Settings) -> AsyncIterator[PostgresQueue]:
    """
    Make the queue for an operator's commands, for as long as the block lasts.

    Raises:
        psycopg.OperationalError: If the database cannot be reached.
    """
    # A pool would try again and again, and an operator wants to be told.
    await (await AsyncConnection.connect(settings.database_url, **_CONNECTION)).close()
    async with _pool(settings, 1) as pool:
        jobs = queue_of(settings, pool, "operator")
        try:
            yield jobs
        finally:
            await jobs.close()


def queue_of(settings: Settings, pool: AsyncConnectionPool[Any], worker: str) -> PostgresQueue:
    """
    Make the queue as *worker* sees it.
    """
    return PostgresQueue(
        pool,
        QUEUE,
        worker=worker,
        lease=settings.images_lease_seconds,
        max_attempts=settings.images_attempts,
        lease_lost=LeaseLostError,
    )


def tell(event: Event) -> None:
    """
    A sink: what an operator should read stands in the log as a warning, all else for those who debug.
    """
    level = logging.WARNING if event.evt in ("breaker.state", "queue.deadletter", "gen.abandoned") else logging.DEBUG
    _log.log(level, "%s", event.to_json())


def _known(settings: Settings) -> None:
    models = drawing.sizes()
    if settings.images_model not in models:
        raise SettingsError(
            f"IMAGES_MODEL is {settings.images_model!r}: it should be one of {', '.join(models)};"
            " others can be added in drawing/catalogue.py"
        )


def _pool(settings: Settings, most: int) -> AsyncConnectionPool[Any]:
    return AsyncConnectionPool(
        settings.database_url,
        min_size=1,
        max_size=most,
        # How long to wait for a connection: a database that does not answer must not hang us.
        timeout=5.0,
        # Asked before each use: one that was cut while nobody used it must not fail whoever gets it.
        check=AsyncConnectionPool.check_connection,
        # The waits between its tries double for so long: a database that is back is found within seconds.
        reconnect_timeout=5.0,
        kwargs=_CONNECTION,
        open=False,
    )
