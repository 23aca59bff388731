"""
A sink that makes spans and metrics by OpenTelemetry's conventions; it needs the API only.

A span is started at gen.request and ended at the call's final event. It is
never made current: code inside the callee sees the context of the caller.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hungframe import events
from hungframe._core import check
from hungframe.events import Event
from hungframe.telemetry import _otel_metrics
from hungframe.telemetry._extra import needed

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider
else:
    trace = needed("opentelemetry.trace", extra="otel")


class OTelSink:
    """
    Make a span for each call, and metrics.

    The span `call {guard}` begins where the call was asked for, so its parent is the caller's current span: also for
    attempts that run side by side, for those that are tried again, and for callees in worker threads and processes.
    Spans that the callee makes are children of the same parent, beside it. `gen.retry`, `gen.hedge` and
    `gen.fallback` are told as events of the caller's span, if it records.

    Without OpenTelemetry's SDK, or where none is set up, all this does nothing.

    Args:
        tracer_provider: Where spans go; OpenTelemetry's global one by default.

        meter_provider: Where metrics go; likewise.

        max_spans: Calls in flight that are known, at least 1: where there are more, the oldest span is ended with the
            outcome `unknown`, so that calls which never end cannot fill the memory.

        max_guards: Guards that have an attribute value of their own in metrics, at least 1; those that come later are
            told as `_OTHER`. A guard set may have a guard for each tenant.

    Raises:
        ImportError: Where opentelemetry-api is missing: `pip install 'hungframe[otel]'`.

        TypeError, ValueError: If a setting is of another type, or out of range.

    >>> from hungframe import Guard
    >>> Guard("images", sinks=[OTelSink()]).call(str.upper, "done")
    'DONE'
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        max_spans: int = 10_000,
        max_guards: int = 1000,
    ) -> None:
        for name, provider, makes in (
            ("tracer_provider", tracer_provider, "get_tracer"),
            ("meter_provider", meter_provider, "get_meter"),
        ):
            if provider is not None and not callable(getattr(provider, makes, None)):
                raise TypeError(
                    f"{name} must be one of OpenTelemetry's or None, got {provider!r}, which has no {makes}"
                )
        self._tracer = trace.get_tracer("hungframe", tracer_provider=tracer_provider)
        self._max_spans = check.whole("max_spans", max_spans, at_least=1)
        # Putting in and taking out are single steps, so threads need no lock.
        self._spans: OrderedDict[str, tuple[Span, Event]] = OrderedDict()
        max_guards = check.whole("max_guards", max_guards, at_least=1)
        self._metrics = _otel_metrics.Metrics(meter_provider, max_guards, self._in_flight)
        self._tell: Mapping[type[Event], Callable[[Any], None]] = {
            events.GenRequest: self._begin,
            events.GenSuccess: self._succeeded,
            events.GenFail: self._failed,
            events.GenReject: self._refused,
            events.GenCancelled: self._cancelled,
            events.GenAbandoned: self._abandoned,
            events.GenRetry: self._retried,
            events.GenHedge: self._hedged,
            events.GenFallback: self._fell_back,
        }

    def __call__(self, event: Event) -> None:
        tell = self._tell.get(type(event))
        if tell is not None:
            tell(event)
        self._metrics.tell(event)

    # -- a call from its beginning to its end -------------------------------------

    def _begin(self, event: events.GenRequest) -> None:
        attributes: dict[str, Any] = {"hungframe.guard": event.guard, "hungframe.call.id": event.id}
        if event.timeout_ms is not None:
            attributes["hungframe.timeout"] = event.timeout_ms / 1000
        if event.budget_before is not None:
            attributes["hungframe.budget.before"] = event.budget_before
        if event.would_reject is not None:
            attributes["hungframe.would_reject"] = event.would_reject
        if event.waited_ms is not None:
            attributes["hungframe.waited"] = event.waited_ms / 1000
        if event.call is not None:
            attributes["hungframe.call.attempt_of"] = event.call
        span = self._tracer.start_span(f"call {event.guard}", attributes=attributes, start_time=_nanoseconds(event.ts))
        self._spans[event.id] = span, event
        if len(self._spans) > self._max_spans:
            self._drop_oldest(event.ts)

    def _drop_oldest(self, ts: float) -> None:
        try:
            _, (span, request) = self._spans.popitem(last=False)
        except KeyError:
            # Other threads have ended all of them meanwhile.
            return
        span.set_attribute("hungframe.outcome", "unknown")
        _end(span, request, ts)

    def _succeeded(self, event: events.GenSuccess) -> None:
        self._end(event, event.id, {"hungframe.outcome": "success"}, None)

    def _cancelled(self, event: events.GenCancelled) -> None:
        self._end(event, event.id, {"hungframe.outcome": "cancelled"}, None)

    def _refused(self, event: events.GenReject) -> None:
        attributes: dict[str, Any] = {"hungframe.outcome": "rejected", "error.type": event.reason}
        if event.retry_after_ms is not None:
            attributes["hungframe.retry_after"] = event.retry_after_ms / 1000
        self._end(event, event.id, attributes, f"refused: {event.reason}")

    def _failed(self, event: events.GenFail) -> None:
        attributes = {
            "hungframe.outcome": event.kind,
            "error.type": event.kind,
            "hungframe.receipt": event.receipt,
            "hungframe.where": event.where,
            "hungframe.wire.phase": event.phase,
            "hungframe.wire.silent": _seconds(event.silent_ms),
            "hungframe.wire.bytes_sent": event.bytes_sent,
            "hungframe.wire.bytes_received": event.bytes_received,
            "hungframe.wire.connection_age": _seconds(event.connection_age_ms),
            "hungframe.wire.connection_uses": event.connection_uses,
        }
        known = {key: value for key, value in attributes.items() if value is not None}
        self._end(event, event.id, known, event.kind)

    def _end(self, event: Event, call_id: str, attributes: Mapping[str, Any], error: str | None) -> None:
        found = self._spans.pop(call_id, None)
        if found is None:
            # It was among too many, or began before this sink was there.
            return
        span, request = found
        if span.is_recording():
            span.set_attributes(attributes)
            if error is not None:
                span.set_status(trace.StatusCode.ERROR, error)
        _end(span, request, event.ts)

    def _in_flight(self) -> list[str]:
        """
        The guard of each call in flight.
        """
        while True:
            try:
                return [request.guard for _, request in list(self._spans.values())]
            except RuntimeError:
                # Another thread has put one in or taken one out meanwhile.
                continue

    # -- what is told around it ------------------------------------------------------

    def _abandoned(self, event: events.GenAbandoned) -> None:
        found = self._spans.get(event.id)
        if found is not None:
            attributes: dict[str, Any] = {"hungframe.orphans": event.orphans, "hungframe.where": event.where}
            found[0].add_event(event.evt, attributes, _nanoseconds(event.ts))

    def _retried(self, event: events.GenRetry) -> None:
        told = {"error.type": event.kind, "hungframe.attempt": event.attempt, "hungframe.delay": event.delay_ms / 1000}
        _tell_caller(event, event.call, told)

    def _hedged(self, event: events.GenHedge) -> None:
        _tell_caller(event, event.call, {"hungframe.attempt": event.attempt, "hungframe.after": event.after_ms / 1000})

    def _fell_back(self, event: events.GenFallback) -> None:
        _tell_caller(event, event.call, {"error.type": event.kind})


def _tell_caller(event: Event, call: str | None, attributes: dict[str, Any]) -> None:
    """
    Tell it as an event of the caller's span.
    """
    span = trace.get_current_span()
    if span.is_recording():
        attributes["hungframe.guard"] = event.guard
        if call is not None:
            attributes["hungframe.call.attempt_of"] = call
        span.add_event(event.evt, attributes, _nanoseconds(event.ts))


def _end(span: Span, request: Event, ts: float) -> None:
    # A wall clock may be set back.
    span.end(_nanoseconds(max(ts, request.ts)))


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _nanoseconds(ts: float) -> int:
    # A float of Unix seconds is good for a quarter of a microsecond.
    return round(ts * 1_000_000) * 1000
