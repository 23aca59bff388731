"""
Ports of the user's that raise: no call is harmed, no permit lost; told once, counted each time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import pytest

from hungframe import BudgetExhaustedError, CircuitBreaker, Guard, TokenBucket
from hungframe.events import Event
from hungframe.testing import RecordingSink, VirtualClock, run_virtual
from tests.guard.fakes import Backend, StatusError, fail, on_each_backend, sleeps
from tests.guard.test_user_ports import CountingBreaker, Halving, HandClock, Quota

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


@pytest.mark.parametrize("seconds", [0, -1, math.nan, "5", None])
def test_timeout_policy_that_answers_nonsense(seconds: Any) -> None:
    """
    What is no timeout is a fault, and the last good answer stands.
    """
    policy = Halving()
    guard = Guard("images", timeout=policy)
    guard.call(str)
    policy.seconds = seconds

    with guard.acquire() as permit:
        assert 8.0 == permit.timeout

    assert 1 <= guard.snapshot().faults


@pytest.mark.parametrize("instant", [math.nan, math.inf, "now", None])
def test_clock_that_answers_nonsense(instant: Any) -> None:
    """
    What is no instant is a fault, and the clock stands still meanwhile.
    """
    clock = HandClock()
    guard = Guard("images", clock=clock)
    guard.call(str)
    clock.at = instant

    with guard.acquire() as permit:
        assert 50.0 + 60.0 == permit.deadline

    assert 1 <= guard.snapshot().faults


@pytest.mark.parametrize("unix", [math.nan, math.inf, "today", None])
def test_wall_clock_that_answers_nonsense(unix: Any) -> None:
    """
    The wall clock decides nothing: whatever it says, calls end as they end and the breaker opens.
    """
    clock = HandClock()
    setattr(clock, "wall", lambda: unix)  # noqa: B010  # mypy would not have a method assigned
    sink = RecordingSink()
    guard = Guard("images", clock=clock, sinks=[sink])

    guard.call(str)
    fail(guard, TimeoutError(), TimeoutError())

    assert "open" == guard.snapshot().state
    for event in sink.events:
        event.to_json()


def test_clock_that_runs_backwards_stands_still() -> None:
    """
    A clock that goes back gives no call more time, and no negative latency.
    """
    clock, sink = HandClock(), RecordingSink()
    guard = Guard("images", clock=clock, sinks=[sink])
    permit = guard.acquire()
    clock.at -= 40

    permit.settle("success")

    assert [0] == [getattr(event, "latency_ms") for event in sink.of("gen.success")]  # noqa: B009


# -- classifiers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [Breaks(), lambda ended: "no such outcome", lambda ended: 5, lambda: None])
def test_classifier_that_raises_or_answers_nonsense(caplog: pytest.LogCaptureFixture, answer: Any) -> None:
    """
    The built-in rules decide instead; the result is the caller's, the error, too.
    """
    guard = Guard("images", classify=answer)

    assert "done" == guard.call(lambda: "done")
    fail(guard, StatusError(429))
    with guard.acquire():
        pass

    counts = guard.snapshot().counts
    assert (2, 1, 3) == (counts["success"], counts["quota"], sum(counts.values()))
    assert 2 <= guard.snapshot().faults
    (record,) = told(caplog)
    assert "images" in record.getMessage() and "classify" in record.getMessage()


# -- sinks -----------------------------------------------------------------------------------------------------------


def test_sink_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """
    Each broken sink is told of once, and counted at each event.
    """
    first, second = Breaks(), Breaks()
    guard = Guard("images", sinks=[first, second])

    for _ in range(3):
        guard.call(str)

    assert (6, 6, 12) == (first.times, second.times, guard.snapshot().faults)
    assert 2 == len(told(caplog))


class Unspeakable:
    """
    A sink that raises, and cannot even say what it is.
    """

    def __call__(self, event: Event) -> None:
        raise PortError("broken")

    def __repr__(self) -> str:
        raise PortError("no name either")


def test_sink_that_cannot_be_named() -> None:
    """
    Telling of a broken sink does not harm a call either.
    """
    guard = Guard("images", sinks=[Unspeakable()])

    assert "done" == guard.call(lambda: "done")
    assert 2 == guard.snapshot().faults


def test_sink_that_asks_the_guard() -> None:
    """
    A sink may look at the guard that tells it: no lock is held while it runs.
    """
    states: list[str] = []

    def looks(event: Event) -> None:
        states.append(guard.snapshot().state)
        guard.health.current_budget()

    guard = Guard("images", sinks=[looks])
    fail(guard, TimeoutError(), TimeoutError(), TimeoutError())
    guard.force_open()

    assert ["open", "forced_open"] == [states[-2], states[-1]]


def test_healthy_guard_has_no_faults(caplog: pytest.LogCaptureFixture) -> None:
    """
    What the provider does wrong is no fault of a port's.
    """
    guard = Guard("images", breaker=CircuitBreaker(), budget=TokenBucket(capacity=10), sinks=[RecordingSink()])

    guard.call(str)
    fail(guard, TimeoutError(), StatusError(500))

    assert 0 == guard.snapshot().faults
    assert [] == told(caplog)
