"""The adaptive timeout by sorting everything again at each question."""

from dataclasses import dataclass
from fractions import Fraction

from .times import decimal


@dataclass(frozen=True)
class TimeoutRules:
    """
    The numbers of an adaptive timeout, under the names of its constructor.
    """

    quantile: float = 0.95
    margin: float = 10.0
    floor: float = 45.0
    ceiling: float = 90.0
    initial: float = 60.0
    min_samples: int = 20
    window: int = 200
    max_age: float = 3600.0


def nearest_rank(values: list[Fraction], quantile: Fraction) -> Fraction:
    """
    Find the smallest value that a share *quantile* of *values* does not exceed.
    """
    for value in sorted(values):
        within = sum(1 for other in values if other <= value)
        if Fraction(within, len(values)) >= quantile:
            return value
    raise ValueError("no values")


class TimeoutModel:
    """
    Work a timeout out of all latencies that still count.
    """

    def __init__(self, rules: TimeoutRules) -> None:
        self.rules = rules
        self.told: list[tuple[Fraction, Fraction]] = []

    def observe(self, seconds: float, now: Fraction) -> None:
        """
        Tell of a call that completed after *seconds*.
        """
        self.told.append((Fraction(seconds), now))

    def held(self, now: Fraction) -> list[Fraction]:
        """
        Find the latencies that still count; one of exactly *max_age* does.
        """
        max_age = decimal(self.rules.max_age)
        recent = self.told[-self.rules.window :]
        return [value for value, at in recent if now - at <= max_age]

    def p95(self, now: Fraction) -> Fraction | None:
        """
        Find the quantile, or None where too little was seen.
        """
        held = self.held(now)
        if len(held) < self.rules.min_samples:
            return None
        return nearest_rank(held, decimal(self.rules.quantile))

    def current(self, now: Fraction) -> Fraction:
        """
        Work out the timeout of the next call.
        """
        rank = self.p95(now)
        if rank is None:
            return Fraction(self.rules.initial)
        low, high = Fraction(self.rules.floor), Fraction(self.rules.ceiling)
        return min(high, max(low, rank + Fraction(self.rules.margin)))

    def edges(self) -> list[Fraction]:
        """
        List the instants up to which a latency is held.
        """
        max_age = decimal(self.rules.max_age)
        return [at + max_age for _, at in self.told[-self.rules.window :]]
