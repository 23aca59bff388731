"""Histories of the token bucket against a model in fractions."""

import copy
import math
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from hungframe import TokenBucket

from .models.bucket import MICROSECOND, BucketModel, slack
from .models.times import BACK_AND_FORTH, FEWER, HISTORIES, TICK, Step, histories, starts


@dataclass(frozen=True)
class Take:
    """
    Try to take *tokens*.
    """

    tokens: float


@dataclass(frozen=True)
class Pause:
    """
    Pause for *seconds*.
    """

    seconds: float


GIVE_BACK, LOOK = "give back what was taken last", "look"
Action = Take | Pause | str

CAPACITIES = st.sampled_from([1, 2, 5, 10, 1000])
REFILLS = st.sampled_from([60.0, 0.1, 1.0, 7.0, 1 / 3, 0.01, 3600.0, 86400.0])
ACTIONS: list[Action] = [
    *map(Take, (1, 1, 1, 1, 2, 3, 5, 10, 11, 1000, 0.5, 1.5)),
    *[GIVE_BACK] * 3,
    *[LOOK] * 2,
    *map(Pause, (0.25, -1.0, 0.0, 1.0, 60.0, 4000.0)),
]


class History:
    """
    Do to a bucket and to its model the same, and compare them after each step.
    """

    def __init__(self, capacity: int, refill_every: float, now: float) -> None:
        self.bucket = TokenBucket(capacity=capacity, refill_every=refill_every)
        self.model = BucketModel(capacity, refill_every)
        self.now = now
        self.taken: list[float] = []

    def play(self, history: list[tuple[Step, Action]]) -> None:
        """
        Play *history* to its end.
        """
        self.compare()
        for step, action in history:
            self.now = step(self.now, self.model.edges())
            if isinstance(action, Take):
                self.take(action.tokens)
            elif action == GIVE_BACK and self.taken:
                tokens = self.taken.pop()
                self.bucket.give_back(tokens, self.now)
                self.model.give_back(tokens, Fraction(self.now))
            elif isinstance(action, Pause):
                self.bucket.pause(self.now + action.seconds)
                self.model.pause(Fraction(self.now + action.seconds))
            self.compare()

    def take(self, tokens: float) -> None:
        """
        Take all or none.
        """
        right = self.model.may_acquire(tokens, Fraction(self.now))
        taken = self.bucket.try_acquire(tokens, self.now)
        assert taken in right
        if taken:
            self.model.take(tokens)
            self.taken.append(tokens)

    def compare(self) -> None:
        """
        Compare everything that can be asked.
        """
        available = self.bucket.available(self.now)
        assert available in self.model.available(Fraction(self.now))
        assert 0 <= available <= self.model.capacity
        for tokens in (1, 2, 0.5):
            self.compare_wait(tokens)

    def compare_wait(self, tokens: float) -> None:
        """
        Compare the wait that is named with the exact one, and take it at its word.
        """
        named = self.bucket.retry_after(tokens, self.now)
        exact = self.model.retry_after(tokens, Fraction(self.now))
        if exact is None:
            assert math.inf == named
            return
        assert abs(exact - Fraction(named)) <= slack(Fraction(self.now + named))
        waited = copy.deepcopy(self.bucket)
        assert waited.try_acquire(tokens, self.now + named)


@HISTORIES
@given(CAPACITIES, REFILLS, starts(), histories(ACTIONS))
def test_tokens_are_those_of_exact_arithmetic(
    capacity: int, refill_every: float, now: float, history: list[tuple[Step, Action]]
) -> None:
    """
    After any history the bucket is within a microsecond of exact arithmetic.
    """
    History(capacity, refill_every, now).play(history)


@FEWER
@given(CAPACITIES, REFILLS, starts(), histories(ACTIONS, BACK_AND_FORTH))
def test_a_clock_that_goes_backwards_mints_no_token(
    capacity: int, refill_every: float, now: float, history: list[tuple[Step, Action]]
) -> None:
    """
    No more goes out than the farthest instants allow; an earlier one gets no more.
    """
    bucket = TokenBucket(capacity=capacity, refill_every=refill_every)
    first, last, taken = now, now, list[float]()
    for step, action in history:
        now = step(now, [])
        first, last = min(first, now), max(last, now)
        if isinstance(action, Take):
            if bucket.try_acquire(action.tokens, now):
                taken.append(action.tokens)
        elif action == GIVE_BACK and taken:
            bucket.give_back(taken.pop(), now)
        elif isinstance(action, Pause):
            bucket.pause(now + action.seconds)
        span = last - first + float(MICROSECOND)
        assert sum(taken) <= capacity + span / refill_every + 1e-9
        assert 0 <= bucket.available(now) <= capacity
        assert bucket.retry_after(1, now) >= 0.0
        for back in (TICK, 1.0, 2.0**25):
            assert bucket.available(now - back) <= bucket.available(now)
            if copy.deepcopy(bucket).try_acquire(1, now - back):
                assert copy.deepcopy(bucket).try_acquire(1, now)


@HISTORIES
@given(
    st.integers(1, 100),
    st.floats(0.01, 1e5),
    st.one_of(st.floats(0.0, 10.0), st.floats(0.0, 1e9)),
    st.lists(st.tuples(st.floats(0.0, 1e4), st.integers(1, 5)), max_size=30),
    st.integers(1, 5),
    st.one_of(st.just(0.0), st.floats(0.0, 1e5)),
)
def test_the_wait_it_names_is_the_wait_it_takes(
    capacity: int,
    refill_every: float,
    now: float,
    takes: list[tuple[float, int]],
    tokens: int,
    pause: float,
) -> None:
    """
    After waiting exactly `retry_after(n)`, n tokens are there; not long before.
    """
    bucket = TokenBucket(capacity=capacity, refill_every=refill_every)
    for wait, taken in takes:
        now += wait
        bucket.try_acquire(taken, now)
    bucket.pause(now + pause)
    now += pause / 8
    named = bucket.retry_after(tokens, now)
    if tokens > capacity:
        assert math.inf == named
        return
    early = now + named - 2e-6 - 2 * math.ulp(now + named)
    if early > now:
        assert not copy.deepcopy(bucket).try_acquire(tokens, early)

    assert bucket.try_acquire(tokens, now + named)


@FEWER
@given(
    st.integers(1, 20),
    st.sampled_from([0.1, 1.0, 7.0, 60.0]),
    st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(1, 3)), max_size=60),
)
def test_no_span_lets_more_through_than_capacity_and_refill(
    capacity: int, refill_every: float, takes: list[tuple[float, int]]
) -> None:
    """
    In any span of s seconds at most capacity + s / refill_every tokens go out.
    """
    bucket = TokenBucket(capacity=capacity, refill_every=refill_every)
    now, out = 0.0, list[tuple[float, int]]()
    for wait, tokens in takes:
        now += wait
        if bucket.try_acquire(tokens, now):
            out.append((now, tokens))
    for i, (begin, _) in enumerate(out):
        for j in range(i, len(out)):
            span = out[j][0] - begin + 2e-6
            spent = sum(tokens for _, tokens in out[i : j + 1])
            assert spent <= capacity + span / refill_every + 1e-9
