"""
A provider that answers 429 to most, and a crowd at the door of one that is well again (semantics 2 and 3).
"""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.simulations.stage import Backend, Recording
from benchmarks.simulations.storms import CROWD, STORM_BEGINS, STORM_ENDS, herd, storm

SEEDS = (1, 2, 3)


def in_the_storm(recording: Recording) -> Counter[str]:
    """
    How the calls ended that came while the provider limited its callers to ten a minute.
    """
    return Counter(each.how for each in recording.within(STORM_BEGINS, STORM_ENDS))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("hint", [True, False], ids=["Retry-After", "no hint"])
def test_a_storm_of_429_is_kept_off(hint: bool, seed: int) -> None:
    """
    Of 600 calls, 500 would be answered 429 without a guard; with one it is less than a fifth of that.
    """
    ended = in_the_storm(storm(hint=hint, seed=seed))

    assert 550 < sum(ended.values()) < 650
    assert ended["429"] < 100


@pytest.mark.parametrize("seed", SEEDS)
def test_retry_after_is_obeyed(seed: int) -> None:
    """
    Each minute one call or two learn that it is used up; all that can be answered are, and the breaker stays closed.
    """
    recording = storm(hint=True, seed=seed)
    ended = in_the_storm(recording)

    assert ended["429"] <= 20
    assert ended["answered"] >= 95
    assert not recording.entered("open")


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_hint_the_pause_is_guessed(seed: int) -> None:
    """
    The guard asks now and then whether it may go on, and misses little of what can be answered.
    """
    recording = storm(hint=False, seed=seed)
    ended = in_the_storm(recording)

    assert ended["429"] <= 100
    assert ended["answered"] >= 85
    assert not recording.entered("open")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_of_a_crowd_gets_through(backend: Backend) -> None:
    """
    Of 100 callers at the moment of half-open one reaches the provider; each of the others is told when to come back.
    """
    crowd = herd(backend=backend)
    first = [caller[0] for caller in crowd.callers]

    assert [CROWD - 1, 1] == [sum(each.how == how for each in first) for how in ("refused", "answered")]
    assert all(each.retry_after and each.retry_after >= 60.0 for each in first if each.how == "refused")


def test_one_gets_through_each_time_until_it_closes() -> None:
    """
    They come back when they were told to, and again one reaches the provider, until three have: then it is closed,
    and nobody is turned away.
    """
    crowd = herd()
    closed_after = crowd.recording.entered("closed", crowd.at)[0] - crowd.at
    probing = [each for each in crowd.rounds() if each[0] < closed_after]
    after = [each for each in crowd.rounds() if each[0] >= closed_after]

    assert [1, 1, 1] == [reached for _, reached, _ in probing]
    assert CROWD - 3 == sum(reached for _, reached, _ in after)
    assert 0 == sum(refused for _, _, refused in after)
