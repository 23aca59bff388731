"""
What every policy learns from the end of a call, and what is told of it. Once a call.
"""

from __future__ import annotations

import random

from hungframe._core.backoff import PauseBackoff
from hungframe._core.cost import Amounts
from hungframe._core.hint import hint_of
from hungframe._core.outcome import Outcome, classify
from hungframe.abort.call import Call, id_of
from hungframe.abort.mistake import NotGuardedError
from hungframe.errors import (
    CallTimeoutError,
)
from hungframe.limits import Limits
from hungframe.policies import Policies

# Reading a member off its enum costs 70 ns before 3.12.
_SUCCESS = Outcome.SUCCESS
_CANCELLED = Outcome.CANCELLED
_QUOTA = Outcome.QUOTA
_TIMEOUT = Outcome.TIMEOUT

RESTED = object()
"""The end of a call whose 429 was told when its headers came."""


class Settling(Policies):
    """
    The policies of one guard, and how a call is settled with them.
    """

    __slots__ = ()

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
            self.teller.end(id_of(call), outcome, seconds, timed_out)
        if outcome is _QUOTA and ended is not RESTED:
            self.rest(call.started_at, now, ended)
