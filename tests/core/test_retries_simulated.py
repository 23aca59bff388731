"""What retries do to a provider that loses its capacity for a minute, on simulated clients with fixed seeds."""

import math

import pytest

from benchmarks.retries import OUTAGE, OUTAGE_ENDS, POLICIES, run

NONE, NAIVE, JITTER, RETRY, SCATTERED = POLICIES.values()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_full_outage_is_met_with_a_tenth_more(seed: int) -> None:
    """
    Where every call fails, Retry() sends a tenth more requests than there are calls.
    """
    assert 1.05 < run(RETRY, seed=seed, left=0.0).load(OUTAGE, OUTAGE_ENDS) <= 1.11


def test_without_a_budget_it_is_three_times_as_many() -> None:
    """
    Jitter spreads the load, and lessens nothing of it.
    """
    assert run(JITTER, left=0.0).load(OUTAGE, OUTAGE_ENDS) > 2.9


def test_the_provider_recovers_where_retries_are_few() -> None:
    """
    With none it is the queue that must be worked off; Retry() makes that a little longer.
    """
    none, few = run(NONE).recovers_after(), run(RETRY).recovers_after()

    assert 0.0 < none <= few <= 60.0


@pytest.mark.parametrize("retries", [NAIVE, JITTER])
def test_the_provider_stays_down_where_they_are_many(retries: object) -> None:
    """
    All capacity is back, and goes into requests whose clients have given up.
    """
    assert math.inf == run(retries).recovers_after()  # type: ignore[arg-type]


def test_the_floor_is_one_of_each_process() -> None:
    """
    A thousand processes of six calls a minute may each retry ten times: there a budget holds nothing back.
    """
    assert run(SCATTERED, left=0.0).load(OUTAGE, OUTAGE_ENDS) > 2.0
