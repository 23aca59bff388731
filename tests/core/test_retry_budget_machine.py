"""Histories of the retry budget against a model that keeps every instant."""

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from hungframe._core.retry_budget import RetryBudget

from .models.retry_budget import RetryBudgetModel
from .models.times import BACK_AND_FORTH, FEWER, Step, histories, starts

CALLS = (1, 1, 1, 9, 10, 11, 100)
TAKE, LOOK = "take", "look"
Action = int | str
History = list[tuple[Step, Action]]

RATIOS = st.sampled_from([0.1, 0.29, 1 / 3, 0.7, 1.0, 1e-9])
FLOORS = st.sampled_from([0, 1, 3, 10])
# A sixtieth of each has no rounding.
WINDOWS = st.sampled_from([15.0, 60.0, 3600.0])
ACTIONS: list[Action] = [*CALLS, *[TAKE] * 7, LOOK]


@FEWER
@given(RATIOS, FLOORS, WINDOWS, starts(), histories(ACTIONS))
def test_the_budget_is_that_of_the_instants(
    ratio: float, floor: int, window: float, now: float, history: History
) -> None:
    """
    After any history as many retries are left as counting instants says.
    """
    budget = RetryBudget(ratio, floor, window)
    model = RetryBudgetModel(ratio, floor, window)
    for step, action in history:
        now = step(now, model.edges())
        if isinstance(action, int):
            for _ in range(action):
                budget.called(now)
                model.calls.append(Fraction(now))
        elif action == TAKE:
            left = model.left(Fraction(now))
            assert (left > 0) is budget.try_take(now)
            if left:
                model.retries.append(Fraction(now))

        assert model.left(Fraction(now)) == budget.left(now)


@FEWER
@given(RATIOS, FLOORS, WINDOWS, starts(), histories(ACTIONS, BACK_AND_FORTH))
def test_a_clock_that_goes_backwards_grants_no_more(
    ratio: float, floor: int, window: float, now: float, history: History
) -> None:
    """
    Whatever order instants come in, no more is granted than at a clock that stands still instead.
    """
    budget = RetryBudget(ratio, floor, window)
    still = RetryBudget(ratio, floor, window)
    latest = -math.inf
    for step, action in history:
        now = step(now, [])
        latest = max(latest, now)
        if isinstance(action, int):
            for _ in range(action):
                budget.called(now)
                still.called(latest)
        elif action == TAKE:
            assert still.try_take(latest) is budget.try_take(now)

        assert still.left(latest) == budget.left(now)


@FEWER
@given(RATIOS, FLOORS, starts(), histories([*CALLS, *[TAKE] * 20]))
def test_no_minute_sees_more_retries_than_its_share(ratio: float, floor: int, now: float, history: History) -> None:
    """
    In the minute before each retry granted there were no more than the floor or the share of the calls.
    """
    budget = RetryBudget(ratio, floor)
    model = RetryBudgetModel(ratio, floor, 60.0)
    for step, action in history:
        now = step(now, model.edges())
        if isinstance(action, int):
            for _ in range(action):
                budget.called(now)
                model.calls.append(Fraction(now))
        elif budget.try_take(now):
            model.retries.append(Fraction(now))
            # A call of up to a second more may have paid for it.
            calls = sum(at > Fraction(now) - 61 for at in model.calls)
            assert sum(at > Fraction(now) - 60 for at in model.retries) <= max(Fraction(floor), model.ratio * calls)
