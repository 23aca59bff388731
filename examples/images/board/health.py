"""
The board itself: how each worker is, as it said last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from examples.images.board.statements import Pool, checked_name, statement

# As JSON writes it; behind an odd number of backslashes it would be a text that only looks so.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

_POST = statement("post")
_READ = statement("read")


class PostgresBoard:
    """
    A `HealthBoard` in the table `workers`.

    Args:
        pool: Open, of asyncio.

        fresh_for: Seconds after which a worker that has said nothing is no longer read.

        kept_for: Seconds after which its row is deleted, by whoever posts next.

    Raises:
        ValueError: If they are not 0 < fresh_for <= kept_for.
    """

    def __init__(self, pool: Pool, *, fresh_for: float = 15.0, kept_for: float = 86_400.0) -> None:
        if not 0 < fresh_for <= kept_for:
            raise ValueError(f"must be 0 < fresh_for <= kept_for, got {fresh_for} and {kept_for}")
        self._pool = pool
        self._fresh_for = fresh_for
        self._kept_for = timedelta(seconds=kept_for)

    async def post(self, worker: str, snapshot: Mapping[str, Any]) -> None:
        """
        Say how *worker* is now, in place of what it said before.

        Args:
            worker: Names it among all that share the database, such as host and process id.

            snapshot: What JSON can hold, such as `json.loads(guard.snapshot().to_json())`.

        Raises:
            TypeError: If *snapshot* holds something that JSON does not know.

            ValueError: If *worker* or *snapshot* cannot be stored: too long, NUL, NaN, infinity.
        """
        checked_name("worker", worker)
        # Written here and not by the driver, so that an error is raised before a connection is taken.
        written = json.dumps(dict(snapshot), allow_nan=False)
        if _NUL.search(written):
            raise ValueError(f"worker {worker!r}: Postgres stores no NUL, and there is one in the snapshot")
        values = {
            "worker": worker,
            "snapshot": Jsonb(snapshot, dumps=lambda _: written),
            "kept_for": self._kept_for,
        }
        async with self._pool.connection() as connection:
            await connection.execute(_POST, values)

    async def read(self) -> Sequence[Mapping[str, Any]]:
        """
        List the workers heard of lately by name: `worker`, `seen_seconds_ago`, `snapshot`.
        """
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(_READ, {"fresh_for": self._fresh_for})
            return await cursor.fetchall()
