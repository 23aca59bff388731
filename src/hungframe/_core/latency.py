"""
How long the next call may take: the P95 of the last calls, and a margin.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from functools import lru_cache

from hungframe._core import check

# Shared by all that hold nothing; an empty array weighs 80 bytes.
_NONE = array("d")

# Seconds for which an answer must hold to be relied on for a while.
_SOON = 30.0


def percentile(latencies: list[float], q: float) -> float:
    """
    Find the latency that a share *q* of calls stayed within.

    Nearest rank (Hyndman & Fan 1996, definition 1; numpy's `inverted_cdf`), so
    the answer is always a latency that was really seen.

    Args:
        latencies: Seconds, at least one, in any order.

        q: Share of calls, in (0, 1]; 0.95 for the P95.

    Raises:
        ValueError: If *latencies* is empty or *q* is out of range.

    >>> percentile([3.0, 1.0, 2.0], 0.5)
    2.0
    """
    check.number("q", q, above=0, at_most=1)
    if not latencies:
        raise ValueError("latencies must hold at least one value, got []")
    return sorted(latencies)[math.ceil(check.as_written(q) * len(latencies)) - 1]


# Cached, so that the many that are made with the same settings share them.
@lru_cache(maxsize=64)
def _ratio(quantile: float) -> tuple[int, int]:
    exact = check.as_written(quantile)
    return exact.numerator, exact.denominator


@lru_cache(maxsize=64)
def _for_ever(seconds: float) -> tuple[float, float]:
    return math.inf, seconds


class AdaptiveTimeout:
    """
    Give a call as long as calls take, and a margin: clamp(P95 + margin, floor, ceiling).

    Args:
        quantile: Share of calls that should be able to finish, in (0, 1].

        margin: Seconds above the quantile, at least 0.

        floor: Least seconds, above 0.

        ceiling: Most seconds, at least *floor*.

        initial: Seconds until *min_samples* successes were observed, above 0.

        min_samples: Successes that must be held before the quantile counts.

        window: Successes held, at least *min_samples*.

        max_age: Seconds after which a success is forgotten.

    Raises:
        TypeError: If an argument is no number.

        ValueError: If an argument is out of range.

    >>> timeout = AdaptiveTimeout(min_samples=3)
    >>> timeout.current(now=0.0)
    60.0
    >>> for seconds in (40.0, 42.0, 41.0):
    ...     timeout.observe(seconds, now=0.0)
    >>> timeout.current(now=0.0)
    52.0
    """

    __slots__ = (
        "_answer",
        "_at",
        "_next",
        "_rank_of",
        "_seconds",
        "_short",
        "_short_held",
        "ceiling",
        "floor",
        "initial",
        "margin",
        "max_age",
        "min_samples",
        "quantile",
        "window",
    )

    def __init__(
        self,
        quantile: float = 0.95,
        margin: float = 10.0,
        floor: float = 45.0,
        ceiling: float = 90.0,
        initial: float = 60.0,
        min_samples: int = 20,
        window: int = 200,
        max_age: float = 3600.0,
    ) -> None:
        self.quantile = check.number("quantile", quantile, above=0, at_most=1)
        self.margin = check.number("margin", margin, at_least=0)
        self.floor = check.number("floor", floor, above=0)
        self.ceiling = check.number("ceiling", ceiling, above=0)
        if ceiling < floor:
            raise ValueError(f"ceiling must be at least floor ({floor!r}), got {ceiling!r}")
        self.initial = check.number("initial", initial, above=0)
        self.min_samples = check.whole("min_samples", min_samples, at_least=1)
        self.window = check.whole("window", window, at_least=1)
        if window < min_samples:
            raise ValueError(f"window must be at least min_samples ({min_samples!r}), got {window!r}")
        self.max_age = check.number("max_age", max_age, above=0, finite=False)
        # A latency up to here asks for no more than the floor. As long as
        # enough of them are, the answer is the floor and nothing needs sorting:
        # a provider fast enough for the sorting to matter pays nothing for it.
        self._short = self.floor - self.margin
        self._short_held = 0
        self._rank_of = _ratio(self.quantile)
        # Two rings that grow to their size first; in arrays, where a number
        # takes 8 bytes and not 32.
        self._seconds = self._at = _NONE
        self._next = 0
        # The timeout, and the instant until which it holds without a look at the ring.
        self._answer = _for_ever(self.initial)

    def __repr__(self) -> str:
        return f"AdaptiveTimeout(quantile={self.quantile!r}, floor={self.floor!r}, ceiling={self.ceiling!r})"

    def current(self, now: float) -> float:
        """
        Seconds for the next call.

        It only reads, so that it may be asked while another thread observes.
        """
        until, seconds = self._answer
        if now <= until:
            return seconds
        quantile = self.p95(now)
        if quantile is None:
            return self.initial
        return min(max(quantile + self.margin, self.floor), self.ceiling)

    def longest(self, now: float) -> float:
        """
        Seconds for a probe: with the most, a provider that has become slower can be learned again.
        """
        return self.ceiling

    def p95(self, now: float) -> float | None:
        """
        The quantile of the latencies held, in seconds; None until there are enough of them.
        """
        latencies = sorted(self._seconds)
        if self._at and min(self._at) + self.max_age < now:
            latencies = sorted(
                seconds for seconds, at in zip(self._seconds, self._at, strict=True) if at + self.max_age >= now
            )
        if len(latencies) < self.min_samples:
            return None
        return latencies[self._rank(len(latencies)) - 1]

    def observe(self, seconds: float, now: float, *, completed: bool = True) -> None:
        """
        Learn that a call took *seconds*, or, if not *completed*, that it was cut off then.
        """
        # A cut call says "longer than", which a quantile of finished calls
        # has no place for; the estimator that has one will take it here.
        if not completed:
            return
        place = self._next
        kept = self._seconds
        if place < len(kept):
            replaced = kept[place]
            kept[place] = seconds
            self._at[place] = now
            place += 1
            self._next = place if place < self.window else 0
            if seconds <= self._short and replaced <= self._short and now <= self._answer[0]:
                # One short latency for another: whatever the answer was, it stands.
                return
            self._short_held += (seconds <= self._short) - (replaced <= self._short)
        else:
            if not kept:
                kept = self._seconds = array("d")
                self._at = array("d")
            kept.append(seconds)
            self._at.append(now)
            self._next = place + 1 if place + 1 < self.window else 0
            self._short_held += seconds <= self._short
        self._answer = self._cheap_answer(now)

    def unmoved_up_to(self, now: float) -> float:
        """
        Successes of at most this many seconds will not change the answer, however many come; -inf for none.
        """
        # Another short latency takes a short one's place, or a long one's.
        until, seconds = self._answer
        soon = now + _SOON
        return self._short if seconds == self.floor and soon <= until < math.inf else -math.inf

    def observe_unmoved(self, seconds: Sequence[float], at: Sequence[float]) -> None:
        """
        Learn of successes, oldest first, none of which took longer than `unmoved_up_to` said.

        What `observe` does for each, at a tenth of the price.

        Args:
            seconds: What each took.

            at: When each ended.
        """
        seconds, at = seconds[-self.window :], at[-self.window :]
        if len(self._seconds) < self.window:
            for one_seconds, one_at in zip(seconds, at, strict=True):
                self.observe(one_seconds, one_at)
            return
        place = self._next
        to_the_end = min(len(seconds), self.window - place)
        self._replace(place, seconds[:to_the_end], at[:to_the_end])
        self._replace(0, seconds[to_the_end:], at[to_the_end:])
        self._next = (place + len(seconds)) % self.window
        self._answer = self._cheap_answer(at[-1])

    def _replace(self, place: int, seconds: Sequence[float], at: Sequence[float]) -> None:
        end = place + len(seconds)
        if self._short_held < self.window:
            self._short_held += sum(replaced > self._short for replaced in self._seconds[place:end])
        self._seconds[place:end] = array("d", seconds)
        self._at[place:end] = array("d", at)

    def _cheap_answer(self, now: float) -> tuple[float, float]:
        """
        The timeout and the instant until which it holds, where that takes no sorting.
        """
        held = len(self._seconds)
        if held < self.min_samples:
            return _for_ever(self.initial)
        # The oldest is next to be replaced.
        oldest_at = self._at[self._next if held == self.window else 0]
        if self._short_held >= self._rank(held) and oldest_at + self.max_age >= now:
            return oldest_at + self.max_age, self.floor
        return -math.inf, self.floor

    def _rank(self, held: int) -> int:
        # In whole numbers: 0.95 * 20 is 19, and in floats a little less or more.
        numerator, denominator = self._rank_of
        return max(1, -(-held * numerator // denominator))
