"""
The metrics that `OTelSink` keeps: instruments by OpenTelemetry's conventions, few attributes with few values.

What stands at a value is remembered here and looked at when metrics are
collected: with the SDK each measurement costs more than a guarded call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from hungframe import events
from hungframe.events import Event
from hungframe.telemetry._extra import needed

if TYPE_CHECKING:
    from opentelemetry import metrics
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
else:
    metrics = needed("opentelemetry.metrics", extra="otel")

# Seconds: from what answers at once to what an image takes, and over the longest timeout.
BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0)

STATES: Final = ("closed", "open", "half_open", "forced_open", "disabled")

# What OpenTelemetry's conventions call a value that is one of too many.
OTHER: Final = "_OTHER"

GUARD: Final = "hungframe.guard"
OUTCOME: Final = "hungframe.outcome"
ERROR: Final = "error.type"
STATE: Final = "hungframe.breaker.state"


class Metrics:
    """
    The instruments, and what of each event goes into them.
    """

    def __init__(
        self, meter_provider: MeterProvider | None, max_guards: int, in_flight: Callable[[], Iterable[str]]
    ) -> None:
        meter = metrics.get_meter("hungframe", meter_provider=meter_provider)
        self._max_guards = max_guards
        self._guards: dict[str, str] = {}
        self._in_flight = in_flight
        self._timeouts: dict[str, float] = {}
        self._budgets: dict[str, int] = {}
        self._states: dict[str, str] = {}
        self._duration = meter.create_histogram(
            "hungframe.call.duration",
            unit="s",
            description="Duration of guarded calls, from being let in to their end.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        meter.create_observable_up_down_counter(
            "hungframe.call.active", [self._look_active], unit="{call}", description="Guarded calls that run now."
        )
        meter.create_observable_gauge(
            "hungframe.call.timeout",
            [lambda _: _observed(self._timeouts)],
            unit="s",
            description="Timeout that the latest call was given.",
        )
        meter.create_observable_gauge(
            "hungframe.budget.available",
            [lambda _: _observed(self._budgets)],
            unit="{call}",
            description="Calls that the budget had before the latest one.",
        )
        self._rejections = meter.create_counter(
            "hungframe.call.rejections", unit="{call}", description="Calls that were refused before they began."
        )
        self._retries = meter.create_counter(
            "hungframe.call.retries", unit="{attempt}", description="Attempts made after one that failed."
        )
        self._hedges = meter.create_counter(
            "hungframe.call.hedges", unit="{attempt}", description="Attempts sent beside one that took long."
        )
        self._fallbacks = meter.create_counter(
            "hungframe.call.fallbacks", unit="{call}", description="Calls whose caller was given something else."
        )
        self._abandoned = meter.create_counter(
            "hungframe.call.abandoned", unit="{call}", description="Calls whose callee was left behind."
        )
        self._transitions = meter.create_counter(
            "hungframe.breaker.transitions", unit="{transition}", description="Changes of the breaker's state."
        )
        meter.create_observable_gauge(
            "hungframe.breaker.state",
            [self._look_state],
            unit="1",
            description="1 for the state that the breaker is in, else 0.",
        )
        self._pauses = meter.create_counter(
            "hungframe.budget.pauses", unit="{pause}", description="Pauses that the provider asked for."
        )
        self._probes = meter.create_histogram(
            "hungframe.probe.duration",
            unit="s",
            description="Duration of a prober's probes.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._blocked = meter.create_histogram(
            "hungframe.loop.blocked",
            unit="s",
            description="For how long an event loop did not run.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._deadletters = meter.create_counter(
            "hungframe.queue.deadletters", unit="{job}", description="Jobs that were given up for good."
        )
        self._tell: Mapping[type[Event], Callable[[str, Any], None]] = {
            events.GenRequest: self._requested,
            events.GenSuccess: lambda guard, e: self._lasted(guard, e, {OUTCOME: "success"}),
            events.GenCancelled: lambda guard, e: self._lasted(guard, e, {OUTCOME: "cancelled"}),
            events.GenFail: lambda guard, e: self._lasted(guard, e, {OUTCOME: e.kind, ERROR: e.kind}),
            events.GenReject: lambda guard, e: self._rejections.add(1, {GUARD: guard, ERROR: e.reason}),
            events.GenRetry: lambda guard, e: self._retries.add(1, {GUARD: guard, ERROR: e.kind}),
            events.GenHedge: lambda guard, e: self._hedges.add(1, {GUARD: guard}),
            events.GenFallback: lambda guard, e: self._fallbacks.add(1, {GUARD: guard, ERROR: e.kind}),
            events.GenAbandoned: lambda guard, e: self._abandoned.add(1, {GUARD: guard}),
            events.BreakerChanged: self._changed,
            events.BudgetPaused: lambda guard, e: self._pauses.add(1, {GUARD: guard}),
            events.ProbeEnded: self._probed,
            events.LoopBlocked: lambda guard, e: self._blocked.record(e.blocked_ms / 1000, {GUARD: guard}),
            events.QueueDeadletter: lambda guard, e: self._deadletters.add(1, {GUARD: guard, ERROR: e.reason}),
        }

    def tell(self, event: Event) -> None:
        """
        Count *event*.
        """
        tell = self._tell.get(type(event))
        if tell is not None:
            tell(self._name(event.guard), event)

    def _look_active(self, _: CallbackOptions) -> list[Observation]:
        counts = dict.fromkeys(self._guards.copy(), 0)
        for guard in self._in_flight():
            name = self._name(guard)
            counts[name] = counts.get(name, 0) + 1
        return _observed(counts)

    def _look_state(self, _: CallbackOptions) -> list[Observation]:
        return [
            metrics.Observation(int(state == now), {GUARD: guard, STATE: state})
            for guard, now in self._states.copy().items()
            for state in STATES
        ]

    def _name(self, guard: str) -> str:
        known = self._guards.get(guard)
        if known is not None:
            return known
        if len(self._guards) >= self._max_guards:
            # Not remembered: there may be any number of them.
            return OTHER
        self._guards[guard] = guard
        return guard

    def _requested(self, guard: str, event: events.GenRequest) -> None:
        # Of guards that share a name the latest would win, which means nothing.
        if guard is OTHER:
            return
        if event.timeout_ms is not None:
            self._timeouts[guard] = event.timeout_ms / 1000
        if event.budget_before is not None:
            self._budgets[guard] = event.budget_before

    def _lasted(self, guard: str, event: Any, attributes: dict[str, str]) -> None:
        self._duration.record(event.latency_ms / 1000, {GUARD: guard, **attributes})

    def _changed(self, guard: str, event: events.BreakerChanged) -> None:
        self._transitions.add(1, {GUARD: guard, STATE: event.state})
        if guard is not OTHER:
            self._states[guard] = event.state

    def _probed(self, guard: str, event: events.ProbeEnded) -> None:
        attributes = {GUARD: guard, OUTCOME: event.outcome}
        if event.outcome != "success":
            attributes[ERROR] = event.outcome
        self._probes.record(event.latency_ms / 1000, attributes)


def _observed(values: Mapping[str, float]) -> list[Observation]:
    # A copy, since other threads tell events meanwhile.
    return [metrics.Observation(value, {GUARD: guard}) for guard, value in dict(values).items()]
