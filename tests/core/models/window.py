"""The last N weighted outcomes, by looking at all of them again."""

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True)
class Entry:
    """
    What one outcome weighs, and how much of that is failure.
    """

    weight: Fraction
    failed: Fraction
    at: Fraction


@dataclass
class WindowModel:
    """
    Hold the last *size* entries, none older than *max_age* seconds.
    """

    size: int
    max_age: Fraction
    told: list[Entry] = field(default_factory=list)

    def add(self, weight: Fraction, failed: Fraction, now: Fraction) -> None:
        """
        Tell of an outcome.
        """
        self.told.append(Entry(weight, failed, now))

    def held(self, now: Fraction) -> list[Entry]:
        """
        Find the entries that still count; one of exactly *max_age* does.
        """
        return [e for e in self.told[-self.size :] if now - e.at <= self.max_age]

    def total(self, now: Fraction) -> Fraction:
        """
        Sum the weights held.
        """
        return sum((e.weight for e in self.held(now)), Fraction(0))

    def failed(self, now: Fraction) -> Fraction:
        """
        Sum the failed weights held.
        """
        return sum((e.failed for e in self.held(now)), Fraction(0))

    def clear(self) -> None:
        """
        Forget everything.
        """
        self.told.clear()

    def edges(self) -> list[Fraction]:
        """
        List the instants up to which an entry is held.
        """
        return [e.at + self.max_age for e in self.told[-self.size :]]
