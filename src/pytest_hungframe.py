"""
The pytest plugin: the testing kit as fixtures, and a marker for tests that must leave nobody behind.

pytest imports this in every test-suite of the environment, so it imports
nothing but pytest: hungframe only once a fixture of it is asked for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hungframe.abort.orphans import Orphan
    from hungframe.testing import HostileProvider, RecordingSink, VirtualClock

_OPTION = "hungframe_no_orphans"
_WAIT_OPTION = "hungframe_orphans_wait"

# Seconds between two looks at an orphan that may still end.
_LOOK_EVERY = 0.01

_MARKERS = (
    "no_orphans(wait=1.0): fail the test if callees that its guards have left still run *wait* seconds after its end",
    f"may_leave_orphans: the test may leave callees that still run, whatever {_OPTION} says",
    "hostile_provider(*modes, tls=False): how the fixture `hostile_provider` answers",
)

_before = pytest.StashKey["set[Orphan]"]()
_wait = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(_OPTION, "Fail every test that leaves orphans, as the marker no_orphans does.", "bool", False)
    parser.addini(_WAIT_OPTION, "Seconds that orphans get to end after a test: a number, 0 or more.", default="1.0")


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    config.stash[_wait] = _seconds(config.getini(_WAIT_OPTION), _WAIT_OPTION)


def _seconds(value: Any, name: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise pytest.UsageError(f"{name} must be a number of seconds, 0 or more, got {value!r}")
    return seconds


# -- fixtures -----------------------------------------------------------------


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """
    A clock that the test turns by hand: `Guard(..., clock=virtual_clock)`.
    """
    from hungframe.testing import VirtualClock

    return VirtualClock()


@pytest.fixture
def recording_sink() -> RecordingSink:
    """
    A sink that keeps every event: `Guard(..., sinks=[recording_sink])`.
    """
    from hungframe.testing import RecordingSink

    return RecordingSink()


@pytest.fixture
def hostile_provider(request: pytest.FixtureRequest) -> Iterator[HostileProvider]:
    """
    A provider that runs, and is closed at the end; its modes by the marker of the same name, or by `play`.
    """
    from hungframe.testing import HostileProvider

    marker = request.node.get_closest_marker("hostile_provider")
    modes = list(marker.args) if marker is not None and marker.args else "ok"
    options: dict[str, Any] = {} if marker is None else marker.kwargs
    with HostileProvider(modes, **options) as provider:
        yield provider


# -- who is left behind -------------------------------------------------------


def _running() -> dict[Orphan, str]:
    # Where nobody has imported it, nobody was left.
    module = sys.modules.get("hungframe.abort.orphans")
    return {} if module is None else module.all_running()


def _allowed_wait(item: pytest.Item) -> float | None:
    """
    Seconds that the orphans of a test get; None: it may leave them.

    The marker that stands closest to the test decides between the two.
    """
    for marker in item.iter_markers():
        if marker.name == "may_leave_orphans":
            return None
        if marker.name == "no_orphans":
            if marker.args or marker.kwargs.keys() - {"wait"}:
                raise pytest.UsageError(f"no_orphans takes wait=<seconds> only, got {marker.args} {marker.kwargs}")
            return _seconds(marker.kwargs.get("wait", item.config.stash[_wait]), "no_orphans(wait=...)")
    return item.config.stash[_wait] if item.config.getini(_OPTION) else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    # Those of an earlier test are not this one's.
    item.stash[_before] = set(_running())


# The older form of a wrapper, which an older pytest takes as well. First, so outermost: whatever runs the test, be it
# the plugin of an event loop, has ended then; and its fixtures have not, whose loop would hide who was left on it.
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    outcome = yield
    try:
        left = _left_by(item)
    except pytest.UsageError as error:
        outcome.force_exception(pytest.fail.Exception(str(error), pytrace=False))
        return
    if not left:
        return
    if outcome.excinfo is None:
        outcome.force_exception(pytest.fail.Exception(left, pytrace=False))
    else:
        # What the test itself has failed with stays the first that is read.
        item.add_report_section("call", "orphans", left)


def _left_by(item: pytest.Item) -> str:
    """
    Wait for those that a test has left; tell of those that did not end.
    """
    wait = _allowed_wait(item)
    if wait is None:
        return ""
    before = item.stash.get(_before, set())
    ends_at = time.monotonic() + wait
    while True:
        left = {orphan: guard for orphan, guard in _running().items() if orphan not in before}
        seconds = ends_at - time.monotonic()
        if not left or seconds <= 0:
            break
        time.sleep(min(_LOOK_EVERY, seconds))
    if not left:
        return ""
    lines = [f"the test has left {_callees(len(left))}, {wait:g} s after its end:"]
    lines += [f"  guard {guard!r}: {orphan.where}" for orphan, guard in left.items()]
    lines.append(
        "Have it end at its deadline (let cancellations through, give its client timeouts, isolate='process'), "
        "or end what it waits for before the test does. If it ends by itself, but later: "
        "@pytest.mark.no_orphans(wait=<seconds>). If it is meant to stay: @pytest.mark.may_leave_orphans."
    )
    return "\n".join(lines)


def _callees(count: int) -> str:
    return "1 callee that still runs" if count == 1 else f"{count} callees that still run"
