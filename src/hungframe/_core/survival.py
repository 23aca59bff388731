"""
The quantile of durations of which some were cut off before their end.

Nothing here reads a clock or keeps anything; all is worked out in whole
numbers, so that a share of exactly 5 % is 5 %.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence


def quantile(ended: Sequence[float], cut: Sequence[float], share: tuple[int, int]) -> float | None:
    """
    Find the duration that a *share* of all stays within, or None where that lies beyond what was seen to end.

    The product-limit estimator (Kaplan & Meier 1958). Each duration begins
    with the same weight; one that was cut off after t will end later, nobody
    knows when, and hands its weight on to those that lasted longer than t, in
    equal parts. With nothing cut that is the nearest rank.

    Args:
        ended: Seconds, in order.

        cut: Seconds after which others were cut off, in order. One that was
            cut when another ended has lasted longer than that.

        share: Numerator and denominator, in (0, 1].

    >>> quantile([1.0, 2.0, 3.0, 4.0], [], (1, 2))
    2.0
    >>> quantile([1.0, 2.0, 3.0, 4.0], [1.0, 1.0], (1, 2))
    3.0
    >>> quantile([1.0], [5.0, 5.0], (1, 2)) is None
    True
    """
    within, whole = share
    beyond = whole - within
    # The share that lasts longer than what was passed so far, as a fraction.
    longer, of = 1, 1
    passed = 0
    at_risk = len(ended) + len(cut)
    for seconds in cut:
        until = bisect_right(ended, seconds, passed)
        if until > passed:
            may_stay = of * at_risk * beyond // (longer * whole)
            if at_risk - may_stay <= until - passed:
                return ended[passed + at_risk - may_stay - 1]
            longer *= at_risk - (until - passed)
            of *= at_risk
            at_risk -= until - passed
            passed = until
        at_risk -= 1
    if passed == len(ended):
        return None
    may_stay = of * at_risk * beyond // (longer * whole)
    return ended[passed + at_risk - may_stay - 1]


def of_those_that_end(ended: Sequence[float], cut: Sequence[float], share: tuple[int, int]) -> tuple[int, int]:
    """
    Find which share of all a *share* of those is that do not outlast the longest one.
    """
    longer, of = 1, 1
    passed = 0
    at_risk = len(ended) + len(cut)
    for seconds in [*cut, math.inf]:
        until = bisect_right(ended, seconds, passed)
        if until > passed:
            longer *= at_risk - (until - passed)
            of *= at_risk
            at_risk -= until - passed
            passed = until
        at_risk -= 1
    within, whole = share
    return within * (of - longer), whole * of
