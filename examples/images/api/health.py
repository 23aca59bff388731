"""
GET /internal/gen-health: how the workers' guards are, how long the queue is, and whether images can be expected.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from examples.images.api.database import Database
from examples.images.api.problems import ProblemError
from examples.images.ports import HealthBoard, Producer

DATABASE_AWAY = "database-away"
NO_WORKER = "no-worker"
ALL_OPEN = "all-breakers-open"

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
    """

    def __init__(
        self,
        database: Database,
        queue: Producer,
        board: HealthBoard,
        oldest_age: Callable[[], Awaitable[float | None]] | None,
    ) -> None:
        self._database = database
        self._queue = queue
        self._board = board
        self._oldest_age = oldest_age

    async def get(self, request: Request) -> Response:
        """
        GET /internal/gen-health: 200 where images can be expected, else 503 with why not in `reasons`.

        The reasons are `database-away`, `no-worker` (none has said anything lately) and `all-breakers-open`. Either way
        the document has the same names; what could not be asked is null.
        """
        workers: Sequence[Mapping[str, Any]] = []
        counts: Mapping[str, int] | None = None
        oldest: float | None = None
        try:
            workers = await self._database.ask(self._board.read)
            counts = await self._database.ask(self._queue.counts)
            if self._oldest_age is not None:
                oldest = await self._database.ask(self._oldest_age)
            reasons = reasons_against(workers)
        except ProblemError:
            reasons = [DATABASE_AWAY]
        document = {
            "ready": not reasons,
            "reasons": reasons,
            "workers": [dict(worker) for worker in workers],
            "queue": {"counts": dict(counts) if counts is not None else None, "oldest_seconds": oldest},
        }
        return JSONResponse(document, 503 if reasons else 200, {"Cache-Control": "no-store"})
