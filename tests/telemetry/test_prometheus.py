"""
PrometheusSink: every event is counted under few labels, and the gauges say what the guards say.
"""

from __future__ import annotations

import gc
import importlib
import math
import sys
import threading
from collections.abc import Iterator

import pytest

from hungframe import (
    AdaptiveTimeout,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Guard,
    GuardSet,
    TokenBucket,
    events,
)
from hungframe.testing import VirtualClock, hostile
from tests.guard.fakes import StatusError, fail

prometheus_client = pytest.importorskip("prometheus_client", reason="needs prometheus-client")
from prometheus_client import CollectorRegistry  # noqa: E402  # After what it needs is found.

from hungframe.telemetry.prometheus import BUCKETS, PrometheusSink  # noqa: E402  # After what it needs is found.


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def sink(registry: CollectorRegistry, clock: VirtualClock) -> Iterator[PrometheusSink]:
    sink = PrometheusSink(registry, clock=clock)
    yield sink
    sink.close()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """
    One sample; *guard* is "images" if not given.
    """
    return registry.get_sample_value(f"hungframe_{name}", {"guard": "images", **labels})


def open_breaker(guard: Guard) -> None:
    for _ in range(3):
        guard.health.record_failure("timeout")


# -- events --------------------------------------------------------------------


def test_each_end_is_counted_once(registry: CollectorRegistry, sink: PrometheusSink) -> None:
    """
    As many results as requests, each under its outcome, which is that of the snapshot.
    """
    guard = Guard("images", breaker=None, isolate=None, sinks=[sink])

    guard.call(str.upper, "done")
    fail(guard, StatusError(500), StatusError(500), StatusError(404), ConnectionResetError(), KeyError())
    with pytest.raises(CallTimeoutError):
        guard.using(timeout=0.01, grace=0.01, isolate="thread").call(hostile.blocks, 0.5)

    assert 7 == value(registry, "requests_total")
    for outcome, count in guard.snapshot().counts.items():
        assert count == value(registry, "results_total", outcome=outcome)
    assert 1 == value(registry, "call_duration_seconds_count", result="success")
    assert 6 == value(registry, "call_duration_seconds_count", result="failed")
    assert 1 == value(registry, "abandoned_total")


@pytest.mark.parametrize(
    "event, name, labels, counted",
    [
        (events.GenSuccess(0, "images", "1", 1500), "call_duration_seconds_sum", {"result": "success"}, 1.5),
        (events.GenCancelled(0, "images", "1", 1500), "results_total", {"outcome": "cancelled"}, 1),
        (events.GenRequest(0, "images", "1", None, None, None, 250), "waited_seconds_total", {}, 0.25),
        (events.GenReject(0, "images", "1", "circuit_open", None), "rejected_total", {"reason": "circuit_open"}, 1),
        (events.GenReject(0, "images", "1", "my own reason", None), "rejected_total", {"reason": "other"}, 1),
        (events.GenReject(0, "images", "1", "x", None), "results_total", {"outcome": "rejected"}, 1),
        (events.GenFail(0, "images", "1", "martian", 10, None, None), "results_total", {"outcome": "unknown"}, 1),
        (events.GenHedge(0, "images", attempt=2, after_ms=10), "hedges_total", {}, 1),
        (events.GenRetry(0, "images", kind="5xx", attempt=2, delay_ms=10), "retries_total", {"kind": "5xx"}, 1),
        (events.GenFallback(0, "images", kind="rejected"), "fallbacks_total", {"kind": "rejected"}, 1),
        (events.GenAbandoned(0, "images", "1", 1, "x.py:1"), "abandoned_total", {}, 1),
        (events.BudgetPaused(0, "images", 20_000), "budget_pauses_total", {}, 1),
        (events.BudgetPaused(0, "images", 20_000), "budget_paused_seconds_total", {}, 20),
        (events.ProbeEnded(0, "images", "1", "quota", "success", 10), "probes_total", {"outcome": "success"}, 1),
        (events.LoopBlocked(0, "images", 1200, "x.py:1"), "loop_blocked_total", {}, 1),
        (events.LoopBlocked(0, "images", 1200, "x.py:1"), "loop_blocked_seconds_total", {}, 1.2),
        (events.BreakerChanged(0, "images", "open", 0.6), "breaker_changes_total", {"state": "open"}, 1),
        (
            events.QueueDeadletter(0, "images", "7", "no-image-url"),
            "dead_letters_total",
            {"reason": "no-image-url"},
            1,
        ),
    ],
)
def test_what_an_event_adds(
    registry: CollectorRegistry,
    sink: PrometheusSink,
    event: events.Event,
    name: str,
    labels: dict[str, str],
    counted: float,
) -> None:
    """
    Each kind of event adds to its metric, and what is unknown goes under a label that is known.
    """
    sink(event)

    assert pytest.approx(counted) == value(registry, name, **labels)


def test_counts_begin_at_nothing(registry: CollectorRegistry, sink: PrometheusSink) -> None:
    """
    A watched guard has its counters at 0 before its first call, so that the first timeout is an increase.
    """
    guard = Guard("images")

    sink.watch(guard)

    assert 0 == value(registry, "results_total", outcome="timeout")
    assert 0 == value(registry, "breaker_open_seconds_total")
    assert 0 == value(registry, "rejected_total", reason="budget_exhausted")
    assert 0 == value(registry, "probes_total", outcome="timeout")


def test_buckets_fit_the_calls(registry: CollectorRegistry, sink: PrometheusSink) -> None:
    """
    The histogram tells 0.05 s from 120 s.
    """
    sink(events.GenSuccess(0, "images", "1", 60_000))

    assert (0.05, 120.0) == (BUCKETS[0], BUCKETS[-1])
    assert 0 == value(registry, "call_duration_seconds_bucket", result="success", le="45.0")
    assert 1 == value(registry, "call_duration_seconds_bucket", result="success", le="60.0")


# -- how long the breaker is open ------------------------------------------------


@pytest.mark.parametrize("watched", [True, False])
def test_open_time_grows_while_open(
    registry: CollectorRegistry, sink: PrometheusSink, clock: VirtualClock, watched: bool
) -> None:
    """
    Each scrape of an opening that goes on finds more; half-open adds nothing, asked or not; what was counted stays.
    """
    guard = Guard("images", breaker=CircuitBreaker(open_for=60), clock=clock, sinks=[sink])
    if watched:
        sink.watch(guard)
    clock.advance(1000)
    guard.call(str.upper, "done")
    assert 0 == value(registry, "breaker_open_seconds_total")

    open_breaker(guard)
    clock.advance(10)
    assert pytest.approx(10) == value(registry, "breaker_open_seconds_total")
    assert 1 == value(registry, "breaker_state", state="open")
    clock.advance(20)
    assert pytest.approx(30) == value(registry, "breaker_open_seconds_total")
    clock.advance(5000)
    assert pytest.approx(60) == value(registry, "breaker_open_seconds_total")
    assert 0 == value(registry, "breaker_state", state="open")
    assert 1 == value(registry, "breaker_state", state="half_open")

    guard.force_open()
    clock.advance(7)
    guard.reset()
    clock.advance(100)
    assert pytest.approx(67) == value(registry, "breaker_open_seconds_total")
    assert 1 == value(registry, "breaker_state", state="closed")
    if watched:
        assert pytest.approx(guard.snapshot().open_seconds_today) == 67


def test_open_time_of_a_guard_that_tells_nothing(
    registry: CollectorRegistry, sink: PrometheusSink, clock: VirtualClock
) -> None:
    """
    A guard that is watched and has other sinks, or none, counts from the first scrape that finds it open.
    """
    guard = Guard("images", clock=clock)
    sink.watch(guard)
    guard.force_open()
    assert 0 == value(registry, "breaker_open_seconds_total")

    clock.advance(10)
    assert pytest.approx(10) == value(registry, "breaker_open_seconds_total")
    guard.disable()
    clock.advance(5)
    assert pytest.approx(15) == value(registry, "breaker_open_seconds_total")
    clock.advance(100)
    assert pytest.approx(15) == value(registry, "breaker_open_seconds_total")


def test_events_in_the_wrong_order(registry: CollectorRegistry, sink: PrometheusSink, clock: VirtualClock) -> None:
    """
    The guard itself is believed, not an event that came too late.
    """
    guard = Guard("images", clock=clock, sinks=[sink])
    sink.watch(guard)
    sink(events.BreakerChanged(0, "images", "forced_open", None))
    assert 0 == value(registry, "breaker_open_seconds_total")

    clock.advance(1000)
    assert 0 == value(registry, "breaker_open_seconds_total")


# -- how guards stand --------------------------------------------------------------


def test_gauges_are_the_snapshot(registry: CollectorRegistry, sink: PrometheusSink, clock: VirtualClock) -> None:
    """
    What no event tells is read when the registry is.
    """
    timeout = AdaptiveTimeout(floor=1, ceiling=30, initial=20, margin=1, min_samples=2)
    guard = Guard("images", timeout=timeout, budget=TokenBucket(5), bulkhead=4, isolate=None, clock=clock, sinks=[sink])
    sink.watch(guard)
    assert 20 == value(registry, "timeout_seconds")
    assert value(registry, "p95_seconds") is None

    for _ in range(3):
        guard.call(clock.advance, 2.0)
    snapshot = guard.snapshot()

    assert 3 == snapshot.timeout == value(registry, "timeout_seconds")
    assert 2 == snapshot.p95 == value(registry, "p95_seconds")
    assert 2 == snapshot.budget == value(registry, "budget_available")
    assert 4 == value(registry, "slots")
    assert 0 == value(registry, "in_flight") == value(registry, "waiting") == value(registry, "suspects")
    guard.call(lambda: _expect(1, value(registry, "in_flight")))


def _expect(expected: float, got: float | None) -> None:
    assert expected == got


def test_what_a_guard_has_not(registry: CollectorRegistry, sink: PrometheusSink) -> None:
    """
    Without a budget, a bulkhead or a timeout there is no number that would mean something else.
    """
    guard = Guard("images", timeout=None)
    sink.watch(guard)

    assert value(registry, "budget_available") is None
    assert value(registry, "slots") is None
    assert value(registry, "timeout_seconds") is None
    assert 0 == value(registry, "orphans")


def test_orphans(registry: CollectorRegistry, sink: PrometheusSink) -> None:
    """
    A callee that was left behind is there until it ends.
    """
    guard = Guard("images", timeout=0.01, grace=0.01, sinks=[sink])
    sink.watch(guard)

    with pytest.raises(CallTimeoutError):
        guard.call(hostile.blocks, 0.5)

    assert 1 == value(registry, "orphans")


def test_watched_guards_may_go(registry: CollectorRegistry, sink: PrometheusSink) -> None:
    """
    A sink keeps no guard alive, and shows none that is gone; what was counted stays.
    """
    guard = Guard("images", sinks=[sink], isolate=None)
    sink.watch(guard)
    guard.call(str.upper, "done")
    assert 60 == value(registry, "timeout_seconds")

    del guard
    gc.collect()

    assert value(registry, "timeout_seconds") is None
    assert 1 == value(registry, "requests_total")


def test_a_guard_made_later(registry: CollectorRegistry, sink: PrometheusSink) -> None:
    """
    Guards may be watched at any time, and twice; those of one name are one.
    """
    first = Guard("images", budget=TokenBucket(3), timeout=10)
    sink.watch(first)
    list(registry.collect())
    second = Guard("images", budget=TokenBucket(4), timeout=20)
    sink.watch(first, second)

    assert 7 == value(registry, "budget_available")
    assert 20 == value(registry, "timeout_seconds")
    assert 2 == value(registry, "breaker_state", state="closed")


def test_a_guard_set(registry: CollectorRegistry, sink: PrometheusSink) -> None:
    """
    The guards of a set are shown under their own names, those that come later too.
    """
    guards = GuardSet("images", sinks=[sink], timeout=7, isolate=None)
    sink.watch(guards)
    guards["eu"].call(str.upper, "done")
    name = guards["eu"].name

    assert 7 == value(registry, "timeout_seconds", guard=name)
    assert 1 == value(registry, "requests_total", guard=name)


def test_faults_and_drops(registry: CollectorRegistry, sink: PrometheusSink) -> None:
    """
    Errors of the user's own sinks, and events that a queue dropped, are counted once.
    """

    class Full:
        dropped = 4

    def broken(event: events.Event) -> None:
        raise RuntimeError

    guard, queue = Guard("images", sinks=[broken, sink], isolate=None), Full()
    sink.watch(guard, queue)
    guard.call(str.upper, "done")

    for _ in range(2):
        assert guard.snapshot().faults == value(registry, "faults_total") == 2
        assert 4 == registry.get_sample_value("hungframe_sink_dropped_events_total")
    queue.dropped = 5
    assert 5 == registry.get_sample_value("hungframe_sink_dropped_events_total")


def test_one_bad_guard_hides_no_other(
    registry: CollectorRegistry, sink: PrometheusSink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A guard that cannot be looked at is told of once; the others are shown.
    """
    good, bad = Guard("images", timeout=9), GuardSet("bad")

    def raises(self: GuardSet) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(GuardSet, "snapshot", raises)
    sink.watch(good, bad)

    assert 9 == value(registry, "timeout_seconds") == value(registry, "timeout_seconds")
    assert 1 == len(caplog.records)


# -- bounds and mistakes -------------------------------------------------------------


def test_few_labels(registry: CollectorRegistry) -> None:
    """
    Guards beyond the number that was allowed are counted together, as are reasons of dead letters.
    """
    sink = PrometheusSink(registry, max_guards=2)
    guards = [Guard(f"guard-{number}", sinks=[sink], isolate=None) for number in range(10)]
    sink.watch(*guards)
    for guard in guards:
        guard.call(str.upper, "done")
        open_breaker(guard)
    for number in range(1000):
        sink(events.QueueDeadletter(0, "guard-0", str(number), f"reason-{number}"))
        sink(events.GenReject(0, "guard-0", str(number), f"reason-{number}", None))

    samples = [sample for metric in registry.collect() for sample in metric.samples]
    assert {"guard-0", "guard-1", "other"} == {sample.labels["guard"] for sample in samples if sample.labels}
    assert 8 == value(registry, "requests_total", guard="other")
    assert 980 == value(registry, "dead_letters_total", guard="guard-0", reason="other")
    assert 1000 == value(registry, "rejected_total", guard="guard-0", reason="other")
    assert len(samples) < 700
    assert value(registry, "timeout_seconds", guard="other") is None


def test_no_id_and_no_place(registry: CollectorRegistry, sink: PrometheusSink) -> None:
    """
    Nothing that differs from call to call, and nothing of a payload, is a label.
    """
    guard = Guard("images", timeout=0.01, grace=0.01, sinks=[sink])
    sink.watch(guard)
    with pytest.raises(CallTimeoutError):
        guard.call(lambda prompt: hostile.blocks(0.5), "a secret prompt")

    text = prometheus_client.generate_latest(registry).decode()
    assert "secret" not in text
    assert ".py" not in text
    labels = {key for metric in registry.collect() for sample in metric.samples for key in sample.labels}
    assert {"guard", "outcome", "reason", "kind", "result", "le", "state"} >= labels


def test_names_follow_the_conventions(registry: CollectorRegistry, sink: PrometheusSink) -> None:
    """
    Counters end in _total; times are in seconds; everything has help.
    """
    sink.watch(guard := Guard("images"))
    guard.call(str.upper, "done")

    for metric in registry.collect():
        assert metric.name.startswith("hungframe_")
        assert metric.documentation
        assert "_ms" not in metric.name
        assert metric.type in ("counter", "gauge", "histogram")


def test_another_namespace(registry: CollectorRegistry) -> None:
    """
    Two sinks share a registry under two names.
    """
    PrometheusSink(registry)
    second = PrometheusSink(registry, "pictures")
    second(events.GenSuccess(0, "images", "1", 1))

    assert 1 == registry.get_sample_value("pictures_results_total", {"guard": "images", "outcome": "success"})


def test_twice_in_a_registry(registry: CollectorRegistry) -> None:
    """
    A second sink in the same registry says what to do; after the first was closed there is room.
    """
    first = PrometheusSink(registry)
    with pytest.raises(ValueError, match="metrics named hungframe_... already: give one PrometheusSink to all guards"):
        PrometheusSink(registry)

    first.close()
    first.close()
    PrometheusSink(registry)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"namespace": "a-b"}, "namespace must be letters, digits and '_', such as 'hungframe', got 'a-b'"),
        ({"namespace": ""}, "namespace must be letters"),
        ({"max_guards": 0}, "max_guards must be"),
        ({"refresh_every": 0}, "refresh_every must be"),
        ({"refresh_every": math.nan}, "refresh_every must be"),
        ({"buckets": ()}, "buckets must be seconds, at least one, each above the one before, got "),
        ({"buckets": [math.inf]}, "buckets must be seconds, at least one"),
        ({"buckets": [3, 1]}, r"buckets must be .*, got \[3, 1\]"),
        ({"buckets": [1, 1]}, r"buckets must be .*, got \[1, 1\]"),
        ({"buckets": [1, math.nan]}, "buckets must be a number"),
    ],
)
def test_bad_settings(registry: CollectorRegistry, settings: dict[str, object], message: str) -> None:
    """
    A wrong setting is refused where it is given, and leaves nothing in the registry.
    """
    with pytest.raises(ValueError, match=message):
        PrometheusSink(registry, **settings)  # type: ignore[arg-type]  # What is refused.
    PrometheusSink(registry)


def test_a_registry_that_is_none() -> None:
    """
    Who gives a name for a registry is told which argument takes it.
    """
    with pytest.raises(TypeError, match="registry must be a .*CollectorRegistry or None, got 'images'; .* namespace="):
        PrometheusSink("images")  # type: ignore[arg-type]  # It is what must be refused.


def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without prometheus_client the error names what to install.
    """
    monkeypatch.delitem(sys.modules, "hungframe.telemetry.prometheus")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(ImportError, match=r"needs prometheus-client: pip install 'hungframe\[prometheus\]'"):
        importlib.import_module("hungframe.telemetry.prometheus")


def test_many_threads(registry: CollectorRegistry, sink: PrometheusSink) -> None:
    """
    Calls in many threads are each counted once, while others scrape.
    """
    guard = Guard("images", sinks=[sink], isolate=None, breaker=None)
    sink.watch(guard)

    def calls() -> None:
        for _ in range(200):
            guard.call(str.upper, "done")

    threads = [threading.Thread(target=calls) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        list(registry.collect())
    for thread in threads:
        thread.join()

    assert 800 == value(registry, "requests_total") == value(registry, "results_total", outcome="success")
    assert 800 == value(registry, "call_duration_seconds_count", result="success")


def test_watching_what_is_no_guard(sink: PrometheusSink) -> None:
    """
    What cannot be watched is named.
    """
    with pytest.raises(TypeError, match=r"watch\(\) takes guards, guard sets and sinks .*, got 'images'"):
        sink.watch("images")  # type: ignore[arg-type]  # What is refused.


def test_a_scrape_within_a_change(registry: CollectorRegistry, sink: PrometheusSink, clock: VirtualClock) -> None:
    """
    Looking at a guard may find that its breaker has changed, which is told to the sink that looks.
    """
    guard = Guard("images", breaker=CircuitBreaker(open_for=60), clock=clock, sinks=[sink])
    sink.watch(guard)
    open_breaker(guard)
    with pytest.raises(CircuitOpenError):
        guard.call(str.upper, "done")
    clock.advance(61)

    assert 1 == value(registry, "breaker_state", state="half_open")
    assert pytest.approx(60) == value(registry, "breaker_open_seconds_total")


def test_a_name_without_end(registry: CollectorRegistry) -> None:
    """
    A key may come from outside: it is cut, alike in counters and gauges, and still told from another.
    """
    sink = PrometheusSink(registry)
    names = [200_000 * "x" + "1", 200_000 * "x" + "2"]
    guards = [Guard(name, sinks=[sink]) for name in names]
    sink.watch(*guards)
    for guard in guards:
        guard.call(str.upper, "done")

    text = prometheus_client.generate_latest(registry).decode()
    assert len(text) < 100_000
    counted = {line.split('"')[1] for line in text.splitlines() if line.startswith("hungframe_requests_total{")}
    shown = {line.split('"')[1] for line in text.splitlines() if line.startswith("hungframe_breaker_state{")}
    assert counted == shown and 2 == len(counted)
    assert {200} == {len(label) for label in counted}


def test_names_that_are_no_unicode(registry: CollectorRegistry) -> None:
    """
    A guard that is called like a file which is no UTF-8 keeps no other from being read.
    """
    sink = PrometheusSink(registry)
    guard = Guard("images[\udc80]", sinks=[sink])
    sink.watch(guard)
    guard.call(str.upper, "done")
    sink(events.QueueDeadletter(1.5, "jobs", "7f-1", "no file \udc80"))

    text = prometheus_client.generate_latest(registry).decode()
    assert 'hungframe_requests_total{guard="images[\\\\udc80]"} 1.0' in text
    assert 'hungframe_breaker_state{guard="images[\\\\udc80]",state="closed"} 1.0' in text
    assert 'reason="no file \\\\udc80"' in text
