"""
For how long a breaker was open today.
"""

from __future__ import annotations

import math

_DAY = 86_400.0


class OpenTime:
    """
    Add up the seconds that a breaker was open since midnight, UTC.

    Durations are measured on the monotonic clock; Unix time only says which day it is.
    """

    __slots__ = ("_day", "_opened_at", "_seconds", "_until")

    def __init__(self) -> None:
        self._day = -1
        self._seconds = 0.0
        self._opened_at: float | None = None
        self._until = math.inf

    def turn(self, is_open: bool, now: float, wall: float, open_for: float | None) -> None:
        """
        Learn that the breaker is open, or is not, from *now* on.

        Args:
            is_open: Whether it is.

            now: Seconds on the monotonic clock.

            wall: Unix seconds.

            open_for: Seconds after which it is half-open, asked or not; None: until told otherwise.
        """
        self._seconds = self.today(now, wall)
        self._day = int(wall // _DAY)
        self._opened_at = now if is_open else None
        self._until = math.inf if open_for is None else now + open_for

    def today(self, now: float, wall: float) -> float:
        """
        Seconds open since midnight, those of an opening that goes on included.
        """
        seconds = self._seconds if int(wall // _DAY) == self._day else 0.0
        if self._opened_at is not None:
            since_midnight = now - wall % _DAY
            seconds += max(0.0, min(now, self._until) - max(self._opened_at, since_midnight))
        return seconds
