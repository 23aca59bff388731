"""
How long the next call may take: the P95 of the last calls, and a margin.

A call that was cut off counts as one that takes longer than that. The timeout
moves in steps, up only on signs of life, and is worked out when something was
observed, never when it is asked for.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, partial
from typing import Any

from hungframe._core import check, survival
from hungframe._core.per_key import TimeoutPerKey

# Shared by all that hold nothing; an empty array weighs 80 bytes.
_NONE = array("d")

# Seconds for which an answer must hold to be relied on for a while.
_SOON = 30.0

# The answer moves by no more than this at once.
_LEAST_STEP = 0.8
_MOST_STEP = 1.5

# One of so many last calls must have completed for the timeout to grow on cut calls alone.
_SIGN_OF_LIFE = 10

# A call was cut off by today's timeout, and not by a shorter one, from this share of it on.
_ABOUT = 0.9


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

    A call that was cut off is known to take longer than that, and the P95 is
    that of Kaplan and Meier. Where more than a twentieth was cut off it cannot
    be told: then the timeout grows by half as long as some calls complete, and
    else stands still. It never moves to less than 0.8 or more than 1.5 times what it was.

    Args:
        quantile: Share of calls that should be able to finish, in (0, 1].

        margin: Seconds above the quantile, at least 0.

        floor: Least seconds, above 0.

        ceiling: Most seconds, at least *floor*.

        initial: Seconds until *min_samples* successes were observed, above 0.

        min_samples: Successes that must be held before the quantile counts.

        window: Calls held, completed and cut off, at least *min_samples*.

        max_age: Seconds after which a call is forgotten.

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
    >>> timeout.observe(52.0, now=100.0, completed=False)
    >>> timeout.current(now=100.0)
    78.0
    """

    __slots__ = (
        "_answer",
        "_at",
        "_cuts",
        "_is_learned",
        "_moved_at",
        "_next",
        "_pivot",
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
        # takes 8 bytes and not 32. A call that was cut off is a negative
        # number, so that who has none pays nothing for them.
        self._seconds = self._at = _NONE
        self._next = 0
        self._cuts = 0
        # The timeout, and the instant until which it holds without a look at the ring.
        self._answer = _for_ever(self.initial)
        self._is_learned = False
        self._moved_at = -math.inf
        # While nothing crosses it and nothing grows too old, the answer stands; NaN where anything may move it.
        self._pivot = math.nan

    @classmethod
    def per(cls, key: Callable[..., Hashable], *, most: int = 1000, window: int = 50, **settings: Any) -> TimeoutPerKey:
        """
        Give each kind of call a timeout of its own, for a `Guard`.

        Args:
            key: A function of the call's arguments, `self` included; what it returns tells the kinds apart.

            most: Kinds held; the one that was not used for the longest time goes first.

            window: Calls held of each kind. Fifty take 1.3 kB, 200 take 3.9.

            settings: Those of each, as for `AdaptiveTimeout`.

        Raises:
            TypeError: If *key* cannot be called, or there is no such setting.

            ValueError: If a setting is out of range.

        >>> AdaptiveTimeout.per(lambda prompt, model="small": model, ceiling=300.0).of("large").ceiling
        300.0
        """
        return TimeoutPerKey(key, most, partial(cls, window=window, **settings))

    def __repr__(self) -> str:
        return f"AdaptiveTimeout(quantile={self.quantile!r}, floor={self.floor!r}, ceiling={self.ceiling!r})"

    def current(self, now: float) -> float:
        """
        Seconds for the next call.

        It only reads, so that it may be asked while another thread observes.
        """
        until, seconds = self._answer
        return seconds if now <= until or self._is_known(now) else self.initial

    def longest(self, now: float) -> float:
        """
        Seconds for a probe: with the most, a provider that has become slower can be learned again.
        """
        return self.ceiling

    def p95(self, now: float) -> float | None:
        """
        The quantile of how long calls take, in seconds; None until enough of them completed.

        Where too many were cut off for it to be told, that of the completed
        ones alone: the true one is longer.
        """
        completed, cut = self._held(now)
        if len(completed) < self.min_samples:
            return None
        quantile = self._quantile(completed, cut)
        return completed[self._rank(len(completed)) - 1] if quantile is None else quantile

    # -- learning -------------------------------------------------------------

    def observe(self, seconds: float, now: float, *, completed: bool = True) -> None:
        """
        Learn that a call took *seconds*, or, if not *completed*, that it was cut off then.
        """
        if completed:
            # A negative number is a cut call here.
            if seconds < 0.0:
                seconds = 0.0
            if self._hold(seconds, now) or self._at[self._next] + self.max_age < now:
                self._step(now, 0.0)
        elif seconds > 0:
            # Longer than no time at all is what every call takes.
            self._hold(-seconds, now)
            self._step(now, seconds)

    def remember(self, seconds: float, now: float, *, completed: bool = True) -> None:
        """
        Learn the same, and let the timeout stand still: for a call that ends while the breaker is open.
        """
        if completed or seconds > 0:
            self._hold(max(seconds, 0.0) if completed else -seconds, now)
            self._pivot = math.nan

    def _hold(self, seconds: float, now: float) -> bool:
        """
        Put a call into the ring, a cut one as a negative number; tell whether that may move the answer.
        """
        place = self._next
        kept = self._seconds
        short = self._short
        if place == len(kept):
            if not kept:
                kept = self._seconds = array("d")
                self._at = array("d")
                self._moved_at = now
            kept.append(seconds)
            self._at.append(now)
            self._next = place + 1
            if place + 1 == self.window:
                self._next = 0
                # It grows no more: let go of what it has ahead.
                self._seconds, self._at = self._seconds[:], self._at[:]
            self._short_held += 0.0 <= seconds <= short
            self._cuts += seconds < 0.0
            return True
        replaced = kept[place]
        kept[place] = seconds
        self._at[place] = now
        place += 1
        self._next = place if place < self.window else 0
        pivot = self._pivot
        if 0.0 <= replaced <= short and 0.0 <= seconds <= short:
            if pivot == short:
                return False
        else:
            self._short_held += (0.0 <= seconds <= short) - (0.0 <= replaced <= short)
            self._cuts += (seconds < 0.0) - (replaced < 0.0)
        # One for another on the same side of it moves no rank.
        return not ((0.0 <= replaced < pivot and 0.0 <= seconds <= pivot) or (pivot < replaced and pivot <= seconds))

    def _step(self, now: float, cut_after: float) -> None:
        """
        Work the answer out anew; *cut_after* so many seconds was the call that was observed, 0 if it completed.
        """
        self._pivot = math.nan
        if not self._is_known(now):
            self._is_learned = False
            self._answer = _for_ever(self.initial)
            return
        if self._is_short(now):
            self._move(self._towards(self.floor), now)
            if self._answer[1] == self.floor:
                self._pivot = self._short
            return
        completed, cut = self._held(now)
        quantile = self._quantile(completed, cut)
        if quantile is None:
            if self._may_grow(cut_after, now):
                self._move(self._clamped(self._answer[1] * _MOST_STEP), now)
        elif len(completed) >= self.min_samples:
            target = self._clamped(quantile + self.margin)
            self._move(self._towards(target), now)
            if len(completed) == len(self._seconds) and self._answer[1] == target:
                self._pivot = quantile

    def _is_known(self, now: float) -> bool:
        """
        Tell whether enough calls are held that are not too old.
        """
        return len(self._at) >= self.min_samples and self._at[self._next - self.min_samples] + self.max_age >= now

    def _is_short(self, now: float) -> bool:
        """
        Tell whether so many calls are short that the answer is the floor, whatever the others are.
        """
        held = len(self._seconds)
        return (
            self._short_held >= self._rank(held)
            and held - self._cuts >= self.min_samples
            and self._oldest_at() + self.max_age >= now
        )

    def _oldest_at(self) -> float:
        # The oldest is next to be replaced.
        return self._at[self._next if len(self._at) == self.window else 0]

    def _quantile(self, completed: list[float], cut: list[float]) -> float | None:
        share = self._rank_of
        if cut and cut[-1] >= self.ceiling * _ABOUT:
            # A call was given the most that there is, and outlasted it. Such
            # calls are served by no timeout: the quantile is that of the others.
            share = survival.of_those_that_end(completed, cut, share)
        return survival.quantile(completed, cut, share)

    def _clamped(self, seconds: float) -> float:
        return min(max(seconds, self.floor), self.ceiling)

    def _towards(self, target: float) -> float:
        """
        The timeout *target*, or as far on the way to it as one step goes.
        """
        if not self._is_learned:
            # The initial timeout is a guess to start from, and no step.
            return target
        last = self._answer[1]
        return min(max(target, last * _LEAST_STEP), last * _MOST_STEP)

    def _move(self, seconds: float, now: float) -> None:
        if seconds != self._answer[1]:
            self._moved_at = now
        self._is_learned = True
        self._answer = (self._at[self._next - self.min_samples] + self.max_age, seconds)

    def _may_grow(self, cut_after: float, now: float) -> bool:
        """
        Tell whether calls are cut off because the timeout is too short for them, and not because they hang.
        """
        last = self._answer[1]
        return (
            # By today's timeout, and not by that of before the last step.
            cut_after >= last * _ABOUT
            and now - self._moved_at >= last
            # The provider answers some.
            and any(
                self._seconds[self._next - nth] >= 0.0 for nth in range(1, 1 + min(_SIGN_OF_LIFE, len(self._seconds)))
            )
        )

    def unmoved_up_to(self, now: float) -> float:
        """
        Successes of at most this many seconds will not change the answer, however many come; -inf for none.
        """
        # Another short latency takes a short one's place, or a longer one's.
        if self._pivot != self._short or self._oldest_at() + self.max_age < now + _SOON:
            return -math.inf
        return self._short

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
        self._step(at[-1], 0.0)

    def _replace(self, place: int, seconds: Sequence[float], at: Sequence[float]) -> None:
        end = place + len(seconds)
        if self._short_held < self.window:
            replaced = self._seconds[place:end]
            self._short_held += sum(not 0.0 <= each <= self._short for each in replaced)
            self._cuts -= sum(each < 0.0 for each in replaced)
        self._seconds[place:end] = array("d", seconds)
        self._at[place:end] = array("d", at)

    def _held(self, now: float) -> tuple[list[float], list[float]]:
        """
        The seconds of calls that completed and of those that were cut off, each in order.
        """
        seconds: Sequence[float] = self._seconds
        if self._at and min(self._at) + self.max_age < now:
            # Not strict: another thread may be about to put one in.
            seconds = [each for each, at in zip(seconds, self._at, strict=False) if at + self.max_age >= now]
        ordered = sorted(seconds)
        if not self._cuts:
            return ordered, []
        cuts = bisect_left(ordered, 0.0)
        return ordered[cuts:], [-each for each in reversed(ordered[:cuts])]

    def _rank(self, held: int) -> int:
        # In whole numbers: 0.95 * 20 is 19, and in floats a little less or more.
        numerator, denominator = self._rank_of
        return max(1, -(-held * numerator // denominator))
