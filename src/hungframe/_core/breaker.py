"""
Closed, open, half-open.

A permit carries the generation in which it was given, and the generation
changes whenever the state does: what a call says about a state that is gone
counts nowhere. Weights and rates are compared as whole numbers, so that a rate
of 0.5 means half, however long the breaker runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from hungframe._core import check
from hungframe._core.outcome import Outcome
from hungframe._core.states import BreakerState, Permit, Refusal
from hungframe._core.waiting import wait
from hungframe._core.weights import scaled
from hungframe._core.window import Window

_PROVES_LIFE = frozenset({Outcome.SUCCESS, Outcome.CLIENT_ERROR})
_PROVES_NOTHING = frozenset({Outcome.CANCELLED, Outcome.REJECTED})


class CircuitBreaker:
    """
    Stop calling what fails, and find out when it is well again.

    A sliding window of weighted outcomes opens it; probes, one at a time,
    close it. Policies hold their own state and take no lock: whoever shares one
    between threads (`Guard` does) guards it.

    Args:
        window: Outcomes held, at least 1.

        max_age: Seconds after which an outcome is forgotten.

        failure_rate: Weight of failures over weight of all, in (0, 1]; the
            breaker opens at this rate or above.

        min_weight: Least weight in the window for the rate to count, above 0.

        open_for: Seconds from opening to half-open, above 0.

        max_open_for: Most seconds it stays open, at least *open_for*.

        backoff: Factor on *open_for* for each failed probe in a row, at least 1.

        probe_every: Least seconds between the starts of two probes, at least 0.

        close_after: Successful probes in a row that close it, at least 1.

        slow_call: A success that took more seconds weighs as a failure; None: never.

        weights: Weight of an outcome by name, at least 0; what is not named
            keeps its default.

    Raises:
        TypeError: If an argument is no number.

        ValueError: If an argument is out of range, or an outcome is unknown.

    >>> breaker = CircuitBreaker()
    >>> for _ in range(3):
    ...     breaker.record(breaker.acquire(now=0.0), "timeout", now=0.0)
    >>> breaker.acquire(now=0.0)
    Refusal('circuit_open', retry_after=60.0)
    """

    __slots__ = (
        "_backoff",
        "_close_after",
        "_max_open_for",
        "_min_weight",
        "_open_for",
        "_open_until",
        "_openings",
        "_override",
        "_probe",
        "_probe_every",
        "_probe_lease_until",
        "_probe_started_at",
        "_probe_started_before",
        "_rate",
        "_scale",
        "_slow_call",
        "_state",
        "_streak",
        "_suspects",
        "_weights",
        "_window",
        "generation",
        "opened_at_rate",
        "shared_permit",
    )

    def __init__(
        self,
        window: int = 25,
        max_age: float = 3600.0,
        failure_rate: float = 0.5,
        min_weight: float = 5.0,
        open_for: float = 60.0,
        max_open_for: float = 600.0,
        backoff: float = 1.0,
        probe_every: float = 60.0,
        close_after: int = 3,
        slow_call: float | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        check.whole("window", window, at_least=1)
        check.number("max_age", max_age, above=0, finite=False)
        self._open_for = check.number("open_for", open_for, above=0)
        self._max_open_for = check.number("max_open_for", max_open_for, above=0)
        if max_open_for < open_for:
            raise ValueError(f"max_open_for must be at least open_for ({open_for!r}), got {max_open_for!r}")
        self._backoff = check.number("backoff", backoff, at_least=1)
        self._probe_every = check.number("probe_every", probe_every, at_least=0)
        self._close_after = check.whole("close_after", close_after, at_least=1)
        self._slow_call = None if slow_call is None else check.number("slow_call", slow_call, above=0)
        self._rate = check.as_written(check.number("failure_rate", failure_rate, above=0, at_most=1))
        check.number("min_weight", min_weight, above=0)
        self._scale, self._min_weight, self._weights = scaled(min_weight, tuple((weights or {}).items()))
        self._window = Window(window, max_age)
        # Bumped before the first permit, so that no permit is of generation 0.
        self.generation = 0
        # The one permit of the closed state is what makes asking it a read:
        # no lock, nothing to count, nothing to give back.
        self.shared_permit: Permit | None = None
        self._probe: Permit | None = None
        self._probe_started_at = self._probe_started_before = self._probe_lease_until = -math.inf
        self._suspects = self._streak = self._openings = 0
        self._open_until = -math.inf
        self.opened_at_rate: float | None = None
        self._override: BreakerState | None = None
        self._start(BreakerState.CLOSED)

    # -- asking ---------------------------------------------------------------

    def acquire(self, now: float, *, timeout: float = 90.0) -> Permit | Refusal:
        """
        Ask for one call.

        Args:
            now: Seconds on the caller's clock.

            timeout: Seconds within which the call will have ended. A half-open
                permit that has not reported by then falls free.

        Returns:
            A `Permit`, to be recorded or released once, or a `Refusal`.
        """
        if self.shared_permit is not None:
            return self.shared_permit
        if self._override is BreakerState.FORCED_OPEN:
            return Refusal("forced_open", None)
        if self._state is BreakerState.OPEN:
            if now < self._open_until:
                return Refusal("circuit_open", wait(self._open_until, now))
            self._start(BreakerState.HALF_OPEN)
        return self._ask_for_probe(now, timeout)

    def _next_probe_at(self) -> float:
        at = self._probe_started_at + self._probe_every
        # A permit whose holder died must not keep the breaker half-open for
        # ever, so its place falls free in time.
        return at if self._probe is None else max(at, self._probe_lease_until)

    def _ask_for_probe(self, now: float, timeout: float) -> Permit | Refusal:
        next_at = self._next_probe_at()
        if now < next_at:
            return Refusal("half_open", wait(next_at, now))
        return self._give_probe(now, timeout)

    def acquire_probe(self, now: float, *, timeout: float = 90.0) -> Permit | Refusal:
        """
        Ask for a probe of a prober, which keeps a distance of its own: `probe_every` is not asked.

        Half-open only, and one at a time, whoever has the other.

        Args:
            now: Seconds on the caller's clock.

            timeout: Seconds within which the probe will have ended.
        """
        state = self.state(now)
        if state is not BreakerState.HALF_OPEN:
            return Refusal(str(state), self.retry_after(now))
        if self._probe is not None and now < self._probe_lease_until:
            return Refusal("half_open", wait(self._probe_lease_until, now))
        return self._give_probe(now, timeout)

    def _give_probe(self, now: float, timeout: float) -> Permit:
        self._probe = Permit(self.generation, probe=True)
        self._probe_lease_until = now + timeout
        self._probe_started_before = self._probe_started_at
        self._probe_started_at = now
        return self._probe

    def state(self, now: float) -> BreakerState:
        """
        Tell the state; asking finds that an open breaker has become half-open.
        """
        if self._override is not None:
            return self._override
        if self._state is BreakerState.OPEN and now >= self._open_until:
            self._start(BreakerState.HALF_OPEN)
        return self._state

    def retry_after(self, now: float) -> float | None:
        """
        Seconds until a call may be let through: 0 if now, None if no time can be named.
        """
        state = self.state(now)
        if state in (BreakerState.CLOSED, BreakerState.DISABLED):
            return 0.0
        if state is BreakerState.FORCED_OPEN:
            return None
        return wait(self._open_until if state is BreakerState.OPEN else self._next_probe_at(), now)

    def failure_rate(self, now: float) -> float:
        """
        Weight of failures over weight of all in the window, suspects included, in 0..1.
        """
        self._window.expire(now)
        total, failed = self._sums()
        return failed / total if total else 0.0

    def weight(self, now: float) -> float:
        """
        Weight of the outcomes in the window, suspects included.
        """
        self._window.expire(now)
        return self._sums()[0] / self._scale

    def unmoved_up_to(self) -> float:
        """
        Successes of at most this many seconds will not change the state, however many come; -inf for none.
        """
        # While there is no failure, a success only confirms.
        if self.shared_permit is None or self._window.failed or self._suspects:
            return -math.inf
        return math.inf if self._slow_call is None else self._slow_call

    # -- learning -------------------------------------------------------------

    def record(self, permit: Permit, outcome: Outcome | str, now: float, *, seconds: float | None = None) -> None:
        """
        Learn how the call behind *permit* ended.

        Args:
            permit: From `acquire`; one of an earlier generation teaches nothing.

            outcome: An `Outcome`, or its name.

            now: Seconds on the caller's clock.

            seconds: What the call took, where `slow_call` is to be judged.

        Raises:
            ValueError: If *outcome* is no outcome's name.
        """
        if permit is not self.shared_permit:
            # One of an earlier generation was let through by a state that is
            # gone: it may neither open nor close what came after.
            if permit.generation != self.generation:
                return
            if permit.probe:
                self._record_probe(permit, Outcome(outcome), now, seconds)
                return
        weight = self._weights.get(outcome)
        if weight is None:
            # It does not count, or there is no such outcome.
            Outcome(outcome)
            return
        if self._slow_call is not None and outcome == "success" and seconds is not None and seconds > self._slow_call:
            weight = (self._scale, self._scale)
        window = self._window
        window.add(weight, now)
        if window.failed or self._suspects:
            self._open_if_due(now)

    def _record_probe(self, permit: Permit, outcome: Outcome, now: float, seconds: float | None) -> None:
        if permit is not self._probe:
            return
        if now >= self._probe_lease_until:
            self._probe = None
            return
        if outcome in _PROVES_NOTHING:
            self.release(permit, now)
            return
        self._probe = None
        slow = self._slow_call is not None and seconds is not None and seconds > self._slow_call
        if outcome not in _PROVES_LIFE or (slow and outcome is Outcome.SUCCESS):
            self._open(now)
            return
        self._streak += 1
        if self._streak >= self._close_after:
            self._window.clear()
            self._openings = 0
            self._start(BreakerState.CLOSED)

    def record_unmoved(self, permits: Sequence[Permit], seconds: Sequence[float], at: Sequence[float]) -> None:
        """
        Learn of successes, oldest first, none of which took longer than `unmoved_up_to` said.

        Args:
            permits: From `acquire`; those of an earlier generation teach nothing.

            seconds: What each call took.

            at: When each ended.
        """
        if permits.count(self.shared_permit) < len(permits):
            at = [instant for permit, instant in zip(permits, at, strict=True) if permit is self.shared_permit]
        self._window.add_all(self._weights[Outcome.SUCCESS], at)

    def release(self, permit: Permit, now: float) -> None:
        """
        Take *permit* back as if it had never been asked for: its call was cancelled, or never sent.
        """
        if permit.probe and permit is self._probe:
            self._probe = None
            if now < self._probe_lease_until:
                self._probe_started_at = self._probe_started_before

    def suspect(self, count: int, now: float) -> None:
        """
        Learn that *count* calls in flight have taken suspiciously long.

        Each weighs as one failure for as long as it is counted here, so that
        the breaker can open while calls still hang.
        """
        if self.shared_permit is None or count == self._suspects:
            return
        self._suspects = count
        if count:
            self._window.expire(now)
            self._open_if_due(now)

    # -- steering -------------------------------------------------------------

    def half_open(self, now: float) -> None:
        """
        Let the next call be a probe, however long it would have stayed open; in any other state nothing changes.
        """
        if self._override is None and self.state(now) is BreakerState.OPEN:
            self._start(BreakerState.HALF_OPEN)

    def force_open(self, now: float) -> None:
        """
        Refuse every call until `reset` or `disable`.
        """
        self._override = BreakerState.FORCED_OPEN
        self.shared_permit = None
        self._probe = None

    def disable(self, now: float) -> None:
        """
        Let every call through until `reset` or `force_open`; go on recording.
        """
        self._override = BreakerState.DISABLED
        self.shared_permit = Permit(self.generation)
        self._probe = None

    def reset(self, now: float) -> None:
        """
        Start again: closed, with nothing in the window.
        """
        self._override = None
        self._window.clear()
        self._openings = 0
        self._start(BreakerState.CLOSED)

    def steering(self, verb: str) -> Callable[[float], None]:
        """
        The method for an operator's *verb*: `force_open`, `disable` or `reset`.
        """
        return {"force_open": self.force_open, "disable": self.disable, "reset": self.reset}[verb]

    # -- the machine ----------------------------------------------------------

    def _start(self, state: BreakerState) -> None:
        """
        Enter *state*, with a generation of its own.
        """
        self._state = state
        self.generation += 1
        self.shared_permit = Permit(self.generation) if state is BreakerState.CLOSED else None
        self._suspects = 0
        self._streak = 0
        self._probe = None
        if state is BreakerState.CLOSED:
            self._openings = 0
            self._open_until = -math.inf
        if state is not BreakerState.OPEN:
            self._probe_started_at = -math.inf
            self._probe_started_before = -math.inf
            self._probe_lease_until = -math.inf

    def _open_if_due(self, now: float) -> None:
        if self._override is not None or self._state is not BreakerState.CLOSED:
            return
        total, failed = self._sums()
        rate = self._rate
        if total >= self._min_weight and failed * rate.denominator >= total * rate.numerator:
            self._open(now)

    def _open(self, now: float) -> None:
        # A power too large for a float is beyond any cap.
        try:
            open_for = min(self._open_for * self._backoff**self._openings, self._max_open_for)
        except OverflowError:
            open_for = self._max_open_for
        total, failed = self._sums()
        self.opened_at_rate = failed / total if total else None
        self._openings += 1
        self._open_until = now + open_for
        self._start(BreakerState.OPEN)

    def _sums(self) -> tuple[int, int]:
        provisional = self._suspects * self._scale
        return self._window.total + provisional, self._window.failed + provisional
