"""
Ask the guard first, then the queue: a permit for each job, and none for a job that is not there.

A permit that was taken here is handed to a job or given back before anything but the claim is waited for.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Protocol

from examples.images.ports import Claim, Consumer
from examples.images.worker.pace import Pace
from examples.images.worker.waiting import LEAVES_WITHIN, either, leave, one_line, uncancelled, until
from hungframe import CallRejectedError, Guard
from hungframe.permit import GuardPermit

_log = logging.getLogger(__name__)

# However short the wait: a guard that refuses and names no wait must not spin.
_LEAST_WAIT = 0.001


class Places(Protocol):
    """
    Where jobs run: so many at once.
    """

    @property
    def free(self) -> int: ...
    async def some_free(self) -> None: ...
    def start(self, claim: Claim, permit: GuardPermit) -> None: ...


GiveBack = Callable[[Claim], Awaitable[object]]


class Permits:
    """
    The permits of one turn; those that nobody took are given back when the block is left, each once.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._held: list[GuardPermit] = []

    def take(self, most: int) -> CallRejectedError | None:
        """
        Take up to *most*; returns what the guard said where it gave less.
        """
        try:
            while len(self._held) < most:
                self._held.append(self._guard.acquire())
        except CallRejectedError as refused:
            # Kept without its frames, which lead back to this one.
            return refused.with_traceback(None)
        return None

    def __len__(self) -> int:
        return len(self._held)

    def hand_out(self) -> GuardPermit:
        """
        Give one away for good. The oldest first: its deadline is the nearest.
        """
        return self._held.pop(0)

    def __enter__(self) -> Permits:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._held:
            self._held.pop().cancel()


class Poller:
    """
    Keep the places of one worker full, as far as guard and queue allow.

    Args:
        give_back: Returns a claim to the queue, where it was made and nobody is to work on it; raises nothing.

        draw: Draws from [0, 1), for the wait after a failure.
    """

    def __init__(
        self,
        name: str,
        guard: Guard,
        queue: Consumer,
        places: Places,
        give_back: GiveBack,
        pace: Pace,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._name = name
        self._guard = guard
        self._queue = queue
        self._places = places
        self._give_back = give_back
        self._pace = pace
        self._draw = draw
        self._failures = 0
        self._was_empty = False

    async def run(self, stop: asyncio.Event) -> None:
        """
        Poll until *stop* is set. A claim that is under way then is waited for, and what it brings is given back.
        """
        while not stop.is_set():
            if self._places.free < 1:
                await either(None, stop.wait(), self._places.some_free())
                continue
            try:
                await self._turn(stop)
            except Exception as error:
                # Whatever the queue's driver raises: a database that is gone comes back.
                self._failures += 1
                seconds = self._pace.backoff_after(self._failures, self._draw())
                _log.warning(
                    "worker %s: the queue cannot be asked (%s); asks again in %.2f s",
                    self._name,
                    one_line(error),
                    seconds,
                )
                await until(stop, seconds)

    async def _turn(self, stop: asyncio.Event) -> None:
        spare: Sequence[Claim] = ()
        with Permits(self._guard) as permits:
            # To look into a queue that was empty one permit will do: the others would only come and go.
            refused = permits.take(1 if self._was_empty else self._places.free)
            asked = len(permits)
            if asked:
                claims = await self._claim(asked)
                self._answered()
                self._was_empty = not claims
                spare = self._start(claims, permits, stop)
        if spare:
            await uncancelled(self._all_back(spare))
        if stop.is_set():
            return
        if refused is not None and not asked:
            await until(stop, self._wait_named_by(refused))
        elif self._was_empty:
            # It is the queue that keeps the time, so that it is not cancelled in the same moment; unless it hangs.
            seconds = self._pace.poll_interval
            await either(seconds + LEAVES_WITHIN, stop.wait(), self._queue.wait(seconds))

    def _start(self, claims: Sequence[Claim], permits: Permits, stop: asyncio.Event) -> Sequence[Claim]:
        """
        Start a job for each claim; returns those that none is started for. Nothing is awaited in here.
        """
        startable = 0 if stop.is_set() else len(permits)
        for claim in claims[:startable]:
            self._places.start(claim, permits.hand_out())
        if len(claims) > startable > 0:
            _log.error(
                "worker %s: the queue gave %d jobs where %d were asked for; the others go back",
                self._name,
                len(claims),
                startable,
            )
        return claims[startable:]

    async def _all_back(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            await self._give_back(claim)

    async def _claim(self, limit: int) -> Sequence[Claim]:
        """
        Claim, and leave no claim behind that nobody knows of, as far as it was answered.
        """
        claiming = asyncio.ensure_future(self._queue.claim(limit))
        try:
            await asyncio.wait({claiming}, timeout=self._pace.claim_within)
        except asyncio.CancelledError:
            await uncancelled(self._unclaim(claiming))
            raise
        await leave(claiming)
        if not claiming.done() or claiming.cancelled():
            raise TimeoutError(f"no answer to a claim within {self._pace.claim_within:.3g} s")
        return claiming.result()

    async def _unclaim(self, claiming: asyncio.Future[Sequence[Claim]]) -> None:
        # Not cancelled at once: the server may have leased jobs already, and its answer is on the way.
        await asyncio.wait({claiming}, timeout=LEAVES_WITHIN)
        await leave(claiming)
        if claiming.done() and not claiming.cancelled() and claiming.exception() is None:
            await self._all_back(claiming.result())

    def _answered(self) -> None:
        if self._failures:
            _log.info("worker %s: the queue answers again, after %d failures", self._name, self._failures)
            self._failures = 0

    def _wait_named_by(self, refused: CallRejectedError) -> float:
        seconds = refused.retry_after
        if seconds is None or seconds == math.inf:
            return self._pace.poll_interval
        return max(seconds, _LEAST_WAIT)
