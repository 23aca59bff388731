"""
A guard without a breaker, in the words of one with a breaker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hungframe._core.outcome import Outcome
from hungframe._core.states import BreakerState, Permit, Refusal


class NoBreaker:
    """
    Let every call through, and learn nothing.
    """

    __slots__ = ("generation", "shared_permit")

    def __init__(self) -> None:
        self.generation = 1
        self.shared_permit: Permit | None = Permit(1)

    def acquire(self, now: float, *, timeout: float = 90.0) -> Permit:
        """
        Let it through.
        """
        assert self.shared_permit is not None
        return self.shared_permit

    def acquire_probe(self, now: float, *, timeout: float = 90.0) -> Permit | Refusal:
        """
        There is nothing to probe.
        """
        return Refusal("disabled", None)

    def record(self, permit: Permit, outcome: Outcome | str, now: float, *, seconds: float | None = None) -> None:
        """
        Learn nothing.
        """

    def release(self, permit: Permit, now: float) -> None:
        """
        Nothing was given.
        """

    def state(self, now: float) -> BreakerState:
        """
        Always disabled.
        """
        return BreakerState.DISABLED

    def failure_rate(self, now: float) -> float:
        """
        Nothing is counted.
        """
        return 0.0

    def weight(self, now: float) -> float:
        """
        Nothing is counted.
        """
        return 0.0

    def retry_after(self, now: float) -> float:
        """
        Now.
        """
        return 0.0

    def steering(self, verb: str) -> None:
        """
        There is nothing to steer.
        """

    def unmoved_up_to(self) -> float:
        """
        Nothing moves it.
        """
        return math.inf

    def record_unmoved(self, permits: Sequence[Permit], seconds: Sequence[float], at: Sequence[float]) -> None:
        """
        Learn nothing.
        """

    def suspect(self, count: int, now: float) -> None:
        """
        Suspect nobody.
        """
