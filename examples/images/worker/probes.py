"""
The lane of the probes: they come from a `hungframe.recovery.Prober`, never from the queue, and have their own table.

A probe does not wait for the database, nor fail with it: its result is noted in memory, and written by a task beside.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from examples.images.ports import ProbeLog
from examples.images.worker.pace import Pace
from examples.images.worker.waiting import one_line, within
from hungframe.recovery import ProbeResult

_log = logging.getLogger(__name__)

# Results that wait to be written; the oldest goes first. At one probe a minute this is an hour and a half.
_MOST_WAITING = 100


class ProbeLane:
    """
    Give `note` to a prober as its `on_result`, on the loop that `write` runs on.

    What the probe has brought is dropped here: the log has no place for it.
    """

    def __init__(self, name: str, log: ProbeLog, pace: Pace) -> None:
        self._name = name
        self._probe_log = log
        self._pace = pace
        self._waiting: deque[tuple[str, str, float]] = deque(maxlen=_MOST_WAITING)
        self._noted = asyncio.Event()

    def note(self, result: ProbeResult) -> None:
        """
        Remember how a probe ended, and neither its value nor its error.
        """
        self._waiting.append((result.kind, result.outcome, result.seconds))
        self._noted.set()

    async def write(self) -> None:
        """
        Write what was noted, until cancelled. What cannot be written is told, and not tried again.
        """
        while True:
            await self._noted.wait()
            self._noted.clear()
            while self._waiting:
                kind, outcome, seconds = self._waiting.popleft()
                try:
                    await within(self._pace.store_within, self._write(kind, outcome, seconds), "the log of the probes")
                except Exception as error:
                    _log.warning(
                        "worker %s: a probe (%s, %s) is not in the log (%s)", self._name, kind, outcome, one_line(error)
                    )

    async def _write(self, kind: str, outcome: str, seconds: float) -> None:
        probe = await self._probe_log.begin(self._name, kind)
        await self._probe_log.end(probe, outcome, seconds)
