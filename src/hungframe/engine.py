"""
The steps of a guarded call, the same few for every kind.

`begin` asks the policies; `returned` or `failed` settles, once.

Events are told after the decision and outside of the lock. A closed breaker
admits without the lock.
"""

from __future__ import annotations

import asyncio
import functools
import math
import random
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, NoReturn

from hungframe._core.backoff import PauseBackoff
from hungframe._core.cost import Amounts
from hungframe._core.hint import hint_of
from hungframe._core.outcome import NO_STATUS, Outcome, classify
from hungframe._core.states import NO_PERMIT, Permit, Refusal
from hungframe.abort import asyncio_driver, wire
from hungframe.abort.asyncio_driver import Abandoned
from hungframe.abort.call import Call, current_call, leave
from hungframe.abort.mistake import NotGuardedError
from hungframe.abort.where import NOWHERE
from hungframe.errors import (
    BudgetExhaustedError,
    CallRejectedError,
    CallTimeoutError,
    CircuitOpenError,
    TooManyOrphansError,
)
from hungframe.limits import Limits
from hungframe.policies import Policies
from hungframe.waiting import NotYet, Waiting

# Successes that wait to be learned, at most.
_MOST_PENDING = 200

# Reading a member off its enum costs 70 ns before 3.12.
_SUCCESS = Outcome.SUCCESS
_CANCELLED = Outcome.CANCELLED
_QUOTA = Outcome.QUOTA
_TIMEOUT = Outcome.TIMEOUT
_REJECTED = Outcome.REJECTED.ordinal


# Seconds for which a half-open permit is held at most.
_LONGEST_LEASE = 600.0

RESTED = object()
"""The end of a call whose 429 was told when its headers came."""

# What a callee returns instead of doing its work.
_NOT_BEGUN = frozenset({AsyncGeneratorType, CoroutineType, GeneratorType})
_GUARD_INSTEAD = {
    AsyncGeneratorType: "decorate an `async def` that iterates over it and yields its items",
    CoroutineType: "decorate an `async def` that awaits it, or use `await acall()`",
    GeneratorType: "decorate a function that iterates over it and yields its items: `yield from it`",
}


class Engine(Policies):
    """
    The policies of one guard, and what a call does with them.
    """

    __slots__ = ()

    # -- asking ---------------------------------------------------------------

    def begin(self, limits: Limits, waiting: Waiting | None = None) -> Call:
        """
        Ask every policy for one call.

        Args:
            limits: The settings of the call.

            waiting: Who asks, where it may wait: then what ends by itself is no refusal.

        Returns:
            The call, whose deadline is in force from now on.

        Raises:
            CallRejectedError: If one of them refuses; nothing is taken then.

            NotYet: If it is to wait; nothing is taken, and nothing told.
        """
        now = limits.clock.now()
        if now >= self.look_at:
            # Before anything takes the lock: in a forked child it may be another.
            self.look(now)
        timeout = limits.timeout.current(now)
        if waiting is not None and waiting.ends_at < now + timeout:
            timeout = max(0.0, waiting.ends_at - now)
        outer = current_call.get()
        while outer is not None and outer.ended:
            outer = outer.outer
        if outer is not None:
            timeout = _within(timeout, outer)
        waited = 0.0 if waiting is None else now - waiting.began_at
        budget_before = self.budget_before(now) if self.sinks else None
        if self.orphans.running and len(self.orphans.running) >= self.max_orphans:
            self.refuse(TooManyOrphansError, "too_many_orphans", None, timeout, budget_before, waited)
        permit = self.breaker.shared_permit
        would_reject = None
        if permit is None:
            longest = limits.timeout.longest(now)
            if outer is not None:
                longest = _within(longest, outer)
            # A probe whose call has no deadline must fall free as well.
            answer = self._ask_breaker(now, min(longest, _LONGEST_LEASE) + limits.grace)
            if isinstance(answer, Refusal):
                if self.refusing():
                    self.refuse(CircuitOpenError, answer.reason, answer.retry_after, timeout, budget_before, waited)
                would_reject = answer.reason
                answer = NO_PERMIT
            elif answer.probe:
                timeout = longest
            permit = answer
        amounts = limits.amounts
        if self.limited:
            lock = self.lock
            lock.acquire()
            try:
                granted = self._is_next(waiting) and self.budget.try_acquire(amounts, now)
            finally:
                lock.release()
        else:
            granted = self.budget.try_acquire(amounts, now)
        if not granted:
            with self.lock:
                self.breaker.release(permit, now)
                retry_after = self.budget.retry_after(amounts, now)
            if waiting is not None and limits.waits_for_token:
                raise NotYet(retry_after)
            if self.limited and self.commons.lines:
                # Whom it may have been refused for is perhaps on a loop that was closed.
                self.commons.call_on(self.line_key)
            if now < self.paused_until:
                paused = functools.partial(BudgetExhaustedError, paused=True)
                self.refuse(paused, "budget_paused", retry_after, timeout, budget_before, waited)
            self.refuse(BudgetExhaustedError, "budget_exhausted", retry_after, timeout, budget_before, waited)
        call = Call()
        call.limits = limits
        call.started_at = now
        call.timeout = timeout
        call.deadline = now + timeout
        call.permit = permit
        call.amounts = amounts
        call.outer = outer
        call.lane = call.leftover = call.wire = None
        call.ended = call.aborting = call.disturbed = call.slot = False
        call.where = NOWHERE
        if self.sinks:
            call.id = ""
            try:
                call.id = self.teller.request(timeout, budget_before, would_reject, waited)
            except BaseException:
                # Interrupted from the keyboard: nothing was sent.
                self.give_back(call, now)
                raise
        return call

    def _is_next(self, waiting: Waiting | None) -> bool:
        """
        Tell whether nobody waits for a token who came before; under the lock of the caller.
        """
        lines = self.commons.lines
        line = lines.get(self.line_key) if lines else None
        return line is None or line.head is None or (waiting is not None and line.head is waiting.ticket)

    def give_back(self, call: Call, now: float) -> None:
        """
        Take permit and tokens back from a call that was not sent.
        """
        with self.lock:
            self.budget.give_back(call.amounts, now)
        call.ended = True
        self.settle(call, Outcome.CANCELLED, now)
        if self.commons.lines:
            # Somebody waits for just that token.
            self.commons.call_on(self.line_key)

    def _ask_breaker(self, now: float, report_within: float) -> Permit | Refusal:
        lock = self.lock
        lock.acquire()
        try:
            answer = self.ask(now, report_within)
        finally:
            lock.release()
        if self.breaker.generation != self.breaker_seen:
            self.notice(now)
        return answer

    def refuse_if_open(self, limits: Limits, waited: float = 0.0) -> None:
        """
        Refuse a call that would wait, where the breaker lets nobody through.
        """
        if self.breaker.shared_permit is not None:
            return
        now = limits.clock.now()
        with self.lock:
            refusal = self.refusal(now)
        self.notice(now)
        if refusal is not None and self.refusing():
            timeout = limits.timeout.current(now)
            budget_before = self.budget_before(now) if self.sinks else None
            self.refuse(CircuitOpenError, refusal.reason, refusal.retry_after, timeout, budget_before, waited)

    def refuse(
        self,
        error: Callable[[str, float | None], CallRejectedError],
        reason: str,
        retry_after: float | None,
        timeout: float,
        budget_before: int | None,
        waited: float = 0.0,
    ) -> NoReturn:
        """
        Refuse a call, count it and tell it.
        """
        lock = self.lock
        lock.acquire()
        self.counts[_REJECTED] += 1
        lock.release()
        if self.sinks:
            call_id = self.teller.request(timeout, budget_before, None, waited)
            self.teller.reject(call_id, reason, retry_after)
        raise error(self.name, retry_after)

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
        if type(result) in NO_STATUS and not limits.reads_result:
            seconds = now - call.started_at
            if seconds <= self.unmoved_up_to and not limits.learns_apart:
                pending = self.pending
                pending.append((call.permit, seconds, now))
                if len(pending) >= _MOST_PENDING:
                    self.look(now)
                if self.sinks:
                    self.teller.end(call.id, _SUCCESS, seconds, None)
            else:
                self.settle(call, _SUCCESS, now)
        elif type(result) in _NOT_BEGUN:
            return self._returned_not_begun(call, result, now)
        else:
            self.settle_result(call, self.classified(result, limits), result, now)
        return None

    def _returned_not_begun(self, call: Call, result: Any, now: float) -> NotGuardedError:
        """
        Settle a call whose callee returned before its work began: nothing was guarded.
        """
        kind = type(result).__name__
        if isinstance(result, (CoroutineType, GeneratorType)):
            result.close()
        self.settle(call, _CANCELLED, now)
        return NotGuardedError(
            f"guard {self.name!r}: the callee returned a {kind}, whose work begins when the guarded call is over; "
            f"{_GUARD_INSTEAD[type(result)]}"
        )

    def _returned_late(self, call: Call, result: object) -> BaseException | None:
        """
        Settle a call whose callee was cancelled and has returned all the same.
        """
        now = self.clock.now()
        instead = self._interrupted(call, now)
        if instead is not None:
            return instead
        call.ended = True
        # The callee has cancelled itself, and answered that; or, on 3.10, has
        # swallowed a cancellation of which nobody can tell whose it was. Its
        # result is good, and proves nothing then.
        swallowed = not asyncio_driver.COUNTS_CANCELS and call.ambiguous_at > -math.inf
        outcome = _CANCELLED if swallowed else self.classified(result, call.limits)
        self.settle_result(call, outcome, result, now)
        return None

    def _interrupted(self, call: Call, now: float) -> BaseException | None:
        """
        Settle a call whose callee has answered too late: after its caller was cancelled, or after its deadline.
        """
        current_call.set(call.outer)
        if asyncio_driver.end(call):
            self.left_behind(call, now)
            self.settle(call, _CANCELLED, now)
            return asyncio.CancelledError(*call.cancel_args)
        if call.aborting:
            return self._timed_out(call, now, left=False)
        return None

    def paused(self, call: Call) -> BaseException | None:
        """
        End a step of a stream whose callee has answered; the call itself goes on.

        Returns:
            None if the answer is the caller's; else what is to be raised instead, and the call is settled.
        """
        if call.lane is not None:
            del call.lane.calls[call]
        if call.disturbed:
            instead = self._interrupted(call, self.clock.now())
            if instead is not None:
                return instead
            # The callee has cancelled itself, and answered that.
            call.leftover = None
            call.disturbed = False
        asyncio_driver.end(call)
        if self.suspects and call in self.suspects:
            # It has shown a sign of life.
            with self.lock:
                if self.suspects.pop(call, self) is None:
                    self.breaker.suspect(len(self.suspects), self.clock.now())
        return None

    def failed(self, call: Call, error: BaseException) -> BaseException | None:
        """
        Settle a call that ended with *error*.

        Returns:
            None if *error* is the caller's; else what is to be raised instead.
        """
        if isinstance(error, GeneratorExit):
            self._closed(call)
            return None
        current_call.set(call.outer)
        lane = call.lane
        if lane is not None:
            lane.calls.pop(call, None)
        cancelled = asyncio_driver.end(call)
        now = self.clock.now()
        is_cancel = isinstance(error, asyncio.CancelledError)
        if cancelled:
            # The caller's own cancellation wins over everything.
            self.left_behind(call, now)
            self.settle(call, _CANCELLED, now)
            if is_cancel or not isinstance(error, Exception):
                return None
            return asyncio.CancelledError(*call.cancel_args)
        if isinstance(error, Abandoned):
            return self._timed_out(call, now, left=True)
        if call.aborting and (is_cancel or isinstance(error, Exception)):
            return self._timed_out(call, now, left=False)
        self.left_behind(call, now)
        self.settle(call, self.classified(error, call.limits), now, ended=error)
        return None

    def _closed(self, call: Call) -> None:
        """
        Settle a call that was closed, perhaps by the garbage collector: in any thread, within whatever runs there.
        """
        leave(call, ended=False)
        if call.lane is not None:
            call.lane.calls.pop(call, None)
        asyncio_driver.end(call)
        now = self.clock.now()
        self.left_behind(call, now)
        self.commons.outside_lock(self.settle, call, _CANCELLED, now)

    def _timed_out(self, call: Call, now: float, *, left: bool) -> CallTimeoutError:
        receipt = self.left_behind(call, now) or ("late" if left else "clean")
        error = CallTimeoutError(
            guard=self.name,
            timeout=call.timeout,
            elapsed=now - call.started_at,
            receipt=receipt,
            where=call.where,
            wire=None if call.wire is None else wire.report_of(call),
        )
        self.settle(call, _CANCELLED if _is_cut_short(call) else _TIMEOUT, now, error)
        return error

    def left_behind(self, call: Call, now: float) -> Any:
        """
        Count what the callee has left behind; return its receipt, if there is something.
        """
        leftover, call.leftover = call.leftover, None
        if leftover is not None:
            leftover.release()
        if leftover is None or not leftover.running:
            call.ended = True
            return None if leftover is None else "late"
        orphan = self.orphans.add(now, call.where, leftover)

        def ended() -> None:
            call.ended = True
            orphan.end()
            self.orphan_ended(call)

        leftover.when_ended(ended)
        if self.sinks:
            self.teller.abandoned(call.id, len(self.orphans), str(call.where))
        return orphan

    def orphan_ended(self, call: Call) -> None:
        """
        What *call* had left behind has ended; from any thread.
        """

    def classified(self, ended: object, limits: Limits) -> Outcome:
        """
        The outcome that a result or an exception stands for.
        """
        if isinstance(ended, NotGuardedError):
            return _CANCELLED
        if limits.classify is not None and (isinstance(ended, Exception) or not isinstance(ended, BaseException)):
            try:
                outcome = limits.classify(ended)
                if outcome is not None:
                    return Outcome(outcome)
            except Exception:
                self.faults.add("classify()")
        return classify(ended)

    def pause(self, seconds: float) -> None:
        """
        Grant nothing for so long: the provider asked for it.
        """
        until = self.clock.now() + seconds
        with self.lock:
            longer = until > self.paused_until
            if longer:
                self.paused_until = until
                self.budget.pause(until)
        if longer and self.sinks:
            self.teller.paused(seconds)

    def rest(self, started_at: float, now: float, ended: object) -> None:
        """
        Leave the provider alone after a 429: for as long as it asks for, else for a while that grows.

        Args:
            started_at: When the call began that it has refused.

            now: Seconds on the guard's clock.

            ended: Its answer, or the exception made of it.
        """
        seconds = hint_of(ended, self.clock.wall())
        if seconds is not None and now + 0.9 * seconds < self.paused_until:
            # A guarded client has told of it when the headers came.
            return
        if seconds is None:
            with self.lock:
                if self.resting is None:
                    self.resting = PauseBackoff()
                seconds = self.resting.pause(started_at, now, random.random)
        if seconds is not None:
            self.pause(seconds)

    def settle_budget(self, call: Call, used: Amounts, now: float) -> None:
        """
        Give back what *call* has taken and not used; charge what it has used and not taken.
        """
        taken = call.amounts
        if used != taken:
            with self.lock:
                self.faults.attempt("used()", None, call.limits.cost.settle, self.budget, taken, used, now)
            if self.commons.lines:
                self.commons.call_on(self.line_key)

    def settle_result(self, call: Call, outcome: Outcome, result: object, now: float, ended: object = None) -> None:
        """
        Settle *call*, which ended with *result*, and the budget by what a success tells that it has used.
        """
        limits = call.limits
        if limits.measures and outcome is _SUCCESS:
            self.settle_budget(call, limits.cost.measured(call.amounts, result, self.faults.add), now)
        self.settle(call, outcome, now, ended=result if ended is None else ended)

    def settle(
        self,
        call: Call,
        outcome: Outcome,
        now: float,
        timed_out: CallTimeoutError | None = None,
        ended: object = None,
    ) -> None:
        """
        Let every policy learn how *call* ended, and tell it. Once a call.

        Args:
            call: The call.

            outcome: What became of it.

            now: Seconds on the guard's clock.

            timed_out: What its caller is told, if it was aborted.

            ended: Its result or its exception, where that may say when to ask again.
        """
        seconds = now - call.started_at
        breaker = self.breaker
        lock = self.lock
        lock.acquire()
        try:
            self.catch_up(now)
            self.counts[outcome.ordinal] += 1
            if outcome is _SUCCESS:
                if self.resting is not None:
                    self.resting.succeeded()
                self.teach(call.limits.learner, seconds, now, completed=True)
            elif outcome is _TIMEOUT:
                # However long it would have taken: longer than this.
                self.teach(call.limits.learner, seconds, now, completed=False)
            if self.suspects and call in self.suspects:
                del self.suspects[call]
                breaker.suspect(len(self.suspects), now)
            if outcome is _CANCELLED:
                breaker.release(call.permit, now)
            else:
                if outcome is not _SUCCESS:
                    self.failed_with(outcome, now)
                breaker.record(call.permit, outcome, now, seconds=seconds)
            self.unmoved_up_to = self.unmoved(now)
        finally:
            lock.release()
        if breaker.generation != self.breaker_seen:
            self.notice(now)
        if self.sinks:
            self.teller.end(call.id, outcome, seconds, timed_out)
        if outcome is _QUOTA and ended is not RESTED:
            self.rest(call.started_at, now, ended)


def _within(timeout: float, outer: Call) -> float:
    """
    What the deadline of the call around a new one leaves of *timeout*.
    """
    if outer.deadline == math.inf:
        return timeout
    return max(0.0, min(timeout, outer.deadline - outer.limits.clock.now()))


def _is_cut_short(call: Call) -> bool:
    """
    Tell whether the time of the call around is up as well.

    An outer deadline that leaves a call less than its own timeout says nothing
    of the provider: three impatient callers must not open its breaker.
    """
    outer = call.outer
    return outer is not None and outer.deadline - outer.limits.clock.now() < 0.001
