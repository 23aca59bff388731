"""
OTelSink with the real SDK: a span a call, whose parent is the caller's span whatever is done around the call; metrics.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import anyio
import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hungframe import CallRejectedError, CallTimeoutError, Guard, Hedge, Retry, TokenBucket
from hungframe.events import GenFail, GenRequest, GenSuccess
from hungframe.telemetry import QueuedSink
from hungframe.telemetry.otel import OTelSink
from hungframe.testing import VirtualClock, hostile, run_virtual
from tests.guard.fakes import Backend, StatusError, fail, on_each_backend, open_by_timeouts, sleeps
from tests.telemetry.each_kind import all_kinds


class Sdk:
    """
    The SDK, with what it would export kept in memory.
    """

    def __init__(self, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("app")
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.sink = OTelSink(self.provider, self.meters, **settings)

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """
        Spans that have ended, in that order.
        """
        return [span for span in self.exporter.get_finished_spans() if name is None or span.name == name]

    def metrics(self) -> dict[str, Any]:
        """
        The metrics, by name.
        """
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> dict[tuple[Any, ...], Any]:
        """
        The values of a metric, by the values of its attributes in the order of their names; of a histogram the counts.
        """
        return {
            tuple(value for _, value in sorted(point.attributes.items())): getattr(point, "value", None)
            if hasattr(point, "value")
            else point.count
            for point in self.metrics()[name].data.data_points
        }


def parents(spans: list[ReadableSpan]) -> set[int | None]:
    """
    The ids of the spans' parents.
    """
    return {None if span.parent is None else span.parent.span_id for span in spans}


def span_id(span: trace.Span) -> int:
    """
    What names it.
    """
    return span.get_span_context().span_id


# -- spans ------------------------------------------------------------------------------------------------------------


def test_a_span_of_a_call() -> None:
    """
    From gen.request to the final event, by the guard's own clock, with what is known of the call.
    """
    sdk, clock = Sdk(), VirtualClock(wall=1_760_000_000.0)
    guard = Guard("images", clock=clock, sinks=[sdk.sink], budget=TokenBucket(capacity=3), isolate=None)

    guard.call(clock.advance, 48.25)

    (span,) = sdk.spans()
    attributes = dict(span.attributes or {})
    assert attributes.pop("hungframe.call.id")
    assert {
        "hungframe.guard": "images",
        "hungframe.timeout": 60.0,
        "hungframe.budget.before": 3,
        "hungframe.outcome": "success",
    } == attributes
    assert ("call images", trace.SpanKind.INTERNAL, trace.StatusCode.UNSET) == (
        span.name,
        span.kind,
        span.status.status_code,
    )
    assert (1_760_000_000_000_000_000, 1_760_000_048_250_000_000) == (span.start_time, span.end_time)


def test_a_call_that_failed() -> None:
    """
    Its status is an error, with the outcome for error.type; of an abort it tells where, and what was left behind.
    """
    sdk = Sdk()
    fail(Guard("images", sinks=[sdk.sink]), StatusError(500))
    with pytest.raises(CallTimeoutError):
        Guard("images", timeout=0.02, grace=0.01, sinks=[sdk.sink]).call(hostile.blocks, 0.1)

    failed, aborted = sdk.spans()
    assert failed.attributes is not None and aborted.attributes is not None
    assert (trace.StatusCode.ERROR, "5xx") == (failed.status.status_code, failed.attributes["error.type"])
    assert ("timeout", "orphan") == (aborted.attributes["error.type"], aborted.attributes["hungframe.receipt"])
    assert "in blocks" in str(aborted.attributes["hungframe.where"])
    assert ["gen.abandoned"] == [told.name for told in aborted.events]


def test_a_call_that_was_refused() -> None:
    """
    A span without length, with the reason for error.type.
    """
    sdk = Sdk()
    guard = Guard("images", clock=VirtualClock(wall=1_760_000_000.0), sinks=[sdk.sink])
    open_by_timeouts(guard)
    with pytest.raises(CallRejectedError):
        guard.call(str)

    span = sdk.spans()[-1]
    assert span.attributes is not None
    assert ("rejected", "circuit_open", 60.0) == tuple(
        span.attributes[key] for key in ("hungframe.outcome", "error.type", "hungframe.retry_after")
    )
    assert span.start_time == span.end_time


@on_each_backend
def test_a_cancelled_call_is_no_error(backend: Backend) -> None:
    """
    Who cancels knows why.
    """
    sdk = Sdk()

    async def main() -> None:
        with anyio.move_on_after(1):
            await Guard("images", sinks=[sdk.sink]).acall(sleeps, 5)

    run_virtual(main, backend=backend)

    (span,) = sdk.spans()
    assert span.attributes is not None
    assert ("cancelled", trace.StatusCode.UNSET) == (span.attributes["hungframe.outcome"], span.status.status_code)


def test_all_kinds_of_events_are_taken() -> None:
    """
    No event of any kind raises in the sink, and none of the calls is left in its table.
    """
    sdk = Sdk()

    for event in all_kinds():
        sdk.sink(event)

    assert {} == sdk.sink._spans
    assert {0} == set(sdk.points("hungframe.call.active").values())


# -- parents ----------------------------------------------------------------------------------------------------------


@on_each_backend
def test_the_callee_sees_the_context_of_the_caller(backend: Backend) -> None:
    """
    The call's span is a child of the caller's, and so is what the callee makes: they are siblings.
    """
    sdk = Sdk()

    async def callee() -> int:
        await anyio.sleep(1)
        with sdk.tracer.start_as_current_span("callee"):
            await anyio.sleep(1)
        return span_id(trace.get_current_span())

    async def main() -> None:
        with sdk.tracer.start_as_current_span("caller") as caller:
            assert span_id(caller) == await Guard("images", sinks=[sdk.sink]).acall(callee)
            assert caller is trace.get_current_span()

    run_virtual(main, backend=backend)

    (caller,) = sdk.spans("caller")
    assert {caller.context.span_id} == parents([*sdk.spans("call images"), *sdk.spans("callee")])


@on_each_backend
def test_parents_under_hedge_retry_and_fallback(backend: Backend) -> None:
    """
    Each attempt has a span below the caller's, also those in tasks of their own; the caller's tells what was done.
    """
    sdk = Sdk()
    around: dict[str, Any] = {"hedge": Hedge(after=1.0), "retry": Retry(2, base=0.1, budget=None), "fallback": "else"}
    guard = Guard("images", sinks=[sdk.sink], timeout=10, **around)

    async def fails_late() -> None:
        with sdk.tracer.start_as_current_span("callee"):
            await anyio.sleep(1.5)
        raise StatusError(500)

    async def main() -> None:
        with sdk.tracer.start_as_current_span("caller"):
            await guard.acall(fails_late)

    run_virtual(main, backend=backend)

    (caller,) = sdk.spans("caller")
    attempts = sdk.spans("call images")
    assert (4, 4) == (len(attempts), len(sdk.spans("callee")))
    assert {caller.context.span_id} == parents([*attempts, *sdk.spans("callee")])
    assert ["gen.hedge", "gen.retry", "gen.hedge", "gen.fallback"] == [told.name for told in caller.events]
    groups = {(span.attributes or {}).get("hungframe.call.attempt_of") for span in attempts}
    assert groups == {(told.attributes or {}).get("hungframe.call.attempt_of") for told in caller.events}
    assert 1 == len(groups) and None not in groups


@pytest.mark.parametrize("around", [{}, {"hedge": Hedge(after=0.01)}, {"retry": Retry(2, base=0.0, budget=None)}])
def test_parents_in_worker_threads(around: dict[str, Any]) -> None:
    """
    A sync callee in a thread of its own sees the caller's span, and the call's is below that.
    """
    sdk = Sdk()
    guard = Guard("images", sinks=[sdk.sink], isolate="thread", timeout=5, **around)
    failed: list[int] = []

    def callee() -> int:
        with sdk.tracer.start_as_current_span("callee"):
            time.sleep(0.03)
        if "retry" in around and not failed:
            failed.append(1)
            raise StatusError(500)
        return threading.get_ident()

    with sdk.tracer.start_as_current_span("caller"):
        assert threading.get_ident() != guard.call(callee)

    (caller,) = sdk.spans("caller")
    assert (2 if around else 1) == len(sdk.spans("call images"))
    assert {caller.context.span_id} == parents([*sdk.spans("call images"), *sdk.spans("callee")])


def test_a_guarded_call_within_another() -> None:
    """
    The inner call's span is a sibling of the outer's: neither is ever current.
    """
    sdk = Sdk()
    outer, inner = (Guard(name, sinks=[sdk.sink], isolate=None) for name in ("outer", "inner"))

    with sdk.tracer.start_as_current_span("caller") as caller:
        outer.call(lambda: inner.call(str))

    assert {span_id(caller)} == parents([*sdk.spans("call outer"), *sdk.spans("call inner")])


@on_each_backend
def test_a_stream_is_one_span(backend: Backend) -> None:
    """
    From its first item to its end, below the span in which the first was asked for.
    """
    sdk = Sdk()
    guard = Guard("images", sinks=[sdk.sink])

    @guard
    async def items() -> Any:
        for item in range(3):
            yield item

    async def main() -> None:
        with sdk.tracer.start_as_current_span("caller"):
            assert [0, 1, 2] == [item async for item in items()]

    run_virtual(main, backend=backend)

    assert {sdk.spans("caller")[0].context.span_id} == parents(sdk.spans("call images"))


def test_behind_a_queue() -> None:
    """
    Parents and times are right also where the sink runs in the queue's thread.
    """
    sdk, clock = Sdk(), VirtualClock(wall=1_760_000_000.0)
    with QueuedSink(sdk.sink) as queued:
        guard = Guard("images", clock=clock, sinks=[queued], isolate=None)
        with sdk.tracer.start_as_current_span("caller") as caller:
            guard.call(clock.advance, 2.5)

    (span,) = sdk.spans("call images")
    assert {span_id(caller)} == parents([span])
    assert (1_760_000_000_000_000_000, 1_760_000_002_500_000_000) == (span.start_time, span.end_time)


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_spans_that_never_end_are_bounded() -> None:
    """
    The oldest is ended with the outcome `unknown`; its end, should it come, is counted and makes no span.
    """
    sdk = Sdk(max_spans=3)

    for number in range(5):
        sdk.sink(GenRequest(10.0 + number, "images", f"7f-{number}", None, None, None))

    assert 3 == len(sdk.sink._spans)
    assert [("unknown", 13_000_000_000), ("unknown", 14_000_000_000)] == [
        ((span.attributes or {})["hungframe.outcome"], span.end_time) for span in sdk.spans()
    ]
    sdk.sink(GenSuccess(20.0, "images", "7f-0", 10))
    assert 2 == len(sdk.spans())
    assert {("images",): 3} == sdk.points("hungframe.call.active")
    assert {("images", "success"): 1} == sdk.points("hungframe.call.duration")


def test_a_clock_that_is_set_back() -> None:
    """
    No span ends before it began.
    """
    sdk = Sdk()
    sdk.sink(GenRequest(10.0, "images", "7f-0", None, None, None))
    sdk.sink(GenFail(7.0, "images", "7f-0", "timeout", 60000, None, None))

    (span,) = sdk.spans()
    assert (10_000_000_000, 10_000_000_000) == (span.start_time, span.end_time)


def test_guards_are_bounded() -> None:
    """
    Names past the bound share one value in metrics, and keep their own in spans.
    """
    sdk = Sdk(max_guards=2)

    for name in ("a", "b", "c", "d", "a"):
        Guard(name, sinks=[sdk.sink], isolate=None).call(str)

    assert {("a", "success"): 2, ("b", "success"): 1, ("_OTHER", "success"): 2} == sdk.points("hungframe.call.duration")
    assert {("a",), ("b",)} == sdk.points("hungframe.call.timeout").keys()
    assert ["call a", "call b", "call c", "call d", "call a"] == [span.name for span in sdk.spans()]


def test_many_threads() -> None:
    """
    Spans of many threads at once: each has its own, and none is left.
    """
    sdk = Sdk()
    guard = Guard("images", sinks=[sdk.sink], isolate=None)
    threads = [threading.Thread(target=lambda: [guard.call(str) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (400, 0) == (len(sdk.spans()), len(sdk.sink._spans))
    assert {("images",): 0} == sdk.points("hungframe.call.active")
    assert 0 == guard.snapshot().faults


@pytest.mark.parametrize("name", ["tracer_provider", "meter_provider"])
def test_a_provider_that_is_none(name: str) -> None:
    """
    A provider of the other kind, or anything else, is refused with the name of the argument.
    """
    with pytest.raises(TypeError, match=f"{name} must be one of OpenTelemetry's or None, got .*, which has no get_"):
        OTelSink(**{name: object()})  # type: ignore[arg-type]  # It is what must be refused.


@pytest.mark.parametrize("settings", [{"max_spans": 0}, {"max_guards": 0}, {"max_spans": 1.5}])
def test_bad_input(settings: dict[str, Any]) -> None:
    """
    Refused where it is given.
    """
    with pytest.raises((TypeError, ValueError), match=next(iter(settings))):
        OTelSink(**settings)


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_metrics() -> None:
    """
    Every instrument has what the events said, in seconds, under few attributes.
    """
    sdk, clock = Sdk(), VirtualClock(wall=1_760_000_000.0)
    guard = Guard("images", clock=clock, sinks=[sdk.sink], budget=TokenBucket(capacity=3), isolate=None)
    guard.call(clock.advance, 48.25)
    fail(guard, StatusError(404), StatusError(500))
    with pytest.raises(CallRejectedError):
        guard.call(str)
    guard.force_open()
    guard.pause(20)

    assert {("images", "success"): 1, ("4xx", "images", "4xx"): 1, ("5xx", "images", "5xx"): 1} == sdk.points(
        "hungframe.call.duration"
    )
    assert {("budget_exhausted", "images"): 1} == sdk.points("hungframe.call.rejections")
    assert {("images",): 0} == sdk.points("hungframe.call.active")
    assert {("images",): 60.0} == sdk.points("hungframe.call.timeout")
    assert {("images",): 1} == sdk.points("hungframe.budget.pauses")
    assert 1 == sdk.points("hungframe.breaker.state")[("forced_open", "images")]
    assert [1] == [value for value in sdk.points("hungframe.breaker.state").values() if value]
    assert {("forced_open", "images"): 1} == sdk.points("hungframe.breaker.transitions")
    duration = sdk.metrics()["hungframe.call.duration"]
    point = next(point for point in duration.data.data_points if point.attributes["hungframe.outcome"] == "success")
    assert ("s", 0.05, 120.0, 48.25) == (
        duration.unit,
        point.explicit_bounds[0],
        point.explicit_bounds[-1],
        point.sum,
    )


def test_names_and_units_by_convention() -> None:
    """
    All kinds of events together: names in one namespace, singular and in lower case, base units; no id is an attribute.
    """
    sdk = Sdk()
    for event in all_kinds():
        sdk.sink(event)

    metrics = sdk.metrics()
    assert {
        "hungframe.breaker.state": "1",
        "hungframe.breaker.transitions": "{transition}",
        "hungframe.budget.available": "{call}",
        "hungframe.budget.pauses": "{pause}",
        "hungframe.call.abandoned": "{call}",
        "hungframe.call.active": "{call}",
        "hungframe.call.duration": "s",
        "hungframe.call.fallbacks": "{call}",
        "hungframe.call.hedges": "{attempt}",
        "hungframe.call.rejections": "{call}",
        "hungframe.call.retries": "{attempt}",
        "hungframe.call.timeout": "s",
        "hungframe.loop.blocked": "s",
        "hungframe.probe.duration": "s",
        "hungframe.queue.deadletters": "{job}",
    } == {name: metric.unit for name, metric in metrics.items()}
    attributes = {key for metric in metrics.values() for point in metric.data.data_points for key in point.attributes}
    assert {"hungframe.guard", "hungframe.outcome", "hungframe.breaker.state", "error.type"} == attributes
    assert all(metric.description.endswith(".") for metric in metrics.values())


# -- nothing of the caller's ------------------------------------------------------------------------------------------


def test_no_payload_in_any_span() -> None:
    """
    Whatever is passed in, comes back, or is said by an error: no span and no metric repeats it.
    """
    sdk, secret = Sdk(), "sk-a-cat-with-a-key"
    guard = Guard("images", sinks=[sdk.sink], isolate=None)

    with sdk.tracer.start_as_current_span("caller"):
        guard.call(str, secret)
        with pytest.raises(ValueError, match=secret):
            guard.call(raises_with, secret)

    assert 3 == len(sdk.spans())
    assert not any(secret in span.to_json() for span in sdk.spans() if span.name != "caller")
    assert secret not in str(sdk.metrics())


def raises_with(text: str) -> None:
    """
    Raise an error that says *text*.
    """
    raise ValueError(text)


# -- without ----------------------------------------------------------------------------------------------------------


def test_no_sdk_set_up() -> None:
    """
    Where no SDK is set up the sink does nothing, and calls are as they are.
    """
    assert "ProxyTracerProvider" == type(trace.get_tracer_provider()).__name__
    sink = OTelSink(max_spans=1)
    guard = Guard("images", sinks=[sink], isolate=None)

    assert "A" == guard.call(str.upper, "a")
    fail(guard, StatusError(500))
    for event in all_kinds():
        sink(event)

    assert 0 == guard.snapshot().faults
