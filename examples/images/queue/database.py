"""
Runs statements over the pool, each call within its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

T = TypeVar("T")
Row = dict[str, Any]


class Database:
    """
    Run statements for the queue *name*, which each of them may name as `%(queue)s`.

    What takes longer than *timeout* seconds is cancelled, and psycopg cancels it at the server then.
    """

    def __init__(self, pool: AsyncConnectionPool[Any], name: str, timeout: float) -> None:
        self.pool = pool
        self.timeout = timeout
        self._name = name

    async def rows(self, doing: str, statement: bytes, parameters: Mapping[str, Any]) -> list[Row]:
        """
        Run one statement over a connection of its own, and fetch its rows.

        Raises:
            TimeoutError: If it takes too long, the wait for a connection included.

            psycopg.Error: As the database says.
        """

        async def alone(connection: AsyncConnection[Any]) -> list[Row]:
            return await self.execute(connection, statement, parameters)

        return await self.connected(doing, alone)

    async def connected(self, doing: str, work: Callable[[AsyncConnection[Any]], Awaitable[T]]) -> T:
        """
        Run *work* over a connection of the pool; it is committed when *work* returns.

        Raises:
            TimeoutError: If it takes too long, the wait for a connection included.

            psycopg.Error: As the database says.
        """

        async def run() -> T:
            # No time limit of the pool's own: there is one around both.
            async with self.pool.connection(2 * self.timeout) as connection:
                return await work(connection)

        return await self.within(doing, run())

    async def execute(
        self, connection: AsyncConnection[Any], statement: bytes, parameters: Mapping[str, Any]
    ) -> list[Row]:
        """
        Run one statement over *connection*, and fetch its rows.
        """
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement, {"queue": self._name, **parameters})
            return await cursor.fetchall()

    async def within(self, doing: str, work: Awaitable[T]) -> T:
        """
        Await *work*, but no longer than the timeout.

        Raises:
            TimeoutError: If it takes longer.
        """
        # Not asyncio.wait_for: before Python 3.12 it swallows a cancel that comes in the tick in which *work* ends.
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait([task], timeout=self.timeout)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                # Looked at, so that asyncio does not report it: who is cancelled has no use for it.
                task.exception()
            raise
        if not task.cancelled():
            return task.result()
        raise TimeoutError(
            f"queue {self._name!r}: {doing} did not end within {self.timeout:g} s; whether it took effect is unknown"
        )
