"""
For how long a guard was open today (R26).
"""

from __future__ import annotations

from hungframe import CircuitBreaker, Guard
from hungframe.testing import VirtualClock
from tests.guard.fakes import about, open_by_timeouts

DAY = 86_400.0
MIDNIGHT = 20_000 * DAY


def opened_at(seconds_before_midnight: float) -> tuple[Guard, VirtualClock]:
    """
    A guard that opened so long before midnight, UTC.
    """
    clock = VirtualClock(wall=MIDNIGHT - seconds_before_midnight)
    guard = Guard("images", clock=clock, breaker=CircuitBreaker(close_after=1))
    open_by_timeouts(guard)
    return guard, clock


def test_open_seconds_add_up() -> None:
    """
    Those of an opening that goes on, and those of all before it today.
    """
    guard, clock = opened_at(10_000)
    clock.advance(12.5)
    assert 12.5 == guard.snapshot().open_seconds_today
    clock.advance(47.5)
    guard.call(str)
    clock.advance(500)
    assert ("closed", 60.0) == (guard.snapshot().state, guard.snapshot().open_seconds_today)

    open_by_timeouts(guard)
    clock.advance(5)

    assert 65.0 == guard.snapshot().open_seconds_today


def test_forced_open_is_open() -> None:
    """
    Whoever is refused does not care by whom.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock)

    guard.force_open()
    clock.advance(100)
    guard.reset()
    clock.advance(100)

    assert 100.0 == guard.snapshot().open_seconds_today


def test_open_seconds_start_again_at_midnight() -> None:
    """
    Of an opening across midnight, today's part counts.
    """
    guard, clock = opened_at(20)
    clock.advance(19)
    assert 19.0 == guard.snapshot().open_seconds_today
    clock.advance(11)
    assert 10.0 == about(guard.snapshot().open_seconds_today)
    clock.advance(30)
    guard.call(str)
    assert 40.0 == about(guard.snapshot().open_seconds_today)

    clock.advance(DAY)

    assert 0.0 == guard.snapshot().open_seconds_today


def test_half_open_that_nobody_has_asked_for_is_not_open() -> None:
    """
    It is half-open 60 s after it opened, also where the next question comes an hour later: 60 s were open.
    """
    guard, clock = opened_at(10_000)

    clock.advance(3600)

    assert ("half_open", 60.0) == (guard.snapshot().state, guard.snapshot().open_seconds_today)
