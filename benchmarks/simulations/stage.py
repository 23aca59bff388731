"""
Let calls arrive at a guard while earlier ones are still in flight, and write down how each went.

Unlike benchmarks/arrivals.py these are real calls: a task each, `Guard.acall`, a callee that sleeps and is
aborted at its deadline. Time is virtual, so that three hours take a second.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import anyio

from benchmarks.arrivals import HANGS, poisson
from benchmarks.timeout_scenarios import Latency
from hungframe import AdaptiveTimeout, CallRejectedError, CallTimeoutError, CircuitBreaker, Guard
from hungframe.events import BreakerChanged, Event
from hungframe.testing import VirtualClock, run_virtual

Backend = Literal["asyncio", "trio"]
How = Literal["answered", "aborted", "refused", "429"]


class TooManyRequestsError(Exception):
    """
    A 429, in the shape in which SDKs raise it.
    """

    def __init__(self, retry_after: float | None) -> None:
        super().__init__("429 Too Many Requests")
        self.status_code = 429
        self.response = Response(429, {} if retry_after is None else {"retry-after": f"{retry_after:.0f}"})


@dataclass(frozen=True)
class Response:
    """
    What an SDK's error keeps of the answer.
    """

    status_code: int
    headers: dict[str, str]


@dataclass(frozen=True)
class Asked:
    """
    Hold how one call went.

    Args:
        at: Instant at which it was asked for.

        took: Seconds until its caller was back.

        how: Answered, aborted at its deadline, refused by the guard, or refused by the provider.

        retry_after: What the guard said, where it refused.
    """

    at: float
    took: float
    how: How
    retry_after: float | None = None

    @property
    def reached(self) -> bool:
        """
        Whether the provider was asked.
        """
        return self.how != "refused"


@dataclass
class Recording:
    """
    Hold what happened; all times are seconds since the beginning.
    """

    asked: list[Asked] = field(default_factory=list)
    timeouts: list[tuple[float, float]] = field(default_factory=list)
    states: list[tuple[float, str]] = field(default_factory=lambda: [(0.0, "closed")])

    def within(self, begin: float, end: float = math.inf) -> list[Asked]:
        """
        The calls asked for in that time.
        """
        return [each for each in self.asked if begin <= each.at < end]

    def share(self, *how: How, begin: float = 0.0, end: float = math.inf) -> float:
        """
        Tell what share of the calls asked for in that time ended so, in 0..1.
        """
        asked = self.within(begin, end)
        return sum(each.how in how for each in asked) / len(asked) if asked else 0.0

    def timeout(self, at: float) -> float:
        """
        Tell what a call was given at that instant.
        """
        return self.timeouts[max(0, bisect_right(self.timeouts, (at, math.inf)) - 1)][1]

    def entered(self, state: str, begin: float = 0.0) -> list[float]:
        """
        Tell when the breaker was seen to become so.
        """
        return [at for at, became in self.states if became == state and at > begin]

    def wasted(self, begin: float = 0.0, end: float = math.inf) -> float:
        """
        Sum up the seconds for which callers waited in vain, of the calls asked for in that time.
        """
        return sum(each.took for each in self.within(begin, end) if each.how == "aborted")


class Stage:
    """
    Hold one guard and what is written down of it. Made within a virtual run.
    """

    def __init__(self, timeout: AdaptiveTimeout, breaker: CircuitBreaker | None) -> None:
        self._clock = VirtualClock()
        self._timeout = timeout
        self.seen = Recording()
        self.guard = Guard(
            "provider", timeout=timeout, breaker=breaker, clock=self._clock, sinks=[self._note], enabled=True
        )

    def now(self) -> float:
        """
        Seconds since the beginning.
        """
        # Sums of floats that are meant to be equal are equal to the microsecond.
        return round(self._clock.now(), 6)

    def _note(self, event: Event) -> None:
        if isinstance(event, BreakerChanged):
            self.seen.states.append((self.now(), event.state))

    def _note_timeout(self) -> None:
        seconds = self._timeout.current(self._clock.now())
        if not self.seen.timeouts or self.seen.timeouts[-1][1] != seconds:
            self.seen.timeouts.append((self.now(), seconds))

    async def ask(self, provider: Callable[[], Awaitable[object]]) -> Asked:
        """
        Make one call, and write down how it went.
        """
        self._note_timeout()
        began_at = self.now()
        how: How = "answered"
        retry_after = None
        try:
            await self.guard.acall(provider)
        except CallTimeoutError:
            how = "aborted"
        except CallRejectedError as error:
            how, retry_after = "refused", error.retry_after
        except TooManyRequestsError:
            how = "429"
        self._note_timeout()
        asked = Asked(began_at, round(self.now() - began_at, 6), how, retry_after)
        self.seen.asked.append(asked)
        return asked

    async def ask_at(self, calls: Iterable[tuple[float, Callable[[], Awaitable[object]]]]) -> None:
        """
        Make calls at their instants, in order, whether or not earlier ones have ended; return when all have.
        """
        async with anyio.create_task_group() as group:
            for at, provider in calls:
                await anyio.sleep(max(0.0, at - self._clock.now()))
                group.start_soon(self.ask, provider)


async def answers_after(seconds: float) -> None:
    """
    Be a provider's answer.
    """
    if seconds == HANGS:
        await anyio.sleep_forever()
    await anyio.sleep(seconds)


def play(
    latency: Latency,
    *,
    seconds: float,
    every: float = 1.0,
    seed: int = 1,
    timeout: AdaptiveTimeout | None = None,
    breaker: CircuitBreaker | None = None,
    backend: Backend = "asyncio",
) -> Recording:
    """
    Let a guard meet a provider, calls arriving at random.

    Args:
        latency: Seconds that a call takes which arrives at an instant.

        seconds: How long they arrive.

        every: Seconds between two arrivals, on average.

        timeout: The default one if None.

        breaker: The default one if None.
    """

    async def main() -> Recording:
        rng = random.Random(seed)
        stage = Stage(timeout or AdaptiveTimeout(), breaker or CircuitBreaker())
        arrivals = list(poisson(every, seconds, rng))
        takes = [latency(at, rng) for at in arrivals]
        await stage.ask_at((at, partial(answers_after, each)) for at, each in zip(arrivals, takes, strict=True))
        return in_order(stage.seen)

    return run_virtual(main, backend=backend)


def in_order(recording: Recording) -> Recording:
    """
    Sort the calls by the instants at which they were asked for.
    """
    recording.asked.sort(key=lambda each: (each.at, each.took, each.how))
    return recording
