"""
Providers that change under a guard, and what its timeout makes of that; seeded, on a virtual clock.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.arrivals import HANGS, Ended, play, poisson, share
from benchmarks.timeout_policies import CountsTimeouts, DropsTimeouts, GrowsUngated
from hungframe import AdaptiveTimeout, CircuitBreaker, Guard
from hungframe.testing import VirtualClock

CHANGE = 1800.0
"""The instant at which each provider changes, in seconds."""

Latency = Callable[[float, random.Random], float]


def usual(rng: random.Random, times: float = 1.0) -> float:
    """
    Take what a call takes when all is well, so many times over: median 1 s, P95 1.64 s.
    """
    return times * math.exp(rng.gauss(0.0, 0.3))


def slower(times: float) -> Latency:
    """
    Take so many times as long from the change on.
    """
    return lambda at, rng: usual(rng, times if at >= CHANGE else 1.0)


def hang(seconds: float) -> Latency:
    """
    Answer nobody for so long.
    """
    return lambda at, rng: HANGS if CHANGE <= at < CHANGE + seconds else usual(rng)


def bimodal(fraction: float, times: float) -> Latency:
    """
    Take so many times as long for a fraction of the calls from the change on, as where some miss a cache.
    """
    return lambda at, rng: usual(rng, times if at >= CHANGE and rng.random() < fraction else 1.0)


def drift(times: float, within: float) -> Latency:
    """
    Become slower by and by.
    """
    return lambda at, rng: usual(rng, 1.0 + (times - 1.0) * min(1.0, max(0.0, (at - CHANGE) / within)))


SCENARIOS: Mapping[str, Latency] = {
    "3 x slower for good": slower(3.0),
    "8 x slower for good": slower(8.0),
    "a fifth of the calls 10 x slower": bimodal(0.2, 10.0),
    "10 x slower within an hour": drift(10.0, 3600.0),
    "hangs for 5 minutes": hang(300.0),
}

LEARNERS: Mapping[str, type[AdaptiveTimeout]] = {
    "drops timeouts": DropsTimeouts,
    "counts a timeout as a latency": CountsTimeouts,
    "Kaplan-Meier, growth not gated": GrowsUngated,
    "hungframe": AdaptiveTimeout,
}


@dataclass(frozen=True)
class Played:
    """
    Hold how the calls went, and which timeout each was asked with.
    """

    ended: list[Ended]
    timeouts: list[tuple[float, float]]

    def missed(self, since: float, until: float = math.inf) -> float:
        """
        Tell the share of calls aborted or rejected, of those that arrived so many seconds after the change.
        """
        return share([each for each in self.ended if since <= each.at - CHANGE < until])

    def timeout(self, after: float) -> float:
        """
        Tell the timeout so many seconds after the change.
        """
        return self.timeouts[bisect_right(self.timeouts, (CHANGE + after, math.inf)) - 1][1]


def run(
    learner: type[AdaptiveTimeout],
    latency: Latency,
    *,
    every: float = 1.0,
    seed: int = 1,
    seconds: float = 5400.0,
    breaker: bool = True,
) -> Played:
    """
    Let a guard meet a provider, calls arriving at random.

    Args:
        every: Seconds between two arrivals, on average.

        seconds: How long it goes on after the change.

        breaker: Whether the guard has one.
    """
    rng = random.Random(seed)
    clock = VirtualClock()
    policy = learner(margin=1.0, floor=1.0, ceiling=60.0, initial=10.0)
    guard = Guard("provider", timeout=policy, breaker=CircuitBreaker() if breaker else None, clock=clock)
    timeouts: list[tuple[float, float]] = []
    arrivals = list(poisson(every, CHANGE + seconds, rng))
    ended = play(
        guard,
        clock,
        arrivals,
        lambda at: latency(at, rng),
        lambda at: timeouts.append((at, policy.current(clock.now()))),
    )
    return Played(ended, timeouts)
