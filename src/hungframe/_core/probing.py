"""
Who probes a half-open breaker, and when: a prober while its lease lasts, a user's call otherwise.

The lane says nothing of how a probe is made. It knows by when a prober must
have shown a sign of life, and from when on the next probe is due.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from hungframe._core import check
from hungframe._core.outcome import Outcome
from hungframe._core.states import BreakerState, Permit, Refusal
from hungframe._core.waiting import wait

if TYPE_CHECKING:
    from typing import Protocol

    class ProbedBreaker(Protocol):
        """
        A breaker that a lane is laid to, that of a user in its adapter.
        """

        def acquire(self, now: float, *, timeout: float) -> Permit | Refusal: ...
        def acquire_probe(self, now: float, *, timeout: float) -> Permit | Refusal: ...
        def retry_after(self, now: float) -> float | None: ...
        def state(self, now: float) -> BreakerState: ...


TIMEOUT, BURST, QUOTA = KINDS = ("timeout", "burst", "quota")
"""Why a probe is wanted."""

# A probe that is late may come any moment; who was refused asks again then.
_SOON = 1.0

_FAILURES = frozenset(
    {Outcome.TIMEOUT, Outcome.QUOTA, Outcome.SERVER_ERROR, Outcome.CONNECTION, Outcome.UNKNOWN},
)


def checked_kind(kind: object) -> str:
    """
    Return *kind* if it is one.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind must be 'timeout', 'burst' or 'quota', got {kind!r}")
    return kind


class ProbeLane:
    """
    The lane of one prober beside the calls of its guard.

    Args:
        every: Least seconds between the starts of two probes, above 0.

        jitter: Share of *every* by which a probe comes later at most, in
            [0, 1], so that a fleet that opened together does not probe together.

        random: Draws from [0, 1).

    Raises:
        TypeError: If an argument is no number.

        ValueError: If an argument is out of range.

    >>> from hungframe import CircuitBreaker
    >>> breaker, lane = CircuitBreaker(), ProbeLane(every=60.0, jitter=0.0)
    >>> for _ in range(3):
    ...     breaker.record(breaker.acquire(now=0.0), "timeout", now=0.0)
    >>> lane.beat(now=0.0, seconds=200.0)
    >>> lane.acquire(breaker, now=60.0, timeout=90.0)
    Refusal('half_open', retry_after=1.0)
    >>> lane.acquire_probe(breaker, now=60.0, timeout=90.0).probe
    True
    """

    __slots__ = ("_every", "_jitter", "_lease_until", "_random", "_started_at", "due_at", "kind", "permit")

    def __init__(self, every: float, jitter: float = 0.1, random: Callable[[], float] = lambda: 0.0) -> None:
        self._every = check.number("every", every, above=0)
        self._jitter = check.number("jitter", jitter, at_least=0, at_most=1)
        self._random = random
        self._lease_until = self._started_at = -math.inf
        # When the next probe is due, why it is made, and the permit of the one
        # that is out.
        self.due_at = -math.inf
        self.kind = TIMEOUT
        self.permit: Permit | None = None

    # -- the lease --------------------------------------------------------------

    def beat(self, now: float, seconds: float) -> None:
        """
        Take the lane, or keep it, for so many seconds more: the prober lives.
        """
        self._lease_until = max(self._lease_until, now + seconds)

    def leave(self) -> None:
        """
        Give the lane back to user calls, at once.
        """
        self._lease_until = -math.inf

    def is_held(self, now: float) -> bool:
        """
        Tell whether a prober has it; one that died had it until its lease was over.
        """
        return now < self._lease_until

    # -- the time ---------------------------------------------------------------

    def schedule(self, kind: str, at: float) -> float:
        """
        Have the next probe made at the instant *at*, or a little later.

        Returns:
            The instant from which on it is due.
        """
        self.kind = kind
        self.due_at = max(at, self._started_at + self._every) + self._later()
        return self.due_at

    def _later(self) -> float:
        return self._every * self._jitter * self._random()

    def next_at(self, now: float) -> float:
        """
        When it is worth asking again for who was turned away.
        """
        return max(self.due_at, now + _SOON)

    # -- asking -----------------------------------------------------------------

    def shuts_out(self, breaker: ProbedBreaker, now: float) -> bool:
        """
        Tell whether a user's call is turned away because a prober probes in its stead.
        """
        return self.is_held(now) and breaker.state(now) == BreakerState.HALF_OPEN

    def acquire(self, breaker: ProbedBreaker, now: float, *, timeout: float) -> Permit | Refusal:
        """
        Ask for a user's call.
        """
        if self.shuts_out(breaker, now):
            return Refusal("half_open", wait(self.next_at(now), now))
        return breaker.acquire(now, timeout=timeout)

    def waits_for(self, breaker: ProbedBreaker, now: float, not_before: float = -math.inf) -> Refusal | None:
        """
        What stands between the prober and its next probe.

        Args:
            breaker: That of the guard.

            now: Seconds on the caller's clock.

            not_before: The provider asked for quiet until this instant.

        Returns:
            None if a probe is due; else a `Refusal`, with the seconds until
            it is worth looking again, or None where nothing is to be probed.
        """
        state = breaker.state(now)
        if state == BreakerState.OPEN:
            return Refusal("circuit_open", breaker.retry_after(now))
        if state != BreakerState.HALF_OPEN:
            return Refusal(str(state), None)
        due_at = max(self.due_at, not_before)
        return Refusal("not_due", wait(due_at, now)) if now < due_at else None

    def acquire_probe(
        self, breaker: ProbedBreaker, now: float, *, timeout: float, not_before: float = -math.inf
    ) -> Permit | Refusal:
        """
        Ask for the prober's next probe, which will have ended within *timeout* seconds.
        """
        answer = self.waits_for(breaker, now, not_before) or breaker.acquire_probe(now, timeout=timeout)
        if isinstance(answer, Permit):
            self.permit = answer
            self._started_at = now
            self.due_at = now + self._every + self._later()
        return answer

    def end(self, permit: Permit) -> None:
        """
        The probe with this permit has ended.
        """
        if self.permit is permit:
            self.permit = None


class Causes:
    """
    What the last failures were, so that it can be said why a breaker has opened.

    Args:
        last: Failures held.

        max_age: Seconds after which one is forgotten.

    >>> causes = Causes()
    >>> causes.add(Outcome.QUOTA, now=0.0)
    >>> causes.kind(now=0.0, hanging=0, named=False), causes.kind(now=0.0, hanging=0, named=True)
    ('burst', 'quota')
    >>> causes.kind(now=0.0, hanging=1, named=True)
    'timeout'
    """

    __slots__ = ("_failures", "_max_age")

    def __init__(self, last: int = 25, max_age: float = 3600.0) -> None:
        self._failures: deque[tuple[bool, float]] = deque(maxlen=last)
        self._max_age = max_age

    def add(self, outcome: Outcome, now: float) -> None:
        """
        Hold it, if it is a failure.
        """
        if outcome in _FAILURES:
            self._failures.append((outcome is Outcome.QUOTA, now))

    def clear(self) -> None:
        """
        Forget them: the next opening has causes of its own.
        """
        self._failures.clear()

    def kind(self, now: float, hanging: int, named: bool) -> str:
        """
        Say why a probe is wanted.

        Args:
            now: Seconds on the caller's clock.

            hanging: Calls in flight that have taken suspiciously long.

            named: Whether the provider has named a time that is later than
                the breaker's own.

        Returns:
            "burst" if more than half of the failures were 429s, "quota" if the
            provider has named a time besides, else "timeout".
        """
        failures = [is_quota for is_quota, at in self._failures if now - at < self._max_age]
        if 2 * sum(failures) <= len(failures) + hanging:
            return TIMEOUT
        return QUOTA if named else BURST
