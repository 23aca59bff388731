"""The retry budget as two lists of instants."""

import math
from fractions import Fraction

from .times import decimal


class RetryBudgetModel:
    """
    Keep every call and every retry for ever, and count those of the last sixty steps and the one under way.
    """

    def __init__(self, ratio: float, floor: int, window: float) -> None:
        self.ratio = decimal(ratio)
        self.floor = floor
        self.step = decimal(window) / 60
        self.calls: list[Fraction] = []
        self.retries: list[Fraction] = []

    def left(self, now: Fraction) -> int:
        """
        Count the retries that could be taken.
        """
        since = (math.floor(now / self.step) - 60) * self.step
        calls = sum(at >= since for at in self.calls)
        retries = sum(at >= since for at in self.retries)
        return max(0, max(self.floor, math.floor(self.ratio * calls)) - retries)

    def edges(self) -> list[Fraction]:
        """
        List the instants at which a call or a retry is forgotten.
        """
        return [(math.floor(at / self.step) + 61) * self.step for at in {*self.calls, *self.retries}]
