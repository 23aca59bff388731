"""
Tell events to the sinks of a guard. A sink that raises harms nobody.

Nothing here is called under a lock. Where no sink listens, no event, id or
timestamp is made.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from contextvars import ContextVar

from hungframe._core.outcome import Outcome
from hungframe._core.states import BreakerState
from hungframe.errors import CallTimeoutError
from hungframe.events import (
    BreakerChanged,
    BudgetPaused,
    Event,
    GenAbandoned,
    GenCancelled,
    GenFail,
    GenFallback,
    GenHedge,
    GenReject,
    GenRequest,
    GenRetry,
    GenSuccess,
    ProbeEnded,
    ProbeScheduled,
    milliseconds,
)
from hungframe.foreign import Faults
from hungframe.ports import Clock, EventSink

# Ids are a counter behind a random prefix: a uuid costs 2 us.
_id_prefix = os.urandom(6).hex()
_id_count = itertools.count(1)


def new_id() -> str:
    """
    What names one call in its events.
    """
    return f"{_id_prefix}-{next(_id_count)}"


# Of which call the next request in this context is an attempt, and who tells it. Whoever tells that request takes it:
# a guarded call further in is no attempt of this one.
_attempt_of: ContextVar[tuple[Teller, str] | None] = ContextVar("hungframe_attempt_of", default=None)


class Teller:
    """
    The sinks of one guard, and the sentences that are told to them.
    """

    __slots__ = ("_clock", "_faults", "_guard", "sinks")

    def __init__(self, guard: str, clock: Clock, sinks: Sequence[EventSink], faults: Faults) -> None:
        self._guard = guard
        self._clock = clock
        self._faults = faults
        self.sinks = tuple(sinks)

    def tell(self, event: Event) -> None:
        """
        Hand *event* to each sink.
        """
        for place, sink in enumerate(self.sinks):
            try:
                sink(event)
            except Exception:
                self._faults.add(f"sink {place} ({type(sink).__name__})")

    def request(self, timeout: float, budget_before: int | None, would_reject: str | None, waited: float = 0.0) -> str:
        """
        Tell that a call is asked for; return the id that names it from now on.
        """
        call_id = new_id()
        timeout_ms = milliseconds(timeout) if timeout < math.inf else None
        waited_ms = milliseconds(waited) if waited > 0 else None
        wall = self._clock.wall()
        named = _attempt_of.get()
        whole = None
        if named is not None and named[0] is self:
            whole = named[1]
            _attempt_of.set(None)
        self.tell(GenRequest(wall, self._guard, call_id, timeout_ms, budget_before, would_reject, waited_ms, whole))
        return call_id

    def begin_attempts(self) -> str:
        """
        Name a call that may have several attempts, and have the next request in this context be the first of them.
        """
        whole = new_id()
        _attempt_of.set((self, whole))
        return whole

    def attempt_of(self) -> str | None:
        """
        Of which call the next request in this context is an attempt.
        """
        named = _attempt_of.get()
        return None if named is None else named[1]

    def next_attempt(self, whole: str | None) -> None:
        """
        Have the next request in this context be an attempt of the call *whole*; None: of none.
        """
        _attempt_of.set(None if whole is None else (self, whole))

    def reject(self, call_id: str, reason: str, retry_after: float | None) -> None:
        """
        Tell that it was refused.
        """
        after = None if retry_after is None else milliseconds(retry_after)
        self.tell(GenReject(self._clock.wall(), self._guard, call_id, reason, after))

    def end(self, call_id: str, outcome: Outcome, seconds: float, timed_out: CallTimeoutError | None) -> None:
        """
        Tell how it ended: the one final event of a call that was let through.
        """
        if not call_id:
            return
        wall, latency = self._clock.wall(), milliseconds(seconds)
        if outcome is Outcome.SUCCESS:
            self.tell(GenSuccess(wall, self._guard, call_id, latency))
        elif outcome is Outcome.CANCELLED:
            self.tell(GenCancelled(wall, self._guard, call_id, latency))
        else:
            self.tell(_fail(wall, self._guard, call_id, outcome, latency, timed_out))

    def abandoned(self, call_id: str, orphans: int, where: str) -> None:
        """
        Tell that a callee was left behind.
        """
        if not call_id:
            return
        self.tell(GenAbandoned(self._clock.wall(), self._guard, call_id, orphans, where))

    def retry(self, outcome: Outcome, attempt: int, seconds: float, whole: str | None) -> None:
        """
        Tell that another attempt is made, so many seconds later.
        """
        self.tell(GenRetry(self._clock.wall(), self._guard, outcome.value, attempt, milliseconds(seconds), whole))

    def hedge(self, attempt: int, seconds: float, whole: str | None) -> None:
        """
        Tell that another attempt was sent beside, after so many seconds without an answer.
        """
        self.tell(GenHedge(self._clock.wall(), self._guard, attempt, milliseconds(seconds), whole))

    def fallback(self, outcome: Outcome, whole: str | None) -> None:
        """
        Tell that a caller was given something else.
        """
        self.tell(GenFallback(self._clock.wall(), self._guard, outcome.value, whole))

    def paused(self, seconds: float) -> None:
        """
        Tell that a pause was asked for, by the provider or by hand.
        """
        self.tell(BudgetPaused(self._clock.wall(), self._guard, milliseconds(seconds)))

    def scheduled(self, kind: str, seconds: float | None) -> None:
        """
        Tell that the provider is to be probed.
        """
        in_ms = None if seconds is None else milliseconds(seconds)
        self.tell(ProbeScheduled(self._clock.wall(), self._guard, kind, in_ms))

    def probed(self, call_id: str, kind: str, outcome: Outcome, seconds: float) -> None:
        """
        Tell how a probe ended.
        """
        self.tell(ProbeEnded(self._clock.wall(), self._guard, call_id, kind, outcome.value, milliseconds(seconds)))

    def state(self, state: BreakerState, failure_rate: float | None) -> None:
        """
        Tell that the breaker is in another state.
        """
        rate = None if failure_rate is None else round(failure_rate, 4)
        self.tell(BreakerChanged(self._clock.wall(), self._guard, str(state), rate))


def _fail(
    wall: float, guard: str, call_id: str, outcome: Outcome, latency: int, timed_out: CallTimeoutError | None
) -> GenFail:
    if timed_out is None:
        return GenFail(wall, guard, call_id, outcome.value, latency, None, None)
    receipt, where, wire = timed_out.receipt, timed_out.where, timed_out.wire
    if wire is None:
        return GenFail(wall, guard, call_id, outcome.value, latency, receipt, where)
    age = wire.connection_age
    return GenFail(
        wall,
        guard,
        call_id,
        outcome.value,
        latency,
        receipt,
        where,
        wire.phase,
        milliseconds(wire.silent_for),
        wire.bytes_sent,
        wire.bytes_received,
        None if age is None else milliseconds(age),
        wire.connection_uses,
    )


def _after_fork() -> None:
    global _id_prefix
    # The child counts on from where its parent was.
    _id_prefix = os.urandom(6).hex()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
