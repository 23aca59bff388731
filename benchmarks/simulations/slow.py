"""
Providers that become slower: at once, by and by, or for some of the calls.

Calls of a second, one a second; timeouts lie between 1 and 60 s, so that the bounds hide nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from benchmarks.simulations.stage import Backend, Recording, play
from benchmarks.timeout_scenarios import CHANGE, Latency, bimodal, slower, usual
from hungframe import AdaptiveTimeout

MINUTES = 60.0

LEARNT_AFTER = 10 * MINUTES
"""Seconds after the change from which on the provider should be known for what it is now."""

SLOW_FOR = 60 * MINUTES
DRIFTS_FOR = 180 * MINUTES


def timeout() -> AdaptiveTimeout:
    """
    Make a timeout for calls of about a second.
    """
    return AdaptiveTimeout(margin=1.0, floor=1.0, ceiling=60.0, initial=10.0)


def drifting(percent: float) -> Latency:
    """
    Become slower by so many percent a minute, for three hours, and stay so.
    """

    def latency(at: float, rng: random.Random) -> float:
        minutes = min(max(0.0, at - CHANGE), DRIFTS_FOR) / MINUTES
        return usual(rng, (1 + percent / 100) ** minutes)

    return latency


@dataclass(frozen=True)
class Slow:
    """
    Hold one provider that becomes slower.

    Args:
        title: What it does, for a picture.

        latency: Seconds that a call takes which arrives at an instant.

        seconds: How long calls arrive.
    """

    title: str
    latency: Latency
    seconds: float = CHANGE + SLOW_FOR

    def play(self, *, seed: int = 1, backend: Backend = "asyncio") -> Recording:
        """
        Play it once.
        """
        return play(self.latency, seconds=self.seconds, seed=seed, timeout=timeout(), backend=backend)


SLOW = {
    "slower-3": Slow("A provider becomes 3 x slower for good", slower(3.0)),
    "slower-8": Slow("A provider becomes 8 x slower for good", slower(8.0)),
    "bimodal": Slow("A fifth of the calls take 6 x longer", bimodal(0.2, 6.0)),
    "drift": Slow("1 % slower a minute, for three hours", drifting(1.0), CHANGE + DRIFTS_FOR + 30 * MINUTES),
}
