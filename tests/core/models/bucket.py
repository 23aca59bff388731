"""The token bucket in fractions."""

import math
from fractions import Fraction

from .times import decimal

MICROSECOND = Fraction(1, 10**6)


def slack(now: Fraction) -> Fraction:
    """
    Work out the seconds from a boundary within which either answer is right.

    A microsecond, and what an instant loses by being a float.
    """
    return MICROSECOND + 2 * Fraction(math.ulp(float(now)))


class BucketModel:
    """
    Keep the exact number of tokens.
    """

    def __init__(self, capacity: float, refill_every: float) -> None:
        self.capacity = decimal(capacity)
        self.refill_every = decimal(refill_every)
        self.tokens = self.capacity
        self.latest: Fraction | None = None
        """The instant for which *tokens* holds."""

        self.paused_until: Fraction | None = None

    def look(self, now: Fraction) -> None:
        """
        Move to *now* and pour in what came since.
        """
        if self.latest is not None:
            self.tokens = self._after(now - self.latest)
        self.latest = now

    def _after(self, seconds: Fraction) -> Fraction:
        return min(self.capacity, self.tokens + seconds / self.refill_every)

    def paused(self, now: Fraction) -> bool:
        """
        Tell whether a pause still lasts.
        """
        return self.paused_until is not None and now < self.paused_until

    def may_acquire(self, tokens: float, now: Fraction) -> set[bool]:
        """
        Find the right answers: one, or both within `SLACK` of the boundary.
        """
        self.look(now)
        if self.paused(now):
            return {False}
        wanted = decimal(tokens)
        if not wanted:
            return {True}
        return {self._after(late) >= wanted for late in (-slack(now), slack(now))}

    def take(self, tokens: float) -> None:
        """
        Take *tokens*, by a few millionths too many within the slack.
        """
        self.tokens -= decimal(tokens)

    def charge(self, tokens: float, now: Fraction) -> None:
        """
        Take *tokens* whether they are there or not.
        """
        self.look(now)
        self.tokens -= decimal(tokens)

    def give_back(self, tokens: float, now: Fraction) -> None:
        """
        Put *tokens* back, what does not fit is spilt.
        """
        self.look(now)
        self.tokens = min(self.capacity, self.tokens + decimal(tokens))

    def pause(self, until: Fraction) -> None:
        """
        Give nothing before *until*; a shorter pause does not end a longer one.
        """
        if self.paused_until is None or until > self.paused_until:
            self.paused_until = until

    def available(self, now: Fraction) -> set[int]:
        """
        Find the right whole numbers of tokens.
        """
        self.look(now)
        if self.paused(now):
            return {0}
        least, most = (math.floor(self._after(d)) for d in (-slack(now), slack(now)))
        return set(range(max(0, least), max(0, most) + 1))

    def retry_after(self, tokens: float, now: Fraction) -> Fraction | None:
        """
        Work out the seconds until *tokens* are there; None means never.
        """
        self.look(now)
        wanted = decimal(tokens)
        if wanted > self.capacity:
            return None
        pause = self.paused_until - now if self.paused_until is not None else Fraction(0)
        refill = (wanted - self.tokens) * self.refill_every if wanted else Fraction(0)
        return max(Fraction(0), pause, refill)

    def edges(self) -> list[Fraction]:
        """
        List the instants at which a whole token arrives or a pause ends.
        """
        found = [] if self.paused_until is None else [self.paused_until]
        if self.latest is not None:
            missing = math.floor(self.tokens) + 1 - self.tokens
            found.append(self.latest + missing * self.refill_every)
            found.append(self.latest + (self.capacity - self.tokens) * self.refill_every)
        return found
