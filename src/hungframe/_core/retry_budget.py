"""
How many retries there may be, by how many calls there are.

When a provider fails altogether, three attempts a call are three times the
load on what is down already. A share of the calls bounds that, whatever
fails (Google, "Site Reliability Engineering", chapter 21).
"""

from __future__ import annotations

import math
from array import array

from hungframe._core import check

# Steps in which the window slides: with 60 s, one a second. Counts are kept
# at the beginning of each, and of the one that is under way.
_STEPS = 60
_MARKS = _STEPS + 1


class RetryBudget:
    """
    Allow retries up to a share of the calls of the last seconds, and a few in any case.

    The window slides in sixty steps: what is younger than *window* counts,
    what is older by a step more does not.

    Args:
        ratio: Retries a call, in (0, 1].

        floor: Retries that the window may always see, so that a quiet service may retry.

        window: Seconds, at least 1.

    Raises:
        TypeError: If an argument is no number, or *floor* no whole one.

        ValueError: If an argument is out of range.

    >>> budget = RetryBudget(ratio=0.1, floor=2)
    >>> for _ in range(30):
    ...     budget.called(now=0.0)
    >>> budget.left(now=0.0), budget.try_take(now=0.0), budget.left(now=0.0), budget.left(now=61.0)
    (3, True, 2, 2)
    """

    __slots__ = (
        "_calls",
        "_calls_at",
        "_floor",
        "_parts",
        "_ratio",
        "_step",
        "_step_ends",
        "_step_of",
        "_taken",
        "_taken_at",
        "_wholes",
        "_window",
    )

    def __init__(self, ratio: float = 0.1, floor: int = 10, window: float = 60.0) -> None:
        self._ratio = check.number("ratio", ratio, above=0, at_most=1)
        self._floor = check.whole("floor", floor, at_least=0)
        self._window = check.number("window", window, at_least=1)
        self._step = window / _STEPS
        # In whole numbers, so that 0.29 of 100 calls are 29.
        self._parts, self._wholes = check.as_written(ratio).as_integer_ratio()
        # Counted since ever, and what the counts were when each step began:
        # a call is one comparison and one addition. Between threads without a
        # lock an addition may be lost, which makes the budget smaller.
        self._calls = 0
        self._taken = 0
        self._calls_at = array("q", bytes(8 * _MARKS))
        self._taken_at = array("q", bytes(8 * _MARKS))
        self._step_of = 0
        self._step_ends = -math.inf

    def __repr__(self) -> str:
        return f"RetryBudget(ratio={self._ratio!r}, floor={self._floor!r}, window={self._window!r})"

    def called(self, now: float) -> None:
        """
        Learn of a call; its retries are none.
        """
        if now >= self._step_ends:
            self._turn(now)
        self._calls += 1

    def try_take(self, now: float) -> bool:
        """
        Take one retry, if there is one.
        """
        if self.left(now) <= 0:
            return False
        self._taken += 1
        return True

    def left(self, now: float) -> int:
        """
        Count the retries that could be taken.
        """
        if now >= self._step_ends:
            self._turn(now)
        oldest = (self._step_of + 1) % _MARKS
        calls = self._calls - self._calls_at[oldest]
        taken = self._taken - self._taken_at[oldest]
        return max(0, max(self._floor, calls * self._parts // self._wholes) - taken)

    def _turn(self, now: float) -> None:
        """
        Begin the step that *now* lies in; those without a call are passed over.
        """
        step_of = math.floor(now / self._step)
        # Before the first call there is no step to come from, and after a long silence all are alike.
        gone = min(step_of - self._step_of, _MARKS) if self._step_ends > -math.inf else _MARKS
        for step in range(step_of - gone + 1, step_of + 1):
            self._calls_at[step % _MARKS] = self._calls
            self._taken_at[step % _MARKS] = self._taken
        self._step_of = step_of
        self._step_ends = (step_of + 1) * self._step
