"""
The snapshot: a guard at one moment, as a frozen value.
"""

from __future__ import annotations

import dataclasses
import json

import pytest

from hungframe import Guard, Outcome, Snapshot, TokenBucket
from tests.guard.fakes import opened_guard

FIELDS = {
    "name",
    "state",
    "failure_rate",
    "weight",
    "budget",
    "timeout",
    "p95",
    "in_flight",
    "waiting",
    "slots",
    "suspects",
    "orphans",
    "retry_after",
    "generation",
    "open_seconds_today",
    "counts",
}


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
