"""
Ports of the user's that answer nonsense: it is a fault like any other, and no call is harmed.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from hungframe import BudgetExhaustedError, Guard
from hungframe.testing import RecordingSink
from tests.guard.fakes import StatusError, fail
from tests.guard.own_ports import CountingBreaker, Halving, HandClock, Quota


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


@pytest.mark.parametrize("answer", [True, "yes", object(), 5])
def test_breaker_that_answers_nonsense(answer: Any) -> None:
    """
    What is neither permit nor refusal is a fault, and the call goes on.
    """
    breaker = CountingBreaker()
    setattr(breaker, "acquire", lambda now, *, timeout: answer)  # noqa: B010  # mypy would not have a method assigned
    guard = Guard("images", breaker=breaker)

    assert "done" == guard.call(lambda: "done")
    fail(guard, StatusError(500))

    assert (2, 0) == (sum(guard.snapshot().counts.values()), guard.snapshot().in_flight)


@pytest.mark.parametrize("seconds", [None, "soon", math.nan, -1])
def test_budget_that_answers_nonsense_about_its_wait(seconds: Any) -> None:
    """
    A budget that refuses has refused, whatever it says of the wait; the refusal is told.
    """
    quota, sink = Quota(0), RecordingSink()
    setattr(quota, "retry_after", lambda tokens, now: seconds)  # noqa: B010  # mypy would not have a method assigned
    guard = Guard("images", budget=quota, sinks=[sink])

    with pytest.raises(BudgetExhaustedError) as refused:
        guard.call(str)

    assert "images" in str(refused.value)
    assert ["gen.request", "gen.reject"] == sink.names()


def test_clock_that_runs_backwards_stands_still() -> None:
    """
    A clock that goes back gives no call more time, and no negative latency.
    """
    clock, sink = HandClock(), RecordingSink()
    guard = Guard("images", clock=clock, sinks=[sink])
    permit = guard.acquire()
    clock.at -= 40

    permit.settle("success")

    assert [0] == [getattr(event, "latency_ms") for event in sink.of("gen.success")]  # noqa: B009  # Of this kind.
