"""
The health port: what a poller asks before it fetches a job, and what a call made elsewhere reports (R12).
"""

from __future__ import annotations

from typing import Any

import pytest

from hungframe import CircuitBreaker, Guard, Outcome, TokenBucket
from hungframe.ports import HealthPort
from hungframe.testing import VirtualClock
from tests.guard.fakes import in_flight, open_by_timeouts, opened_guard


def test_it_is_a_health_port() -> None:
    """
    By shape, and for the type checker.
    """
    port: HealthPort = Guard("images").health

    assert isinstance(port, HealthPort)


def test_three_reported_timeouts_open() -> None:
    """
    What is reported counts as what is called.
    """
    guard = Guard("images")
    told = []

    for _ in range(3):
        guard.health.record_failure("timeout")
        told.append(guard.health.should_open_circuit())

    assert [False, False, True] == told
    assert 3 == guard.snapshot().counts["timeout"]


@pytest.mark.parametrize("kind", [outcome for outcome in Outcome if outcome is not Outcome.SUCCESS])
def test_failure_of_every_kind(kind: Outcome) -> None:
    """
    An outcome or its name.
    """
    for given in (kind, kind.value):
        guard = Guard("images")
        guard.health.record_failure(given)
        assert 1 == guard.snapshot().counts[kind.value]


def test_reported_successes_are_learned() -> None:
    """
    Twenty of them move the timeout.
    """
    guard = Guard("images")

    for _ in range(20):
        guard.health.record_success(50.0)

    assert (50.0, 60.0, 20.0) == (guard.snapshot().p95, guard.snapshot().timeout, guard.snapshot().weight)


def test_reports_join_the_calls_before_them() -> None:
    """
    Twenty calls that succeeded stand against three reported timeouts.
    """
    guard = Guard("images", clock=VirtualClock())
    for _ in range(20):
        guard.call(str)

    for _ in range(3):
        guard.health.record_failure("timeout")

    assert ("closed", 26.0) == (guard.snapshot().state, guard.snapshot().weight)


def test_slow_report_counts_as_slow() -> None:
    """
    A reported success slower than `slow_call` weighs as a failure.
    """
    guard = Guard("images", breaker=CircuitBreaker(slow_call=10.0))

    for _ in range(5):
        guard.health.record_success(11.0)

    assert "open" == guard.snapshot().state


def test_report_to_an_open_breaker_counts_nowhere() -> None:
    """
    It is of a call that began before; it neither closes nor prolongs.
    """
    guard, _ = opened_guard()

    for _ in range(3):
        guard.health.record_success(1.0)
    guard.health.record_failure("timeout")

    assert ("open", 60.0) == (guard.snapshot().state, guard.snapshot().retry_after)


def test_should_open_circuit_through_all_states() -> None:
    """
    It tells whether a call made now would be refused: closed no, open yes, half-open only while the probe is out.
    """
    guard, clock = opened_guard()
    assert guard.health.should_open_circuit()
    clock.advance(60)
    assert not guard.health.should_open_circuit()
    with in_flight(guard, 1):
        assert guard.health.should_open_circuit()
    guard.force_open()
    assert guard.health.should_open_circuit()
    guard.disable()
    assert not guard.health.should_open_circuit()
    guard.reset()
    assert not guard.health.should_open_circuit()


def test_asking_takes_nothing() -> None:
    """
    A poller that asks a hundred times leaves probe and budget to those who call.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, budget=TokenBucket(capacity=5, refill_every=1e6))
    open_by_timeouts(guard)
    clock.advance(60)

    for _ in range(100):
        assert not guard.health.should_open_circuit()
        assert 2 == guard.health.current_budget()

    guard.call(str)
    assert 1 == guard.health.current_budget()


def test_reports_spend_no_budget() -> None:
    """
    A call made elsewhere has had its token elsewhere.
    """
    guard = Guard("images", budget=TokenBucket(capacity=5))

    guard.health.record_success(1.0)

    assert 5 == guard.health.current_budget()


@pytest.mark.parametrize(
    ("seconds", "error"),
    [(-1.0, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), (True, TypeError), ("1", TypeError)],
)
def test_latency_that_is_none(seconds: Any, error: type[Exception]) -> None:
    """
    It is refused with its name and value, and counts nowhere.
    """
    guard = Guard("images")

    with pytest.raises(error) as refused:
        guard.health.record_success(seconds)

    assert "seconds" in str(refused.value) and repr(seconds) in str(refused.value)
    assert 0 == guard.snapshot().counts["success"]


@pytest.mark.parametrize("kind", ["success", "timeot", "", None])
def test_failure_that_is_none(kind: Any) -> None:
    """
    A success is no failure, and a typo is no kind.
    """
    guard = Guard("images")

    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the text is looked at below
        guard.health.record_failure(kind)

    assert repr(kind) in str(refused.value)
    assert 0 == sum(guard.snapshot().counts.values())
