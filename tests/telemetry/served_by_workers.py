"""
A service as gunicorn runs it: a parent that imports the app, and workers that are forked from it and serve.

Started by test_prometheus_multiprocess.py in a process of its own. It speaks in lines of JSON: what a scrape
of all processes together finds, after each step.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from hungframe import CallRejectedError, CircuitBreaker, Guard, TokenBucket
from hungframe.telemetry.prometheus import PrometheusSink

# What every worker has from its parent.
sink = PrometheusSink(CollectorRegistry(), refresh_every=0.02)
guard = Guard(
    "images",
    breaker=CircuitBreaker(open_for=60),
    budget=TokenBucket(10),
    timeout=20,
    isolate=None,
    sinks=[sink],
)
sink.watch(guard)


def work(orders: int, answers: int, opens: bool) -> None:
    """
    Make a call; open the breaker; end without cleaning up when told to.
    """
    guard.call(str.upper, "done")
    if opens:
        for _ in range(3):
            guard.health.record_failure("timeout")
        with contextlib.suppress(CallRejectedError):
            guard.call(str.upper, "refused")
    os.write(answers, b".")
    os.read(orders, 1)
    os._exit(0)


def scraped() -> dict[str, float]:
    """
    What a scrape finds, whichever process answers it.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # It has no types.
    found: dict[str, float] = {}
    for metric in registry.collect():
        for sample in metric.samples:
            words = [sample.labels[key] for key in ("outcome", "reason", "state", "result") if key in sample.labels]
            if sample.labels.get("guard") == "images" and "le" not in sample.labels:
                found[" ".join((sample.name, *words))] = sample.value
    return found


def tell(**more: object) -> None:
    """
    Tell what was found.
    """
    print(json.dumps({**scraped(), **more}), flush=True)


def until(is_so: Callable[[dict[str, float]], bool]) -> None:
    """
    Wait for the workers' threads.
    """
    ends_at = time.monotonic() + 5
    while not is_so(scraped()) and time.monotonic() < ends_at:
        time.sleep(0.01)


def main() -> None:
    """
    Three workers, of which one opens its breaker; then they end.
    """
    orders, order = os.pipe()
    answer, answers = os.pipe()
    workers: list[int] = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            # Worker 2 ends also when its parent is gone: the pipe does.
            os.close(order)
            work(orders, answers, opens=number == 0)
        workers.append(pid)
    for _ in workers:
        os.read(answer, 1)
    state = "hungframe_breaker_state "
    until(lambda found: found.get(state + "open") == 1 and found.get(state + "closed") == 2)
    tell(parent=os.getpid(), workers=workers)
    before = scraped()["hungframe_breaker_open_seconds_total"]
    # Nobody calls, and the breaker is open all the time.
    until(lambda found: found["hungframe_breaker_open_seconds_total"] > before + 0.1)
    tell()
    os.close(order)
    for pid in workers:
        os.waitpid(pid, 0)
        mark_process_dead(pid)  # type: ignore[no-untyped-call]  # It has no types.
    tell()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
