"""
The lane of the probes: what was asked of the provider only to see whether it is back.
"""

from __future__ import annotations

import math
from datetime import timedelta

from examples.images.board.statements import Pool, checked_name, statement

_BEGIN = statement("begin_probe")
_END = statement("end_probe")


class PostgresProbes:
    """
    A `ProbeLog` in the table `probes`. A probe without an end was left behind by a worker that died.

    Args:
        pool: Open, of asyncio.

        kept_for: Seconds after which a probe is deleted, by those that follow; 30 days if not given.

    Raises:
        ValueError: If *kept_for* is not above 0.
    """

    def __init__(self, pool: Pool, *, kept_for: float = 30 * 86_400.0) -> None:
        if not kept_for > 0:
            raise ValueError(f"kept_for must be above 0, got {kept_for}")
        self._pool = pool
        self._kept_for = timedelta(seconds=kept_for)

    async def begin(self, worker: str, kind: str) -> int:
        """
        Note that a probe is sent, and return its number.

        Args:
            worker: Whose probe it is.

            kind: Why it is sent: `timeout`, `burst` or `quota`.

        Raises:
            ValueError: If *worker* or *kind* cannot be stored.
        """
        values = {"worker": checked_name("worker", worker), "kind": checked_name("kind", kind)}
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_BEGIN, {**values, "kept_for": self._kept_for})
            row = await cursor.fetchone()
        if row is None:
            raise RuntimeError("INSERT ... RETURNING has returned nothing: is there a rule or trigger on probes?")
        probe_id: int = row[0]
        return probe_id

    async def end(self, probe_id: int, outcome: str, latency_seconds: float) -> None:
        """
        Note how it went.

        Raises:
            LookupError: If there is no such probe, or it has ended already.

            ValueError: If *outcome* cannot be stored, or *latency_seconds* is no number of seconds.
        """
        checked_name("outcome", outcome)
        if not (math.isfinite(latency_seconds) and latency_seconds >= 0):
            raise ValueError(f"latency_seconds must be a finite number, 0 or more, got {latency_seconds}")
        values = {"id": probe_id, "outcome": outcome, "latency_seconds": latency_seconds}
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_END, values)
            ended = await cursor.fetchone()
        if ended is None:
            raise LookupError(f"probe {probe_id} is not running: it has ended before, or never began")
