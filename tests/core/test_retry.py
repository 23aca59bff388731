"""What a retry promises, one sentence a test."""

import math
import random
from typing import Any

import pytest

from hungframe import Outcome, Retry
from hungframe._core.retry import Again, GivenUp


def failed(retry: Retry, outcome: str = "timeout", attempt: int = 1, now: float = 0.0, **facts: Any) -> Again | GivenUp:
    """
    Ask about a failed attempt, of idempotent work with time without end unless *facts* say otherwise.
    """
    facts = {
        "retry_after": None,
        "time_left": math.inf,
        "idempotent": True,
        "not_begun": False,
        "random": lambda: 0.5,
    } | facts
    return retry.delay(attempt, Outcome(outcome), now, **facts)


def test_three_attempts_are_two_retries() -> None:
    """
    After the third it is over; with one attempt there is no retry.
    """
    assert Again(0.25) == failed(Retry(), attempt=1)
    assert Again(0.5) == failed(Retry(), attempt=2)
    assert GivenUp("attempts") == failed(Retry(), attempt=3)
    assert GivenUp("attempts") == failed(Retry(attempts=1), attempt=1)


def test_waits_are_drawn_up_to_the_cap() -> None:
    """
    Up to twice as long each time, from nothing at all to the cap.
    """
    retry = Retry(attempts=20_000, base=1.0, cap=5.0, budget=None)

    assert [1.0, 2.0, 4.0, 5.0, 5.0] == [
        delay.delay
        for n in (1, 2, 3, 4, 9_999)
        if isinstance(delay := failed(retry, attempt=n, random=lambda: 1.0), Again)
    ]
    assert Again(0.0) == failed(retry, attempt=5, random=lambda: 0.0)


@pytest.mark.parametrize("outcome", ["timeout", "quota", "5xx", "connection"])
def test_what_is_tried_again(outcome: str) -> None:
    """
    What the provider may do better the next time.
    """
    assert Again(0.25) == failed(Retry(), outcome)


@pytest.mark.parametrize("outcome", ["success", "4xx", "unknown", "cancelled", "rejected"])
def test_what_is_not_tried_again(outcome: str) -> None:
    """
    The caller's fault, nobody knows what, or nothing that failed.
    """
    assert GivenUp("outcome") == failed(Retry(), outcome)


def test_outcomes_can_be_chosen() -> None:
    """
    By name or as an Outcome; what is not named is not tried again.
    """
    retry = Retry(on=[Outcome.SERVER_ERROR, "4xx", "unknown"])

    assert Again(0.25) == failed(retry, "5xx") == failed(retry, "4xx") == failed(retry, "unknown")
    assert GivenUp("outcome") == failed(retry, "timeout")
    assert GivenUp("outcome") == failed(Retry(on=()), "timeout")


@pytest.mark.parametrize("outcome", ["timeout", "5xx", "connection"])
def test_what_is_not_idempotent_is_not_done_twice(outcome: str) -> None:
    """
    It may have been begun, unless no connection was ever made.
    """
    assert GivenUp("not_idempotent") == failed(Retry(), outcome, idempotent=False)
    assert Again(0.25) == failed(Retry(), outcome, idempotent=False, not_begun=True)


def test_a_429_was_not_begun() -> None:
    """
    The provider says itself that it did nothing.
    """
    assert Again(0.25) == failed(Retry(), "quota", idempotent=False)


@pytest.mark.parametrize(("asked", "most"), [(0.02, 0.022), (2.0, 2.2), (10.0, 11.0), (600.0, 601.0)])
def test_the_provider_is_obeyed(asked: float, most: float) -> None:
    """
    It is never asked before it said, also beyond the cap, and a little later by chance: a tenth, a second at most.
    """
    rng = random.Random(7)
    waits = [failed(Retry(budget=None), retry_after=asked, random=rng.random) for _ in range(1000)]
    seconds = [wait.delay for wait in waits if isinstance(wait, Again)]

    assert 1000 == len(seconds)
    assert asked <= min(seconds) < asked + 0.01 * (most - asked)
    assert most - 0.01 * (most - asked) < max(seconds) <= most


def test_a_wait_must_end_before_the_time_is_over() -> None:
    """
    An attempt that could only begin at the deadline is none.
    """
    assert Again(0.25) == failed(Retry(), time_left=math.nextafter(0.25, 1.0))
    assert GivenUp("time") == failed(Retry(), time_left=0.25)
    assert GivenUp("time") == failed(Retry(), retry_after=60.0, time_left=59.0)
    assert GivenUp("time") == failed(Retry(), random=lambda: 0.0, time_left=0.0)


def test_a_retry_is_taken_from_the_budget() -> None:
    """
    Ten at a quiet time; and a tenth of the calls at a busy one.
    """
    retry = Retry()
    assert [Again(0.25)] * 10 + [GivenUp("budget")] == [failed(retry) for _ in range(11)]

    for _ in range(120):
        retry.called(1.0)

    assert [Again(0.25)] * 2 + [GivenUp("budget")] == [failed(retry, now=1.0) for _ in range(3)]
    assert Again(0.25) == failed(retry, now=62.0)


@pytest.mark.parametrize(
    "facts",
    [{"attempt": 3}, {"outcome": "4xx"}, {"idempotent": False}, {"time_left": 0.1}],
)
def test_what_is_given_up_costs_no_budget(facts: dict[str, Any]) -> None:
    """
    Only an attempt that is made is taken.
    """
    retry = Retry()
    for _ in range(100):
        assert isinstance(failed(retry, **facts), GivenUp)

    assert retry.retry_budget is not None
    assert 10 == retry.retry_budget.left(0.0)


def test_without_a_budget_there_is_no_limit() -> None:
    """
    None is no limit, and calls need not be told.
    """
    retry = Retry(budget=None)
    retry.called(0.0)

    assert retry.retry_budget is None
    assert {Again(0.25)} == {failed(retry) for _ in range(1000)}


def test_it_says_what_it_is_made_of() -> None:
    """
    Its repr makes the same once more.
    """
    assert "Retry(attempts=3, base=0.5, cap=30.0, budget=0.1, on=('timeout', 'quota', '5xx', 'connection'))" == repr(
        Retry()
    )
    assert repr(Retry(5, 1, 2, None, on={"5xx"})) == repr(eval(repr(Retry(5, 1, 2, None, on={"5xx"}))))
    assert Retry().shared_under is None


@pytest.mark.parametrize(
    "settings",
    [
        {"attempts": 0},
        {"attempts": -1},
        {"base": -0.1},
        {"base": math.nan},
        {"base": math.inf},
        {"cap": 0.4},
        {"cap": math.inf},
        {"cap": math.nan},
        {"budget": 0},
        {"budget": 1.01},
        {"budget": math.nan},
        {"on": ["success"]},
        {"on": ["cancelled"]},
        {"on": [Outcome.REJECTED]},
        {"on": ["timeout", "timeouts"]},
        {"on": [None]},
        {"on": [["timeout"]]},
    ],
)
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    """
    They are refused by name, with the value, and with what would do.
    """
    with pytest.raises(ValueError, match=f"^{next(iter(settings))} must .*, got "):
        Retry(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"attempts": 2.0},
        {"attempts": True},
        {"attempts": None},
        {"base": "0.5"},
        {"cap": None},
        {"budget": "10 %"},
        {"budget": True},
        {"on": "timeout"},
        {"on": Outcome.TIMEOUT},
        {"on": None},
        {"on": 500},
    ],
)
def test_settings_of_the_wrong_kind(settings: dict[str, Any]) -> None:
    """
    They are refused by name, with the value.
    """
    with pytest.raises(TypeError, match=f"^{next(iter(settings))} must be .*, got "):
        Retry(**settings)
