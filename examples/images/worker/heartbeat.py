"""
One heartbeat for all jobs of a worker that run.
"""

from __future__ import annotations

import asyncio
import logging

from examples.images.ports import Consumer
from examples.images.worker.pace import Pace
from examples.images.worker.running import Running
from examples.images.worker.waiting import one_line, within

_log = logging.getLogger(__name__)


async def beat(name: str, queue: Consumer, running: Running, pace: Pace) -> None:
    """
    Prolong the leases three times within each, until cancelled. A job whose lease was lost is aborted at once.
    """
    clock = asyncio.get_running_loop().time
    while True:
        asked_at = clock()
        await beat_once(name, queue, running, pace)
        # From start to start, so that a slow database does not stretch it.
        await asyncio.sleep(max(0.0, asked_at + pace.heartbeat_every - clock()))


async def beat_once(name: str, queue: Consumer, running: Running, pace: Pace) -> None:
    """
    Prolong the leases of all jobs that run now. A failure is logged, and no more.
    """
    asked_at = asyncio.get_running_loop().time()
    jobs = running.jobs
    if not jobs:
        return
    try:
        sent = queue.heartbeat([job.claim for job in jobs])
        lost = {claim.token for claim in await within(pace.heartbeat_every, sent, "the heartbeat")}
    except Exception as error:
        # The calls go on: their images are paid for, and who stores them is asked for the lease anyway.
        _log.warning("worker %s: no heartbeat for %d jobs (%s)", name, len(jobs), one_line(error))
        return
    for job in jobs:
        if job.claim.token in lost:
            job.abort("lost")
        else:
            job.held_since(asked_at)
