"""
See and steer: the snapshot, force_open, disable, reset, and for how long it was open today.
"""

from __future__ import annotations

import dataclasses
import json

import pytest

from hungframe import CircuitBreaker, CircuitOpenError, Guard, Outcome, Snapshot, TokenBucket
from hungframe.testing import RecordingSink, VirtualClock
from tests.guard.fakes import about, fail, in_flight, open_by_timeouts, opened_guard

DAY = 86_400.0
MIDNIGHT = 20_000 * DAY

FIELDS = {
    "name",
    "state",
    "failure_rate",
    "weight",
    "budget",
    "timeout",
    "p95",
    "in_flight",
    "suspects",
    "orphans",
    "retry_after",
    "generation",
    "open_seconds_today",
    "counts",
}


# -- the snapshot ----------------------------------------------------------------------------------------------------


def test_snapshot_of_a_fresh_guard() -> None:
    """
    Every field of the contract, with what a fresh guard has to say.
    """
    snapshot = Guard("images", budget=TokenBucket()).snapshot()

    assert {field.name for field in dataclasses.fields(snapshot)} >= FIELDS
    assert ("images", "closed", 0.0, 0.0, 5, 60.0, None, 0, 0, 0, 0.0, 0.0) == (
        snapshot.name,
        snapshot.state,
        snapshot.failure_rate,
        snapshot.weight,
        snapshot.budget,
        snapshot.timeout,
        snapshot.p95,
        snapshot.in_flight,
        snapshot.suspects,
        snapshot.orphans,
        snapshot.retry_after,
        snapshot.open_seconds_today,
    )
    assert {outcome.value: 0 for outcome in Outcome} == dict(snapshot.counts)
    assert str is type(snapshot.state)


def test_snapshot_is_a_frozen_value() -> None:
    """
    It stays what it was, and nobody can write into it or through it.
    """
    guard = Guard("images")
    snapshot = guard.snapshot()
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.state = "open"  # type: ignore[misc]  # that is the point

    guard.call(str)

    assert (0, 1) == (snapshot.counts["success"], guard.snapshot().counts["success"])


@pytest.mark.parametrize("timeout", [5, None])
def test_snapshot_as_json(timeout: float | None) -> None:
    """
    One object with the same names; what JSON has no word for is null.
    """
    guard, clock = opened_guard()
    clock.advance(10)
    snapshot = guard.using(timeout=timeout).snapshot()

    read = json.loads(snapshot.to_json())

    assert read.keys() >= FIELDS
    assert ("open", 50.0, timeout, 10.0, 3) == (
        read["state"],
        read["retry_after"],
        read["timeout"],
        read["open_seconds_today"],
        read["counts"]["timeout"],
    )


def test_generation_counts_the_changes() -> None:
    """
    It grows with each change of state, and with nothing else.
    """
    guard, clock = opened_guard()
    seen = [guard.snapshot().generation]
    for _ in range(3):
        clock.advance(60)
        guard.call(str)
        seen.append(guard.snapshot().generation)
    guard.call(str)
    seen.append(guard.snapshot().generation)

    assert [0, 1, 1, 2, 2] == [generation - seen[0] for generation in seen]


def test_looking_changes_nothing() -> None:
    """
    A thousand looks take no token, no probe, and count nothing.
    """
    guard, clock = opened_guard()
    clock.advance(60)

    snapshots = {repr(dataclasses.replace(guard.snapshot(), counts={})) for _ in range(1000)}

    assert 1 == len(snapshots)
    guard.acquire().settle("success")


def test_snapshot_is_public() -> None:
    """
    It can be named in annotations.
    """
    snapshot: Snapshot = Guard("images").snapshot()

    assert "images" == snapshot.name


# -- steering --------------------------------------------------------------------------------------------------------


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


# -- open today ------------------------------------------------------------------------------------------------------


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
