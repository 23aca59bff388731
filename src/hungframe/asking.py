"""
What a call asks of every policy before it is sent: all give it what it needs, or one refuses and nothing is taken.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NoReturn

from hungframe._core.outcome import Outcome
from hungframe._core.states import NO_PERMIT, Permit, Refusal
from hungframe.abort.call import Call, current_call
from hungframe.abort.where import NOWHERE
from hungframe.errors import (
    BudgetExhaustedError,
    CallRejectedError,
    CircuitOpenError,
    TooManyOrphansError,
)
from hungframe.limits import Limits
from hungframe.settling import Settling
from hungframe.waiting import NotYet, Waiting

# Reading a member off its enum costs 70 ns before 3.12.
_REJECTED = Outcome.REJECTED.ordinal

# Seconds for which a half-open permit is held at most.
_LONGEST_LEASE = 600.0


class Asking(Settling):
    """
    The policies of one guard, and what a call asks of them.
    """

    __slots__ = ()

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


def _within(timeout: float, outer: Call) -> float:
    """
    What the deadline of the call around a new one leaves of *timeout*.
    """
    if outer.deadline == math.inf:
        return timeout
    return max(0.0, min(timeout, outer.deadline - outer.limits.clock.now()))
