"""
Which tests are run where, beside what, and in which order; a plugin of pytest.

- `once`: what `make matrix` leaves out.
- `alone`: what is run when the others are through, with nothing beside it.
- The others are run by workers, a file as a whole by one of them, and the longest first.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis  # noqa: F401  # Before anything is frozen: it asks the collector who holds the random numbers of others.
import pytest
from coverage import Coverage

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).parents[1]

# What holds alike on any Python, being of a library or of a kernel, or takes long: `make matrix` leaves it out.
ONCE = {
    "abort": ("test_no_frame_kept_around",),
    "cli": ("test_top_screen", "test_top_terminal"),
    "core": (
        "test_breaker_machine",
        "test_bucket_machine",
        "test_bulkhead_machine",
        "test_choice",
        "test_concurrency",
        "test_hint",
        "test_latency_machine",
        "test_line",
        "test_probing_machine",
        "test_purse_machine",
        "test_retries_simulated",
        "test_retry_after",
        "test_retry_budget_machine",
        "test_survival",
        "test_unmoved_machine",
        "test_window_machine",
    ),
    "examples": ("test_demo",),
    # Of the docs, the reference and the tutorial are run on each.
    "explanation": tuple(path.stem for path in (ROOT / "docs" / "explanation").glob("*.md")),
    "health": ("test_mounted", "test_page_in_a_browser"),
    "how-to": tuple(path.stem for path in (ROOT / "docs" / "how-to").glob("*.md")),
    "images": tuple(path.stem for path in (ROOT / "tests" / "examples" / "images").glob("test_*.py")),
    "guard": (
        "test_cost",
        "test_guard_set",
        "test_timeout_learns",
        "test_guard_set_bad_input",
        "test_guard_set_choose",
        "test_guard_set_machine",
        "test_guard_set_simulated",
        "test_recovery_simulated",
    ),
    "simulations": ("test_hangs", "test_slow", "test_storms"),
    "telemetry": (
        "test_alerts",
        "test_dashboard",
        "test_imports",
        "test_log_sink",
        "test_prometheus_multiprocess",
        "test_schema",
    ),
    # The provider itself is run on each Python by the tests of the transports.
    "testing": ("test_pytest_plugin", *(path.stem for path in (ROOT / "tests" / "testing").glob("test_provider_*.py"))),
    "transport": (
        "test_abort_cancelled",
        "test_abort_connect",
        "test_abort_interrupted",
        "test_abort_leftovers",
        "test_abort_pool",
        "test_abort_random",
        "test_abort_shapes",
        "test_abort_too_large",
        "test_abort_upload",
        "test_addresses",
        "test_clients",
        "test_many_at_once",
        "test_own_timeouts",
        "test_pool",
        "test_proxies",
        "test_requests",
        "test_retry",
        "test_waiting",
    ),
    "typing": ("test_checkers",),
}

# What holds hundreds of calls to a deadline of a few milliseconds, or two programs to each other: beside other tests it
# would tell how busy the machine is.
ALONE = {
    "abort": ("test_a_thousand_at_once", "test_loops", "test_nothing_left", "test_outer_cancel", "test_scopes_around"),
    "cli": ("test_top_terminal",),
    "transport": (
        "test_abort_every_await",
        "test_abort_interrupted",
        "test_abort_modes",
        "test_http2",
        "test_many_at_once",
    ),
}

MARKED = {"once": ONCE, "alone": ALONE}

# Longest first, behind those with SDKs, so that no worker has one of them left when the others are done.
LONG = (
    "test_no_frame_kept_around",
    "test_slow",
    "test_start",
    "test_abort_pool",
    "test_concurrency",
    "test_composition_every_await",
    "test_no_frame_kept",
    "test_hangs",
    "test_streams_left_behind",
    "test_pytest_plugin",
    "test_checkers",
    "test_page_in_a_browser",
    "test_demo",
)

# Each of them imports all SDKs, which takes longer than its tests: they are run by one worker.
WITH_SDKS = (
    "tests/transport/test_clients.py",
    "tests/testing/test_provider_sdks.py",
    "docs/how-to/guard-any-client.md",
)

# Of these folders, what is in ONCE is run without a measure of coverage.
UNMEASURED = {"abort", "core", "images", "simulations", "testing", "typing"}

_last_file: Path | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """
    Let the collector look at what a file's own tests have made.

    Many tests ask it to collect, and each time it would walk through all that was imported for others: SDKs, web
    frameworks and their schemas, which took five times as long as the tests themselves.
    """
    global _last_file
    if item.path != _last_file:
        _last_file = item.path
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """
    Measure no coverage by simulations and the example: most of their time is in code that counts for nothing there, or
    that others reach as well, and being measured takes half as long again.
    """
    stopped: list[Coverage] = []
    if item.path.parent.name in UNMEASURED and item.get_closest_marker("once"):
        # Beside the one of its own, a worker of pytest-xdist has one that waits, and measures when the other stops.
        while (measured := Coverage.current()) is not None:
            measured.stop()
            stopped.append(measured)
    try:
        return (yield)
    finally:
        for measured in reversed(stopped):
            measured.start()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """
    Do not even read the files that `-m` leaves out whole: to collect takes each worker as long as many of the tests.
    """
    asked = str(config.option.markexpr)
    words = set(asked.split())
    if collection_path.is_file() and words <= {"not", "and", *MARKED}:
        for mark in MARKED.keys() & words:
            if _is_marked(collection_path, mark) == (f"not {mark}" in asked):
                return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in MARKED:
            if _is_marked(item.path, mark):
                item.add_marker(mark)
    items.sort(key=_place_of)


def _is_marked(path: Path, mark: str) -> bool:
    return path.stem in MARKED[mark].get(path.parent.name, ())


def _place_of(item: pytest.Item) -> int:
    if _is_with_sdks(item.nodeid):
        return -1
    return LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG)


def _is_with_sdks(nodeid: str) -> bool:
    return nodeid.partition("::")[0] in WITH_SDKS


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """
    Give each file to one worker, and those with SDKs to the same.
    """
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return "with SDKs" if _is_with_sdks(nodeid) else super()._split_scope(nodeid)

    return Scheduling(config, log)
