"""
The probes of one guard, made one after the other.

A probe passes the breaker with a half-open permit, under the longest timeout
that the policy ever gives, and teaches both how it ended. It takes nothing of
what the guard's calls share: no token, no slot, no place among the counts.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from hungframe._core.outcome import Outcome
from hungframe._core.states import Permit
from hungframe.abort import asyncio_driver, runners
from hungframe.abort.asyncio_driver import Abandoned
from hungframe.abort.call import Call, current_call
from hungframe.abort.lanes import Lanes
from hungframe.abort.where import NOWHERE
from hungframe.commons import commons_of
from hungframe.recovery.results import CurrentProbe, ProbeResult, running
from hungframe.telling import new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from hungframe._core.probing import ProbeLane
    from hungframe.engine import Engine
    from hungframe.limits import Limits
    from hungframe.ports import Budget, Probe

# Seconds for a probe where the guard has no deadline: one that hangs must end.
_LONGEST = 600.0

# A loop that is held up, or a machine that is busy, beats so many seconds late
# and keeps its lane.
_MARGIN = 5.0


class Probes:
    """
    What a prober does at each turn.

    Args:
        engine: The guard's.

        limits: The guard's settings for a call.

        lane: Who may probe, and when.

        probe: The request.

        is_async: Whether it is awaited in place; else a worker thread does it.

        budget: The prober's own.

        beat_every: Most seconds between two turns.

        on_result: Takes each `ProbeResult`.
    """

    __slots__ = (
        "_beat_every",
        "_budget",
        "_commons",
        "_engine",
        "_is_async",
        "_lane",
        "_lanes",
        "_limits",
        "_on_result",
        "_probe",
    )

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        lane: ProbeLane,
        probe: Probe,
        is_async: bool,
        budget: Budget,
        beat_every: float,
        on_result: Callable[[ProbeResult], object] | None,
    ) -> None:
        self._engine = engine
        # Another total timeout or isolation of a view is no matter of a probe.
        self._limits = copy.copy(limits)
        self._lane = lane
        self._probe = probe
        self._is_async = is_async
        self._budget = budget
        # Those of a bucket which guards share, so that all take it under one
        # lock. It may be the engine's, so the two are never held together.
        self._commons = commons_of(budget)
        self._beat_every = beat_every
        self._on_result = on_result
        # Apart from the guard's: a probe is none of the calls in flight.
        self._lanes = Lanes(engine.clock)

    def beat(self) -> float:
        """
        Show that the prober lives: from now on user calls are not used as probes.

        Returns:
            Seconds that a probe is given, if one begins now.
        """
        engine = self._engine
        now = engine.clock.now()
        timeout = min(self._limits.timeout.longest(now), _LONGEST)
        with engine.lock:
            self._lane.beat(now, self._beat_every + timeout + self._limits.grace + _MARGIN)
        return timeout

    def leave(self) -> None:
        """
        Give the lane back to user calls.
        """
        with self._engine.lock:
            self._lane.leave()

    async def turn(self) -> float:
        """
        Make a probe if one is due.

        Returns:
            Seconds until it is worth looking again, at most.
        """
        engine, lane = self._engine, self._lane
        now = engine.clock.now()
        if now >= engine.look_at:
            engine.look(now)
        if len(engine.orphans) >= max(1, engine.max_orphans // 2):
            # Probes that hang on must not use up what calls may leave behind.
            # As long as none can be made, the lane is the users'.
            self.leave()
            return self._beat_every
        timeout = self.beat()
        with engine.lock:
            waits = lane.waits_for(engine.breaker, now, engine.paused_until)
        engine.notice(now)
        if waits is not None:
            return self._beat_every if waits.retry_after is None else waits.retry_after
        with self._commons.lock:
            if not self._budget.try_acquire(1, now):
                return self._budget.retry_after(1, now)
        with engine.lock:
            answer = lane.acquire_probe(
                engine.breaker,
                now,
                # It has reported by then, also if it had to be left.
                timeout=timeout + self._limits.grace + _MARGIN,
                not_before=engine.paused_until,
            )
        engine.notice(now)
        if not isinstance(answer, Permit):
            with self._commons.lock:
                self._budget.give_back(1, now)
            return self._beat_every if answer.retry_after is None else answer.retry_after
        await self._make(self._call(answer, now, timeout), lane.kind)
        return 0.0

    def _call(self, permit: Permit, now: float, timeout: float) -> Call:
        call = Call()
        call.limits = self._limits
        call.started_at = now
        call.timeout = timeout
        call.deadline = now + timeout
        call.permit = permit
        call.outer = call.lane = call.leftover = call.wire = None
        call.ended = call.aborting = call.disturbed = call.slot = False
        call.where = NOWHERE
        # Whoever begins to listen while it runs hears of its end.
        call.id = new_id()
        return call

    async def _make(self, call: Call, kind: str) -> None:
        """
        Make one probe, and let everybody learn how it ended; only being stopped leaves here.
        """
        engine = self._engine
        in_call = current_call.set(call)
        in_probe = running.set(CurrentProbe(engine.name, kind))
        value: Any = None
        raised: BaseException | None = None
        try:
            value = await self._answer(call)
        except BaseException as error:
            raised = error
        running.reset(in_probe)
        current_call.reset(in_call)
        try:
            outcome = self._outcome(call, value, raised)
            now = engine.clock.now()
            self._settle(call, outcome or Outcome.CANCELLED, now)
            if outcome is None:
                if raised is None or isinstance(raised, Exception):
                    # It has answered its cancellation otherwise, or was left.
                    raise asyncio.CancelledError(*call.cancel_args) from None
                raise raised
            self._tell(call, kind, outcome, now - call.started_at, value, raised)
        finally:
            # A frame that holds the exception which holds the frame is a cycle.
            del raised, value

    async def _answer(self, call: Call) -> Any:
        isolate = self._limits.isolate
        moved: Awaitable[Any]
        if isolate == "process":
            moved = runners.in_process_async(call, self._engine.name, self._probe, (), {})
        elif self._is_async and isolate != "thread":
            asked: Any = self._probe()
            moved = asked
        else:
            moved = runners.in_worker_async(call, self._probe)
        return await runners.in_place(call, moved, self._lanes)

    def _outcome(self, call: Call, value: object, raised: BaseException | None) -> Outcome | None:
        """
        What a probe has proved; None if the prober is being stopped.
        """
        engine = self._engine
        if call.lane is not None:
            call.lane.calls.pop(call, None)
        stopped = asyncio_driver.end(call)
        engine.left_behind(call, engine.clock.now())
        is_cancel = isinstance(raised, asyncio.CancelledError)
        if not asyncio_driver.COUNTS_CANCELS and not call.aborting and (is_cancel or isinstance(raised, Abandoned)):
            # 3.10 cannot tell who it was: better a prober that has ended than one that cannot be stopped.
            stopped = True
        if stopped or not (raised is None or is_cancel or isinstance(raised, Exception)):
            return None
        if call.aborting or isinstance(raised, Abandoned):
            return Outcome.TIMEOUT
        return engine.classified(value if raised is None else raised, call.limits)

    def _settle(self, call: Call, outcome: Outcome, now: float) -> None:
        """
        Let breaker and timeout learn. Nothing of it is counted among the calls.
        """
        engine, seconds = self._engine, now - call.started_at
        with engine.lock:
            engine.catch_up(now)
            if outcome is Outcome.SUCCESS or outcome is Outcome.TIMEOUT:
                engine.teach(call.limits.learner, seconds, now, completed=outcome is Outcome.SUCCESS)
            if outcome is Outcome.CANCELLED:
                engine.breaker.release(call.permit, now)
            else:
                engine.failed_with(outcome, now)
                engine.breaker.record(call.permit, outcome, now, seconds=seconds)
            self._lane.end(call.permit)
            engine.unmoved_up_to = engine.unmoved(now)
        engine.notice(now)

    def _tell(
        self, call: Call, kind: str, outcome: Outcome, seconds: float, value: object, raised: BaseException | None
    ) -> None:
        engine = self._engine
        if engine.sinks:
            engine.teller.probed(call.id, kind, outcome, seconds)
        if self._on_result is not None:
            if outcome is Outcome.TIMEOUT and (call.aborting or isinstance(raised, Abandoned)):
                value = raised = None
            result = ProbeResult(engine.name, kind, outcome.value, seconds, value, raised)
            engine.faults.attempt("on_result()", None, self._on_result, result)
