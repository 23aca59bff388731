"""Histories of several buckets with costs, debts and settlements, against the same in fractions."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from hungframe import TokenBucket
from hungframe._core.budgets import AllOf
from hungframe._core.cost import Cost

from .models.bucket import BucketModel, slack
from .models.times import FEWER, Step, histories, starts

# Requests and tokens a minute, and an account's images a day.
BUCKETS = [(10, 6.0), (1000, 0.06), (50, 1728.0)]


@dataclass(frozen=True)
class Take:
    """
    Make a call that costs *amounts*.
    """

    amounts: tuple[float, ...]


@dataclass(frozen=True)
class Settle:
    """
    Tell what the last call used: *amounts*, or None for what it cost.
    """

    amounts: tuple[float | None, ...]


@dataclass(frozen=True)
class Pause:
    """
    Pause all for *seconds*.
    """

    seconds: float


CANCEL, LOOK = "the last call was not sent", "look"
Action = Take | Settle | Pause | str

ACTIONS: list[Action] = [
    *map(Take, [(1, 100, 0), (1, 500, 1), (1, 1000, 0), (1, 0, 0), (0, 250.5, 2), (10, 1, 0), (1, 1001, 0)]),
    *map(Take, [(1, 333, 0.5), (1, 1, 50), (0, 0, 0)]),
    *map(Settle, [(None, 20, None), (None, 400, 1), (None, 0, 0), (None, 2500.5, None), (2, None, 3)]),
    *[CANCEL] * 2,
    LOOK,
    *map(Pause, (0.25, 60.0)),
]


class History:
    """
    Do to a purse and to its models the same, and compare them after each step.
    """

    def __init__(self, now: float) -> None:
        buckets = tuple(TokenBucket(*each) for each in BUCKETS)
        self.buckets = buckets
        self.purse = AllOf(buckets)
        self.cost = Cost(buckets, 1, None)
        self.models = [BucketModel(*each) for each in BUCKETS]
        self.now = now
        self.taken: list[tuple[float, ...]] = []

    def play(self, history: list[tuple[Step, Action]]) -> None:
        """
        Play *history* to its end.
        """
        for step, action in history:
            self.now = step(self.now, [edge for model in self.models for edge in model.edges()])
            now = Fraction(self.now)
            if isinstance(action, Take):
                self.take(action.amounts)
            elif isinstance(action, Settle) and self.taken:
                self.settle(self.taken.pop(), action.amounts)
            elif action == CANCEL and self.taken:
                amounts = self.taken.pop()
                self.purse.give_back(amounts, self.now)
                for model, amount in zip(self.models, amounts, strict=True):
                    model.give_back(amount, now)
            elif isinstance(action, Pause):
                self.purse.pause(self.now + action.seconds)
                for model in self.models:
                    model.pause(Fraction(self.now + action.seconds))
            self.compare()

    def take(self, amounts: tuple[float, ...]) -> None:
        """
        Take from all or from none.
        """
        pairs = list(zip(self.models, amounts, strict=True))
        each = [model.may_acquire(amount, Fraction(self.now)) for model, amount in pairs]
        right = {all(answers == {True} for answers in each), all(True in answers for answers in each)}
        taken = self.purse.try_acquire(amounts, self.now)
        assert taken in right
        if taken:
            self.taken.append(amounts)
            for model, amount in pairs:
                model.take(amount)

    def settle(self, taken: tuple[float, ...], told: tuple[float | None, ...]) -> None:
        """
        Let each bucket stand as if the call had taken what it used.
        """
        used = tuple(old if new is None else new for old, new in zip(taken, told, strict=True))
        self.cost.settle(self.purse, taken, used, self.now)
        for model, before, after in zip(self.models, taken, used, strict=True):
            if after < before:
                model.give_back(before - after, Fraction(self.now))
            else:
                model.charge(after - before, Fraction(self.now))

    def compare(self) -> None:
        """
        Compare everything that can be asked.
        """
        now = Fraction(self.now)
        for bucket, model in zip(self.buckets, self.models, strict=True):
            assert bucket.available(self.now) in model.available(now)
            assert 0 <= bucket.available(self.now) <= model.capacity
        assert min(bucket.available(self.now) for bucket in self.buckets) == self.purse.available(self.now)
        for amounts in [(1, 100, 0), (0, 0, 1), (0, 0, 0), (1, 1001, 0), (10, 999.5, 50)]:
            self.compare_wait(amounts)

    def compare_wait(self, amounts: tuple[float, ...]) -> None:
        """
        Compare the wait that is named with the exact one, and take it at its word.
        """
        named = self.purse.retry_after(amounts, self.now)
        each = [m.retry_after(amount, Fraction(self.now)) for m, amount in zip(self.models, amounts, strict=True)]
        exact = [wait for wait in each if wait is not None]
        if len(exact) < len(each):
            assert math.inf == named
            return
        assert abs(max(exact) - Fraction(named)) <= slack(Fraction(self.now + named))
        assert copy.deepcopy(self.purse).try_acquire(amounts, self.now + named)


@FEWER
@given(starts(), histories(ACTIONS))
def test_several_buckets_are_those_of_exact_arithmetic(now: float, history: list[tuple[Step, Action]]) -> None:
    """
    After any history of calls, settlements, debts and pauses each bucket is within a microsecond of exact arithmetic.
    """
    History(now).play(history)


@FEWER
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 3000)), min_size=1, max_size=30))
def test_in_the_long_run_what_was_used_is_what_goes_out(calls: list[tuple[int, int]]) -> None:
    """
    Whatever was estimated: who waits as told has, when all is settled, waited for what was used and no less.
    """
    bucket, now, total = TokenBucket(1000, 0.06), 0.0, 0
    cost = Cost(bucket, 1, None)
    for estimate, used in calls:
        now += bucket.retry_after(estimate, now)
        assert bucket.try_acquire(estimate, now)
        cost.settle(bucket, estimate, used, now)
        total += used
    now += bucket.retry_after(1000, now)

    assert now >= total * 0.06 - 1e-5
