"""
How long to wait before asking again, where the provider has not said when.

Full jitter: anywhere between nothing and twice as much each time, so that who
failed together does not come back together (AWS Architecture Blog,
"Exponential Backoff And Jitter", 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable

# Seconds: the bounds of a pause after a 429 that does not say when.
SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 60.0

# 2**6 s is above the longest pause: counting further changes nothing.
_MOST_IN_A_ROW = 6


def full_jitter(attempt: int, base: float, cap: float, random: Callable[[], float]) -> float:
    """
    Draw the seconds to wait: uniform from 0 to min(cap, base * 2**attempt).

    Args:
        attempt: 0 for the first wait.

        base: Seconds, at least 0.

        cap: Seconds that no wait exceeds, finite.

        random: Gives a number in [0, 1).

    >>> full_jitter(3, 0.5, 30.0, lambda: 0.5), full_jitter(10_000, 0.5, 30.0, lambda: 0.5)
    (2.0, 15.0)
    """
    try:
        most = min(cap, math.ldexp(base, attempt))
    except OverflowError:
        most = cap
    return random() * most


class PauseBackoff:
    """
    Tell how long a provider is left alone that answers 429 without saying when.

    Uniform from 1 s to 2 s, then to 4 s, and so on up to 60 s, until a call succeeds.

    >>> pauses = PauseBackoff()
    >>> pauses.pause(0.0, 10.0, lambda: 0.5), pauses.pause(0.0, 10.1, lambda: 0.5)
    (1.5, None)
    >>> pauses.pause(12.0, 13.0, lambda: 0.5)
    2.5
    """

    __slots__ = ("_began_at", "_in_a_row", "_until")

    def __init__(self) -> None:
        self._in_a_row = 0
        self._began_at = -math.inf
        self._until = -math.inf

    def pause(self, started_at: float, now: float, random: Callable[[], float]) -> float | None:
        """
        Learn of a 429, and tell the seconds to pause from now on.

        A hundred calls in flight that all get one are one event: a call that
        was started before the last pause began knew nothing of it.

        Args:
            started_at: When the call was started.

            now: When its 429 came.

            random: Gives a number in [0, 1).

        Returns:
            Seconds in 1..60; None where the pause in force covers it.
        """
        # Nobody starts within a pause, so who started at the very instant of its beginning did so before.
        if started_at > self._began_at:
            self._in_a_row = min(self._in_a_row + 1, _MOST_IN_A_ROW)
        elif now < self._until:
            return None
        # A success may have come since: then a latecomer's 429 is the first again.
        most = min(LONGEST_PAUSE, math.ldexp(SHORTEST_PAUSE, max(1, self._in_a_row)))
        seconds = SHORTEST_PAUSE + random() * (most - SHORTEST_PAUSE)
        self._began_at = now
        self._until = now + seconds
        return seconds

    def succeeded(self) -> None:
        """
        Learn that a call succeeded: the next pause is a first one again.
        """
        self._in_a_row = 0
