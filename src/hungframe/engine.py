"""
The steps of a guarded call, the same few for every kind.

`begin` asks the policies; `returned` or `failed` settles, once.

Events are told after the decision and outside of the lock. A closed breaker
admits without the lock.
"""

from __future__ import annotations

import asyncio
import math
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from hungframe._core.outcome import NO_STATUS, Outcome
from hungframe.abort import asyncio_driver, wire
from hungframe.abort.asyncio_driver import Abandoned
from hungframe.abort.call import Call, current_call, id_of, leave
from hungframe.abort.mistake import NotGuardedError
from hungframe.asking import Asking
from hungframe.errors import (
    CallTimeoutError,
)

# Successes that wait to be learned, at most.
_MOST_PENDING = 200

# Reading a member off its enum costs 70 ns before 3.12.
_SUCCESS = Outcome.SUCCESS
_CANCELLED = Outcome.CANCELLED
_TIMEOUT = Outcome.TIMEOUT

# What a callee returns instead of doing its work.
_NOT_BEGUN = frozenset({AsyncGeneratorType, CoroutineType, GeneratorType})
_GUARD_INSTEAD = {
    AsyncGeneratorType: "decorate an `async def` that iterates over it and yields its items",
    CoroutineType: "decorate an `async def` that awaits it, or use `await acall()`",
    GeneratorType: "decorate a function that iterates over it and yields its items: `yield from it`",
}


class Engine(Asking):
    """
    The policies of one guard, and what a call does with them.
    """

    __slots__ = ()

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
                    self.teller.end(id_of(call), _SUCCESS, seconds, None)
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
            self.teller.abandoned(id_of(call), len(self.orphans), str(call.where))
        return orphan

    def orphan_ended(self, call: Call) -> None:
        """
        What *call* had left behind has ended; from any thread.
        """


def _is_cut_short(call: Call) -> bool:
    """
    Tell whether the time of the call around is up as well.

    An outer deadline that leaves a call less than its own timeout says nothing
    of the provider: three impatient callers must not open its breaker.
    """
    outer = call.outer
    return outer is not None and outer.deadline - outer.limits.clock.now() < 0.001
