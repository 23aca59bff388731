"""
The worker as a whole: a poller, the jobs it has started, and what runs beside them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from examples.images.ports import (
    Claim,
    Consumer,
    FrameWriter,
    HealthBoard,
    ImageService,
    LeaseLostError,
    Verdict,
)
from examples.images.worker.heartbeat import beat, beat_once
from examples.images.worker.job import Hands
from examples.images.worker.pace import Pace
from examples.images.worker.poller import Poller
from examples.images.worker.probes import ProbeLane
from examples.images.worker.reaper import reap
from examples.images.worker.running import Running
from examples.images.worker.tally import Tally
from examples.images.worker.telling import DeadLetters, post
from examples.images.worker.waiting import either, one_line, uncancelled, within
from hungframe import Guard
from hungframe.ports import EventSink

_log = logging.getLogger(__name__)


class Worker:
    """
    Take jobs when the guard permits it, and see that each ends once.

    Args:
        name: Names it in the log and on the board.

        guard: Of the provider; this worker alone takes permits of it, or others too.

        images: Draws; called with the permit of the job.

        verdict: Tells what is to become of a job by the error of its call.

        sinks: Told of each dead letter.

        board: Where the guard's state is posted; None: nowhere.

        probes: Written beside, where a prober notes its results in it.

        draw: Draws from [0, 1), for waits that must not be the same for all.
    """

    def __init__(
        self,
        name: str,
        guard: Guard,
        queue: Consumer,
        images: ImageService,
        frames: FrameWriter,
        verdict: Callable[[Exception], Verdict],
        *,
        pace: Pace | None = None,
        sinks: Sequence[EventSink] = (),
        board: HealthBoard | None = None,
        probes: ProbeLane | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.tally = Tally()
        self._pace = pace or Pace()
        self._guard = guard
        self._queue = queue
        self._board = board
        self._probes = probes
        self._draw = draw
        dead_letters = DeadLetters(guard.name, sinks)
        self._hands = Hands(name, queue, images, frames, verdict, dead_letters, self._pace, self.tally, draw)

    async def run(self, stop: asyncio.Event) -> None:
        """
        Work until *stop* is set, then claim nothing more, and let running jobs end within `Pace.drain`.

        Those that have not ended by then are aborted and given back. Cancelled, it does so at once, and raises when
        that is done. What ends it by an error is a mistake in its own code: the database and the provider may fail.
        """
        running = Running(self._hands)
        # Set by *stop* or by a cancellation: the poller itself is not cancelled, so that no claim gets lost.
        enough = asyncio.Event()
        poller = asyncio.ensure_future(self._poller(running).run(enough))
        beside = [asyncio.ensure_future(loop) for loop in self._beside(running)]
        _log.info("worker %s: takes jobs, up to %d at once", self.name, self._pace.concurrency)
        try:
            await either(None, stop.wait(), _first_of(poller, *beside))
            enough.set()
            if running.jobs:
                _log.info("worker %s: stops when its %d jobs have ended", self.name, len(running.jobs))
                await either(self._pace.drain, running.none_left())
        finally:
            enough.set()
            await uncancelled(self._close(running, poller, beside))

    async def _close(
        self, running: Running, poller: asyncio.Future[None], beside: Sequence[asyncio.Future[None]]
    ) -> None:
        # The poller ends by itself: it was told by an event, and starts no job any more.
        running.abort("stopped")
        await asyncio.wait({poller})
        await running.none_left()
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
        poller.result()
        _log.info("worker %s: has stopped; %s", self.name, self.tally)

    def _poller(self, running: Running) -> Poller:
        return Poller(self.name, self._guard, self._queue, running, self._give_back, self._pace, self._draw)

    def _beside(self, running: Running) -> list[Coroutine[Any, Any, None]]:
        async def own_first() -> None:
            await beat_once(self.name, self._queue, running, self._pace)

        loops = [
            beat(self.name, self._queue, running, self._pace),
            reap(self.name, self._queue, self._pace, self._draw, first=own_first),
        ]
        if self._board is not None:
            loops.append(post(self.name, self._guard, self._board, self._pace))
        if self._probes is not None:
            loops.append(self._probes.write())
        return loops

    async def _give_back(self, claim: Claim) -> None:
        """
        Return a claim that nobody has begun to work on.
        """
        try:
            await within(self._pace.give_back_within, self._queue.snooze(claim, 0.0), "giving a job back")
        except LeaseLostError:
            self.tally.lost += 1
        except Exception as error:
            self.tally.left += 1
            _log.error("worker %s: job %s is left to the reaper (%s)", self.name, claim.id, one_line(error))
        else:
            self.tally.given_back += 1


async def _first_of(*tasks: asyncio.Future[None]) -> None:
    """
    Wait until one has ended, and raise what it raises. None is cancelled when this is.
    """
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
