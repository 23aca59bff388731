"""The adaptive timeout by sorting everything again at each question."""

import math
from dataclasses import dataclass
from fractions import Fraction

from .times import TICK, decimal


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


@dataclass(frozen=True)
class Told:
    """
    One call: it completed after *seconds*, or was cut off then.
    """

    seconds: Fraction
    completed: bool
    at: Fraction


def nearest_rank(values: list[Fraction], quantile: Fraction) -> Fraction:
    """
    Find the smallest value that a share *quantile* of *values* does not exceed.
    """
    for value in sorted(values):
        within = sum(1 for other in values if other <= value)
        if Fraction(within, len(values)) >= quantile:
            return value
    raise ValueError("no values")


def masses(calls: list[Told]) -> list[tuple[Fraction, Fraction]]:
    """
    Weigh each latency that was seen to end: Efron's redistribution to the right.

    All weigh the same at first; each call that was cut off, the shortest
    first, hands what it has on to those that lasted longer, in equal parts.
    """
    ordered = sorted(calls, key=lambda call: (call.seconds, not call.completed))
    mass = [Fraction(1, len(ordered)) for _ in ordered]
    for nth, call in enumerate(ordered):
        longer = len(ordered) - nth - 1
        if not call.completed:
            for other in range(nth + 1, len(ordered)):
                mass[other] += mass[nth] / longer
    return [(call.seconds, mass[nth]) for nth, call in enumerate(ordered) if call.completed]


class TimeoutModel:
    """
    Work a timeout out of all calls that still count, one step after each.
    """

    def __init__(self, rules: TimeoutRules) -> None:
        self.rules = rules
        self.told: list[Told] = []
        self.last = rules.initial
        self.learned = False
        self.moved_at: Fraction | None = None

    def observe(self, seconds: float, now: Fraction, completed: bool = True) -> None:
        """
        Tell of a call that completed after *seconds*, or was cut off then.
        """
        if self.tell(seconds, now, completed):
            self.step(now, self.told[-1])

    def remember(self, seconds: float, now: Fraction, completed: bool = True) -> None:
        """
        Tell of one that ends while the breaker is open.
        """
        self.tell(seconds, now, completed)

    def tell(self, seconds: float, now: Fraction, completed: bool) -> bool:
        """
        Add to what was told; cut off at once says nothing.
        """
        if not completed and seconds <= 0:
            return False
        self.told.append(Told(Fraction(seconds), completed, now))
        if self.moved_at is None:
            self.moved_at = now
        return True

    def held(self, now: Fraction) -> list[Told]:
        """
        Find the calls that still count; one of exactly *max_age* does.
        """
        max_age = decimal(self.rules.max_age)
        return [call for call in self.told[-self.rules.window :] if now - call.at <= max_age]

    def quantile(self, held: list[Told]) -> Fraction | None:
        """
        Find the latency that the quantile of calls stays within, if it is one that was seen.

        Once a call has outlasted the longest timeout, it is that of the calls which do not.
        """
        share = decimal(self.rules.quantile)
        seen = masses(held)
        if any(not call.completed and call.seconds >= Fraction(self.rules.ceiling * 0.9) for call in held):
            share *= sum((mass for _, mass in seen), start=Fraction(0))
        within = Fraction(0)
        for seconds, mass in seen:
            within += mass
            if within >= share:
                return seconds
        return None

    def p95(self, now: Fraction) -> Fraction | None:
        """
        Find the quantile, or that of the completed calls, or None where too little was seen.
        """
        held = self.held(now)
        completed = [call.seconds for call in held if call.completed]
        if len(completed) < self.rules.min_samples:
            return None
        quantile = self.quantile(held)
        return nearest_rank(completed, decimal(self.rules.quantile)) if quantile is None else quantile

    def target(self, held: list[Told]) -> float | None:
        """
        Work out where the timeout should be, or None where nobody knows.
        """
        if sum(call.completed for call in held) < self.rules.min_samples:
            return None
        quantile = self.quantile(held)
        return None if quantile is None else self.clamped(float(quantile) + self.rules.margin)

    def clamped(self, seconds: float) -> float:
        """
        Keep it within floor and ceiling.
        """
        return min(self.rules.ceiling, max(self.rules.floor, seconds))

    def limited(self, target: float) -> float:
        """
        Go to *target*, or one step towards it.
        """
        return min(max(target, self.last * 0.8), self.last * 1.5) if self.learned else target

    def step(self, now: Fraction, observed: Told) -> None:
        """
        Move after a call.
        """
        held = self.held(now)
        if len(held) < self.rules.min_samples:
            self.last, self.learned = self.rules.initial, False
            return
        target = self.target(held)
        if target is not None:
            self.move(self.limited(target), now)
        elif self.may_grow(held, now, observed):
            self.move(self.clamped(self.last * 1.5), now)

    def may_grow(self, held: list[Told], now: Fraction, observed: Told) -> bool:
        """
        Look for the signs of life.
        """
        assert self.moved_at is not None
        return (
            self.quantile(held) is None
            and not observed.completed
            and observed.seconds >= Fraction(self.last * 0.9)
            and now - self.moved_at >= Fraction(self.last)
            and any(call.completed for call in self.told[-self.rules.window :][-10:])
        )

    def move(self, seconds: float, now: Fraction) -> None:
        """
        Take a step.
        """
        if seconds != self.last:
            self.moved_at = now
        self.last, self.learned = seconds, True

    def current(self, now: Fraction) -> float:
        """
        Tell the timeout of the next call.
        """
        return self.last if len(self.held(now)) >= self.rules.min_samples else self.rules.initial

    def edges(self) -> list[Fraction]:
        """
        List the instants up to which a call is held, and from which on the timeout may grow.
        """
        max_age = decimal(self.rules.max_age)
        # On the grid of the instants.
        timeout = math.ceil(Fraction(self.last) / Fraction(TICK)) * Fraction(TICK)
        moved_at = [] if self.moved_at is None else [self.moved_at + timeout]
        return [call.at + max_age for call in self.told[-self.rules.window :]] + moved_at
