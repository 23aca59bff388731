"""
Take back, now and then, what dead workers hold. Every worker does it: it is cheap, and none is the first.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from examples.images.ports import Consumer
from examples.images.worker.pace import Pace
from examples.images.worker.waiting import one_line, within

_log = logging.getLogger(__name__)


async def reap(
    name: str,
    queue: Consumer,
    pace: Pace,
    draw: Callable[[], float] = random.random,
    *,
    first: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """
    Reap until cancelled, each time after half to one and a half of `reap_every`, so that workers do not all at once.

    Args:
        first: Awaited before each look: a heartbeat of one's own jobs. A worker that was stopped for longer than its
            lease, or whose loop was blocked, else takes them from itself when it wakes, and has them drawn twice.
    """
    while True:
        await asyncio.sleep(pace.reap_every * (0.5 + draw()))
        if first is not None:
            await first()
        try:
            found = await within(pace.store_within, queue.reap(), "reaping")
        except Exception as error:
            _log.warning("worker %s: could not reap (%s)", name, one_line(error))
            continue
        if found:
            _log.warning("worker %s: took %d jobs from workers that were not heard of", name, found)
