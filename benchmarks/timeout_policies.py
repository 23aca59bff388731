"""
What people do instead of learning from aborted calls, as timeout policies.
"""

from __future__ import annotations

from hungframe import AdaptiveTimeout


class DropsTimeouts(AdaptiveTimeout):
    """
    Learn from the calls that completed, and from no other.
    """

    def observe(self, seconds: float, now: float, *, completed: bool = True) -> None:
        if completed:
            super().observe(seconds, now)

    def remember(self, seconds: float, now: float, *, completed: bool = True) -> None:
        self.observe(seconds, now, completed=completed)


class CountsTimeouts(AdaptiveTimeout):
    """
    Take the instant at which a call was aborted for its latency.
    """

    def observe(self, seconds: float, now: float, *, completed: bool = True) -> None:
        super().observe(seconds, now)

    def remember(self, seconds: float, now: float, *, completed: bool = True) -> None:
        self.observe(seconds, now)


class GrowsUngated(AdaptiveTimeout):
    """
    Grow whenever the quantile cannot be told, whether or not the provider answers anybody.
    """

    def _may_grow(self, cut_after: float, now: float) -> bool:
        return cut_after >= self._answer[1] * 0.9 and now - self._moved_at >= self._answer[1]


class Rto:
    """
    The retransmission timeout of TCP (RFC 6298): smoothed latency and four deviations, doubled by each timeout.

    Args:
        floor: Least seconds.

        ceiling: Most seconds.

        initial: Seconds until the first answer.
    """

    def __init__(self, floor: float, ceiling: float, initial: float) -> None:
        self.floor = floor
        self.ceiling = ceiling
        self.seconds = initial
        self.smoothed: float | None = None
        self.deviation = 0.0

    def current(self, now: float) -> float:
        """
        Seconds for the next call.
        """
        return min(max(self.seconds, self.floor), self.ceiling)

    def observe(self, seconds: float, now: float, *, completed: bool) -> None:
        """
        Learn from an answer, or back off.
        """
        if not completed:
            self.seconds = min(2 * self.seconds, self.ceiling)
            return
        if self.smoothed is None:
            self.smoothed, self.deviation = seconds, seconds / 2
        else:
            self.deviation += (abs(self.smoothed - seconds) - self.deviation) / 4
            self.smoothed += (seconds - self.smoothed) / 8
        self.seconds = self.smoothed + 4 * self.deviation
