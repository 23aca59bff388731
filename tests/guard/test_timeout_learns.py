"""
A provider that changes under a guard: what its timeout makes of that, and what it would be with less (semantics 4).

Calls take about a second, timeouts lie between 1 and 60 s, one call comes each second or ten; all from fixed seeds on
a virtual clock. *Missed* is the share of calls that were aborted or rejected.
"""

from __future__ import annotations

import pytest

from benchmarks.timeout_policies import CountsTimeouts, DropsTimeouts, GrowsUngated
from benchmarks.timeout_scenarios import Latency, bimodal, drift, hang, run, slower
from benchmarks.timeouts import POLICIES, Told, latencies, replay, told
from hungframe import AdaptiveTimeout

MINUTES = 60.0


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "latency",
    [
        pytest.param(slower(3.0), id="3 x slower"),
        pytest.param(slower(8.0), id="8 x slower"),
        pytest.param(bimodal(0.2, 10.0), id="a fifth 10 x slower"),
        pytest.param(drift(10.0, 60 * MINUTES), id="10 x slower within an hour"),
    ],
)
def test_a_slower_provider_is_learned(latency: Latency, seed: int) -> None:
    """
    From ten minutes after the change on, for the next half hour and in the hour after that, fewer than 5 % are missed.
    """
    played = run(AdaptiveTimeout, latency, seed=seed)

    assert played.missed(10 * MINUTES, 40 * MINUTES) < 0.05
    assert played.missed(30 * MINUTES) < 0.05


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("times", "learned_after"), [(3.0, 10), (8.0, 30)])
def test_it_is_learned_from_six_calls_a_minute(times: float, learned_after: int, seed: int) -> None:
    """
    With a call each ten seconds, too; 8 x slower takes half an hour there, which is 180 calls.
    """
    played = run(AdaptiveTimeout, slower(times), seed=seed, every=10.0)

    assert played.missed(learned_after * MINUTES) < 0.05


@pytest.mark.parametrize(
    ("latency", "since", "until", "missed"),
    [
        (slower(8.0), 10, 40, 0.5),
        (bimodal(0.2, 10.0), 30, 90, 0.5),
        (drift(10.0, 60 * MINUTES), 30, 90, 0.3),
    ],
)
def test_dropping_timeouts_locks_in(latency: Latency, since: int, until: int, missed: float) -> None:
    """
    Who learns from completed calls alone sees only the quick ones, and goes on aborting the others.
    """
    played = run(DropsTimeouts, latency)

    assert played.missed(since * MINUTES, until * MINUTES) > missed


def test_counting_a_timeout_as_a_latency_learns_slowly() -> None:
    """
    Each cut call moves the P95 by the margin at most: 8 x slower, nearly half are missed from 10 to 40 minutes after.
    """
    assert run(CountsTimeouts, slower(8.0)).missed(10 * MINUTES, 40 * MINUTES) > 0.4
    assert run(CountsTimeouts, drift(10.0, 60 * MINUTES), every=10.0).missed(30 * MINUTES) > 0.5


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("every", [0.2, 1.0, 10.0])
def test_a_hang_of_five_minutes_is_forgotten(every: float, seed: int) -> None:
    """
    Ten minutes after it the timeout is within 1.3 times of what it was, whether 60 calls came since or 3,000.
    """
    played = run(AdaptiveTimeout, hang(5 * MINUTES), seed=seed, every=every, seconds=16 * MINUTES)
    before = played.timeout(-1.0)

    assert before / 1.3 < played.timeout(15 * MINUTES) < before * 1.3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_a_breaker_the_gate_keeps_a_hang_from_raising_it(seed: int) -> None:
    """
    Ungated it grows to ten times and more as long as everything hangs, and each caller waits for so long.
    """
    gated, ungated = (
        run(learner, hang(5 * MINUTES), seed=seed, breaker=False, seconds=5 * MINUTES)
        for learner in (AdaptiveTimeout, GrowsUngated)
    )

    assert gated.timeout(5 * MINUTES) < 1.5 * gated.timeout(-1.0)
    assert max(seconds for _, seconds in ungated.timeouts) > 10 * ungated.timeout(-1.0)


def test_recorded_calls() -> None:
    """
    On recorded calls with hangs injected it aborts least in vain of all that learn, and wastes a tenth of 60 s always.
    """
    assert 1988 == len(latencies())
    cost: dict[str, Told] = {name: told(replay(make)) for name, make in POLICIES.items()}
    ours = cost.pop("`AdaptiveTimeout`")
    fixed = cost.pop("60 s, always")

    assert ours.wasted < fixed.wasted / 10
    assert ours.false_aborts < 0.01
    assert ours.false_aborts < min(each.false_aborts for each in cost.values())
    assert ours.rejected < min(each.rejected for each in cost.values())
