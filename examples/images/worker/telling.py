"""
Tell others how it goes: dead letters to sinks, the guard's state to the health board.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from uuid import UUID

from examples.images.ports import HealthBoard
from examples.images.worker.pace import Pace
from examples.images.worker.waiting import one_line, within
from hungframe import Guard
from hungframe.events import QueueDeadletter
from hungframe.ports import EventSink

_log = logging.getLogger(__name__)


class DeadLetters:
    """
    Tell each dead letter to every sink, once. A sink that fails is logged, and holds up nobody.
    """

    def __init__(self, guard: str, sinks: Sequence[EventSink], wall: Callable[[], float] = time.time) -> None:
        self._guard = guard
        self._sinks = tuple(sinks)
        self._wall = wall

    def __call__(self, job_id: UUID, reason: str) -> None:
        event = QueueDeadletter(self._wall(), self._guard, str(job_id), reason)
        for sink in self._sinks:
            try:
                sink(event)
            except Exception:
                _log.exception("the sink %r failed at a dead letter", sink)


async def post(name: str, guard: Guard, board: HealthBoard, pace: Pace) -> None:
    """
    Post the guard's snapshot until cancelled. Failures are told once, until it works again.
    """
    failing = False
    while True:
        try:
            # Through JSON: a board knows plain values only.
            await within(pace.store_within, board.post(name, json.loads(guard.snapshot().to_json())), "the post")
        except Exception as error:
            if not failing:
                _log.warning("worker %s: cannot post to the health board (%s)", name, one_line(error))
            failing = True
        else:
            failing = False
        await asyncio.sleep(pace.board_every)
