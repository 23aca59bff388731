"""
A provider that answers 429 to most, and a crowd at the door of one that is well again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from benchmarks.arrivals import HANGS, poisson
from benchmarks.simulations.stage import (
    Asked,
    Backend,
    Recording,
    Stage,
    TooManyRequestsError,
    answers_after,
    in_order,
)
from benchmarks.timeout_scenarios import usual
from hungframe import AdaptiveTimeout, CircuitBreaker
from hungframe.testing import run_virtual

STORM_BEGINS, STORM_ENDS = 300.0, 900.0
"""The time in which the provider limits its callers."""

A_MINUTE = 10
"""Calls that it answers a minute then; six times as many arrive."""

CROWD = 100
PROBE = 5.0


@dataclass
class Limited:
    """
    Answer so many calls a minute, and the others with 429.

    Args:
        hint: Whether a 429 says when the next minute begins.
    """

    hint: bool
    rng: random.Random
    answered: dict[int, int] = field(default_factory=dict)

    async def __call__(self, now: float) -> None:
        """
        Answer a call that arrives *now*.

        Raises:
            TooManyRequestsError: If this minute's calls are used up.
        """
        minute = int(now // 60)
        if STORM_BEGINS <= now < STORM_ENDS:
            if self.answered.get(minute, 0) >= A_MINUTE:
                await anyio.sleep(0.1)
                raise TooManyRequestsError(math.ceil((minute + 1) * 60 - now) if self.hint else None)
            self.answered[minute] = self.answered.get(minute, 0) + 1
        await answers_after(usual(self.rng))


def storm(*, hint: bool, seed: int = 1, backend: Backend = "asyncio") -> Recording:
    """
    Let one call a second arrive at a provider that answers ten a minute for ten minutes.
    """

    async def main() -> Recording:
        rng = random.Random(seed)
        timeout = AdaptiveTimeout(margin=1.0, floor=1.0, ceiling=60.0, initial=10.0)
        stage = Stage(timeout, CircuitBreaker())
        provider = Limited(hint, random.Random(seed + 1))
        arrivals = list(poisson(1.0, STORM_ENDS + 300.0, rng))
        await stage.ask_at((at, lambda: provider(stage.now())) for at in arrivals)
        return in_order(stage.seen)

    with _seeded(seed):
        return run_virtual(main, backend=backend)


@contextmanager
def _seeded(seed: int) -> Generator[None, None, None]:
    """
    Let what draws from the `random` module, as jitter does, draw the same each time.
    """
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


@dataclass(frozen=True)
class Herd:
    """
    Hold how a crowd fared at the moment of half-open, and after it.

    Args:
        recording: All calls; the crowd's begin at *at*.

        callers: For each caller of the crowd, its calls.

        at: The moment at which they came.
    """

    recording: Recording
    callers: list[list[Asked]]
    at: float

    def rounds(self) -> list[tuple[float, int, int]]:
        """
        Tell, for each instant at which callers came: seconds since the first, how many reached the provider, and
        how many were refused.
        """
        told: dict[float, list[bool]] = {}
        for caller in self.callers:
            for each in caller:
                told.setdefault(round(each.at - self.at, 2), []).append(each.reached)
        return [(at, sum(reached), len(reached) - sum(reached)) for at, reached in sorted(told.items())]


def herd(*, crowd: int = CROWD, backend: Backend = "asyncio") -> Herd:
    """
    Let a breaker open, and a crowd come at the moment at which it becomes half-open.

    Who is refused comes back after `retry_after`, to the millisecond: no caller adds jitter of its own.
    """

    async def main() -> Herd:
        stage = Stage(AdaptiveTimeout(), CircuitBreaker())
        callers: list[list[Asked]] = [[] for _ in range(crowd)]
        await stage.ask_at((0.0, lambda: answers_after(HANGS)) for _ in range(3))
        await anyio.sleep(stage.guard.snapshot().retry_after or 0.0)
        at = stage.now()
        async with anyio.create_task_group() as group:
            for caller in callers:
                group.start_soon(_until_answered, stage, caller)
        return Herd(in_order(stage.seen), callers, at)

    return run_virtual(main, backend=backend)


async def _until_answered(stage: Stage, calls: list[Asked]) -> None:
    while not calls or not calls[-1].reached:
        if calls:
            # At least a millisecond: virtual time does not pass within the last bit of a float.
            await anyio.sleep(max(0.001, calls[-1].retry_after or 0.0))
        calls.append(await stage.ask(lambda: answers_after(PROBE)))
