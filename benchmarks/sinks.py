"""
What a guarded call costs with somebody who listens: `python -m benchmarks.sinks`.

A sync callee that does nothing, in its caller's thread, and an async one, so that next to nothing but guard and sink
is timed. All take turns within one run, and each keeps its best round. A queue is given time to empty between
rounds; what its thread takes of the interpreter meanwhile is in the second figure.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hungframe import Guard, TokenBucket
from hungframe.events import Event
from hungframe.telemetry import QueuedSink
from hungframe.telemetry.logging import LogSink


@dataclass
class Subject:
    """
    A sink to be timed; *empty* waits until it has done all that it was told to do.
    """

    name: str
    sinks: list[Any]
    empty: Callable[[], object] = bool


class Drops(logging.Handler):
    """
    A handler that formats, and writes nowhere.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Format it."""
        self.format(record)


def ignores(event: Event) -> None:
    """
    The cheapest sink: what telling alone costs.
    """


def subjects(size: int) -> list[Subject]:
    """
    All that can be measured here; what needs a package that is not installed is left out.
    """
    logger = logging.getLogger("benchmarks.sinks")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(Drops())
    silent = logging.getLogger("benchmarks.silent")
    silent.setLevel(logging.WARNING)
    queued, queued_log = QueuedSink(ignores, size), QueuedSink(LogSink(logger), size)
    return [
        Subject("no sink", []),
        Subject("a sink that ignores", [ignores]),
        Subject("LogSink, below the level", [LogSink(silent)]),
        Subject("LogSink, formatted", [LogSink(logger)]),
        Subject("QueuedSink", [queued], queued.flush),
        Subject("QueuedSink(LogSink), formatted", [queued_log], lambda: queued_log.flush(60)),
        *_otel(),
        *_prometheus(),
    ]


def _otel() -> list[Subject]:
    try:
        from hungframe.telemetry.otel import OTelSink
    except ImportError:
        return []
    found = [Subject("OTelSink, no SDK set up", [OTelSink()])]
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
    except ImportError:
        return found
    meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    unsampled = TracerProvider(ALWAYS_OFF, shutdown_on_exit=False)
    traced = TracerProvider(shutdown_on_exit=False)
    return [
        *found,
        Subject("OTelSink, metrics, no trace sampled", [OTelSink(unsampled, meters)]),
        Subject("OTelSink, metrics and spans", [OTelSink(traced, meters)]),
    ]


def _prometheus() -> list[Subject]:
    try:
        from prometheus_client import CollectorRegistry

        from hungframe.telemetry.prometheus import PrometheusSink  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return []
    return [Subject("PrometheusSink", [PrometheusSink(CollectorRegistry())])]


def nothing() -> None:
    """
    A callee that does nothing.
    """


async def nothing_async() -> None:
    """
    Likewise.
    """


def guard_of(subject: Subject) -> Guard:
    """
    A guard with everything that a call asks by default, and the subject's sinks.
    """
    budget = TokenBucket(capacity=1e9, refill_every=1e-9)
    return Guard("bench", isolate=None, budget=budget, sinks=subject.sinks)


def time_sync(call: Callable[[], Any], calls: int) -> float:
    """
    Seconds a call.
    """
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls


async def time_async(call: Callable[[], Any], calls: int) -> float:
    """
    Seconds a call.
    """
    began = time.perf_counter()
    for _ in range(calls):
        await call()
    return (time.perf_counter() - began) / calls


def main() -> None:
    """
    Measure, and print a table.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--calls", type=int, default=1000, help="of a subject before the next one's turn")
    given = parser.parse_args()
    # Two events a call, twice, so that nothing is dropped.
    measured = subjects(size=8 * given.calls)
    guards = [guard_of(subject) for subject in measured]
    calls = [(guard(nothing), guard(nothing_async)) for guard in guards]
    best = [[float("inf"), float("inf")] for _ in measured]
    gc.freeze()
    loop = asyncio.new_event_loop()
    for _ in range(given.rounds + 1):
        for figures, subject, (sync, later) in zip(best, measured, calls, strict=True):
            figures[0] = min(figures[0], time_sync(sync, given.calls))
            subject.empty()
            figures[1] = min(figures[1], loop.run_until_complete(time_async(later, given.calls)))
            subject.empty()
    loop.close()
    print(f"{'us a call, best of ' + str(given.rounds):38} {'sync':>7} {'async':>7} {'more than no sink':>19}")
    for subject, (took, took_async) in zip(measured, best, strict=True):
        more = [1e6 * (figure - none) for figure, none in zip((took, took_async), best[0], strict=True)]
        print(f"{subject.name:38} {took * 1e6:7.1f} {took_async * 1e6:7.1f} {more[0]:9.1f} {more[1]:9.1f}")


if __name__ == "__main__":
    main()
