"""
Providers that hang: for five minutes, every other half minute, and under a guard that suspects nobody.

Calls like those for images: median 5 s, P95 8 s, twenty a minute, the default settings.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import partial

import anyio

from benchmarks.arrivals import HANGS, poisson
from benchmarks.simulations.stage import Backend, Recording, Stage, answers_after, in_order, play
from benchmarks.timeout_scenarios import CHANGE
from hungframe import AdaptiveTimeout, CircuitBreaker
from hungframe.testing import run_virtual

EVERY = 3.0
"""Seconds between two arrivals, on average."""

HANG = 300.0
HALF = 30.0
FLAPS_FOR = 3600.0

HANGS_FROM = 450.0
"""The instant from which all calls hang, where it is told when the breaker opens; until then a P95 was learned."""


def image(rng: random.Random) -> float:
    """
    Take as long as an image: median 5 s, P95 8 s.
    """
    return 5.0 * math.exp(rng.gauss(0.0, 0.29))


def hang(*, seed: int = 1, backend: Backend = "asyncio") -> Recording:
    """
    Hang for five minutes.
    """

    def latency(at: float, rng: random.Random) -> float:
        seconds = image(rng)
        return HANGS if CHANGE <= at < CHANGE + HANG else seconds

    # A low floor, so that a timeout which the hang has raised would be seen.
    timeout = AdaptiveTimeout(floor=1.0)
    return play(latency, seconds=CHANGE + HANG + 900.0, every=EVERY, seed=seed, timeout=timeout, backend=backend)


def is_well(at: float) -> bool:
    """
    Tell whether the flapping provider answers a call which arrives at that instant.
    """
    return not CHANGE <= at < CHANGE + FLAPS_FOR or int((at - CHANGE) // HALF) % 2 == 1


def flapping(*, seed: int = 1, backend: Backend = "asyncio", open_for: float = 60.0) -> Recording:
    """
    Hang for half a minute, be well for half a minute, for an hour; then be well.

    Args:
        open_for: Seconds that the breaker stays open, and from probe to probe.
    """

    def latency(at: float, rng: random.Random) -> float:
        seconds = image(rng)
        return seconds if is_well(at) else HANGS

    breaker = CircuitBreaker(open_for=open_for, probe_every=open_for)
    timeout = AdaptiveTimeout(floor=1.0)
    seconds = CHANGE + FLAPS_FOR + 900.0
    return play(latency, seconds=seconds, every=EVERY, seed=seed, timeout=timeout, breaker=breaker, backend=backend)


class SuspectsNobody(CircuitBreaker):
    """
    Wait for outcomes. A guard tells a subclass of no suspects.
    """


@dataclass(frozen=True)
class Opened:
    """
    Hold what a hang cost until the breaker opened.

    Args:
        after: Seconds from the first hung call to the opening.

        calls: Those that reached the provider until then, and hung.

        wasted: Seconds for which their callers waited.
    """

    recording: Recording
    after: float
    calls: int
    wasted: float


def opening(*, suspects: bool, warm: bool, every: float = EVERY, seed: int = 1, backend: Backend = "asyncio") -> Opened:
    """
    Let all calls hang, and see when the breaker opens.

    Args:
        suspects: Whether calls in flight are evidence.

        warm: Whether the window is full of successes; else it is empty, as
            that of a breaker which has just closed, and the P95 is known.
    """

    async def main() -> Recording:
        rng = random.Random(seed)
        breaker = CircuitBreaker() if suspects else SuspectsNobody()
        stage = Stage(AdaptiveTimeout(), breaker)
        arrivals = list(poisson(every, HANGS_FROM + 150.0, rng))
        takes = [(at, image(rng) if at < HANGS_FROM else HANGS) for at in arrivals]
        async with anyio.create_task_group() as group:
            if not warm:
                group.start_soon(_empty, stage)
            await stage.ask_at((at, partial(answers_after, seconds)) for at, seconds in takes)
        return in_order(stage.seen)

    seen = run_virtual(main, backend=backend)
    began_at = next(each.at for each in seen.asked if each.at >= HANGS_FROM)
    opened_at = seen.entered("open", HANGS_FROM)[0]
    hung = [each for each in seen.within(began_at, opened_at) if each.reached]
    return Opened(seen, opened_at - began_at, len(hung), sum(each.took for each in hung))


async def _empty(stage: Stage) -> None:
    await anyio.sleep(HANGS_FROM)
    stage.guard.reset()
