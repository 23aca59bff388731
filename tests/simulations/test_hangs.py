"""
Providers that hang: for a while, every other half minute, and what age in flight is worth then (semantics 2 and 4).

Real calls like those for images: median 5 s, P95 8 s, twenty a minute; fixed seeds, virtual time.
"""

from __future__ import annotations

from statistics import mean

import pytest

from benchmarks.simulations.hangs import FLAPS_FOR, HANG, Opened, flapping, hang, opening
from benchmarks.simulations.report import longest_timeout
from benchmarks.timeout_scenarios import CHANGE

MINUTES = 60.0
SEEDS = (1, 2, 3, 4, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hang_of_five_minutes_is_forgotten(seed: int) -> None:
    """
    Ten minutes after it the timeout is within 1.3 times of what it was.
    """
    recording = hang(seed=seed)
    before = recording.timeout(CHANGE - 1.0)

    assert before / 1.3 < recording.timeout(CHANGE + HANG + 10 * MINUTES) < before * 1.3
    assert longest_timeout(recording) < 1.5 * before


@pytest.mark.parametrize("seed", SEEDS)
def test_few_walk_into_a_hang(seed: int) -> None:
    """
    Of the hundred calls that come in those five minutes a quarter at most waits in vain, and the provider is trusted
    again within five minutes.
    """
    recording = hang(seed=seed)
    hung = [each for each in recording.within(CHANGE, CHANGE + HANG) if each.reached]

    assert len(hung) <= 25
    assert recording.entered("closed", CHANGE + HANG)[0] < CHANGE + HANG + 5 * MINUTES
    assert recording.share("answered", begin=CHANGE + HANG + 6 * MINUTES) > 0.98


@pytest.mark.parametrize("seed", SEEDS)
def test_flapping_does_not_make_it_chatter(seed: int) -> None:
    """
    A provider that changes 120 times in an hour opens the breaker no more often than every two minutes, and one call
    in ten waits in vain at most. The timeout stays within twice of what it was, and returns.
    """
    recording = flapping(seed=seed)
    before = recording.timeout(CHANGE - 1.0)
    opened = recording.entered("open", CHANGE)

    assert 1 <= len(opened) <= 30
    assert recording.share("aborted", begin=CHANGE) < 0.1
    assert longest_timeout(recording) < 2 * before
    assert before / 1.3 < recording.timeout(CHANGE + FLAPS_FOR + 10 * MINUTES) < before * 1.3


def cost(opened: list[Opened]) -> tuple[float, float, float]:
    """
    Seconds until it opened, calls that hung, and the seconds for which they waited; the mean of each.
    """
    return (
        mean(each.after for each in opened),
        mean(each.calls for each in opened),
        mean(each.wasted for each in opened),
    )


def test_suspects_open_early() -> None:
    """
    With an empty window and a known P95, a hang opens the breaker in two thirds of the time, after two thirds of the
    calls, and before the first of them has timed out.
    """
    with_suspects = [opening(suspects=True, warm=False, seed=seed) for seed in SEEDS]
    without = [opening(suspects=False, warm=False, seed=seed) for seed in SEEDS]

    assert all(each.after < 45.0 for each in with_suspects)
    assert all(each.after > 45.0 for each in without)
    for ours, theirs in zip(cost(with_suspects), cost(without), strict=True):
        assert ours < theirs * 2 / 3


def test_suspects_help_a_full_window_less() -> None:
    """
    With 25 successes in the window it still opens earlier, and never later.
    """
    with_suspects = [opening(suspects=True, warm=True, seed=seed) for seed in SEEDS]
    without = [opening(suspects=False, warm=True, seed=seed) for seed in SEEDS]

    assert all(ours.after <= theirs.after for ours, theirs in zip(with_suspects, without, strict=True))
    for ours, theirs in zip(cost(with_suspects), cost(without), strict=True):
        assert ours < theirs * 0.9
