"""
For how long a breaker was open today.
"""

from __future__ import annotations

_DAY = 86_400.0


class OpenTime:
    """
    Add up the seconds that a breaker was open since midnight, UTC.

    Durations are measured on the monotonic clock; Unix time only says which day it is.
    """

    __slots__ = ("_day", "_opened_at", "_seconds")

    def __init__(self) -> None:
        self._day = -1
        self._seconds = 0.0
        self._opened_at: float | None = None

    def turn(self, is_open: bool, now: float, wall: float) -> None:
        """
        Learn that the breaker is open, or is not, from *now* on.
        """
        if is_open == (self._opened_at is not None):
            return
        if is_open:
            self._opened_at = now
        else:
            self._seconds = self.today(now, wall)
            self._day = int(wall // _DAY)
            self._opened_at = None

    def today(self, now: float, wall: float) -> float:
        """
        Seconds open since midnight, those of an opening that goes on included.
        """
        seconds = self._seconds if int(wall // _DAY) == self._day else 0.0
        if self._opened_at is not None:
            seconds += min(max(0.0, now - self._opened_at), wall % _DAY)
        return seconds
