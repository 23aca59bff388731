"""
Tokens by arithmetic: nothing ticks, the fill follows from the time that passed.

One number says it all: the instant at which the bucket will be full (the
"theoretical arrival time" of the generic cell rate algorithm, ITU-T I.371).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hungframe._core import check
from hungframe._core.waiting import wait

# Two floats near a million seconds are 1e-10 apart; who waited exactly as long
# as `retry_after` said must not be turned away for that.
_SLACK = 1e-6


class TokenBucket:
    """
    Grant *capacity* tokens at once, and one more each *refill_every* seconds.

    It starts full, never holds more than *capacity*, and refills continuously:
    after half of `refill_every` there is half a token.

    Args:
        capacity: Tokens, above 0.

        refill_every: Seconds for one token to come back, above 0.

        cost: Tokens that one call of a guard takes from this bucket, above 0
            and at most the capacity, or a function of the call's arguments
            that tells them; None: the guard's `cost`, by default 1.

        used: A function of the call's result that tells the tokens it really
            used: the difference goes back, or is owed. Where it returns None
            the estimate stands.

    Raises:
        TypeError: If an argument is of the wrong kind.

        ValueError: If an argument is out of range.

    >>> bucket = TokenBucket(capacity=2, refill_every=60.0)
    >>> bucket.try_acquire(2, now=0.0), bucket.try_acquire(1, now=0.0)
    (True, False)
    >>> bucket.retry_after(1, now=15.0)
    45.0

    A bucket of 90,000 tokens a minute, for calls that tell what they ask for:

    >>> bucket = TokenBucket(90_000, 60 / 90_000, cost=lambda prompt: len(prompt) / 4 + 500)
    """

    __slots__ = (
        "_capacity",
        "_full_at",
        "_paused_until",
        "_refill_every",
        "_span",
        "_span_and_slack",
        "cost",
        "shared_under",
        "used",
    )

    def __init__(
        self,
        capacity: float = 5,
        refill_every: float = 60.0,
        *,
        cost: float | Callable[..., float] | None = None,
        used: Callable[[Any], float | None] | None = None,
    ) -> None:
        self._capacity = check.number("capacity", capacity, above=0)
        self._refill_every = check.number("refill_every", refill_every, above=0)
        # Seconds from empty to full.
        self._span = capacity * refill_every
        if not 0 < self._span < math.inf:
            raise ValueError(f"capacity * refill_every must be above 0 and finite, got {capacity!r} * {refill_every!r}")
        self._span_and_slack = self._span + _SLACK
        if cost is not None and not callable(cost):
            check.number("cost", cost, above=0, at_most=capacity)
        if used is not None and not callable(used):
            raise TypeError(f"used must be a function of the call's result, or None, got {used!r}")
        # Read by the guard; whoever asks by hand names the tokens.
        self.cost = cost
        self.used = used
        self._full_at = -math.inf
        # Taken by nobody here: whoever composes it with others between threads
        # leaves here the lock that it does so under, for the next to use.
        self.shared_under: Any = None
        self._paused_until = -math.inf

    def __repr__(self) -> str:
        cost = "" if self.cost is None else f", cost={self.cost!r}"
        used = "" if self.used is None else f", used={self.used!r}"
        return f"TokenBucket(capacity={self._capacity!r}, refill_every={self._refill_every!r}{cost}{used})"

    @property
    def capacity(self) -> float:
        """
        The most tokens that it holds.
        """
        return self._capacity

    def try_acquire(self, tokens: float, now: float) -> bool:
        """
        Take all *tokens* or none; 0 of them are there also while tokens are owed.

        Raises:
            ValueError: If *tokens* is negative or NaN.
        """
        if not tokens >= 0:
            raise ValueError(f"tokens must be at least 0, got {tokens!r}")
        full_at = self._full_at
        full_at = (now if full_at < now else full_at) + tokens * self._refill_every
        if full_at - now > self._span_and_slack or now < self._paused_until:
            return not tokens and now >= self._paused_until
        self._full_at = full_at
        return True

    def charge(self, tokens: float, now: float) -> None:
        """
        Take *tokens* whether they are there or not; what is missing is owed, and refilled before anything is granted.

        >>> bucket = TokenBucket(capacity=2, refill_every=60.0)
        >>> bucket.charge(3, now=0.0)
        >>> bucket.available(now=0.0), bucket.retry_after(1, now=0.0)
        (0, 120.0)

        Raises:
            ValueError: If *tokens* is negative, NaN, or more than could ever be refilled.
        """
        full_at = max(self._full_at, now) + tokens * self._refill_every
        if not (tokens >= 0 and full_at < math.inf):
            raise ValueError(f"tokens must be at least 0 and finite, got {tokens!r}")
        self._full_at = full_at

    def give_back(self, tokens: float, now: float) -> None:
        """
        Put back *tokens* that were taken and not used.
        """
        self._full_at -= tokens * self._refill_every

    def available(self, now: float) -> int:
        """
        Count the whole tokens that could be taken.
        """
        if now < self._paused_until:
            return 0
        missing = max(0.0, self._full_at - now - _SLACK)
        return max(0, math.floor(self._capacity - missing / self._refill_every))

    def is_full(self, now: float) -> bool:
        """
        Tell whether it is as a new one would be: full, and not paused.
        """
        return self._full_at <= now and now >= self._paused_until

    def retry_after(self, tokens: float, now: float) -> float:
        """
        Tell in how many seconds *tokens* can be taken; infinity for more than the capacity.
        """
        if tokens > self._capacity:
            return math.inf
        if not tokens:
            return wait(self._paused_until, now)
        needed = max(self._full_at, now) + tokens * self._refill_every - now - self._span
        return max(needed if needed > _SLACK else 0.0, wait(self._paused_until, now))

    def pause(self, until: float) -> None:
        """
        Grant nothing until the instant *until*; refilling goes on. A shorter pause leaves a longer one alone.
        """
        self._paused_until = max(self._paused_until, until)
