"""
The jobs of one worker that run now: so many places, and each in a task of its own.
"""

from __future__ import annotations

import asyncio
import logging

from examples.images.ports import Claim
from examples.images.worker.job import Hands, Job, Why
from hungframe.permit import GuardPermit

_log = logging.getLogger(__name__)


class Running:
    """
    Start jobs, know them by the tokens of their claims, and end them.
    """

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._jobs: dict[asyncio.Task[None], Job] = {}
        self._ended = asyncio.Event()

    @property
    def free(self) -> int:
        """
        How many more may be started.
        """
        return self._hands.pace.concurrency - len(self._jobs)

    @property
    def jobs(self) -> list[Job]:
        """
        Those that run now.
        """
        return list(self._jobs.values())

    async def some_free(self) -> None:
        """
        Wait until one more may be started.
        """
        while self.free < 1:
            await self._next_end()

    async def none_left(self) -> None:
        """
        Wait until none runs.
        """
        while self._jobs:
            await self._next_end()

    def start(self, claim: Claim, permit: GuardPermit) -> None:
        """
        Run a job, which spends the permit or gives it back.
        """
        job = Job(claim, permit, self._hands)
        task = asyncio.ensure_future(job.run())
        self._jobs[task] = job
        task.add_done_callback(self._over)

    def abort(self, why: Why) -> None:
        """
        Cancel the calls of all; the jobs end by themselves.
        """
        for job in self.jobs:
            job.abort(why)

    async def _next_end(self) -> None:
        self._ended.clear()
        await self._ended.wait()

    def _over(self, task: asyncio.Task[None]) -> None:
        job = self._jobs.pop(task)
        self._ended.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease ends, and the reaper counts the attempt.
            self._hands.tally.left += 1
            _log.error(
                "worker %s: job %s broke the worker's own code; it is left to the reaper",
                self._hands.name,
                job.claim.id,
                exc_info=error,
            )
