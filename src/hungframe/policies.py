"""
What the calls of one guard share: its policies under one lock, the calls in flight, the counts.

Policies are plain state machines; here they are made thread-safe. A success
that can change no decision is learned later, with others: the lock and the
rings cost more than the rest of a call.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hungframe import flag
from hungframe._core.backoff import PauseBackoff
from hungframe._core.breaker import CircuitBreaker
from hungframe._core.bucket import TokenBucket
from hungframe._core.budgets import AllOf, Purse, Unlimited, is_full
from hungframe._core.latency import AdaptiveTimeout
from hungframe._core.no_breaker import NoBreaker
from hungframe._core.open_time import OpenTime
from hungframe._core.outcome import Outcome
from hungframe._core.per_key import TimeoutPerKey
from hungframe._core.probing import Causes, ProbeLane
from hungframe._core.states import NO_PERMIT, BreakerState, Permit, Refusal
from hungframe._core.timeouts import FixedTimeout, NoTimeout
from hungframe._core.waiting import wait
from hungframe.abort.call import Call, calls_here, current_call
from hungframe.abort.lanes import Lanes
from hungframe.abort.orphans import Orphans
from hungframe.commons import commons_of
from hungframe.foreign import Faults, ForeignBreaker, ForeignBudget, ForeignTimeout, clock_of
from hungframe.ports import Breaker, Budget, Clock, EventSink, TimeoutPolicy
from hungframe.telling import Teller

if TYPE_CHECKING:
    from hungframe._core.line import Ticket
    from hungframe._core.timeouts import LearnedTimeout

_OPEN = (BreakerState.OPEN, BreakerState.FORCED_OPEN)

# Successes wait to be learned for at most so many seconds, while calls come.
_LOOK_EVERY = 5.0

# A call in flight is suspected after twice the P95, and not before this.
_LEAST_SUSPECT_AGE = 5.0


# Shared by all guards that have counted nothing; never changed.
_NO_COUNTS = [0] * len(Outcome)
_NO_SUSPECTS: dict[Call, None] = {}


class Policies:
    """
    The shared state of one guard and its views.
    """

    __slots__ = (
        "__weakref__",
        "_causes",
        "_open_time",
        "breaker",
        "breaker_seen",
        "budget",
        "clock",
        "commons",
        "counts",
        "enabled",
        "faults",
        "given_budget",
        "lanes",
        "limited",
        "line_key",
        "lock",
        "look_at",
        "max_orphans",
        "name",
        "orphans",
        "paused_until",
        "pending",
        "probe_lane",
        "resting",
        "sinks",
        "suspects",
        "teller",
        "timeout",
        "unmoved_up_to",
        "want_probe",
    )

    def __init__(
        self,
        name: str,
        breaker: Breaker | None,
        budget: Budget | Sequence[Budget] | None,
        timeout: TimeoutPolicy | float | None,
        max_orphans: int,
        sinks: Sequence[EventSink],
        enabled: flag.Enabled,
        clock: Clock | None,
        also_shared: Sequence[object] = (),
    ) -> None:
        self.name = name
        self.faults = Faults(name)
        self.clock = clock_of(clock, self.faults)
        self.breaker = self._breaker_of(breaker)
        self.budget = self._budget_of(budget)
        # As the user gave it: each bucket tells what a call costs.
        self.given_budget = tuple(budget) if isinstance(budget, Sequence) else budget
        self.timeout = self.timeout_of(timeout)
        self.commons = commons_of(budget, *also_shared)
        self.lock = self.commons.lock
        # What its calls wait for together is a line: that of these budgets.
        given = budget if isinstance(budget, Sequence) else (budget,)
        self.line_key = tuple(map(id, given)) if budget is not None else (id(self),)
        self.lanes = Lanes(self.clock)
        self.orphans = Orphans(name)
        self.teller = Teller(name, self.clock, sinks, self.faults)
        self.sinks = self.teller.sinks
        # Made when they are first needed: a service may keep a guard for each
        # of 100,000 keys, and most of them are idle.
        self.counts: list[int] = _NO_COUNTS
        self.suspects: dict[Call, None] = _NO_SUSPECTS
        self.limited = budget is not None
        # What the provider has asked for, by this guard; and where it says 429
        # and no more, how long it is left alone.
        self.paused_until = -math.inf
        self.resting: PauseBackoff | None = None
        self.max_orphans = max_orphans
        self.enabled = enabled
        self._open_time: OpenTime | None = None
        self._causes: Causes | None = None
        # With a prober: its lane. With that, or with a recovery port of the
        # user's own: who is called, outside of the lock, when the breaker opens.
        self.probe_lane: ProbeLane | None = None
        self.want_probe: Callable[[str], object] | None = None
        # A success that can change no decision is learned later, with others:
        # the lock and the rings cost more than the rest of a call. These wait;
        # appending is a single step, so that takes no lock.
        self.pending: list[tuple[Permit, float, float]] = []
        # Successes up to so many seconds can change no decision.
        self.unmoved_up_to = -math.inf
        # The next instant to look after these, and after calls in flight that
        # may have become suspects.
        self.look_at = -math.inf
        self.breaker_seen = self.breaker.generation

    def _breaker_of(self, breaker: Breaker | None) -> CircuitBreaker | NoBreaker | ForeignBreaker:
        if breaker is None:
            return NoBreaker()
        # A subclass may have overridden what we rely on.
        if isinstance(breaker, CircuitBreaker) and type(breaker) is CircuitBreaker:
            return breaker
        return ForeignBreaker(breaker, self.faults)

    def _budget_of(self, budget: Budget | Sequence[Budget] | None) -> Purse:
        if budget is None:
            return Unlimited()
        if isinstance(budget, Sequence):
            return AllOf([self._budget_of(each) for each in budget])
        return budget if type(budget) is TokenBucket else ForeignBudget(budget, self.faults)

    def timeout_of(
        self, timeout: TimeoutPolicy | float | None
    ) -> AdaptiveTimeout | FixedTimeout | NoTimeout | TimeoutPerKey | ForeignTimeout:
        """
        The policy that a user's `timeout` stands for.
        """
        if timeout is None:
            return NoTimeout()
        if isinstance(timeout, (int, float)):
            return FixedTimeout(timeout)
        if isinstance(timeout, AdaptiveTimeout) and type(timeout) is AdaptiveTimeout:
            return timeout
        if isinstance(timeout, TimeoutPerKey):
            return timeout
        return ForeignTimeout(timeout, self.faults)

    # -- learning ---------------------------------------------------------------

    def look(self, now: float) -> None:
        """
        Learn what waits to be learned, and tell the breaker of the calls in flight that have taken suspiciously long.
        """
        # Here and not in the constructor: a guard that was never called has
        # nothing to put right after a fork, and the entry weighs 185 bytes.
        self.put_right_after_fork()
        with self.lock:
            if self.counts is _NO_COUNTS:
                self.counts = [0] * len(Outcome)
            self.catch_up(now)
            self.look_at = now + _LOOK_EVERY
            self._look_for_suspects(now)
            self.unmoved_up_to = self.unmoved(now)
        self.notice(now)

    def _look_for_suspects(self, now: float) -> None:
        flying = [
            call for call in self.lanes.in_flight() if call.permit is self.breaker.shared_permit and not call.ended
        ]
        if not flying:
            return
        ages: dict[LearnedTimeout, float] = {}
        for call in flying:
            learner = call.limits.learner
            if learner not in ages:
                p95 = learner.p95(now)
                ages[learner] = math.inf if p95 is None else max(2 * p95, _LEAST_SUSPECT_AGE)
            age = ages[learner]
            if call.started_at + age <= now:
                if self.suspects is _NO_SUSPECTS:
                    self.suspects = {}
                self.suspects[call] = None
            else:
                self.look_at = min(self.look_at, call.started_at + age)
        self.breaker.suspect(len(self.suspects), now)

    def catch_up(self, now: float) -> None:
        """
        Learn the successes that wait; under the lock of the caller.
        """
        waiting = len(self.pending)
        if waiting:
            permits, seconds, at = zip(*self.pending[:waiting], strict=True)
            del self.pending[:waiting]
            if self.resting is not None:
                self.resting.succeeded()
            self.counts[Outcome.SUCCESS.ordinal] += waiting
            self.timeout.observe_unmoved(seconds, at)
            self.breaker.record_unmoved(permits, seconds, at)

    def teach(self, learner: LearnedTimeout, seconds: float, now: float, *, completed: bool) -> None:
        """
        Let a timeout learn from a call that completed, or was cut off; under the lock of the caller.
        """
        # Calls that hang from before the breaker opened end while it is open,
        # and nobody waits for an answer then: the timeout learns, and stands still.
        if self.breaker.shared_permit is None and self.breaker.state(now) in _OPEN:
            learner.remember(seconds, now, completed=completed)
        else:
            learner.observe(seconds, now, completed=completed)

    def unmoved(self, now: float) -> float:
        return min(self.breaker.unmoved_up_to(), self.timeout.unmoved_up_to(now))

    # -- recovering -------------------------------------------------------------

    def ask(self, now: float, timeout: float) -> Permit | Refusal:
        """
        Ask the breaker for a user's call; under the lock of the caller.
        """
        lane = self.probe_lane
        if lane is None:
            return self.breaker.acquire(now, timeout=timeout)
        answer = lane.acquire(self.breaker, now, timeout=timeout)
        if isinstance(answer, Refusal) and _is_within_probe(lane.permit):
            # The probe itself calls through this guard: it is one call, and counts once.
            return NO_PERMIT
        return answer

    def retry_after(self, now: float) -> float | None:
        """
        Seconds until a user's call may be let through; under the lock of the caller.
        """
        lane = self.probe_lane
        if lane is not None and lane.shuts_out(self.breaker, now):
            return wait(lane.next_at(now), now)
        return self.breaker.retry_after(now)

    def refusal(self, now: float) -> Refusal | None:
        """
        What the breaker would answer a user's call now, were it asked; None if it lets it through. Under the lock of
        the caller.
        """
        state = self.breaker.state(now)
        if state is BreakerState.FORCED_OPEN:
            return Refusal("forced_open", None)
        retry_after = self.retry_after(now)
        if state is BreakerState.OPEN:
            return Refusal("circuit_open", retry_after)
        return Refusal("half_open", retry_after) if state is BreakerState.HALF_OPEN and retry_after else None

    def failed_with(self, outcome: Outcome, now: float) -> None:
        """
        Remember what may open the breaker; under the lock of the caller.
        """
        if self._causes is None:
            self._causes = Causes()
        self._causes.add(outcome, now)

    def _why_open(self, now: float, hanging: int) -> str:
        """
        Say why the breaker has just opened, and when it is to be probed.
        """
        half_open_at = now + (self.breaker.retry_after(now) or 0.0)
        causes = self._causes or Causes()
        kind = causes.kind(now, hanging, self.paused_until > half_open_at)
        causes.clear()
        if self.probe_lane is not None:
            self.probe_lane.schedule(kind, max(half_open_at, self.paused_until))
        return kind

    def schedule_probe(self, kind: str) -> None:
        """
        Tell that a probe is wanted, and have it made by who is there for that; outside of the lock.
        """
        if self.sinks:
            now = self.clock.now()
            with self.lock:
                seconds = self._probe_in(now)
            self.teller.scheduled(kind, seconds)
        if self.want_probe is not None:
            self.faults.attempt("recovery.schedule_probe()", None, self.want_probe, kind)

    def _probe_in(self, now: float) -> float | None:
        """
        Seconds until the next probe, by whomever; None where nothing is to be probed.
        """
        if self.breaker.state(now) not in (BreakerState.OPEN, BreakerState.HALF_OPEN):
            return None
        lane = self.probe_lane
        at = lane.due_at if lane is not None and lane.is_held(now) else now
        seconds = self.breaker.retry_after(now)
        return None if seconds is None else max(seconds, at - now, self.paused_until - now)

    # -- seeing and steering ---------------------------------------------------

    def budget_before(self, now: float) -> int | None:
        """
        The same, for an event.
        """
        with self.lock:
            return self.budget_left(now)

    def notice(self, now: float) -> None:
        """
        Tell that the breaker has changed its state, once a change.
        """
        if self.breaker.generation == self.breaker_seen:
            return
        wall = self.clock.wall()
        with self.lock:
            if self.breaker.generation == self.breaker_seen:
                return
            self.breaker_seen = self.breaker.generation
            # Suspects were those of a state that is gone.
            hanging = len(self.suspects)
            self.suspects.clear()
            state = self.breaker.state(now)
            self._turn(state, now, wall)
            rate = self.breaker.failure_rate(now)
            if state is BreakerState.OPEN and isinstance(self.breaker, CircuitBreaker):
                rate = self.breaker.opened_at_rate
            kind = self._why_open(now, hanging) if state == BreakerState.OPEN else None
        if self.sinks:
            self.teller.state(state, rate)
        if state in _OPEN:
            self.call_on_all()
        if kind is not None:
            self.schedule_probe(kind)

    def _turn(self, state: BreakerState, now: float, wall: float) -> None:
        if self._open_time is None:
            self._open_time = OpenTime()
        self._open_time.turn(state in _OPEN, now, wall, self.breaker.retry_after(now))

    def steer(self, act: Callable[[float], None]) -> None:
        """
        Let an operator set the breaker's state, and tell it.
        """
        now, wall = self.clock.now(), self.clock.wall()
        with self.lock:
            self.catch_up(now)
            before = self.breaker.state(now)
            act(now)
            self.unmoved_up_to = self.unmoved(now)
            state = self.breaker.state(now)
            self.breaker_seen = self.breaker.generation
            self.suspects.clear()
            self._turn(state, now, wall)
            rate = self.breaker.failure_rate(now)
        if state is not before and self.sinks:
            self.teller.state(state, rate)
        if state in _OPEN:
            self.call_on_all()

    def subscribe(self, sink: EventSink) -> None:
        """
        Tell *sink* as well.
        """
        with self.lock:
            self.sinks = self.teller.sinks = (*self.sinks, sink)

    def unsubscribe(self, sink: EventSink) -> None:
        """
        Tell *sink* no more; if it was told twice, once from now on.
        """
        with self.lock:
            for place, known in enumerate(self.sinks):
                if known is sink:
                    self.sinks = self.teller.sinks = self.sinks[:place] + self.sinks[place + 1 :]
                    return

    def p95(self, now: float) -> float | None:
        """
        The learned quantile; None if there is none.
        """
        return self.timeout.p95(now)

    def budget_left(self, now: float) -> int | None:
        """
        Whole tokens of the scarcest budget; None without a budget, unless that is paused.
        """
        return self.budget.available(now) if self.limited or now < self.paused_until else None

    def waiting(self) -> int:
        """
        How many calls wait to be let in.
        """
        lines = self.commons.lines
        line = lines.get(self.line_key) if lines else None
        return 0 if line is None else len(line)

    def call_on_all(self) -> None:
        """
        Let all who wait to be let in look again: the breaker has opened, and they wait in vain.
        """
        with self.lock:
            waiting = self.in_line()
        for ticket in waiting:
            if ticket.wake is not None:
                ticket.wake()

    def in_line(self) -> list[Ticket]:
        """
        The tickets of those who wait; under the lock of the caller.
        """
        lines = self.commons.lines
        line = lines.get(self.line_key) if lines else None
        return [] if line is None else list(line)

    @property
    def slots(self) -> int | None:
        """
        How many calls may run at once, now; None for any number.
        """
        return None

    def is_idle(self, now: float, shared: Sequence[object] = ()) -> bool:
        """
        Tell whether a new guard could take this one's place: nothing runs, and nothing is known that forbids a call.

        Args:
            shared: Budgets that others have as well, so that what was taken from them stays known.
        """
        if self.orphans.running or any(not call.ended for call in self.lanes.in_flight()) or self.waiting():
            return False
        with self.lock:
            closed = self.breaker.state(now) is BreakerState.CLOSED or isinstance(self.breaker, NoBreaker)
            return closed and now >= self.paused_until and is_full(self.budget, now, shared)

    def open_today(self, now: float) -> float:
        """
        Seconds that the breaker was open today.
        """
        return 0.0 if self._open_time is None else self._open_time.today(now, self.clock.wall())

    def refusing(self) -> bool:
        """
        Whether the flag lets the breaker refuse.
        """
        if callable(self.enabled):
            # Who cannot say that it is off has not turned it off.
            return self.faults.attempt("enabled()", True, flag.read, self.enabled)
        return flag.read(self.enabled)

    # -- forking --------------------------------------------------------------

    def put_right_after_fork(self) -> None:
        """
        From now on, have a child that is forked make this guard its own.
        """
        _in_use.add(self)
        # One that had not been used at a fork has the parent's still.
        self.lock = self.commons.lock

    def after_fork(self) -> None:
        """
        Go on in a forked child, where only the thread that forked runs.
        """
        self.lock = self.commons.lock
        self.lanes.forget(keep=calls_here())
        self.orphans.forget()
        self.suspects = _NO_SUSPECTS
        if self.probe_lane is not None:
            # The prober's thread does not run here. One that is a task does if
            # its loop goes on, and takes the lane again with its next beat.
            self.probe_lane.leave()


def _is_within_probe(permit: Permit | None) -> bool:
    """
    Tell whether the code that asks is called by the probe that has this permit.
    """
    call = current_call.get() if permit is not None else None
    while call is not None and call.permit is not permit:
        call = call.outer
    return call is not None


_in_use: weakref.WeakSet[Policies] = weakref.WeakSet()


def _after_fork() -> None:
    guards = list(_in_use)
    # Once each: guards that shared a lock before share one again.
    for commons in {policies.commons for policies in guards}:
        commons.after_fork()
    for policies in guards:
        policies.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
