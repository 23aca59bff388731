"""
Which metrics there are: their names, labels and units, each in one place.

They are made for no registry, so that the sink can bring them up to date before it hands them out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from prometheus_client import Counter, Gauge, Histogram, values
from prometheus_client.metrics import MetricWrapperBase

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0)
"""Seconds: from a cached answer to the longest that a picture is waited for."""


# Bytes of a label.
_LONGEST = 200


def legible(text: str) -> str:
    """
    Text as a label may have it.

    With one lone surrogate, as in the name of a file that is no UTF-8, the whole page of metrics could not be written;
    and a key that comes from outside may be very long, and is in each of some 80 series. So of a long text the end is
    replaced by what tells it from others.

    >>> legible("a" + chr(0xDC80)) == "a" + chr(92) + "udc80"
    True
    >>> legible("images[" + 1000 * "x" + "]")[-16:], len(legible(1000 * "x"))
    ('xxxxx...4b2b0a14', 200)
    """
    written = text.encode(errors="backslashreplace")
    if len(written) > _LONGEST:
        end = f"...{hashlib.sha256(written).hexdigest()[:8]}"
        return written[: _LONGEST - len(end)].decode(errors="ignore") + end
    return written.decode()


def is_multiprocess() -> bool:
    """
    Tell whether the metrics of this process go to files that another reads; prometheus_client decides it when it
    is imported, by `PROMETHEUS_MULTIPROC_DIR`.
    """
    return bool(getattr(values.ValueClass, "_multiprocess", False))


class Families:
    """
    All metrics of one sink.
    """

    def __init__(self, namespace: str, buckets: Sequence[float]) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace=namespace, registry=None)

        def added(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace=namespace, registry=None, multiprocess_mode="livesum")

        def largest(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace=namespace, registry=None, multiprocess_mode="livemax")

        # From events.
        self.requests = counter("requests", "Calls asked for", "guard")
        self.results = counter("results", "Calls that ended, by how", "guard", "outcome")
        self.rejected = counter("rejected", "Calls refused before they began, by why", "guard", "reason")
        self.durations = Histogram(
            "call_duration_seconds",
            "How long calls took that were let through",
            ("guard", "result"),
            namespace=namespace,
            registry=None,
            buckets=buckets,
        )
        self.waited = counter("waited_seconds", "Time that calls have waited to be let in", "guard")
        self.retries = counter("retries", "Attempts made again, by how the one before failed", "guard", "kind")
        self.hedges = counter("hedges", "Attempts sent beside a slow one", "guard")
        self.fallbacks = counter("fallbacks", "Callers given something else, by how the call failed", "guard", "kind")
        self.abandoned = counter("abandoned", "Callees left behind while they still ran", "guard")
        self.breaker_changes = counter("breaker_changes", "Changes of the breaker, by the new state", "guard", "state")
        self.breaker_open = counter(
            "breaker_open_seconds", "Time that the breaker was open, an opening that goes on included", "guard"
        )
        self.pauses = counter("budget_pauses", "Pauses that the provider or an operator asked for", "guard")
        self.paused = counter("budget_paused_seconds", "Time that was asked for in them", "guard")
        self.probes = counter("probes", "Probes of a prober, by how they ended", "guard", "outcome")
        self.blocked = counter("loop_blocked", "Times that an event loop stood still", "guard")
        self.blocked_for = counter("loop_blocked_seconds", "How long it stood when it was told of", "guard")
        self.dead_letters = counter("dead_letters", "Jobs given up for good, by why", "guard", "reason")

        # What no event tells: of the guards that are watched, as they stand.
        self.state = added("breaker_state", "1 for the state that the breaker is in", "guard", "state")
        self.timeout = largest("timeout_seconds", "What the next call would be given", "guard")
        self.p95 = largest("p95_seconds", "The learned quantile of how long calls take", "guard")
        self.budget = added("budget_available", "Whole tokens that the scarcest budget has", "guard")
        self.in_flight = added("in_flight", "Calls that run and have a caller", "guard")
        self.waiting = added("waiting", "Calls that wait to be let in", "guard")
        self.slots = added("slots", "How many calls the bulkhead lets run at once", "guard")
        self.suspects = added("suspects", "Calls in flight that have taken suspiciously long", "guard")
        self.orphans = added("orphans", "Callees that were left behind and still run", "guard")
        self.faults = counter("faults", "Errors raised by sinks, classifiers and ports of the user's own", "guard")
        self.dropped = counter("sink_dropped_events", "Events that the watched queues had no room for")

    def __iter__(self) -> Iterator[MetricWrapperBase]:
        return iter(vars(self).values())
