"""What a call asks of its budgets, and what it really used."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from hungframe import TokenBucket
from hungframe._core.budgets import AllOf, Unlimited
from hungframe._core.cost import ONE, Cost

NAN, INF = math.nan, math.inf


def size(text: str, **others: object) -> int:
    """
    A cost of these tests: what the call's first argument weighs.
    """
    return len(text)


def test_a_call_costs_one() -> None:
    """
    One token of one bucket, one of each of several, and nothing to be asked of the result.
    """
    one, several = Cost(TokenBucket(), 1, None), Cost((TokenBucket(), TokenBucket()), 1, None)

    assert (1, (1, 1), 1) == (one.constant, several.constant, ONE.constant)
    assert not one.measures and not several.measures and not ONE.measures


def test_one_of_a_sequence_is_a_sequence() -> None:
    """
    A sequence of one budget has a tuple of one amount: the shape follows what was given.
    """
    assert (1,) == Cost((TokenBucket(),), 1, None).constant


def test_each_bucket_has_its_own_cost_or_the_guards() -> None:
    """
    A bucket that names none takes the guard's, a number or a function.
    """
    budgets = (TokenBucket(cost=2), TokenBucket(), TokenBucket(100, cost=size))

    assert (2, 1, 5) == Cost(budgets, 1, None).of(("a cat",), {})
    assert (2, 3, 5) == Cost(budgets, lambda text: 3, None).of(("a cat",), {})
    assert None is Cost(budgets, 1, None).constant


def test_a_cost_function_is_given_the_arguments() -> None:
    """
    As the callee is: those by position, and those by name.
    """
    cost = Cost(TokenBucket(100), lambda prompt, *, n=1: len(prompt) * n, None)

    assert 15 == cost.of(("a cat",), {"n": 3})


def test_a_function_for_several_budgets_is_asked_once() -> None:
    """
    Counting tokens takes its time.
    """
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return len(asked)

    assert (1, 1) == Cost((TokenBucket(), TokenBucket()), count, None).of(("a cat",), {})


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 5, 5.0])
def test_what_a_function_may_return(value: float) -> None:
    """
    Nothing, a part, all that the bucket holds.
    """
    assert value == Cost(TokenBucket(capacity=5), lambda: value, None).of((), {})


@pytest.mark.parametrize(
    "value", [None, True, False, "5", [5], 5j, NAN, INF, -INF, -1, -0.001, 5.001, 6, 10**400, Fraction(1)]
)
def test_what_a_function_may_not_return(value: Any) -> None:
    """
    The refusal names the function, its value, and what would do; nothing was taken.
    """
    bucket = TokenBucket(capacity=5, cost=lambda: value)

    with pytest.raises(ValueError, match="must return a finite number from 0 to the capacity") as refused:
        Cost(bucket, 1, None).of((), {})

    for told in (repr(bucket.cost), repr(value), "the capacity of the bucket, 5"):
        assert told in str(refused.value)


def test_a_function_that_raises_is_not_touched() -> None:
    """
    It is the caller's own mistake, and the caller's own exception.
    """
    error = KeyError("no such model")

    def broken() -> float:
        raise error

    with pytest.raises(KeyError) as raised:
        Cost(TokenBucket(), broken, None).of((), {})

    assert error is raised.value


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (NAN, ValueError),
        (INF, ValueError),
        (5.5, ValueError),
        (True, TypeError),
        ("5", TypeError),
        ([1], TypeError),
        (5j, TypeError),
    ],
)
def test_a_wrong_constant_is_refused(value: Any, error: type[Exception]) -> None:
    """
    A bucket's own, and a guard's for a bucket of 5.
    """
    with pytest.raises(error, match="cost must be "):
        TokenBucket(capacity=5, cost=value)
    with pytest.raises(error, match="cost must be "):
        Cost(TokenBucket(capacity=5), value, None)


def test_a_guards_cost_is_no_matter_to_a_bucket_with_its_own() -> None:
    """
    600 tokens are too many for the bucket of requests, which does not ask for them.
    """
    assert (1, 600) == Cost((TokenBucket(5, cost=1), TokenBucket(1000)), 600, None).constant
    with pytest.raises(ValueError, match="cost must be at most the capacity of the bucket, 5, got 600"):
        Cost((TokenBucket(5), TokenBucket(1000)), 600, None)


@pytest.mark.parametrize("make", [lambda used: TokenBucket(used=used), lambda used: Cost(None, 1, used)])
def test_used_is_a_function(make: Callable[[Any], object]) -> None:
    """
    What was used is in the result, and no number.
    """
    with pytest.raises(TypeError, match="used must be a function of the call's result, or None, got 5"):
        make(5)


def test_guards_used_holds_for_budgets_that_name_nothing() -> None:
    """
    A bucket that counts requests is not settled to tokens; one with a `used` of its own is settled to that.
    """
    budgets = (TokenBucket(cost=1), TokenBucket(100), TokenBucket(100, used=lambda answer: 7))
    cost = Cost(budgets, 2, len)

    assert (1, 6, 7) == cost.measured((1, 2, 2), "answer")


@pytest.mark.parametrize("value", [NAN, INF, -1, "5", True, 10**400])
def test_used_that_answers_nonsense_leaves_the_estimate(value: Any) -> None:
    """
    It is told as a fault, once for each bucket, and the other bucket is settled all the same.
    """
    faults: list[str] = []
    budgets = (TokenBucket(100, used=lambda answer: value), TokenBucket(100, used=len))

    assert (20, 6) == Cost(budgets, 20, None).measured((20, 20), "answer", faults.append)
    assert ["used()"] == faults


def test_used_that_raises_leaves_the_estimate() -> None:
    """
    An answer without a `usage` is an answer.
    """
    faults: list[str] = []

    cost = Cost(TokenBucket(100, used=lambda answer: answer.usage), 20, None)

    assert 20 == cost.measured(20, "answer", faults.append)
    assert ["used()"] == faults
    assert 20 == cost.measured(20, "answer")


def test_none_of_used_is_no_fault() -> None:
    """
    None says that it is not known.
    """
    faults: list[str] = []

    assert 20 == Cost(TokenBucket(100, used=lambda answer: None), 20, None).measured(20, "", faults.append)
    assert [] == faults


# -- by hand ---------------------------------------------------------------------------------------------------------


def test_by_hand_a_number_stands_for_the_arguments() -> None:
    """
    For what functions would tell; the bucket of requests goes on counting requests.
    """
    cost = Cost((TokenBucket(), TokenBucket(1000, cost=size)), 1, None)

    assert (1, 700) == cost.by_hand(700)
    assert (1, 0) == cost.by_hand(0)
    with pytest.raises(TypeError, match=r"pass cost="):
        cost.by_hand(None)


def test_by_hand_a_number_stands_for_the_guards_cost() -> None:
    """
    Where no function is; a bucket's own number stays.
    """
    assert 4 == Cost(TokenBucket(), 1, None).by_hand(4)
    assert (2, 4) == Cost((TokenBucket(cost=2), TokenBucket()), 1, None).by_hand(4)
    assert (2, 1) == Cost((TokenBucket(cost=2), TokenBucket()), 1, None).by_hand(None)
    assert 1 == ONE.by_hand(4)


def test_by_hand_a_number_for_nobody_is_refused() -> None:
    """
    Which of two constant costs it would stand for, nobody knows.
    """
    cost = Cost((TokenBucket(cost=2), TokenBucket(cost=1)), 1, None)

    with pytest.raises(TypeError, match="each budget has a cost of its own"):
        cost.by_hand(4)
    with pytest.raises(TypeError, match="each budget has a cost of its own"):
        cost.used_by_hand((2, 1), 4)


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (NAN, ValueError), (6, ValueError), (True, TypeError)])
def test_by_hand_a_wrong_number_is_refused(value: Any, error: type[Exception]) -> None:
    """
    With its name and value.
    """
    with pytest.raises(error, match=f"cost must be .*, got {value!r}"):
        Cost(TokenBucket(capacity=5), 1, None).by_hand(value)


def test_used_by_hand_is_of_the_bucket_whose_used_would_tell() -> None:
    """
    Else of that which costs what was given by hand.
    """
    assert (1, 800) == Cost((TokenBucket(), TokenBucket(1000, cost=500, used=len)), 1, None).used_by_hand((1, 500), 800)
    assert (1, 800) == Cost((TokenBucket(), TokenBucket(1000, cost=size)), 1, None).used_by_hand((1, 500), 800)
    assert 3 == Cost(TokenBucket(), 1, None).used_by_hand(1, 3)
    with pytest.raises(ValueError, match="used must be at least 0 and finite, got -1"):
        ONE.used_by_hand(1, -1)


# -- settling --------------------------------------------------------------------------------------------------------


def test_settling_gives_back_and_charges() -> None:
    """
    Each bucket ends where it would be if the call had taken what it used.
    """
    requests, tokens, images = TokenBucket(10), TokenBucket(1000), TokenBucket(10)
    purse = AllOf([requests, tokens, images])
    assert purse.try_acquire((1, 600, 5), 0.0)

    Cost((requests, tokens, images), 1, None).settle(purse, (1, 600, 5), (1, 1100, 2), 0.0)

    assert [9, 0, 8] == [each.available(0.0) for each in (requests, tokens, images)]
    assert 101 * 60.0 == tokens.retry_after(1, 0.0)


def test_settling_one_bucket() -> None:
    """
    The same with a number.
    """
    bucket = TokenBucket(1000)
    cost = Cost(bucket, 1, None)
    assert bucket.try_acquire(600, 0.0)

    for taken, used in ((600, 600), (600, 500), (500, 900)):
        cost.settle(bucket, taken, used, 0.0)
        assert 1000 - used == bucket.available(0.0)


def test_no_budget_is_never_owed() -> None:
    """
    Without a limit there is no debt.
    """
    unlimited = Unlimited()

    unlimited.charge(10**9, 0.0)

    assert unlimited.try_acquire(1, 0.0)


# -- several budgets -------------------------------------------------------------------------------------------------


def test_different_amounts_all_or_none() -> None:
    """
    What one of them has not, none gives.
    """
    requests, tokens = TokenBucket(10), TokenBucket(1000)
    purse = AllOf([requests, tokens])

    assert [True, False, True] == [purse.try_acquire((1, n), 0.0) for n in (600, 500, 400)]
    assert (8, 0) == (requests.available(0.0), tokens.available(0.0))


def test_one_number_is_for_all() -> None:
    """
    As for a guard without a cost.
    """
    first, second = TokenBucket(10), TokenBucket(20)
    purse = AllOf([first, second])

    assert purse.try_acquire(3, 0.0)
    purse.charge(1, 0.0)
    purse.give_back(2, 0.0)

    assert (8, 18) == (first.available(0.0), second.available(0.0))


def test_an_amount_too_few_is_a_mistake() -> None:
    """
    Amounts and budgets belong together one by one.
    """
    with pytest.raises(ValueError, match="zip"):
        AllOf([TokenBucket(), TokenBucket()]).try_acquire((1,), 0.0)


@pytest.mark.parametrize("order", [1, -1])
def test_the_wait_for_different_amounts_is_exact(order: int) -> None:
    """
    Until the slowest has its own amount, and not a moment longer.
    """
    requests, tokens = TokenBucket(10, 6.0), TokenBucket(1000, 0.06)
    purse = AllOf([requests, tokens][::order])
    first, then = ((1, 1000)[::order], (10, 500)[::order])
    assert purse.try_acquire(first, 0.0)

    assert 30.0 == purse.retry_after((1, 500)[::order], 0.0)
    assert 6.0 == purse.retry_after((10, 50)[::order], 0.0)
    assert not purse.try_acquire(then, 29.9)
    assert purse.try_acquire(then, 30.0)


def test_what_is_free_is_granted_in_debt() -> None:
    """
    A call that asks nothing of the tokens does not wait for them, but for the requests, and for a pause.
    """
    requests, tokens = TokenBucket(1), TokenBucket(1000)
    purse = AllOf([requests, tokens])
    tokens.charge(5000, 0.0)

    assert 0.0 == purse.retry_after((1, 0), 0.0)
    assert purse.try_acquire((1, 0), 0.0)
    assert 60.0 == purse.retry_after((1, 0), 0.0)
    purse.pause(90.0)
    assert 90.0 == purse.retry_after((1, 0), 0.0)
    assert not purse.try_acquire((0, 0), 89.0)
