"""
One transaction in which a job is done: what is stored for it and its end are seen together, or neither is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Protocol
from uuid import UUID

from psycopg import AsyncConnection

from . import statements
from .database import Database


class Fenced(Protocol):
    """
    What a claim needs to have, whoever made it.
    """

    @property
    def id(self) -> UUID: ...
    @property
    def token(self) -> UUID: ...


class Completing:
    """
    Give the block a connection in a transaction, once it is sure that the job is still the claim's.

    The row is locked before the block runs, and the job is marked done by a statement after it. That is not only the
    natural order: a block that swallowed a database error has a transaction that can no longer commit, which
    COMMIT does not say but this statement does.

    Args:
        database: Where the connection comes from. Its timeout holds for each statement, and for each pause between two.

        claim: The claim.

        lost: Makes the error of a claim that is no longer one.
    """

    def __init__(self, database: Database, claim: Fenced, lost: Callable[[Fenced], Exception]) -> None:
        self._database = database
        self._claim = claim
        self._lost = lost
        self._stack = AsyncExitStack()
        self._connection: AsyncConnection[Any] | None = None

    async def __aenter__(self) -> AsyncConnection[Any]:
        async with AsyncExitStack() as stack:
            timeout = self._database.timeout
            connection: AsyncConnection[Any] = await stack.enter_async_context(self._database.pool.connection(timeout))
            await self._database.within("begin", stack.enter_async_context(connection.transaction()))
            await self._touch("fence", connection, statements.FENCE, {"timeout_ms": str(round(timeout * 1000))})
            self._connection, self._stack = connection, stack.pop_all()
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            assert self._connection is not None
            try:
                await self._touch("done", self._connection, statements.DONE, {})
            except BaseException as failed:
                await self._database.within(
                    "rollback", self._stack.__aexit__(type(failed), failed, failed.__traceback__)
                )
                raise
        await self._database.within("commit or rollback", self._stack.__aexit__(kind, error, traceback))

    async def _touch(
        self, doing: str, connection: AsyncConnection[Any], statement: bytes, parameters: Mapping[str, Any]
    ) -> None:
        """
        Run a statement that finds one row: the job, if it is still the claim's.
        """
        fenced = {"id": self._claim.id, "token": self._claim.token, **parameters}
        if not await self._database.within(doing, self._database.execute(connection, statement, fenced)):
            raise self._lost(self._claim)
