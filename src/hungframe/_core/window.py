"""
The last N weighted outcomes, none older than an age, with running sums.

Weights are whole numbers, so that the sums are exact however long it runs.
Adding is O(1), but for one pass over the window when its oldest outcome may
have grown too old.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

# What an outcome weighs, and how much of that speaks against the callee.
Weight = tuple[int, int]

_NOTHING: Weight = (0, 0)

# Shared by all windows that hold nothing: empty, they would weigh 136 bytes.
_NO_WEIGHTS: list[Weight] = []
_NEVER = array("d")


class Window:
    """
    Hold the last *size* outcomes, none older than *max_age* seconds.
    """

    __slots__ = ("_at", "_expires_at", "_max_age", "_next", "_weights", "failed", "size", "total")

    def __init__(self, size: int, max_age: float) -> None:
        self.size = size
        self._max_age = max_age
        self.clear()

    def __len__(self) -> int:
        return sum(weight is not _NOTHING for weight in self._weights)

    def clear(self) -> None:
        """
        Forget every outcome.
        """
        # Two rings that grow to their size first. Instants are kept apart in
        # an array, where one takes 8 bytes and not 32: a service may keep a
        # guard for each of 100,000 keys.
        self._weights = _NO_WEIGHTS
        self._at = _NEVER
        self._next = 0
        # No outcome is too old before this instant.
        self._expires_at = math.inf
        self.total = 0
        self.failed = 0

    def add(self, weight: Weight, now: float) -> None:
        """
        Add an outcome of *weight*.
        """
        if now > self._expires_at:
            self.expire(now)
        place = self._next
        weights = self._weights
        if place < len(weights):
            old = weights[place]
            # Nearly always a success takes a success's place.
            if old is not weight:
                weights[place] = weight
                self.total += weight[0] - old[0]
                self.failed += weight[1] - old[1]
            self._at[place] = now
        else:
            if not weights:
                self._weights = weights = []
                self._at = array("d")
            weights.append(weight)
            self._at.append(now)
            self.total += weight[0]
            self.failed += weight[1]
            if now + self._max_age < self._expires_at:
                self._expires_at = now + self._max_age
        place += 1
        self._next = place if place < self.size else 0

    def add_all(self, weight: Weight, instants: Sequence[float]) -> None:
        """
        Add outcomes of the same *weight*, oldest first.
        """
        last = instants[-self.size :]
        if len(last) == self.size and weight[1] == self.failed == 0:
            # Nothing of what was there is left, and nothing of it was a failure.
            self._weights = [weight] * self.size
            self._at = array("d", last)
            self._next = 0
            self._expires_at = min(last) + self._max_age
            self.total = weight[0] * self.size
        else:
            for at in last:
                self.add(weight, at)

    def expire(self, now: float) -> None:
        """
        Drop what is older than the window's age.
        """
        if now <= self._expires_at:
            return
        oldest_kept = now
        for place, at in enumerate(self._at):
            if at + self._max_age >= now:
                oldest_kept = min(oldest_kept, at)
            elif self._weights[place] is not _NOTHING:
                weight, failed = self._weights[place]
                self._weights[place] = _NOTHING
                self.total -= weight
                self.failed -= failed
        self._expires_at = oldest_kept + self._max_age
