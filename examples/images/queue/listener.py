"""
Hears over one connection of its own, by LISTEN, that there may be a job.

It is a help and no more: whoever waits is told "nothing" after a while however this connection is, and polls then. So
nothing here raises, but for a log line when the connection is lost and one when it is back.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections.abc import Callable
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

logger = logging.getLogger(__name__)

CHANNEL = "jobs"

_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 10.0

# A connection that only listens sends nothing, so without these it would not notice for hours that its peer is gone.
_NOTICES_A_DEAD_PEER = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class Listener:
    """
    Count how often it was said that the queue *name* has a job; the connection is made when the first one waits.

    `heard` only grows. It grows with every (re)connection too, since something may have been said meanwhile.

    Args:
        pool: The pool whose server to listen at. No connection of it is used.

        name: Of the queue, the payload of its notifications.
    """

    def __init__(self, pool: AsyncConnectionPool[Any], name: str) -> None:
        self._pool = pool
        self._name = name
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._next = asyncio.Event()
        self.heard = 0

    async def wait(self, seconds: float, *, beyond: int) -> bool:
        """
        Wait until `heard` is more than *beyond*, at most *seconds*; returns whether it is.
        """
        if not self._closed and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._listen(), name=f"listener of queue {self._name!r}")
        if self.heard > beyond:
            return True
        # Not asyncio.wait_for: before Python 3.12 it swallows a cancel that comes in the tick of the news.
        told = asyncio.ensure_future(self._next.wait())
        try:
            await asyncio.wait([told], timeout=seconds)
            return told.done()
        finally:
            told.cancel()

    async def close(self) -> None:
        """
        End the connection. Harmless when called again; who waits, waits its time out.
        """
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _tell(self) -> None:
        self.heard += 1
        self._next.set()
        self._next = asyncio.Event()

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                async with await self._connect() as connection:
                    await connection.execute(f"LISTEN {CHANNEL}".encode())
                    if failures:
                        logger.info("queue %r: listens again, after %d failures", self._name, failures)
                    failures = 0
                    self._tell()
                    async for notification in connection.notifies():
                        if notification.payload == self._name:
                            self._tell()
                raise ConnectionError("the connection was closed")
            # Whatever it is, polling goes on, and so must the attempts to be better than that.
            except Exception as error:
                failures += 1
                if failures == 1:
                    logger.warning("queue %r: polls until it can listen again: %s", self._name, _one_line(error))
            await asyncio.sleep(random.uniform(0, min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(failures, 20))))

    async def _connect(self) -> AsyncConnection[Any]:
        conninfo = await _resolved(self._pool.conninfo)
        settings = await _resolved(self._pool.kwargs) or {}
        connection: AsyncConnection[Any] = await AsyncConnection.connect(
            conninfo, **{**_NOTICES_A_DEAD_PEER, **settings, "autocommit": True}
        )
        return connection


async def _resolved(given: Any | Callable[[], Any]) -> Any:
    """
    A pool takes its settings as they are, or as a function that tells them, or as one that has to be awaited.
    """
    found = given() if callable(given) else given
    return await found if inspect.isawaitable(found) else found


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
