"""
For how long a breaker has been open, heard from its events alone.

Nothing here reads a clock.
"""

from __future__ import annotations

import math
from collections.abc import Collection

OPEN = ("open", "forced_open")


class Openness:
    """
    Add up the seconds that a breaker is open, those of an opening that goes on included.

    >>> openness = Openness()
    >>> openness.turn("open", now=10.0)
    0.0
    >>> openness.half_open_in(60.0, now=10.0)
    >>> openness.take(now=30.0), openness.take(now=100.0), openness.state(now=100.0)
    (20.0, 40.0, 'half_open')
    """

    __slots__ = ("_state", "_taken_at", "_until")

    def __init__(self) -> None:
        self._state = "closed"
        self._taken_at = 0.0
        self._until = math.inf

    def turn(self, state: str, now: float) -> float:
        """
        Learn that the breaker is in *state* from now on; return the seconds open that nobody has taken so far.
        """
        seconds = self.take(now)
        self._state = state
        self._taken_at = now
        self._until = math.inf
        return seconds

    def half_open_in(self, seconds: float, now: float) -> None:
        """
        Learn when it is half-open by itself: that is told when somebody asks, which on a quiet day may be late.
        """
        if self._state == "open":
            self._until = now + seconds

    def state(self, now: float) -> str:
        """
        The state that it is in.
        """
        return "half_open" if self._state == "open" and now >= self._until else self._state

    def correct(self, states: Collection[str], now: float) -> float:
        """
        Believe what guards of this name say themselves: events of two threads may be told in the wrong order, and a
        guard may be watched that tells no events. Return the seconds open that nobody has taken so far.
        """
        is_open = any(state in OPEN for state in states)
        if is_open == (self.state(now) in OPEN):
            return self.take(now)
        return self.turn("open" if is_open else "closed", now)

    def take(self, now: float) -> float:
        """
        Seconds open since this was last asked.
        """
        if self._state not in OPEN:
            return 0.0
        end = min(now, self._until)
        seconds = max(0.0, end - self._taken_at)
        self._taken_at = max(end, self._taken_at)
        return seconds

    def forget(self, now: float) -> None:
        """
        Take what was there until now, for nobody.
        """
        self.take(now)
