"""What the token bucket promises, one sentence a test."""

import math

import pytest

from hungframe import TokenBucket


def empty(capacity: int = 5, refill_every: float = 60.0, now: float = 0.0) -> TokenBucket:
    """
    Empty a bucket at *now*.
    """
    bucket = TokenBucket(capacity=capacity, refill_every=refill_every)
    assert bucket.try_acquire(capacity, now)
    return bucket


def test_it_holds_five_and_starts_full() -> None:
    """
    Five calls at once, by default, and not a sixth.
    """
    bucket = TokenBucket()

    assert [True] * 5 + [False] == [bucket.try_acquire(1, 0.0) for _ in range(6)]


@pytest.mark.parametrize("now", [0.0, 1e9, -1e9])
def test_it_starts_full_whenever_it_starts(now: float) -> None:
    """
    The first instant it hears of finds it full.
    """
    assert 5 == TokenBucket().available(now)
    assert 0 == empty(now=now).available(now)


def test_one_token_comes_back_per_60_s() -> None:
    """
    After a minute there is one token, after two there are two.
    """
    bucket = empty()

    assert [0, 0, 1, 1, 2] == [bucket.available(now) for now in (0.0, 59.0, 60.0, 119.0, 120.0)]


def test_it_refills_continuously() -> None:
    """
    Half a minute is half a token, which is kept when another is taken.
    """
    bucket = empty()
    assert bucket.try_acquire(1, 90.0)

    assert 0 == bucket.available(119.0)
    assert 1 == bucket.available(120.0)


def test_it_never_holds_more_than_its_capacity() -> None:
    """
    A day of silence fills it, and no more than that.
    """
    bucket = empty()
    assert 5 == bucket.available(86400.0)

    assert bucket.try_acquire(5, 86400.0)

    assert not bucket.try_acquire(1, 86400.0)


def test_all_or_none() -> None:
    """
    Who asks for more than there is takes nothing.
    """
    bucket = TokenBucket()
    assert bucket.try_acquire(3, 0.0)
    assert not bucket.try_acquire(3, 0.0)

    assert 2 == bucket.available(0.0)
    assert bucket.try_acquire(2, 0.0)


def test_available_is_rounded_down() -> None:
    """
    1.98 tokens are one call.
    """
    assert 1 == empty().available(119.0)


def test_retry_after_is_exact() -> None:
    """
    The wait for n tokens is what is missing of them, in seconds.
    """
    bucket = empty()

    assert 60.0 == bucket.retry_after(1, 0.0)
    assert 300.0 == bucket.retry_after(5, 0.0)
    assert 15.0 == bucket.retry_after(1, 45.0)
    assert 0.0 == bucket.retry_after(1, 60.0)


def test_what_it_can_never_hold_is_never_there() -> None:
    """
    More than the capacity takes for ever, and is not granted.
    """
    bucket = TokenBucket(capacity=5)

    assert math.inf == bucket.retry_after(6, 0.0)
    assert not bucket.try_acquire(6, 1e9)


@pytest.mark.parametrize("refill_every", [0.1, 1 / 3, 0.7, 7.0, 60.0])
def test_who_waits_as_told_is_served(refill_every: float) -> None:
    """
    A thousand waits of exactly retry_after grant a thousand tokens, in time.
    """
    bucket, now = empty(capacity=1, refill_every=refill_every), 0.0
    for _ in range(1000):
        now += bucket.retry_after(1, now)
        assert bucket.try_acquire(1, now)

    assert 1000 * refill_every == pytest.approx(now, abs=1e-6)


def test_a_token_not_spent_is_given_back() -> None:
    """
    A token for a call that was not sent is there again at once.
    """
    bucket = empty()
    bucket.give_back(1, 0.0)

    assert 1 == bucket.available(0.0)
    assert bucket.try_acquire(1, 0.0)
    assert not bucket.try_acquire(1, 0.0)


def test_giving_back_does_not_overfill() -> None:
    """
    What was refilled meanwhile leaves no room for what comes back.
    """
    bucket = TokenBucket()
    assert bucket.try_acquire(1, 0.0)
    bucket.give_back(1, 3600.0)

    assert bucket.try_acquire(5, 3600.0)
    assert not bucket.try_acquire(1, 3600.0)


def test_giving_back_is_as_if_never_taken() -> None:
    """
    Also the fraction that had been refilled stays what it was.
    """
    bucket = empty()
    assert bucket.try_acquire(1, 90.0)
    bucket.give_back(1, 100.0)

    assert bucket.retry_after(2, 100.0) == pytest.approx(20.0, abs=1e-6)


def test_a_pause_gives_nothing() -> None:
    """
    Until it ends there is no budget, whatever the bucket holds.
    """
    bucket = TokenBucket()
    bucket.pause(30.0)

    assert 0 == bucket.available(29.9)
    assert not bucket.try_acquire(1, 29.9)
    assert 20.0 == bucket.retry_after(1, 10.0)


def test_a_pause_ends_at_its_instant() -> None:
    """
    At until itself all is as if there had been no pause.
    """
    bucket = TokenBucket()
    bucket.pause(30.0)

    assert 5 == bucket.available(30.0)
    assert 0.0 == bucket.retry_after(1, 30.0)
    assert bucket.try_acquire(5, 30.0)


def test_refilling_goes_on_during_a_pause() -> None:
    """
    An empty bucket paused for two minutes holds two tokens afterwards.
    """
    bucket = empty()
    bucket.pause(120.0)

    assert 2 == bucket.available(120.0)


def test_the_longer_of_pause_and_refill_is_named() -> None:
    """
    A wait covers both.
    """
    bucket = empty()
    bucket.pause(100.0)

    assert 100.0 == bucket.retry_after(1, 0.0)
    assert 120.0 == bucket.retry_after(2, 0.0)


def test_a_pause_is_over_after_the_wait_it_names() -> None:
    """
    No rounding of floats leaves who waited as told in front of a closed door.
    """
    for now, until in ((5.401, 39.139), (8.397, 26.94), (7.189, 85.901)):
        bucket = TokenBucket()
        bucket.pause(until)

        assert bucket.try_acquire(1, now + bucket.retry_after(1, now))


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    """
    Of two 429s the one that asked for more patience is obeyed.
    """
    bucket = TokenBucket()
    bucket.pause(60.0)
    bucket.pause(1.0)

    assert 50.0 == bucket.retry_after(1, 10.0)


def test_a_pause_of_the_past_is_none() -> None:
    """
    A Retry-After that has passed already takes nothing away.
    """
    bucket = TokenBucket()
    bucket.pause(5.0)

    assert 5 == bucket.available(10.0)


def test_an_earlier_instant_gets_no_more() -> None:
    """
    A clock that steps back finds no token that was not there.
    """
    bucket = empty(now=100.0)

    assert not bucket.try_acquire(1, 40.0)
    assert 120.0 == bucket.retry_after(1, 40.0)


def test_a_debt_is_refilled_first() -> None:
    """
    Three owed and one asked for are four tokens' time, to the moment.
    """
    bucket = TokenBucket()
    bucket.charge(8, 0.0)

    assert 240.0 == bucket.retry_after(1, 0.0)
    assert not bucket.try_acquire(1, 239.9)
    assert bucket.try_acquire(1, 240.0)


def test_nobody_sees_a_debt_as_tokens() -> None:
    """
    There is never less than nothing, and never more than the capacity.
    """
    bucket = TokenBucket()
    bucket.charge(1000, 0.0)
    assert [0, 0, 1] == [bucket.available(now) for now in (0.0, 59_700.0, 59_760.0)]

    bucket.give_back(2000, 0.0)

    assert [5, 5] == [bucket.available(now) for now in (0.0, 1e6)]


def test_charging_takes_what_is_there_first() -> None:
    """
    And of a bucket that has long been full no more than it holds is there.
    """
    bucket = TokenBucket()
    bucket.charge(2, 1e6)

    assert 3 == bucket.available(1e6)
    assert bucket.try_acquire(3, 1e6)


def test_a_pause_stops_no_charge() -> None:
    """
    What was used was used.
    """
    bucket = TokenBucket()
    bucket.pause(60.0)
    bucket.charge(5, 0.0)

    assert 1 == bucket.available(60.0)


def test_what_is_free_is_granted_in_debt() -> None:
    """
    Nothing asked for is there at once, unless there is a pause.
    """
    bucket = TokenBucket()
    bucket.charge(8, 0.0)
    assert bucket.try_acquire(0, 0.0) and 0.0 == bucket.retry_after(0, 0.0)

    bucket.pause(30.0)

    assert not bucket.try_acquire(0, 29.0) and 1.0 == bucket.retry_after(0, 29.0)


@pytest.mark.parametrize("tokens", [-1, math.nan, math.inf, 1e308])
def test_a_charge_that_cannot_be_is_refused(tokens: float) -> None:
    """
    Also one whose refilling would take longer than floats can tell: nothing would ever be granted again.
    """
    bucket = TokenBucket()

    with pytest.raises(ValueError, match="tokens must be at least 0 and finite, got "):
        bucket.charge(tokens, 0.0)

    assert 5 == bucket.available(0.0)


def test_it_shows_what_was_set() -> None:
    """
    Cost and used only where there are any.
    """
    assert "TokenBucket(capacity=5, refill_every=60.0)" == repr(TokenBucket())
    assert f"TokenBucket(capacity=5, refill_every=60.0, cost=2, used={len!r})" == repr(TokenBucket(cost=2, used=len))
    assert 5 == TokenBucket().capacity


@pytest.mark.parametrize("name", ["capacity", "refill_every"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_a_setting_out_of_range_is_refused(name: str, value: float) -> None:
    """
    What cannot be meant is refused where it is given, with its name and value.
    """
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
        TokenBucket(**{name: value})  # type: ignore[arg-type]  # What is refused.


@pytest.mark.parametrize("name", ["capacity", "refill_every"])
@pytest.mark.parametrize("value", [True, "5", None])
def test_a_setting_that_is_no_number_is_refused(name: str, value: object) -> None:
    """
    True is no number here, and neither is the name of one.
    """
    with pytest.raises(TypeError, match=f"{name} must be .*, got "):
        TokenBucket(**{name: value})  # type: ignore[arg-type]  # What is refused.
