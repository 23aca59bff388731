"""
One job, from its claim to its end.

Its own task is never cancelled: whoever wants it to end calls `abort`, which cancels the provider's call and nothing
else. All that comes after the call is short, and bounded by itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from uuid import UUID

from examples.images.ports import (
    Claim,
    Consumer,
    FrameWriter,
    Image,
    ImageRequest,
    ImageService,
    LeaseLostError,
    NoImageError,
    Verdict,
)
from examples.images.worker.insist import NotTakenError, insist
from examples.images.worker.pace import Pace
from examples.images.worker.payload import BadPayloadError, image_request
from examples.images.worker.tally import Tally
from hungframe.permit import GuardPermit

_log = logging.getLogger(__name__)

Why = Literal["stopped", "lost"]


class TellsDeadLetter(Protocol):
    def __call__(self, job_id: UUID, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Hands:
    """
    What every job of a worker works with.
    """

    name: str
    queue: Consumer
    images: ImageService
    frames: FrameWriter
    verdict: Callable[[Exception], Verdict]
    buried: TellsDeadLetter
    pace: Pace
    tally: Tally
    draw: Callable[[], float]
    """Draws from [0, 1), for waits that must not be the same for all."""


class Job:
    """
    One job while it runs. `run` is awaited once, in a task of its own.
    """

    def __init__(self, claim: Claim, permit: GuardPermit, hands: Hands) -> None:
        self.claim = claim
        self._permit = permit
        self._hands = hands
        self._aborted: Why | None = None
        self._call: asyncio.Task[Image] | None = None
        self._begun = False
        self._clock = asyncio.get_running_loop().time
        self._held_until = self._clock() + hands.pace.lease
        self._stops_at = math.inf

    def held_since(self, asked_at: float) -> None:
        """
        The lease was prolonged by a heartbeat that was sent at that instant, on the loop's clock.
        """
        self._held_until = asked_at + self._hands.pace.lease

    def abort(self, why: Why) -> None:
        """
        Cancel the provider's call, if it has not ended yet; that goes on in `run`.
        """
        if self._aborted is None:
            self._aborted = why
            if why == "stopped":
                self._stops_at = self._clock() + self._hands.pace.give_back_within
            # A call that has not begun looks for itself: cancelled now, it would never touch its permit.
            if self._call is not None and self._begun:
                self._call.cancel()

    def _tries_until(self) -> float:
        return min(self._held_until, self._stops_at)

    async def run(self) -> None:
        """
        Draw, and store or tell how it failed. An error that leaves here is a mistake in the worker or its parts.
        """
        try:
            request = image_request(self.claim.payload)
        except BadPayloadError as error:
            self._permit.cancel()
            await self._end(Verdict("bury", error.reason, str(error)))
            return
        except BaseException:
            self._permit.cancel()
            raise
        self._call = asyncio.ensure_future(self._draw(request))
        try:
            await asyncio.wait({self._call})
        except asyncio.CancelledError:
            # Nobody but a loop that is torn down does this.
            self._call.cancel()
            raise
        await self._after(self._call)

    async def _draw(self, request: ImageRequest) -> Image:
        if self._aborted is not None:
            self._permit.cancel()
            raise asyncio.CancelledError
        self._begun = True
        return await self._permit.acall(self._hands.images.draw, request)

    async def _after(self, call: asyncio.Task[Image]) -> None:
        error = None if call.cancelled() else call.exception()
        if not call.cancelled() and error is None:
            await self._store(call.result())
        elif self._aborted == "lost":
            self._lost("while its image was drawn")
        elif isinstance(error, Exception):
            await self._end(self._hands.verdict(error))
        elif error is not None:
            raise error
        elif self._aborted == "stopped":
            await self._give_back()
        else:
            await self._end(Verdict("retry", "cancelled", "the provider's call was cancelled from within"))

    # -- ends -------------------------------------------------------------------

    async def _store(self, image: Image) -> None:
        hands, claim = self._hands, self.claim

        async def store() -> None:
            async with hands.queue.completing(claim) as connection:
                await hands.frames.insert(connection, claim.id, image)

        try:
            await insist(f"storing the image of job {claim.id}", store, hands.pace, self._tries_until, hands.draw)
        except LeaseLostError:
            self._lost("when its image was to be stored (or an answer that it was stored has not come)")
        except NoImageError as error:
            await self._end(hands.verdict(error))
        except NotTakenError as error:
            await self._end(Verdict("retry", "not-stored", str(error)))
        else:
            hands.tally.done += 1
            _log.info("worker %s: job %s is done, attempt %d", hands.name, claim.id, claim.attempt)

    async def _end(self, verdict: Verdict) -> None:
        hands, claim = self._hands, self.claim
        state: str | None = None
        if verdict.kind == "retry":
            state = await self._tell(
                lambda: hands.queue.fail(claim, verdict.reason, verdict.detail, verdict.retry_after)
            )
        elif verdict.kind == "bury":
            state = await self._tell(lambda: _then("dead", hands.queue.bury(claim, verdict.reason, verdict.detail)))
        else:
            seconds = hands.pace.poll_interval if verdict.retry_after is None else verdict.retry_after
            state = await self._tell(lambda: _then("snoozed", hands.queue.snooze(claim, seconds)))
        if state is None:
            return
        _log.warning(
            "worker %s: job %s is %s, attempt %d (%s: %s)",
            hands.name,
            claim.id,
            state,
            claim.attempt,
            verdict.reason,
            verdict.detail,
        )
        if state == "dead":
            hands.tally.dead += 1
            hands.buried(claim.id, verdict.reason)
        elif state == "snoozed":
            hands.tally.snoozed += 1
        else:
            hands.tally.retried += 1

    async def _give_back(self) -> None:
        hands, claim = self._hands, self.claim
        if await self._tell(lambda: _then("queued", hands.queue.snooze(claim, 0.0))):
            hands.tally.given_back += 1
            _log.info("worker %s: job %s is given back, the worker stops", hands.name, claim.id)

    async def _tell(self, make: Callable[[], Coroutine[Any, Any, str]]) -> str | None:
        """
        Tell the queue how it ended; returns the job's state now, or None where the queue was not to be told.
        """
        hands = self._hands
        what = f"telling the queue how job {self.claim.id} ended"
        try:
            return await insist(what, make, hands.pace, self._tries_until, hands.draw)
        except LeaseLostError:
            self._lost("when the queue was told how it ended")
        except NotTakenError as error:
            hands.tally.left += 1
            _log.error("worker %s: job %s is left to the reaper: %s", hands.name, self.claim.id, error)
        return None

    def _lost(self, when: str) -> None:
        self._hands.tally.lost += 1
        _log.warning("worker %s: job %s was lost %s; nothing is stored", self._hands.name, self.claim.id, when)


async def _then(state: str, work: Coroutine[Any, Any, None]) -> str:
    await work
    return state
