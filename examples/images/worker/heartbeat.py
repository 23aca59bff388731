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
        jobs = running.jobs
        try:
            if jobs:
                sent = queue.heartbeat([job.claim for job in jobs])
                lost = {claim.token for claim in await within(pace.heartbeat_every, sent, "the heartbeat")}
                for job in jobs:
                    if job.claim.token in lost:
                        job.abort("lost")
                    else:
                        job.held_since(asked_at)
        except Exception as error:
            # The calls go on: their images are paid for, and who stores them is asked for the lease anyway.
            _log.warning("worker %s: no heartbeat for %d jobs (%s)", name, len(jobs), one_line(error))
        # From start to start, so that a slow database does not stretch it.
        await asyncio.sleep(max(0.0, asked_at + pace.heartbeat_every - clock()))
