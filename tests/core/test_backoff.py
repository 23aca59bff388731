"""What backoff promises, one sentence a test."""

import random

import pytest

from hungframe._core.backoff import PauseBackoff, full_jitter


def least() -> float:
    return 0.0


def most() -> float:
    return 1.0


def test_the_bound_doubles_up_to_the_cap() -> None:
    """
    0.5, 1, 2, 4 and so on, and never more than 30.
    """
    assert [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] == [full_jitter(n, 0.5, 30.0, most) for n in range(8)]
    assert 0.0 == full_jitter(3, 0.5, 30.0, least)


@pytest.mark.parametrize("attempt", [1_000, 1_024, 10_000, 10**30])
def test_no_attempt_is_too_many(attempt: int) -> None:
    """
    2**10,000 is no float, and the cap all the same.
    """
    assert 30.0 == full_jitter(attempt, 0.5, 30.0, most)
    assert 0.0 == full_jitter(attempt, 0, 30.0, most)
    assert 30.0 == full_jitter(attempt, 5e-324, 30.0, most) or attempt <= 1_074


@pytest.mark.parametrize("attempt", [0, 2, 9])
def test_jitter_is_full(attempt: int) -> None:
    """
    Of 20,000 waits as many fall into each tenth of the range: chi-squared with 9 degrees of freedom, 99.9 %.
    """
    rng = random.Random(f"full jitter {attempt}")
    bound = min(30.0, 0.5 * 2**attempt)
    waits = [full_jitter(attempt, 0.5, 30.0, rng.random) for _ in range(20_000)]
    tenths = [0] * 10
    for wait in waits:
        tenths[int(wait / bound * 10)] += 1

    assert sum((count - 2_000) ** 2 / 2_000 for count in tenths) < 27.88
    # The mean of a uniform draw, within four standard errors.
    assert abs(sum(waits) / len(waits) - bound / 2) < 4 * bound / 12**0.5 / len(waits) ** 0.5


def in_a_row(pauses: PauseBackoff, times: int, draw: float) -> list[float | None]:
    """
    Get so many 429s, each of a call that was made after the last pause.
    """
    return [pauses.pause(100.0 * n + 99.0, 100.0 * n + 100.0, lambda: draw) for n in range(times)]


def test_pauses_are_longer_each_time() -> None:
    """
    Up to 2 s, 4, 8, 16, 32, and then 60, but never less than 1.
    """
    assert [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0] == in_a_row(PauseBackoff(), 8, 1.0)
    assert [1.0] * 8 == in_a_row(PauseBackoff(), 8, 0.0)
    assert 60.0 == in_a_row(PauseBackoff(), 10_000, 1.0)[-1]


def test_a_success_ends_the_streak() -> None:
    """
    After a success the next pause is a first one.
    """
    pauses = PauseBackoff()
    in_a_row(pauses, 3, 1.0)

    pauses.succeeded()

    assert 2.0 == pauses.pause(1000.0, 1001.0, most)


def test_a_hundred_429s_at_once_are_one_event() -> None:
    """
    Calls that were in flight when the pause began lengthen nothing.
    """
    pauses = PauseBackoff()
    told = [pauses.pause(0.0, 10.0 + n / 1000, most) for n in range(100)]

    assert [2.0] + [None] * 99 == told
    assert 4.0 == pauses.pause(12.5, 13.0, most)


def test_who_started_in_the_tick_of_the_pause_did_not_know_of_it() -> None:
    """
    Started and paused at the same instant: it was in flight.
    """
    pauses = PauseBackoff()
    pauses.pause(0.0, 10.0, most)

    assert pauses.pause(10.0, 10.0, most) is None


def test_a_latecomer_after_the_pause_pauses_and_escalates_nothing() -> None:
    """
    A call from before the pause that gets its 429 after it: as long as the last, not longer.
    """
    pauses = PauseBackoff()
    pauses.pause(0.0, 10.0, most)

    assert 2.0 == pauses.pause(0.0, 12.0, most)
    assert pauses.pause(0.0, 13.0, most) is None
    assert 4.0 == pauses.pause(14.0, 15.0, most)


def test_a_latecomer_after_a_success() -> None:
    """
    A success ends the streak, but what the pause covers it goes on to cover.
    """
    pauses = PauseBackoff()
    pauses.pause(0.0, 10.0, most)
    pauses.succeeded()

    assert pauses.pause(0.0, 11.0, most) is None
    assert 2.0 == pauses.pause(0.0, 12.0, most)
