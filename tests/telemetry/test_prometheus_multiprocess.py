"""
PrometheusSink where a parent forks workers, as gunicorn does: one scrape tells of all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="needs prometheus-client")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

ROOT = Path(__file__).parents[2]


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """
    Run Python in a process whose metrics go to files in *directory*.
    """
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """
    What scrapes found: with three workers of which one has opened its breaker, a little later, and when all are gone.
    """
    ran = run(tmp_path_factory.mktemp("metrics"), "-m", "tests.telemetry.served_by_workers")
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_counters_are_added_up(told: list[dict[str, Any]]) -> None:
    """
    Three calls in three workers are three, and a histogram has them all.
    """
    at_first = told[0]
    assert 3 == at_first["hungframe_results_total success"]
    assert 3 == at_first["hungframe_call_duration_seconds_count success"]
    assert 1 == at_first["hungframe_rejected_total circuit_open"]
    assert 1 == at_first["hungframe_breaker_changes_total open"]


def test_the_parent_is_none_that_serves(told: list[dict[str, Any]]) -> None:
    """
    The gauges are those of the workers: one breaker open, two closed, and none of the parent that only forked.
    """
    at_first = told[0]
    assert 1 == at_first["hungframe_breaker_state open"]
    assert 2 == at_first["hungframe_breaker_state closed"]
    assert 20 == at_first["hungframe_timeout_seconds"]
    # A token each was taken from 10, by each worker of a bucket of its own.
    assert 27 == at_first["hungframe_budget_available"]


def test_open_time_grows_while_nobody_calls(told: list[dict[str, Any]]) -> None:
    """
    The worker whose breaker is open writes on, so a scrape that another process answers finds more.
    """
    at_first, later, _ = (found["hungframe_breaker_open_seconds_total"] for found in told)
    assert later >= at_first + 0.1


def test_what_stays_of_the_dead(told: list[dict[str, Any]]) -> None:
    """
    Counters stay when workers end, gauges go.
    """
    _, later, at_last = told
    assert 3 == at_last["hungframe_results_total success"]
    assert at_last["hungframe_breaker_open_seconds_total"] >= later["hungframe_breaker_open_seconds_total"]
    assert "hungframe_breaker_state open" not in at_last
    assert "hungframe_orphans" not in at_last


# In one process, under the rules that hold for several.
ONE_PROCESS = """
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from hungframe import Guard
from hungframe.telemetry.prometheus import PrometheusSink

registry = CollectorRegistry()
sink = PrometheusSink(registry, refresh_every=60)
MultiProcessCollector(registry)
guard = Guard("images", sinks=[sink], isolate=None, timeout=20)
sink.watch(guard)
guard.call(str.upper, "done")
text = generate_latest(registry).decode()
assert text.count('hungframe_requests_total{guard="images"} 1.0') == 1, text
assert text.count('hungframe_timeout_seconds{guard="images"} 20.0') == 1, text
del guard
assert 'hungframe_orphans{guard="images"} 0.0' in generate_latest(registry).decode()

try:
    PrometheusSink(CollectorRegistry())
except ValueError as error:
    assert "write to the same files" in str(error), error
else:
    raise AssertionError("two sinks overwrite each other's counts")
PrometheusSink(CollectorRegistry(), namespace="other")
sink.close()
PrometheusSink(CollectorRegistry())
"""

# A parent that serves, too, and has its breaker open when it forks.
FORKED_LATE = """
import os, threading, time
from prometheus_client import CollectorRegistry
from hungframe import CallRejectedError, Guard
from hungframe.telemetry.prometheus import PrometheusSink

sink = PrometheusSink(CollectorRegistry(), refresh_every=60)
guard = Guard("images", sinks=[sink], isolate=None)
guard.call(str.upper, "done")
guard.force_open()
time.sleep(0.3)
began_at = time.monotonic()
if os.fork():
    _, status = os.wait()
    raise SystemExit(os.waitstatus_to_exitcode(status))
assert threading.active_count() == 1
try:
    guard.call(str.upper, "refused")
except CallRejectedError:
    pass
assert "hungframe-prometheus" in [thread.name for thread in threading.enumerate()]
time.sleep(0.05)
sink.refresh()
counted, passed = sink._families.breaker_open.labels("images")._value.get(), time.monotonic() - began_at
assert 0.05 <= counted <= passed, (counted, passed)
assert sink._families.requests.labels("images")._value.get() == 1
os._exit(0)
"""


def test_forked_late(tmp_path: Path) -> None:
    """
    A child counts what happens in it: the calls of its parent, and the time open before the fork, are not its own.
    """
    ran = run(tmp_path, "-c", FORKED_LATE)
    assert ran.returncode == 0, ran.stderr


def test_one_registry_for_both(tmp_path: Path) -> None:
    """
    A sink and a MultiProcessCollector in one registry tell everything once; two sinks of one name are refused.
    """
    ran = run(tmp_path, "-W", "error", "-c", ONE_PROCESS)
    assert ran.returncode == 0, ran.stderr
