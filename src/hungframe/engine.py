"""
What a guard and its views share: the policies, one lock, the calls in flight, the counts.

The same few steps for every kind of call: `begin` asks the policies, `returned`
or `failed` settles, once. Events are told after the decision and outside of
the lock. A closed breaker admits without the lock.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hungframe import flag
from hungframe._core.breaker import CircuitBreaker, NoBreaker
from hungframe._core.states import BreakerState, Permit, Refusal
from hungframe._core.bucket import TokenBucket
from hungframe._core.budgets import AllOf, Unlimited
from hungframe._core.latency import AdaptiveTimeout, FixedTimeout, NoTimeout
from hungframe._core.open_time import OpenTime
from hungframe._core.outcome import NO_STATUS, Outcome, classify
from hungframe.abort import asyncio_driver
from hungframe.abort.asyncio_driver import Abandoned
from hungframe.abort.call import Call, current_call
from hungframe.abort.lanes import Lanes
from hungframe.abort.orphans import Orphans
from hungframe.errors import BudgetExhaustedError, CallTimeoutError, CircuitOpenError, TooManyOrphansError
from hungframe.events import (
    BreakerChanged,
    Event,
    GenAbandoned,
    GenCancelled,
    GenFail,
    GenReject,
    GenRequest,
    GenSuccess,
    milliseconds,
)
from hungframe.foreign import Faults, ForeignBreaker, ForeignBudget, ForeignTimeout, clock_of
from hungframe.limits import Limits
from hungframe.ports import Breaker, Budget, Clock, EventSink, TimeoutPolicy

_OPEN = (BreakerState.OPEN, BreakerState.FORCED_OPEN)

# Successes that wait to be learned, at most, and for at most so many seconds
# while calls come.
_MOST_PENDING = 200
_LOOK_EVERY = 5.0

# A call in flight is suspected after twice the P95, and not before this.
_LEAST_SUSPECT_AGE = 5.0

# Reading a member off its enum costs 70 ns before 3.12.
_SUCCESS = Outcome.SUCCESS
_CANCELLED = Outcome.CANCELLED
_REJECTED = Outcome.REJECTED.ordinal

# Ids are a counter behind a random prefix: a uuid costs 2 us.
_id_prefix = os.urandom(6).hex()
_id_count = itertools.count(1)


class Engine:
    """
    The shared state of one guard, and the steps of a call.
    """

    __slots__ = (
        "__weakref__",
        "_breaker_seen",
        "_enabled",
        "_limited",
        "_look_at",
        "_max_orphans",
        "_open_time",
        "_pending",
        "_unmoved_up_to",
        "breaker",
        "budget",
        "clock",
        "counts",
        "faults",
        "lanes",
        "lock",
        "name",
        "orphans",
        "sinks",
        "suspects",
        "timeout",
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
    ) -> None:
        self.name = name
        self.faults = Faults(name)
        self.clock = clock_of(clock, self.faults)
        self.breaker = self._breaker_of(breaker)
        self.budget = self._budget_of(budget)
        self.timeout = self.timeout_of(timeout)
        self.lock = threading.Lock()
        self.lanes = Lanes(self.clock)
        self.orphans = Orphans()
        self.sinks = tuple(sinks)
        self.counts = [0] * len(Outcome)
        self.suspects: dict[Call, None] = {}
        self._limited = budget is not None
        self._max_orphans = max_orphans
        self._enabled = enabled
        self._open_time: OpenTime | None = None
        # A success that can change no decision is learned later, with others:
        # the lock and the rings cost more than the rest of a call. These wait;
        # appending is a single step, so that takes no lock.
        self._pending: list[tuple[Permit, float, float]] = []
        # Successes up to so many seconds can change no decision.
        self._unmoved_up_to = -math.inf
        # The next instant to look after these, and after calls in flight that
        # may have become suspects.
        self._look_at = -math.inf
        self._breaker_seen = self.breaker.generation

    def _breaker_of(self, breaker: Breaker | None) -> CircuitBreaker | NoBreaker | ForeignBreaker:
        if breaker is None:
            return NoBreaker()
        return breaker if type(breaker) is CircuitBreaker else ForeignBreaker(breaker, self.faults)

    def _budget_of(self, budget: Budget | Sequence[Budget] | None) -> Budget:
        if budget is None:
            return Unlimited()
        if isinstance(budget, Sequence):
            return AllOf([self._budget_of(each) for each in budget])
        return budget if type(budget) is TokenBucket else ForeignBudget(budget, self.faults)

    def timeout_of(self, timeout: TimeoutPolicy | float | None) -> TimeoutPolicy:
        """
        The policy that a user's `timeout` stands for.
        """
        if timeout is None:
            return NoTimeout()
        if isinstance(timeout, (int, float)):
            return FixedTimeout(timeout)
        return timeout if type(timeout) is AdaptiveTimeout else ForeignTimeout(timeout, self.faults)

    # -- asking ---------------------------------------------------------------

    def begin(self, limits: Limits) -> Call:
        """
        Ask every policy for one call.

        Returns:
            The call, whose deadline is in force from now on.

        Raises:
            CallRejectedError: If one of them refuses; nothing is taken then.
        """
        now = limits.clock.now()
        timeout = limits.timeout.current(now)
        outer = current_call.get()
        while outer is not None and outer.ended:
            outer = outer.outer
        if outer is not None:
            timeout = _within(timeout, outer)
        budget_before = self._budget_before(now) if self.sinks else None
        if self.orphans.running and len(self.orphans.running) >= self._max_orphans:
            self._refuse(TooManyOrphansError, "too_many_orphans", None, timeout, budget_before)
        if now >= self._look_at:
            self._look(now)
        permit = self.breaker.shared_permit
        would_reject = None
        if permit is None:
            answer = self._ask_breaker(now, timeout + limits.grace)
            if isinstance(answer, Refusal):
                if flag.read(self._enabled):
                    self._refuse(CircuitOpenError, answer.reason, answer.retry_after, timeout, budget_before)
                # A permit of no generation: what comes of it teaches nothing,
                # just as if the breaker had refused.
                would_reject = answer.reason
                answer = Permit(0)
            permit = answer
        if self._limited:
            lock = self.lock
            lock.acquire()
            try:
                granted = self.budget.try_acquire(1, now)
            finally:
                lock.release()
        else:
            granted = self.budget.try_acquire(1, now)
        if not granted:
            with self.lock:
                self.breaker.release(permit, now)
                retry_after = self.budget.retry_after(1, now)
            self._refuse(BudgetExhaustedError, "budget_exhausted", retry_after, timeout, budget_before)
        call = Call()
        call.limits = limits
        call.started_at = now
        call.timeout = timeout
        call.deadline = now + timeout
        call.permit = permit
        call.outer = outer
        call.lane = call.leftover = None
        call.ended = call.aborting = call.disturbed = False
        call.where = ""
        if self.sinks:
            try:
                call.id = self._tell_request(timeout, budget_before, would_reject)
            except BaseException:
                # Interrupted from the keyboard: nothing was sent.
                self.give_back(call, now)
                raise
        return call

    def give_back(self, call: Call, now: float) -> None:
        """
        Take permit and token back from a call that was not sent.
        """
        with self.lock:
            self.budget.give_back(1, now)
        call.ended = True
        self.settle(call, Outcome.CANCELLED, now)

    def _ask_breaker(self, now: float, report_within: float) -> Permit | Refusal:
        lock = self.lock
        lock.acquire()
        try:
            answer = self.breaker.acquire(now, timeout=report_within)
        finally:
            lock.release()
        if self.breaker.generation != self._breaker_seen:
            self.notice(now)
        return answer

    def _refuse(
        self,
        error: type[CircuitOpenError | BudgetExhaustedError | TooManyOrphansError],
        reason: str,
        retry_after: float | None,
        timeout: float,
        budget_before: int | None,
    ) -> NoReturn:
        lock = self.lock
        lock.acquire()
        self.counts[_REJECTED] += 1
        lock.release()
        if self.sinks:
            call_id = self._tell_request(timeout, budget_before, None)
            after = None if retry_after is None else milliseconds(retry_after)
            self.tell(GenReject(self.clock.wall(), self.name, call_id, reason, after))
        raise error(self.name, retry_after)

    def _look(self, now: float) -> None:
        """
        Learn what waits to be learned, and tell the breaker of the calls in flight that have taken suspiciously long.
        """
        # Here and not in the constructor: a guard that was never called has
        # nothing to put right after a fork, and the entry weighs 185 bytes.
        _engines.add(self)
        with self.lock:
            self.catch_up(now)
            self._look_at = now + _LOOK_EVERY
            self._look_for_suspects(now)
            self._unmoved_up_to = self._unmoved(now)
        self.notice(now)

    def _look_for_suspects(self, now: float) -> None:
        old = [
            call
            for call in self.lanes.in_flight()
            if call.started_at + _LEAST_SUSPECT_AGE <= now and call.permit is self.breaker.shared_permit
        ]
        p95 = self.p95(now) if old else None
        if p95 is None:
            return
        age = max(2 * p95, _LEAST_SUSPECT_AGE)
        for call in old:
            if call.ended:
                continue
            if call.started_at + age <= now:
                self.suspects[call] = None
            else:
                self._look_at = min(self._look_at, call.started_at + age)
        self.breaker.suspect(len(self.suspects), now)

    def catch_up(self, now: float) -> None:
        """
        Learn the successes that wait; under the lock of the caller.
        """
        waiting = len(self._pending)
        if waiting:
            permits, seconds, at = zip(*self._pending[:waiting])
            del self._pending[:waiting]
            self.counts[_SUCCESS.ordinal] += waiting
            self.timeout.observe_unmoved(seconds, at)
            self.breaker.record_unmoved(permits, seconds, at)

    def _unmoved(self, now: float) -> float:
        return min(self.breaker.unmoved_up_to(), self.timeout.unmoved_up_to(now))

    # -- settling -------------------------------------------------------------

    def returned(self, call: Call, result: object) -> BaseException | None:
        """
        Settle a call whose callee returned.

        Returns:
            None if the result is the caller's; else what is to be raised instead.
        """
        lane = call.lane
        if lane is not None:
            del lane.calls[call]
            if call.disturbed:
                return self._returned_late(call, result)
            # The context keeps this call, and must not keep its task.
            call.task = call.coro = call.waits_for = None
        elif call.disturbed:
            return self._returned_late(call, result)
        call.ended = True
        limits = call.limits
        now = limits.clock.now()
        if type(result) in NO_STATUS and limits.classify is None:
            seconds = now - call.started_at
            if seconds <= self._unmoved_up_to:
                pending = self._pending
                pending.append((call.permit, seconds, now))
                if len(pending) >= _MOST_PENDING:
                    self._look(now)
                if self.sinks:
                    self._tell_end(call, _SUCCESS, seconds, None)
            else:
                self.settle(call, _SUCCESS, now)
        else:
            self.settle(call, self.classified(result, limits), now)
        return None

    def _returned_late(self, call: Call, result: object) -> BaseException | None:
        """
        Settle a call whose callee was cancelled and has returned all the same.
        """
        current_call.set(call.outer)
        now = self.clock.now()
        if asyncio_driver.end(call):
            self._end(call, now)
            self.settle(call, _CANCELLED, now)
            return asyncio.CancelledError()
        if call.aborting:
            return self._timed_out(call, now, left=False)
        call.ended = True
        # Somebody cancelled, and nobody is waiting for that any more: the
        # callee itself did, or 3.10 cannot tell. The result is good, but there
        # what swallowed a cancellation proves nothing.
        known = asyncio_driver.COUNTS_CANCELS
        self.settle(call, self.classified(result, call.limits) if known else _CANCELLED, now)
        return None

    def failed(self, call: Call, error: BaseException) -> BaseException | None:
        """
        Settle a call that ended with *error*.

        Returns:
            None if *error* is the caller's; else what is to be raised instead.
        """
        current_call.set(call.outer)
        lane = call.lane
        if lane is not None:
            lane.calls.pop(call, None)
        cancelled = asyncio_driver.end(call)
        now = self.clock.now()
        is_cancel = isinstance(error, asyncio.CancelledError)
        if cancelled:
            # The caller's own cancellation wins over everything.
            self._end(call, now)
            self.settle(call, _CANCELLED, now)
            if is_cancel or not isinstance(error, Exception):
                return None
            return asyncio.CancelledError()
        if isinstance(error, Abandoned):
            return self._timed_out(call, now, left=True)
        if call.aborting and (is_cancel or isinstance(error, Exception)):
            return self._timed_out(call, now, left=False)
        self._end(call, now)
        self.settle(call, self.classified(error, call.limits), now)
        return None

    def _timed_out(self, call: Call, now: float, *, left: bool) -> CallTimeoutError:
        receipt = self._end(call, now) or ("late" if left else "clean")
        error = CallTimeoutError(
            guard=self.name,
            timeout=call.timeout,
            elapsed=now - call.started_at,
            receipt=receipt,
            where=call.where,
        )
        self.settle(call, Outcome.TIMEOUT, now, error)
        return error

    def _end(self, call: Call, now: float) -> Any:
        """
        Count what the callee has left behind; return its receipt, if there is something.
        """
        leftover, call.leftover = call.leftover, None
        if leftover is None or not leftover.running:
            call.ended = True
            return None if leftover is None else "late"
        orphan = self.orphans.add(now, call.where)

        def ended() -> None:
            call.ended = True
            orphan.end()

        leftover.when_ended(ended)
        if self.sinks:
            self.tell(GenAbandoned(self.clock.wall(), self.name, call.id, len(self.orphans), call.where))
        return orphan

    def classified(self, ended: object, limits: Limits) -> Outcome:
        """
        The outcome that a result or an exception stands for.
        """
        if limits.classify is not None and (isinstance(ended, Exception) or not isinstance(ended, BaseException)):
            try:
                outcome = limits.classify(ended)
                if outcome is not None:
                    return Outcome(outcome)
            except Exception:
                self.faults.add("classify()")
        return classify(ended)

    def settle(self, call: Call, outcome: Outcome, now: float, timed_out: CallTimeoutError | None = None) -> None:
        """
        Let every policy learn how *call* ended, and tell it. Once a call.
        """
        seconds = now - call.started_at
        breaker = self.breaker
        lock = self.lock
        lock.acquire()
        try:
            self.catch_up(now)
            self.counts[outcome.ordinal] += 1
            if outcome is _SUCCESS:
                self.timeout.observe(seconds, now, completed=True)
            elif timed_out is not None:
                self.timeout.observe(seconds, now, completed=False)
            if self.suspects and call in self.suspects:
                del self.suspects[call]
                breaker.suspect(len(self.suspects), now)
            if outcome is _CANCELLED:
                breaker.release(call.permit, now)
            else:
                breaker.record(call.permit, outcome, now, seconds=seconds)
            self._unmoved_up_to = self._unmoved(now)
        finally:
            lock.release()
        if breaker.generation != self._breaker_seen:
            self.notice(now)
        if self.sinks:
            self._tell_end(call, outcome, seconds, timed_out)

    # -- telling --------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """
        Hand *event* to each sink; one that raises harms nobody.
        """
        for sink in self.sinks:
            try:
                sink(event)
            except Exception:
                self.faults.add(f"sink {sink!r}")

    def _budget_before(self, now: float) -> int | None:
        if not self._limited:
            return None
        with self.lock:
            return self.budget.available(now)

    def _tell_request(self, timeout: float, budget_before: int | None, would_reject: str | None) -> str:
        call_id = f"{_id_prefix}-{next(_id_count)}"
        timeout_ms = milliseconds(timeout) if timeout < math.inf else None
        self.tell(GenRequest(self.clock.wall(), self.name, call_id, timeout_ms, budget_before, would_reject))
        return call_id

    def _tell_end(
        self, call: Call, outcome: Outcome, seconds: float, timed_out: CallTimeoutError | None
    ) -> None:
        wall = self.clock.wall()
        latency = milliseconds(seconds)
        if outcome is Outcome.SUCCESS:
            self.tell(GenSuccess(wall, self.name, call.id, latency))
        elif outcome is Outcome.CANCELLED:
            self.tell(GenCancelled(wall, self.name, call.id, latency))
        else:
            receipt = where = None
            if timed_out is not None:
                receipt, where = timed_out.receipt, timed_out.where
            self.tell(GenFail(wall, self.name, call.id, outcome.value, latency, receipt, where))

    def notice(self, now: float) -> None:
        """
        Tell that the breaker has changed its state, once a change.
        """
        if self.breaker.generation == self._breaker_seen:
            return
        wall = self.clock.wall()
        with self.lock:
            if self.breaker.generation == self._breaker_seen:
                return
            self._breaker_seen = self.breaker.generation
            # Suspects were those of a state that is gone.
            self.suspects.clear()
            state = self.breaker.state(now)
            self._turn(state, now, wall)
            rate = self.failure_rate(now)
        self._tell_state(state, rate, wall)

    def _turn(self, state: BreakerState, now: float, wall: float) -> None:
        if self._open_time is None:
            self._open_time = OpenTime()
        self._open_time.turn(state in _OPEN, now, wall)

    def _tell_state(self, state: BreakerState, rate: float | None, wall: float) -> None:
        if self.sinks:
            rounded = None if rate is None else round(rate, 4)
            self.tell(BreakerChanged(wall, self.name, str(state), rounded))

    # -- steering and showing; each under the lock of its caller ----------------

    def steer(self, act: Callable[[float], None]) -> None:
        """
        Let an operator set the breaker's state, and tell it.
        """
        now, wall = self.clock.now(), self.clock.wall()
        with self.lock:
            self.catch_up(now)
            before = self.breaker.state(now)
            act(now)
            self._unmoved_up_to = self._unmoved(now)
            state = self.breaker.state(now)
            self._breaker_seen = self.breaker.generation
            self.suspects.clear()
            self._turn(state, now, wall)
            rate = self.failure_rate(now)
        if state is not before:
            self._tell_state(state, rate, wall)

    def failure_rate(self, now: float) -> float | None:
        """
        The breaker's failure rate; None if it tells none.
        """
        rate = getattr(self.breaker, "failure_rate", None)
        return None if rate is None else rate(now)

    def p95(self, now: float) -> float | None:
        """
        The learned quantile; None if there is none.
        """
        p95 = getattr(self.timeout, "p95", None)
        return None if p95 is None else p95(now)

    def budget_left(self, now: float) -> int | None:
        """
        Whole calls that the budget allows; None without a budget.
        """
        return self.budget.available(now) if self._limited else None

    def open_today(self, now: float) -> float:
        """
        Seconds that the breaker was open today.
        """
        return 0.0 if self._open_time is None else self._open_time.today(now, self.clock.wall())

    def refusing(self) -> bool:
        """
        Whether the flag lets the breaker refuse.
        """
        return flag.read(self._enabled)

    # -- forking --------------------------------------------------------------

    def after_fork(self) -> None:
        """
        Go on in a forked child, where only the thread that forked runs.
        """
        # Another thread may have held it, and will never release it here.
        self.lock = threading.Lock()
        mine: set[Call] = set()
        call = current_call.get()
        while call is not None:
            mine.add(call)
            call = call.outer
        self.lanes.forget(keep=mine)
        self.orphans.forget()
        self.suspects = {}


def _within(timeout: float, outer: Call) -> float:
    """
    What the deadline of the call around a new one leaves of *timeout*.
    """
    if outer.deadline == math.inf:
        return timeout
    return max(0.0, min(timeout, outer.deadline - outer.limits.clock.now()))


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork() -> None:
    global _id_prefix
    _id_prefix = os.urandom(6).hex()
    for engine in list(_engines):
        engine.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
