"""
How many calls at once a provider can take, learned from how long they take.

Up to its capacity a provider takes as long for a call however many there are;
beyond it, calls wait for each other, and twice as many take twice as long
(Little's law: in flight = throughput x latency). So calls that take longer than
usual, while the limit is in use, say that it is above the capacity, and by what
factor. TCP Vegas (Brakmo & Peterson 1995), Netflix's concurrency-limits
("gradient") and Envoy's adaptive concurrency rest on the same.

They were made for thousands of calls of milliseconds. Here a call may take a
minute, there are few of them, and one takes five times as long as the other. So
the limit is judged once a round: as many ends as the limit, about one round
trip. Latencies are compared as the means of their logarithms, so that one long
call says little, and only what is beyond the noise of such a mean counts.
"""

from __future__ import annotations

import math

from hungframe._core import check
from hungframe._core.outcome import Outcome

_START = 10

# Calls a round, whatever the limit: fewer say too little, more say it too late.
_FEWEST, _MOST = 6, 40

# How far a round's latency may be above the usual: a factor, and what chance
# does, in standard errors of the mean. A cut leaves one of them out.
_TOLERANCE = math.log(1.15)
_STANDARD_ERRORS = 1.75

# What is usual follows quicker calls soon and slower ones late: it is to be the
# latency of a provider with capacity to spare, and a limit that grows goes
# beyond that now and then.
_QUICKER, _SLOWER = 0.2, 0.03
# After so many cuts in a row, calls that take as long as before: that was not
# the crowd, calls have become slower, and what they take now is usual. (One cut
# is not enough: a provider that loses capacity is still becoming slower.)
_IN_VAIN = 2

# A cut goes a little below what the latency asks for, so that what was queued
# drains, and calls are seen as quick as they can be.
_DRAIN = 0.95
_DEEPEST_CUT = 0.5
_QUOTA_CUT = 0.7

# Lone calls that hang are no sign of a crowd: one in ten may.
_LOST = 0.1

# What is added in a round in which all slots were in use: some calls and a
# share; and below a limit that is known to do, a larger share.
_STEP, _SHARE, _QUICK_SHARE = 1.0, 0.05, 0.5


class AdaptiveLimit:
    """
    Learn a limit between *least* and *most*.

    - Each success in use adds a little: about one call and a twentieth in the
      time of a round trip, and a half at first and on the way back up.
    - A round whose calls took longer than usual cuts the limit by that factor.
    - A round in which more than a tenth timed out cuts it by that share
      (the idea is DCTCP's, RFC 8257), a half at most; a 429 at once by
      three tenths.
    - After a cut only calls that began later count: so it comes at most once a
      round trip.
    - While less than half of the limit is in use latency and timeouts cut
      nothing, and while less than three quarters are, nothing is added.

    A call costs the same however many there were, and nothing grows.

    Raises:
        TypeError: If an argument is no whole number.

        ValueError: If *least* is below 1, or *most* below *least*.

    >>> limit = AdaptiveLimit(1, 100)
    >>> limit.limit
    10
    >>> limit.record(Outcome.QUOTA, 0.1, now=1.0, in_flight=10), limit.limit
    (True, 7)
    """

    __slots__ = (
        "_before",
        "_busy",
        "_cut_at",
        "_cuts",
        "_ended",
        "_exact",
        "_lost",
        "_peak",
        "_quick_below",
        "_squares",
        "_sum",
        "_took_before",
        "_usual",
        "_variance",
        "least",
        "limit",
        "most",
    )

    def __init__(self, least: int, most: int) -> None:
        self.least = check.whole("min", least, at_least=1)
        self.most = check.whole("max", most, at_least=1)
        if most < least:
            raise ValueError(f"max must be at least min, got min={least!r} and max={most!r}")
        self.limit = max(least, min(most, _START))
        self._exact = float(self.limit)
        # Below this limit it grows quickly.
        self._quick_below = math.inf
        # Logarithms of seconds: the mean of a provider with capacity to spare,
        # and the variance from call to call. NaN before the first round.
        self._usual = math.nan
        self._variance = 0.0
        # Calls count that began since then.
        self._cut_at = -math.inf
        # Cuts for latency in a row, the limit before the first of them, and the
        # most that a round took which asked for one.
        self._cuts = 0
        self._before = self._exact
        self._took_before = 0.0
        # Of this round: calls that ended, those that timed out, those that ended
        # while half of the limit was in use, the most in flight, and the sums
        # of the logarithms and of their squares.
        self._ended = self._lost = self._busy = self._peak = 0
        self._sum = self._squares = 0.0

    def record(self, outcome: Outcome, seconds: float, now: float, in_flight: int) -> bool:
        """
        Learn from a call that has ended, and tell whether the limit has changed.

        Args:
            seconds: How long it ran; one that is negative, NaN or infinite is left out.

            in_flight: How many were when it ended, itself included.
        """
        # A clock that has gone back must not keep calls out until it is there again.
        if now < self._cut_at:
            self._cut_at = now
        # A call that began at the instant of the cut may seem to have begun before, by the rounding of floats.
        if not 0.0 <= seconds < math.inf or now - seconds < self._cut_at - 1e-6:
            return False
        if outcome is not Outcome.SUCCESS and outcome is not Outcome.TIMEOUT:
            if outcome is not Outcome.QUOTA:
                # An error that comes at once says nothing of a crowd.
                return False
            self._peak = max(self._peak, in_flight)
            return self._cut_to(self._in_use() * _QUOTA_CUT, now)
        # A call that timed out took at least so long.
        took = math.log(max(seconds, 1e-6))
        self._sum += took
        self._squares += took * took
        self._ended += 1
        self._peak = max(self._peak, in_flight)
        limit = self.limit
        if in_flight * 2 >= limit:
            self._busy += 1
        changed = False
        if outcome is Outcome.TIMEOUT:
            self._lost += 1
        elif in_flight * 4 >= limit * 3:
            share = _QUICK_SHARE if self._exact < self._quick_below else _SHARE
            changed = self._move(self._exact + _STEP / self._exact + share)
        if self._ended >= min(_MOST, max(_FEWEST, self.limit)):
            changed = self._end_round(now) or changed
        return changed

    def _end_round(self, now: float) -> bool:
        mean, excess = self._learn_usual()
        lost = self._lost / self._ended
        in_use = self._in_use()
        if self._busy * 2 < self._ended:
            self._begin_round()
            return False
        if lost > _LOST:
            # After a hang, where none succeeded, it grows back to what did before; else that was too much.
            if lost < 1 or in_use > self._quick_below:
                self._quick_below = in_use / 2
            return self._cut_to(in_use * max(_DEEPEST_CUT, 1 - lost), now)
        if excess > 0.0:
            if not self._cuts:
                self._before, self._took_before = in_use, mean
            self._cuts += 1
            self._took_before = max(self._took_before, mean)
            self._quick_below = 0.0
            return self._cut_to(in_use * max(_DEEPEST_CUT, _DRAIN * math.exp(-excess)), now)
        self._cuts = 0
        self._begin_round()
        return False

    def _learn_usual(self) -> tuple[float, float]:
        """
        Move what is usual; tell the mean of this round, and how far it was above the usual and its noise.
        """
        mean = self._sum / self._ended
        variance = max(0.0, self._squares - self._ended * mean * mean) / (self._ended - 1)
        if math.isnan(self._usual):
            self._usual, self._variance = mean, variance
            return mean, 0.0
        self._variance += 0.2 * (variance - self._variance)
        noise = math.sqrt(self._variance / self._ended)
        least = _TOLERANCE + _STANDARD_ERRORS * noise
        above = mean - self._usual
        if self._cuts >= _IN_VAIN and above > least:
            asked = math.log(self._before / self._exact)
            if mean > self._took_before - asked / 2:
                self._usual, self._quick_below, self._cuts = mean, self._before, 0
                return mean, 0.0
        self._usual += (_SLOWER if above > 0 else _QUICKER) * above
        above = mean - self._usual
        return mean, (above - noise if above > least else 0.0)

    def _in_use(self) -> float:
        """
        What a cut is made from: of a limit that nobody reached, only what was used was tried.
        """
        return min(self._exact, float(max(self._peak, 1)))

    def _cut_to(self, limit: float, now: float) -> bool:
        self._cut_at = now
        self._begin_round()
        return self._move(limit)

    def _move(self, limit: float) -> bool:
        before = self.limit
        self._exact = max(float(self.least), min(float(self.most), limit))
        self.limit = int(self._exact)
        return self.limit != before

    def _begin_round(self) -> None:
        self._ended = self._lost = self._busy = self._peak = 0
        self._sum = self._squares = 0.0
