"""
What the limit that is learned promises, alone and on a provider that is simulated.

The provider slows down when it is crowded, calls come whether or not others
have ended; all from fixed seeds (benchmarks/concurrency.py has the tables).
"""

import copy
import dataclasses
import functools
import math
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import benchmarks.concurrency
from benchmarks.concurrency import (
    BULKHEADS,
    CAPACITY,
    SEEDS,
    answered,
    learned_after,
    overloaded,
    told,
)
from benchmarks.crowded_provider import Played, arrivals, play
from hungframe import Bulkhead, Outcome
from hungframe._core.concurrency import AdaptiveLimit

# Played once each: several tests look at the same hour and a half.
halved = functools.cache(benchmarks.concurrency.halved)

ADAPTIVE = '`"adaptive"`'


def limits(played: Played, begin: float, end: float) -> list[int]:
    """
    The limit, every five seconds from *begin* to *end*.
    """
    return [limit for at, limit, _ in played.seen if begin <= at < end]


def test_the_goodput_is_near_that_of_the_best_fixed_limit_in_every_phase() -> None:
    """
    With all of the capacity, half of it and all again: 0.95 of the better of the two limits that know the capacity.
    """
    played = {name: [halved(make, seed) for seed in SEEDS] for name, make in BULKHEADS.items()}
    for phase in range(3):
        goodput = {name: told(runs, phase).goodput for name, runs in played.items()}
        assert goodput[ADAPTIVE] >= 0.95 * max(goodput.values()), (phase, goodput)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_seed_is_far_from_the_best(seed: int) -> None:
    """
    The same for each seed alone: 0.9.
    """
    played = {name: halved(make, seed) for name, make in BULKHEADS.items()}
    for phase in range(3):
        goodput = {name: told([run], phase).goodput for name, run in played.items()}
        assert goodput[ADAPTIVE] >= 0.9 * max(goodput.values()), (phase, goodput)


def test_half_of_the_capacity_costs_fewer_timeouts_than_a_limit_for_all_of_it() -> None:
    """
    Of the calls while half is gone: most of them without a bulkhead, a tenth with a limit of 20, fewer when learned.
    """
    lost = {name: told([halved(make, seed) for seed in SEEDS], 1).timed_out for name, make in BULKHEADS.items()}
    without, full, half, adaptive = lost.values()

    assert without > 0.5 > full > 2 * adaptive > half


def test_a_loss_and_a_return_are_learned_within_minutes() -> None:
    """
    Calls take 10 s: the median of five seeds is learned within 30 of these, and no return takes longer.
    """
    times = [learned_after(halved(BULKHEADS[ADAPTIVE], seed)) for seed in SEEDS]
    downs, ups = (sorted(column) for column in zip(*times, strict=True))

    assert downs[2] <= 300 and ups[-1] <= 300, (downs, ups)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_important_calls_are_answered_when_too_many_come(seed: int) -> None:
    """
    Half more than can be answered, a fifth of them important: these hardly notice.
    """
    for name in list(BULKHEADS)[1::2]:
        without = answered(overloaded(BULKHEADS[name], seed, by_priority=False), priority=1)
        ended = overloaded(BULKHEADS[name], seed, by_priority=True)

        assert without < 0.75 and answered(ended, priority=1) > 0.94
        assert answered(ended) > 0.55


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_does_not_shrink_it_while_little_is_in_flight(seed: int) -> None:
    """
    Two in flight, half of the calls twice as quick or twice as slow: all get in.
    """
    calls = arrivals(0.2, 5400.0, seed)
    played = play(Bulkhead("adaptive", 10), calls, [(0.0, 1000)], timeout=60.0)

    assert answered(played.ended) > 0.995


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("hang", [0.0, 0.01, 0.04])
def test_a_provider_with_capacity_to_spare_is_used(seed: int, hang: float) -> None:
    """
    Thirty in flight find their way from a limit of 10; lone calls that hang change nothing.
    """
    rng = random.Random(seed)
    calls = [
        dataclasses.replace(each, work=math.inf if rng.random() < hang else each.work)
        for each in arrivals(3.0, 5400.0, seed)
    ]
    played = play(Bulkhead("adaptive", 10), calls, [(0.0, 1000)], timeout=60.0)

    assert answered(each for each in played.ended if each.call.at > 900) > 0.98 - hang


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_calls_that_take_longer_for_good_are_no_crowd(seed: int) -> None:
    """
    Three times as long, whatever the limit: cut in vain, and back within thirty round trips of 30 s.
    """
    calls = [
        dataclasses.replace(each, work=each.work * (3 if each.at > 2700 else 1)) for each in arrivals(1.5, 8100.0, seed)
    ]
    played = play(Bulkhead("adaptive", 10), calls, [(0.0, 1000)], timeout=90.0)

    assert min(limits(played, 2700, 3600)) < 30
    assert answered(each for each in played.ended if each.call.at > 3600) > 0.95


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_comes_back_after_a_hang(seed: int) -> None:
    """
    Five minutes without an answer take it down; it is up within thirty round trips after that.
    """
    calls = arrivals(1.5, 5400.0, seed)
    played = play(Bulkhead("adaptive", 10), calls, [(0.0, CAPACITY), (1800.0, 1e-9), (2100.0, CAPACITY)], timeout=30.0)

    assert limits(played, 2095, 2100)[0] <= 8
    assert max(limits(played, 2100, 2400)) >= 15
    assert answered(each for each in played.ended if each.call.at > 2400) > 0.93


def test_a_429_cuts_once_a_round_trip() -> None:
    """
    Ten refusals of calls that began before the cut cut it once; one that began after it cuts again.
    """
    limit = AdaptiveLimit(1, 100)
    changed = [limit.record(Outcome.QUOTA, 0.2, 5.0 + nth / 100, 10) for nth in range(10)]

    assert [True] + [False] * 9 == changed and 7 == limit.limit
    assert limit.record(Outcome.QUOTA, 0.2, 5.3, 7) and 4 == limit.limit


def test_timeouts_cut_by_their_share_and_once_a_round_trip() -> None:
    """
    Twenty calls of one round trip time out: the limit is halved once.
    """
    limit = AdaptiveLimit(1, 100)
    for _ in range(20):
        limit.record(Outcome.TIMEOUT, 30.0, 30.0, 10)

    assert 5 == limit.limit


@pytest.mark.parametrize("outcome", [Outcome.SERVER_ERROR, Outcome.CONNECTION, Outcome.CLIENT_ERROR, Outcome.CANCELLED])
def test_other_ends_say_nothing(outcome: Outcome) -> None:
    """
    An error that comes at once is no quick answer, and a caller that left no slow one.
    """
    limit = AdaptiveLimit(1, 100)
    before = repr([getattr(limit, name) for name in AdaptiveLimit.__slots__])
    for second in range(100):
        assert not limit.record(outcome, 0.1, float(second), 10)

    assert before == repr([getattr(limit, name) for name in AdaptiveLimit.__slots__])


def test_it_grows_only_where_it_is_in_use() -> None:
    """
    Calls that are quick with few in flight do not say that many would be.
    """
    limit = AdaptiveLimit(1, 100)
    for second in range(1000):
        limit.record(Outcome.SUCCESS, 1.0, float(second), 7)

    assert 10 == limit.limit


def test_a_clock_that_went_back_does_not_stop_the_learning() -> None:
    """
    The cut lies in the future then; calls count all the same.
    """
    limit = AdaptiveLimit(1, 100)
    limit.record(Outcome.QUOTA, 0.2, 1e9, 10)
    for second in range(100):
        limit.record(Outcome.SUCCESS, 0.5, float(second), limit.limit)

    assert limit.limit > 20


ENDS = st.tuples(
    st.sampled_from(list(Outcome)),
    st.one_of(st.sampled_from([0.0, -1.0, math.nan, math.inf, 1e-300, 1e300]), st.floats(0.01, 100.0)),
    st.floats(0.0, 100.0),
    st.integers(0, 200),
)


@given(st.integers(1, 50), st.integers(0, 100), st.lists(ENDS, max_size=200))
def test_whatever_ends_the_bounds_hold(least: int, more: int, ends: list[tuple[Outcome, float, float, int]]) -> None:
    """
    Nonsense leaves a limit within its bounds that can still be moved, and says rightly whether it moved.
    """
    limit = AdaptiveLimit(least, least + more)
    now = 0.0
    for outcome, seconds, step, in_flight in ends:
        now += step
        before = limit.limit
        assert (limit.record(outcome, seconds, now, in_flight)) == (before != limit.limit)
        assert least <= limit.limit <= least + more
    later = copy.copy(limit)
    for _ in range(200):
        now += 5.0
        later.record(Outcome.QUOTA, 1.0, now, later.limit)
    assert least == later.limit


def test_nothing_grows_with_the_calls() -> None:
    """
    After 100,000 calls it is as large as before.
    """

    def size(limit: AdaptiveLimit) -> int:
        return sum(sys.getsizeof(getattr(limit, name)) for name in AdaptiveLimit.__slots__)

    limit = AdaptiveLimit(1, 100)
    before = size(limit)
    for second in range(100_000):
        limit.record(Outcome.SUCCESS, 5.0 + second % 3, float(second), limit.limit)

    assert size(limit) <= before + 64
