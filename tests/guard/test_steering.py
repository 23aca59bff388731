"""
Steering by an operator: force_open, disable, reset.
"""

from __future__ import annotations

import json

import pytest

from hungframe import CircuitOpenError, Guard
from hungframe.testing import RecordingSink, VirtualClock
from tests.guard.fakes import fail, in_flight, opened_guard


def test_force_open_refuses_all_until_reset() -> None:
    """
    No time ends it; calls in flight go on.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock)
    with in_flight(guard, 1) as (permit,):
        guard.force_open()
        permit.settle("success")
    assert (1.0, "forced_open", None) == (
        guard.snapshot().weight,
        guard.snapshot().state,
        guard.snapshot().retry_after,
    )

    clock.advance(1e6)
    with pytest.raises(CircuitOpenError):
        guard.call(str)
    guard.reset()

    guard.call(str)


def test_disable_refuses_nobody_and_records() -> None:
    """
    A hundred timeouts do not open it; they are seen.
    """
    guard = Guard("images", clock=VirtualClock())
    guard.disable()

    fail(guard, *[TimeoutError() for _ in range(100)])

    assert ("disabled", 50.0, 1.0, 0.0) == (
        guard.snapshot().state,
        guard.snapshot().weight,
        guard.snapshot().failure_rate,
        guard.snapshot().retry_after,
    )


def test_disable_lifts_what_was_open() -> None:
    """
    From open and from forced open.
    """
    guard, _ = opened_guard()
    guard.disable()
    guard.call(str)
    guard.force_open()
    guard.disable()

    guard.call(str)


def test_reset_closes_and_forgets() -> None:
    """
    From every state: closed, with an empty window; two timeouts do not open what three would.
    """
    for steer in ("force_open", "disable", None):
        guard, _ = opened_guard()
        if steer is not None:
            getattr(guard, steer)()

        guard.reset()
        fail(guard, TimeoutError(), TimeoutError())

        assert ("closed", 4.0) == (guard.snapshot().state, guard.snapshot().weight)


def test_reset_forgets_calls_in_flight() -> None:
    """
    What was admitted before it says nothing of what is after it.
    """
    guard = Guard("images")
    with in_flight(guard, 3) as permits:
        guard.reset()
        for permit in permits:
            permit.settle("timeout")

    assert ("closed", 0.0) == (guard.snapshot().state, guard.snapshot().weight)


def test_steering_is_told_once() -> None:
    """
    Each change of an operator is an event; saying it again is none.
    """
    sink = RecordingSink()
    guard = Guard("images", sinks=[sink])

    for steer in (guard.force_open, guard.force_open, guard.disable, guard.disable, guard.reset, guard.reset):
        steer()

    told = [json.loads(event.to_json())["state"] for event in sink.of("breaker.state")]
    assert ["forced_open", "disabled", "closed"] == told


def test_guard_without_a_breaker_cannot_be_steered() -> None:
    """
    It says so.
    """
    guard = Guard("images", breaker=None)

    for steer in ("force_open", "disable", "reset"):
        with pytest.raises(TypeError, match=steer):
            getattr(guard, steer)()
