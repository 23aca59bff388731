"""
The circuit breaker as Guard's callers meet it (semantics 2).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hungframe import AdaptiveTimeout, CircuitBreaker, CircuitOpenError, Guard
from hungframe.testing import VirtualClock
from tests.guard.fakes import StatusError, fail, open_by_timeouts, opened_guard


def test_window_holds_the_last_25() -> None:
    """
    The 26th outcome pushes the first out.
    """
    guard = Guard("images")
    fail(guard, StatusError(500), StatusError(500))

    for _ in range(23):
        guard.call(str)
    assert 2 / 25 == guard.snapshot().failure_rate
    guard.call(str)

    assert (25.0, 1 / 25) == (guard.snapshot().weight, guard.snapshot().failure_rate)


@pytest.mark.parametrize("timeout", [5, AdaptiveTimeout()])
def test_successes_weigh_in_before_the_failures_come(timeout: float | AdaptiveTimeout) -> None:
    """
    Twenty successes, however fast they were and whatever was learned before, stand against the failures after them.
    """
    guard = Guard("images", clock=VirtualClock(), timeout=timeout)
    for _ in range(50):
        guard.call(str)
    guard.reset()
    for _ in range(20):
        guard.call(str)

    fail(guard, TimeoutError(), TimeoutError(), TimeoutError())

    assert (26.0, 6 / 26, "closed") == (
        guard.snapshot().weight,
        guard.snapshot().failure_rate,
        guard.snapshot().state,
    )


@pytest.mark.parametrize("steer", ["force_open", "disable", "reset"])
def test_successes_count_in_the_state_that_they_were_of(steer: str) -> None:
    """
    Successes before an operator's hand are of the window before it: a reset forgets them, the others keep them.
    """
    guard = Guard("images", timeout=5)
    for _ in range(20):
        guard.call(str)

    getattr(guard, steer)()

    assert (0.0 if steer == "reset" else 20.0, 20) == (guard.snapshot().weight, guard.snapshot().counts["success"])


def test_outcomes_are_forgotten_after_an_hour() -> None:
    """
    What is older than 3,600 s counts no more; what is exactly that old does.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock)
    fail(guard, TimeoutError(), TimeoutError())

    clock.advance(3600)
    assert 4.0 == guard.snapshot().weight
    clock.advance(0.001)
    assert 0.0 == guard.snapshot().weight
    fail(guard, TimeoutError())

    assert "closed" == guard.snapshot().state


def test_old_successes_are_forgotten_too() -> None:
    """
    Successes of an hour ago do not outweigh the failures of now.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock)
    for _ in range(25):
        guard.call(str)
    clock.advance(3601)

    open_by_timeouts(guard)


def test_half_open_is_found_by_whoever_asks_next() -> None:
    """
    60 s after it opened it is half-open, to a caller and to a look at it; a moment before it is not.
    """
    for ask in (lambda guard: guard.snapshot().state, lambda guard: asked(guard)):
        guard, clock = opened_guard()
        clock.advance(59.999)
        assert "open" == ask(guard)
        clock.advance(0.001)
        assert "half_open" == ask(guard)


def asked(guard: Guard) -> str:
    """
    Ask for a call before looking.
    """
    try:
        guard.acquire().cancel()
    except CircuitOpenError:
        pass
    return guard.snapshot().state


def test_one_probe_in_60_seconds() -> None:
    """
    A probe that has ended well leaves its period to no other.
    """
    guard, clock = opened_guard()
    clock.advance(60)
    guard.call(str)

    clock.advance(59)
    with pytest.raises(CircuitOpenError) as refused:
        guard.call(str)
    assert 1.0 == refused.value.retry_after
    clock.advance(1)

    guard.call(str)


def test_refused_caller_who_waits_as_told_gets_in() -> None:
    """
    `retry_after` is the wait that it takes: open, and half-open with the probe out.
    """
    guard, clock = opened_guard()
    waited = []
    for _ in range(3):
        with pytest.raises(CircuitOpenError) as refused:
            guard.acquire()
        assert refused.value.retry_after is not None
        waited.append(refused.value.retry_after)
        clock.advance(refused.value.retry_after)
        guard.acquire().settle("success")

    assert [60.0, 60.0, 60.0] == waited
    assert "closed" == guard.snapshot().state


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        ("success", "closed"),
        ("4xx", "closed"),
        ("quota", "open"),
        ("timeout", "open"),
        ("5xx", "open"),
        ("connection", "open"),
        ("unknown", "open"),
        ("cancelled", "half_open"),
        ("rejected", "half_open"),
    ],
)
def test_what_a_probe_proves(outcome: str, state: str) -> None:
    """
    A success and a 4xx prove that the provider answers, a 429 and each failure that it does not; a cancel, nothing.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, breaker=CircuitBreaker(close_after=1))
    open_by_timeouts(guard)
    clock.advance(60)

    guard.acquire().settle(outcome)

    assert state == guard.snapshot().state


def test_backoff_doubles_up_to_its_cap() -> None:
    """
    With a backoff of 2 each failed probe doubles the wait, up to 600 s; closing starts it again.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, breaker=CircuitBreaker(backoff=2.0, close_after=1))
    open_by_timeouts(guard)
    waits = []

    for _ in range(6):
        waits.append(guard.snapshot().retry_after)
        clock.advance(waits[-1] or 0)
        fail(guard, StatusError(500))

    assert [60.0, 120.0, 240.0, 480.0, 600.0, 600.0] == waits
    clock.advance(600)
    guard.call(str)
    open_by_timeouts(guard)
    assert 60.0 == guard.snapshot().retry_after


def test_without_backoff_each_wait_is_60_seconds() -> None:
    """
    The default backoff is 1.
    """
    guard, clock = opened_guard()

    for _ in range(5):
        clock.advance(60)
        fail(guard, StatusError(500))
        assert 60.0 == guard.snapshot().retry_after


def test_opening_leaves_calls_in_flight_alone() -> None:
    """
    Calls in flight keep the deadline that they were given.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock)
    permit = guard.acquire()
    deadline = permit.deadline

    open_by_timeouts(guard)

    assert (deadline, 1) == (permit.deadline, guard.snapshot().in_flight)
    permit.settle("success")
    assert 0 == guard.snapshot().in_flight


@pytest.mark.parametrize("kind", [CircuitBreaker, type("OfTheUser", (CircuitBreaker,), {})])
def test_slow_success_weighs_as_a_failure(kind: Callable[..., CircuitBreaker]) -> None:
    """
    Slower than `slow_call` is a failure of weight 1, exactly as slow is none; so it is in a subclass.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, isolate=None, breaker=kind(slow_call=10.0))

    for _ in range(5):
        guard.call(clock.advance, 10.0)
    assert (5.0, 0.0) == (guard.snapshot().weight, guard.snapshot().failure_rate)
    for _ in range(5):
        guard.call(clock.advance, 10.1)

    assert "open" == guard.snapshot().state


def test_slow_call_is_off_by_default() -> None:
    """
    By default a success is a success.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, isolate=None)

    for _ in range(25):
        guard.call(clock.advance, 59.0)

    assert 0.0 == guard.snapshot().failure_rate


def test_no_breaker_never_refuses() -> None:
    """
    `breaker=None`: a hundred timeouts, and the next call is let through.
    """
    guard = Guard("images", breaker=None)

    fail(guard, *[TimeoutError() for _ in range(100)])

    assert "in" == guard.call(lambda: "in")
    assert ("disabled", 100) == (guard.snapshot().state, guard.snapshot().counts["timeout"])


def test_guards_do_not_share_a_default_breaker() -> None:
    """
    A policy that is there by default is made afresh for each guard.
    """
    first, second = Guard("first"), Guard("second")

    open_by_timeouts(first)

    assert "closed" == second.snapshot().state
