"""
Which of several equal endpoints to call: against a slow model, and the shares that the rules promise.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hungframe import BreakerState
from hungframe._core.choice import Candidate, choose, is_panic

from .models.times import HISTORIES

CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, DISABLED = (
    BreakerState.CLOSED,
    BreakerState.OPEN,
    BreakerState.HALF_OPEN,
    BreakerState.FORCED_OPEN,
    BreakerState.DISABLED,
)

WELL = Candidate(CLOSED, 0.0, 1.0, 0)
SPENT = Candidate(CLOSED, 20.0, 1.0, 0)
SHUT = Candidate(OPEN, 30.0, 1.0, 0)
ON_TRIAL = Candidate(HALF_OPEN, 0.0, 1.0, 0)
TRIED = Candidate(HALF_OPEN, 40.0, 1.0, 1)
SWITCHED_OFF = Candidate(FORCED_OPEN, math.inf, 1.0, 0)

CANDIDATES = st.builds(
    Candidate,
    state=st.sampled_from([CLOSED, CLOSED, OPEN, HALF_OPEN, HALF_OPEN, FORCED_OPEN, DISABLED]),
    retry_after=st.sampled_from([0.0, 0.0, 0.5, 20.0, math.inf]),
    p95=st.sampled_from([None, 0.0, 0.5, 1.0, 2.0, 40.0]),
    in_flight=st.integers(0, 4),
    due=st.sampled_from([False, False, False, True]),
)


def chosen(candidates: Sequence[Candidate], *, seed: int = 1, times: int = 3000, threshold: float = 0.5) -> list[float]:
    """
    The share of choices that each candidate gets.
    """
    rng = random.Random(seed)
    counts = Counter(choose(candidates, rng.random, panic_threshold=threshold) for _ in range(times))
    return [round(counts[place] / times, 2) for place in range(len(candidates))]


def allowed(candidates: Sequence[Candidate], threshold: float) -> set[int]:
    """
    All that the rules let be chosen, worked out rule by rule.
    """
    places = set(range(len(candidates)))
    admitting = {place for place in places if candidates[place].retry_after == 0}
    if not admitting:
        least = min(each.retry_after for each in candidates)
        return {place for place in places if candidates[place].retry_after == least}
    due = {place for place in admitting if candidates[place].due}
    if due:
        return due
    closed = {place for place in admitting if candidates[place].state is not HALF_OPEN}
    tripped = [each for each in candidates if each.state in (OPEN, HALF_OPEN, FORCED_OPEN)]
    panic = Fraction(len(tripped), len(candidates)) > Fraction(str(threshold))
    pool = closed if closed and not panic else admitting
    if len(pool) == 1:
        return pool
    return {one for one in pool if any(not is_less(candidates[two], candidates[one]) for two in pool - {one})}


def is_less(one: Candidate, other: Candidate) -> bool:
    """
    Whether *one* is less loaded; of whom nothing is known is as quick as the other.
    """
    known = [each.p95 for each in (one, other) if each.p95 is not None] or [1.0]
    own = known[0] if one.p95 is None else one.p95
    others = known[0] if other.p95 is None else other.p95
    mine, theirs = own * (one.in_flight + 1), others * (other.in_flight + 1)
    return mine < theirs or (mine == theirs and one.in_flight < other.in_flight)


@HISTORIES
@given(
    st.lists(CANDIDATES, min_size=1, max_size=6),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=2),
    st.sampled_from([0.0, 0.1, 0.5, 0.75, 1.0]),
)
def test_what_is_chosen_is_what_the_rules_allow(
    candidates: list[Candidate], draws: list[float], threshold: float
) -> None:
    """
    Whatever is drawn.
    """
    numbers = itertools.cycle(draws)

    place = choose(candidates, lambda: next(numbers), panic_threshold=threshold)

    assert place in allowed(candidates, threshold)


@HISTORIES
@given(st.lists(CANDIDATES, min_size=1, max_size=4))
def test_all_that_the_rules_allow_is_chosen_at_times(candidates: list[Candidate]) -> None:
    """
    Over a grid of draws each of them comes up: nobody is left out for ever.
    """
    grid = [0.0, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.99]
    seen: set[int] = set()
    for draws in itertools.product(grid, repeat=2):
        numbers = iter(draws)
        seen.add(choose(candidates, lambda numbers=numbers: next(numbers)))  # type: ignore[misc]  # Bound in the loop.

    assert allowed(candidates, 0.5) == seen


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (WELL, SPENT),
        (WELL, SHUT),
        (WELL, ON_TRIAL),
        (WELL, SWITCHED_OFF),
        (ON_TRIAL, SPENT),
        (ON_TRIAL, SHUT),
        (ON_TRIAL, TRIED),
        (SPENT, SHUT),
        (SHUT, TRIED),
        (SHUT, SWITCHED_OFF),
    ],
)
@pytest.mark.parametrize("p95", [None, 0.01, 90.0])
def test_which_stands_before_which(better: Candidate, worse: Candidate, p95: float | None) -> None:
    """
    However quick the other one is. Of those that refuse, the one that does so for the shortest time.
    """
    assert [0.0, 1.0] == chosen([worse._replace(p95=p95), better], times=100)


def test_of_two_that_are_drawn_the_less_loaded() -> None:
    """
    The least loaded of three is in two pairs of three, the most loaded one wins in none.
    """
    shares = chosen([WELL._replace(p95=3.0), WELL._replace(p95=1.0), WELL._replace(p95=2.0)], times=30_000)

    assert pytest.approx([0.0, 2 / 3, 1 / 3], abs=0.02) == shares


def test_equals_share_alike() -> None:
    """
    Also those of which nothing is known.
    """
    assert pytest.approx([0.25] * 4, abs=0.02) == chosen([WELL] * 4, times=30_000)
    assert pytest.approx([0.25] * 4, abs=0.02) == chosen([WELL._replace(p95=None)] * 4, times=30_000)


def test_calls_in_flight_weigh_as_much_as_latency() -> None:
    """
    One that takes three times as long is taken where the other has more than two calls waiting.
    """
    slow = WELL._replace(p95=3.0)

    assert [0.0, 1.0] == chosen([slow, WELL._replace(in_flight=1)])
    assert [1.0, 0.0] == chosen([slow, WELL._replace(in_flight=3)])


def test_fewer_in_flight_where_calls_take_no_time() -> None:
    """
    A P95 of 0 times whatever is 0.
    """
    quick = WELL._replace(p95=0.0)

    assert [0.0, 1.0] == chosen([quick._replace(in_flight=2), quick])


def test_a_new_one_is_tried_and_not_flooded() -> None:
    """
    Of whom nothing is known is as quick as the other: half of the calls, and none while it has not answered.
    """
    new = WELL._replace(p95=None)

    assert pytest.approx([0.5, 0.5], abs=0.02) == chosen([WELL, new], times=30_000)
    assert [1.0, 0.0] == chosen([WELL, new._replace(in_flight=1)])


def test_who_is_due_comes_first_unless_it_refuses() -> None:
    """
    A half-open one, too; an open one never.
    """
    assert [0.0, 1.0] == chosen([WELL, ON_TRIAL._replace(due=True)])
    assert [0.0, 1.0] == chosen([WELL, WELL._replace(p95=90.0, due=True)])
    assert [1.0, 0.0] == chosen([WELL, SHUT._replace(due=True)])


def test_in_a_panic_half_open_ones_stand_beside_closed_ones() -> None:
    """
    Two of three have tripped, more than half: the one that is left gets half of the calls, not all.
    """
    assert pytest.approx([0.5, 0.5, 0.0], abs=0.02) == chosen([WELL, ON_TRIAL, SHUT], times=30_000)
    assert [1.0, 0.0, 0.0] == chosen([WELL, ON_TRIAL, SHUT], threshold=0.7)


@pytest.mark.parametrize(
    ("tripped", "of", "threshold", "expected"),
    [(1, 2, 0.5, False), (2, 3, 0.5, True), (0, 3, 0.0, False), (1, 3, 0.0, True), (3, 3, 1.0, False)],
)
def test_panic_is_more_than_the_threshold(tripped: int, of: int, threshold: float, expected: bool) -> None:
    """
    Exactly half is none, and 1 is never one.
    """
    assert expected is is_panic([SHUT] * tripped + [WELL] * (of - tripped), threshold)


def test_a_random_number_of_one_is_taken_for_the_last() -> None:
    """
    Who draws from a badly written function gets no IndexError.
    """
    assert choose([WELL, WELL, WELL], lambda: 1.0) in (1, 2)
    assert 1 == choose([SHUT, SHUT], lambda: 1.0)
