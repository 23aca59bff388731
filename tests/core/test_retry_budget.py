"""What the retry budget promises, one sentence a test."""

import math
from typing import Any

import pytest

from hungframe._core.retry_budget import RetryBudget


def called(times: int, now: float = 0.0, **settings: Any) -> RetryBudget:
    """
    Make a budget that has seen so many calls.
    """
    budget = RetryBudget(**settings)
    for _ in range(times):
        budget.called(now)
    return budget


def take(budget: RetryBudget, now: float, most: int = 10_000) -> int:
    """
    Take all that there is.
    """
    return next(taken for taken in range(most) if not budget.try_take(now))


def test_a_quiet_service_may_retry() -> None:
    """
    Ten retries a minute, whatever the calls.
    """
    assert 10 == take(called(0), 0.0)
    assert 10 == take(called(100), 0.0)


def test_a_busy_service_may_retry_a_tenth() -> None:
    """
    Of a thousand calls a hundred.
    """
    budget = called(1000)

    assert 100 == budget.left(0.0)
    assert 100 == take(budget, 0.0)
    assert 0 == budget.left(0.0)


def test_a_share_is_counted_as_it_is_written() -> None:
    """
    0.29 of 100 are 29, though the floats' product is less.
    """
    assert math.floor(0.29 * 100) == 28

    assert 29 == called(100, ratio=0.29, floor=0).left(0.0)


def test_a_part_of_a_retry_is_none() -> None:
    """
    Nineteen calls pay for one retry, twenty for two.
    """
    assert 1 == called(19, floor=0).left(0.0)
    assert 2 == called(20, floor=0).left(0.0)


def test_calls_and_retries_are_forgotten_after_a_minute() -> None:
    """
    What was within the minute counts, also at its very end; what is a second older does not.
    """
    budget = called(1000, now=0.5)
    taken = take(budget, 0.5)

    assert 100 == taken
    assert 0 == budget.left(60.5)
    assert 10 == budget.left(61.0)


def test_a_long_silence_costs_nothing() -> None:
    """
    After years of silence the budget is as new, at once.
    """
    budget = called(1000)
    take(budget, 0.0)

    assert 10 == budget.left(1e9)
    assert 10 == take(budget, 1e9)


def test_the_window_slides_a_second_at_a_time() -> None:
    """
    Ten calls a second, a retry each second: a minute later one more is free each second, and no more.
    """
    budget = RetryBudget(floor=0)
    for second in range(600):
        for _ in range(10):
            budget.called(float(second))
        assert budget.try_take(float(second))
        assert 0 == budget.left(float(second))


def test_it_begins_at_any_instant() -> None:
    """
    A clock may begin below zero or far above.
    """
    for now in (-1e9, -0.5, 0.0, 1e12):
        budget = called(200, now=now)
        assert 20 == budget.left(now + 59.0)
        assert 10 == budget.left(now + 61.0)


@pytest.mark.parametrize("ratio", [0, -0.1, 1.1, math.nan, math.inf])
def test_a_wrong_ratio(ratio: float) -> None:
    """
    A share is in (0, 1].
    """
    with pytest.raises(ValueError, match=r"ratio must be in \(0, 1\], got"):
        RetryBudget(ratio=ratio)


@pytest.mark.parametrize(
    "settings",
    [{"floor": -1}, {"window": 0.0}, {"window": 0.99}, {"window": math.inf}, {"window": math.nan}],
)
def test_wrong_settings(settings: dict[str, Any]) -> None:
    """
    What is out of range is refused by its name.
    """
    with pytest.raises(ValueError, match=f"^{next(iter(settings))} must be"):
        RetryBudget(**settings)


@pytest.mark.parametrize("settings", [{"ratio": "0.1"}, {"ratio": True}, {"floor": 1.0}, {"floor": None}])
def test_wrong_kinds(settings: dict[str, Any]) -> None:
    """
    What is no number is refused by its name.
    """
    with pytest.raises(TypeError, match=f"^{next(iter(settings))} must be"):
        RetryBudget(**settings)
