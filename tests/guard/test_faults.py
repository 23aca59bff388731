"""
Ports of the user's that raise: no call is harmed, no permit lost; told once, counted each time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from hungframe import BudgetExhaustedError, CircuitBreaker, Guard, TokenBucket
from hungframe.testing import RecordingSink, VirtualClock, run_virtual
from tests.guard.fakes import Backend, StatusError, fail, on_each_backend, sleeps
from tests.guard.own_ports import CountingBreaker, Halving, HandClock, Quota

# What each port is named when it is told of, and how to hand it to a guard.
PORTS: list[tuple[str, Callable[[], Any], list[str]]] = [
    ("clock", HandClock, ["now", "wall"]),
    ("breaker", CountingBreaker, ["acquire", "record", "release", "state"]),
    ("budget", lambda: Quota(100), ["try_acquire", "give_back", "available", "retry_after", "pause"]),
    ("timeout", Halving, ["current", "observe"]),
]
EACH_METHOD = pytest.mark.parametrize(
    ("name", "make", "method"), [(name, make, method) for name, make, methods in PORTS for method in methods]
)


class PortError(Exception):
    """
    What a port of the user's raises.
    """


class Breaks:
    """
    A method that raises, and counts how often.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.times = 0

    def __call__(self, *args: object, **kwargs: object) -> Any:
        self.times += 1
        raise self.error or PortError("broken")


def broken(name: str, make: Callable[[], Any], method: str, **others: Any) -> tuple[Guard, Breaks]:
    """
    Make a guard with one port, of which one method raises.
    """
    port, breaks = make(), Breaks()
    setattr(port, method, breaks)
    return Guard("images", **{name: port}, **others), breaks


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """
    The errors that were logged.
    """
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


@EACH_METHOD
def test_port_that_raises_harms_no_call(
    caplog: pytest.LogCaptureFixture, name: str, make: Callable[[], Any], method: str
) -> None:
    """
    Calls of every kind and looks of every kind go on; the error is logged once with its traceback, counted each time.
    """
    sink = RecordingSink()
    guard, breaks = broken(name, make, method, sinks=[sink])

    for _ in range(3):
        assert "done" == guard.call(lambda: "done")
    fail(guard, StatusError(404), KeyboardInterrupt())
    guard.acquire().cancel()
    with guard.attempt():
        pass
    guard.snapshot().to_json()
    guard.health.should_open_circuit()
    guard.health.current_budget()
    guard.health.record_success(1.0)
    guard.health.record_failure("quota")

    counts = guard.snapshot().counts
    assert (5, 1, 2) == (counts["success"], counts["4xx"], counts["cancelled"])
    assert 0 == guard.snapshot().in_flight
    assert 7 == len([event for event in sink.events if event.evt in ("gen.success", "gen.fail", "gen.cancelled")])
    asked = breaks.times
    assert guard.snapshot().faults >= asked
    if asked:
        (record,) = told(caplog)
        assert "images" in record.getMessage() and f"{name}.{method}" in record.getMessage()
        assert record.exc_info and isinstance(record.exc_info[1], PortError)
    else:
        assert method in ("pause", "retry_after")


@EACH_METHOD
@on_each_backend
def test_port_that_raises_harms_no_async_call(
    backend: Backend, name: str, make: Callable[[], Any], method: str
) -> None:
    """
    So it is on asyncio and trio.
    """
    if name == "clock":
        make = VirtualClockOfTheUser
    guard, _ = broken(name, make, method)

    async def main() -> None:
        for _ in range(2):
            assert "done" == await guard.acall(sleeps, 0.5)

    run_virtual(main, backend=backend)

    assert (2, 0) == (guard.snapshot().counts["success"], guard.snapshot().in_flight)


class VirtualClockOfTheUser(VirtualClock):
    """
    A clock whose methods can be replaced.
    """


def test_budget_that_cannot_say_when() -> None:
    """
    A budget that refuses, and raises when it is asked until when, has refused all the same.
    """
    guard, breaks = broken("budget", lambda: Quota(0), "retry_after")

    with pytest.raises(BudgetExhaustedError):
        guard.call(str)

    assert (1, 1) == (breaks.times, guard.snapshot().faults)


def test_budget_that_raises_takes_from_no_other() -> None:
    """
    Of several budgets one raises: the others are asked and paid as ever.
    """
    clock, quota, bucket = VirtualClock(), Quota(9), TokenBucket(capacity=2)
    setattr(quota, "try_acquire", Breaks())  # noqa: B010  # mypy would not have a method assigned
    guard = Guard("images", clock=clock, budget=[quota, bucket])

    guard.call(str)
    guard.call(str)
    with pytest.raises(BudgetExhaustedError):
        guard.call(str)

    assert 0 == bucket.available(clock.now())


@pytest.mark.parametrize("answer", [Breaks(), lambda ended: "no such outcome", lambda ended: 5, lambda: None])
def test_classifier_that_raises_or_answers_nonsense(caplog: pytest.LogCaptureFixture, answer: Any) -> None:
    """
    The built-in rules decide instead; the result is the caller's, the error, too.
    """
    guard = Guard("images", classify=answer)

    assert "done" == guard.call(lambda: "done")
    fail(guard, StatusError(503))
    with guard.acquire():
        pass

    counts = guard.snapshot().counts
    assert (2, 1, 3) == (counts["success"], counts["5xx"], sum(counts.values()))
    assert 2 <= guard.snapshot().faults
    (record,) = told(caplog)
    assert "images" in record.getMessage() and "classify" in record.getMessage()


def test_healthy_guard_has_no_faults(caplog: pytest.LogCaptureFixture) -> None:
    """
    What the provider does wrong is no fault of a port's.
    """
    guard = Guard("images", breaker=CircuitBreaker(), budget=TokenBucket(capacity=10), sinks=[RecordingSink()])

    guard.call(str)
    fail(guard, TimeoutError(), StatusError(500))

    assert 0 == guard.snapshot().faults
    assert [] == told(caplog)


def test_a_log_that_raises_harms_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A filter of the log raises while it is told of a sink that does: the call is answered, and the fault counted.
    """

    def without_field(record: logging.LogRecord) -> bool:
        raise ValueError("no such field")

    monkeypatch.setattr(logging.getLogger("hungframe"), "filters", [without_field])
    guard = Guard("images", sinks=[Breaks()])

    assert "DONE" == guard.call(str.upper, "done")
    assert 2 == guard.snapshot().faults
