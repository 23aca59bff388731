"""
What one guard has in every metric, and what each kind of event adds to it.

Looking a label up costs more than counting, so it is done once a guard. All that
can be counted is there from the start, at 0: an increase from nothing is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import Counter

from hungframe import events
from hungframe._core.outcome import Outcome
from hungframe._core.states import BreakerState
from hungframe.telemetry._families import Families, legible
from hungframe.telemetry._openness import Openness

OTHER = "other"
"""The label of what there is no room for, or no name."""

REASONS = (
    "circuit_open",
    "half_open",
    "forced_open",
    "budget_exhausted",
    "budget_paused",
    "bulkhead_full",
    "too_many_orphans",
    OTHER,
)
# Known only to who keeps the queue; so many of them get a label.
MAX_DEAD_LETTER_REASONS = 20

_ABLE_TO_FAIL = tuple(outcome.value for outcome in Outcome if outcome not in (Outcome.SUCCESS, Outcome.CANCELLED))


class Series:
    """
    The metrics of one guard. *openness* is None for what is counted together as "other".
    """

    def __init__(self, of: Families, guard: str) -> None:
        guard = legible(guard)
        self.guard = guard
        self.openness = None if guard == OTHER else Openness()
        self.requests = of.requests.labels(guard)
        self.results = {outcome.value: of.results.labels(guard, outcome.value) for outcome in Outcome}
        self.rejected = {reason: of.rejected.labels(guard, reason) for reason in REASONS}
        self.durations = {result: of.durations.labels(guard, result) for result in ("success", "failed", "cancelled")}
        self.waited = of.waited.labels(guard)
        self.retries = {kind: of.retries.labels(guard, kind) for kind in _ABLE_TO_FAIL}
        self.hedges = of.hedges.labels(guard)
        self.fallbacks = {kind: of.fallbacks.labels(guard, kind) for kind in _ABLE_TO_FAIL}
        self.abandoned = of.abandoned.labels(guard)
        self.changes = {state.value: of.breaker_changes.labels(guard, state.value) for state in BreakerState}
        self.open = of.breaker_open.labels(guard)
        self.pauses = of.pauses.labels(guard)
        self.paused = of.paused.labels(guard)
        self.probes = {outcome.value: of.probes.labels(guard, outcome.value) for outcome in Outcome}
        self.blocked = of.blocked.labels(guard)
        self.blocked_for = of.blocked_for.labels(guard)


def _of(counters: dict[str, Counter], key: str, otherwise: str) -> Counter:
    counter = counters.get(key)
    return counters[otherwise] if counter is None else counter


def request(series: Series, event: events.GenRequest, now: float) -> None:
    series.requests.inc()
    if event.waited_ms:
        series.waited.inc(event.waited_ms / 1000)


def success(series: Series, event: events.GenSuccess, now: float) -> None:
    series.results["success"].inc()
    series.durations["success"].observe(event.latency_ms / 1000)


def fail(series: Series, event: events.GenFail, now: float) -> None:
    _of(series.results, event.kind, "unknown").inc()
    series.durations["failed"].observe(event.latency_ms / 1000)


def cancelled(series: Series, event: events.GenCancelled, now: float) -> None:
    series.results["cancelled"].inc()
    series.durations["cancelled"].observe(event.latency_ms / 1000)


def reject(series: Series, event: events.GenReject, now: float) -> None:
    series.results["rejected"].inc()
    _of(series.rejected, event.reason, OTHER).inc()


def abandoned(series: Series, event: events.GenAbandoned, now: float) -> None:
    series.abandoned.inc()


def retry(series: Series, event: events.GenRetry, now: float) -> None:
    _of(series.retries, event.kind, "unknown").inc()


def hedge(series: Series, event: events.GenHedge, now: float) -> None:
    series.hedges.inc()


def fallback(series: Series, event: events.GenFallback, now: float) -> None:
    _of(series.fallbacks, event.kind, "unknown").inc()


def breaker(series: Series, event: events.BreakerChanged, now: float) -> None:
    change = series.changes.get(event.state)
    if change is not None:
        change.inc()
    if series.openness is not None:
        series.open.inc(series.openness.turn(event.state, now))


def scheduled(series: Series, event: events.ProbeScheduled, now: float) -> None:
    if series.openness is not None and event.in_ms is not None:
        series.openness.half_open_in(event.in_ms / 1000, now)


def pause(series: Series, event: events.BudgetPaused, now: float) -> None:
    series.pauses.inc()
    series.paused.inc(event.paused_ms / 1000)


def probe(series: Series, event: events.ProbeEnded, now: float) -> None:
    _of(series.probes, event.outcome, "unknown").inc()


def blocked(series: Series, event: events.LoopBlocked, now: float) -> None:
    series.blocked.inc()
    series.blocked_for.inc(event.blocked_ms / 1000)


COUNTING: dict[type[events.Event], Callable[[Series, Any, float], None]] = {
    events.GenRequest: request,
    events.GenSuccess: success,
    events.GenFail: fail,
    events.GenCancelled: cancelled,
    events.GenReject: reject,
    events.GenAbandoned: abandoned,
    events.GenRetry: retry,
    events.GenHedge: hedge,
    events.GenFallback: fallback,
    events.BreakerChanged: breaker,
    events.ProbeScheduled: scheduled,
    events.BudgetPaused: pause,
    events.ProbeEnded: probe,
    events.LoopBlocked: blocked,
}

# These read the clock, and what they change is changed by one at a time.
TURNING = (events.BreakerChanged, events.ProbeScheduled)


class AllSeries:
    """
    The series of all guards: of so many guards their own, of further ones together.
    """

    def __init__(self, families: Families, max_guards: int) -> None:
        self._families = families
        self._max_guards = max_guards
        self._other: Series | None = None
        self._reasons: set[str] = set()
        self.by_guard: dict[str, Series] = {}

    def of(self, guard: str) -> Series:
        """
        Find the series of a guard, and make them where there is room.
        """
        series = self.by_guard.get(guard)
        if series is not None:
            return series
        if len(self.by_guard) < self._max_guards:
            series = self.by_guard[guard] = Series(self._families, guard)
            return series
        if self._other is None:
            self._other = Series(self._families, OTHER)
        return self._other

    def dead_letter(self, queue: str, reason: str) -> Counter:
        """
        Find the counter of the jobs that *queue* gave up for *reason*.
        """
        reason = legible(reason)
        if reason not in self._reasons:
            if len(self._reasons) < MAX_DEAD_LETTER_REASONS:
                self._reasons.add(reason)
            else:
                reason = OTHER
        return self._families.dead_letters.labels(self.of(queue).guard, reason)
