"""
GET /internal/gen-health: how the workers' guards are, how long the queue is, and whether images can be expected.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from examples.images.api.database import Database
from examples.images.api.problems import ProblemError
from examples.images.ports import HealthBoard, Producer

DATABASE_AWAY = "database-away"
NO_WORKER = "no-worker"
ALL_OPEN = "all-breakers-open"

# Seconds until jobs are counted again that were too many: who asks in between waits for nothing.
_COUNTS_AGAIN = 60.0

_OPEN = frozenset({"open", "forced_open"})


def reasons_against(workers: Sequence[Mapping[str, Any]]) -> list[str]:
    """
    Say why no image can be expected now, seen from the workers; empty where one can.

    A breaker that is half open lets a probe through, and one that is disabled
    refuses nothing, so that either is as good as closed; so is that of a worker
    that does not tell.
    """
    if not workers:
        return [NO_WORKER]
    if all(worker["snapshot"].get("state") in _OPEN for worker in workers):
        return [ALL_OPEN]
    return []


class Health:
    """
    The endpoint. For operators: a worker's snapshot tells where callees hang, so that a proxy should keep it inside.

    Args:
        oldest_age: Tells for how many seconds the oldest job has waited.

        kept_for: Seconds for which an answer is given to others, too. Jobs are counted one by one, and the page of
            each viewer asks every few seconds.
    """

    def __init__(
        self,
        database: Database,
        queue: Producer,
        board: HealthBoard,
        oldest_age: Callable[[], Awaitable[float | None]] | None,
        kept_for: float,
    ) -> None:
        self._database = database
        self._queue = queue
        self._board = board
        self._oldest_age = oldest_age
        self._kept_for = kept_for
        self._one_asks = anyio.Lock()
        self._known: dict[str, Any] = {}
        self._until = float("-inf")
        self._counts_again = float("-inf")

    async def get(self, request: Request) -> Response:
        """
        GET /internal/gen-health: 200 where images can be expected, else 503 with why not in `reasons`.

        The reasons are `database-away`, `no-worker` (none has said anything lately) and `all-breakers-open`. Either way
        the document has the same names; what could not be asked is null.
        """
        # Who comes while another asks waits for its answer. Each call of a port ends in time, and so does this wait.
        async with self._one_asks:
            if time.monotonic() >= self._until:
                self._known = await self._look()
                self._until = time.monotonic() + self._kept_for
            known = self._known
        return JSONResponse(known, 200 if known["ready"] else 503, {"Cache-Control": "no-store"})

    async def _look(self) -> dict[str, Any]:
        workers: Sequence[Mapping[str, Any]] = []
        counts: Mapping[str, int] | None = None
        oldest: float | None = None
        try:
            workers = await self._database.ask(self._board.read)
            if self._oldest_age is not None:
                oldest = await self._database.ask(self._oldest_age)
            counts = await self._counts()
            reasons = reasons_against(workers)
        except ProblemError:
            reasons = [DATABASE_AWAY]
        return {
            "ready": not reasons,
            "reasons": reasons,
            "workers": [dict(worker) for worker in workers],
            "queue": {"counts": dict(counts) if counts is not None else None, "oldest_seconds": oldest},
        }

    async def _counts(self) -> Mapping[str, int] | None:
        """
        Count the jobs; None: there are too many.

        Jobs are kept, and some day counting millions takes longer than a call may. A queue that has just told the age
        of its oldest job is not away for that.
        """
        if time.monotonic() < self._counts_again:
            return None
        try:
            return await self._database.ask(self._queue.counts)
        except ProblemError:
            if self._oldest_age is None:
                raise
            self._counts_again = time.monotonic() + _COUNTS_AGAIN
            return None
