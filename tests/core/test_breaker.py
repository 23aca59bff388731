"""What the circuit breaker promises, one sentence a test."""

import math
import pickle

import pytest

from hungframe import BreakerState, CircuitBreaker, Outcome, Permit, Refusal

COUNTED_FAILURES = ["timeout", "quota", "5xx", "connection", "unknown"]
UNCOUNTED = ["4xx", "cancelled", "rejected"]


def admit(breaker: CircuitBreaker, now: float, timeout: float = 90.0) -> Permit:
    """
    Ask for a permit and get one.
    """
    answer = breaker.acquire(now, timeout=timeout)
    assert isinstance(answer, Permit)
    return answer


def refuse(breaker: CircuitBreaker, now: float) -> Refusal:
    """
    Ask for a permit and get none.
    """
    answer = breaker.acquire(now)
    assert isinstance(answer, Refusal)
    return answer


def call(breaker: CircuitBreaker, now: float, *outcomes: str) -> None:
    """
    Let calls begin and end at *now*, one after the other.
    """
    for outcome in outcomes:
        breaker.record(admit(breaker, now), outcome, now)


def opened(now: float = 0.0, breaker: CircuitBreaker | None = None) -> CircuitBreaker:
    """
    Open a breaker at *now*.
    """
    found = breaker or CircuitBreaker()
    call(found, now, "timeout", "timeout", "timeout")
    assert "open" == found.state(now)
    return found


# -- the window ------------------------------------------------------------


def test_window_holds_the_last_25_counted_outcomes() -> None:
    """
    The 26th counted outcome pushes the first one out.
    """
    breaker = CircuitBreaker(failure_rate=1.0)
    call(breaker, 0.0, "timeout", *["success"] * 24)
    assert 26.0 == breaker.weight(0.0)
    assert 2 / 26 == breaker.failure_rate(0.0)

    call(breaker, 0.0, "success")

    assert 25.0 == breaker.weight(0.0)
    assert 0.0 == breaker.failure_rate(0.0)


def test_window_holds_nothing_older_than_an_hour() -> None:
    """
    An outcome counts until it is 3,600 s old, and not a moment longer.
    """
    breaker = CircuitBreaker()
    call(breaker, 0.0, "timeout")

    assert 2.0 == breaker.weight(3600.0)
    assert 0.0 == breaker.weight(math.nextafter(3600.0, math.inf))


def test_failures_that_have_aged_do_not_open() -> None:
    """
    Two timeouts an hour ago and one now are one timeout.
    """
    breaker = CircuitBreaker()
    call(breaker, 0.0, "timeout", "timeout")
    call(breaker, 3601.0, "timeout")

    assert "closed" == breaker.state(3601.0)


def test_failure_rate_is_weight_over_weight() -> None:
    """
    The rate is the weight of failures over the weight of all counted outcomes.
    """
    breaker = CircuitBreaker(min_weight=100.0)
    call(breaker, 0.0, "success", "timeout", "quota", "5xx", "connection", "unknown")

    assert 6.5 == breaker.weight(0.0)
    assert 5.5 / 6.5 == breaker.failure_rate(0.0)


def test_nothing_seen_is_no_failure() -> None:
    """
    A fresh breaker is closed, with rate 0 and weight 0.
    """
    breaker = CircuitBreaker()

    assert "closed" == breaker.state(0.0)
    assert (0.0, 0.0) == (breaker.failure_rate(0.0), breaker.weight(0.0))


@pytest.mark.parametrize("outcome", UNCOUNTED)
def test_what_says_nothing_of_the_provider_is_not_counted(outcome: str) -> None:
    """
    A 4xx is the caller's fault, a cancellation and a rejection prove nothing.
    """
    breaker = CircuitBreaker()
    call(breaker, 0.0, *[outcome] * 30)

    assert 0.0 == breaker.weight(0.0)
    assert "closed" == breaker.state(0.0)


# -- closed to open --------------------------------------------------------


def test_five_failures_open_a_fresh_breaker() -> None:
    """
    Four ordinary failures are too few to judge by, five are not.
    """
    breaker = CircuitBreaker()
    call(breaker, 0.0, *["5xx"] * 4)
    assert "closed" == breaker.state(0.0)

    call(breaker, 0.0, "connection")

    assert "open" == breaker.state(0.0)


def test_three_timeouts_open_a_fresh_breaker() -> None:
    """
    A timeout weighs 2, so three of them are weight enough.
    """
    breaker = CircuitBreaker()
    call(breaker, 0.0, "timeout", "timeout")
    assert "closed" == breaker.state(0.0)

    call(breaker, 0.0, "timeout")

    assert "open" == breaker.state(0.0)


def test_a_429_weighs_half() -> None:
    """
    It takes ten 429s to open what five server errors open.
    """
    breaker = CircuitBreaker()
    call(breaker, 0.0, *["quota"] * 9)
    assert "closed" == breaker.state(0.0)

    call(breaker, 0.0, "quota")

    assert "open" == breaker.state(0.0)


def test_it_opens_at_exactly_half() -> None:
    """
    Three of six opens at 0.5; three of seven does not.
    """
    at_half, below_half = CircuitBreaker(), CircuitBreaker()
    call(at_half, 0.0, *["success"] * 3, *["5xx"] * 3)
    call(below_half, 0.0, *["success"] * 4, *["5xx"] * 3)

    assert "open" == at_half.state(0.0)
    assert "closed" == below_half.state(0.0)


def test_a_tenth_is_a_tenth() -> None:
    """
    A rate of 0.1 opens at one failure in ten, though the float 0.1 is more.
    """
    breaker = CircuitBreaker(failure_rate=0.1)
    call(breaker, 0.0, *["success"] * 9, "5xx")

    assert "open" == breaker.state(0.0)


def test_every_share_opens_at_itself() -> None:
    """
    Whatever share of up to 25 calls failed, that share as the rate opens exactly there.
    """
    for calls in (1, 2, 4, 5, 8, 10, 16, 20, 25):
        for failures in range(1, calls + 1):
            breaker = CircuitBreaker(failure_rate=failures / calls, min_weight=float(calls))
            call(breaker, 0.0, *["success"] * (calls - failures), *["5xx"] * (failures - 1))
            assert "closed" == breaker.state(0.0)

            call(breaker, 0.0, "5xx")

            assert "open" == breaker.state(0.0)


def test_ten_tenths_are_one() -> None:
    """
    Weights add up exactly: ten of 0.1 reach a least weight of 1.
    """
    breaker = CircuitBreaker(min_weight=1.0, weights={"quota": 0.1})
    call(breaker, 0.0, *["quota"] * 9)
    assert "closed" == breaker.state(0.0)

    call(breaker, 0.0, "quota")

    assert "open" == breaker.state(0.0)
    assert 1.0 == breaker.weight(0.0)


def test_sums_do_not_drift() -> None:
    """
    After 100,000 outcomes of weight 0.1 a window of successes weighs what it should.
    """
    breaker = CircuitBreaker(weights={"success": 0.3, "quota": 0.1}, failure_rate=1.0)
    call(breaker, 0.0, *["success", "quota"] * 50_000, *["success"] * 25)

    assert 7.5 == breaker.weight(0.0)
    assert 0.0 == breaker.failure_rate(0.0)


def test_a_success_may_open() -> None:
    """
    Rate and weight are looked at after a success, too: it may tip the weight.
    """
    breaker = CircuitBreaker()
    call(breaker, 0.0, "timeout", "timeout")
    assert "closed" == breaker.state(0.0)

    call(breaker, 0.0, "success")

    assert "open" == breaker.state(0.0)


def test_a_name_will_do_for_an_outcome() -> None:
    """
    An outcome is taken as a member or by its name, and one that is neither is refused.
    """
    named, member = CircuitBreaker(), CircuitBreaker()
    call(named, 0.0, "timeout")
    call(member, 0.0, Outcome.TIMEOUT)
    assert named.weight(0.0) == member.weight(0.0)

    with pytest.raises(ValueError, match="nope"):
        named.record(admit(named, 0.0), "nope", 0.0)


def test_weights_that_are_not_named_keep_their_defaults() -> None:
    """
    Who makes a 429 weigh 1 has not made a timeout weigh less.
    """
    breaker = CircuitBreaker(weights={"quota": 1.0}, min_weight=100.0)
    call(breaker, 0.0, "quota", "timeout", "5xx")

    assert 4.0 == breaker.weight(0.0)


# -- slow calls ------------------------------------------------------------


def test_slow_calls_do_not_count_unless_told() -> None:
    """
    A success is a success however long it took, by default.
    """
    breaker = CircuitBreaker()
    for _ in range(10):
        breaker.record(admit(breaker, 0.0), "success", 0.0, seconds=1e6)

    assert 0.0 == breaker.failure_rate(0.0)


def test_a_success_slower_than_slow_call_is_a_failure_of_weight_1() -> None:
    """
    Slower than slow_call weighs as a failure of weight 1, whatever a success weighs.
    """
    breaker = CircuitBreaker(slow_call=10.0, weights={"success": 3.0})
    breaker.record(admit(breaker, 0.0), "success", 0.0, seconds=10.0)
    assert (3.0, 0.0) == (breaker.weight(0.0), breaker.failure_rate(0.0))

    breaker.record(admit(breaker, 0.0), "success", 0.0, seconds=10.1)

    assert (4.0, 0.25) == (breaker.weight(0.0), breaker.failure_rate(0.0))


def test_a_slow_timeout_is_a_timeout() -> None:
    """
    Only a success can be slow; a failure keeps its own weight.
    """
    breaker = CircuitBreaker(slow_call=10.0)
    breaker.record(admit(breaker, 0.0), "timeout", 0.0, seconds=60.0)
    breaker.record(admit(breaker, 0.0), "4xx", 0.0, seconds=60.0)

    assert 2.0 == breaker.weight(0.0)


# -- open ------------------------------------------------------------------


def test_an_open_breaker_says_when_to_come_back() -> None:
    """
    It refuses for 60 s and names what is left of them.
    """
    breaker = opened(now=100.0)

    assert 60.0 == refuse(breaker, 100.0).retry_after
    assert 18.75 == refuse(breaker, 141.25).retry_after


def test_when_to_come_back_can_be_asked_without_asking_for_a_permit() -> None:
    """
    The wait is 0 where a call would be admitted, None where no time can be named.
    """
    breaker = opened()
    assert (0.0, 60.0) == (CircuitBreaker().retry_after(0.0), breaker.retry_after(0.0))
    assert 0.0 == breaker.retry_after(60.0)
    admit(breaker, 60.0, timeout=90.0)
    assert 89.0 == breaker.retry_after(61.0)
    breaker.force_open(61.0)
    assert breaker.retry_after(61.0) is None
    breaker.disable(61.0)
    assert 0.0 == breaker.retry_after(61.0)


def test_it_is_half_open_60_s_after_it_opened() -> None:
    """
    Half-open is found at the next question, whoever asks it; no timer is needed.
    """
    for ask in ("state", "acquire"):
        breaker = opened()
        assert "open" == breaker.state(math.nextafter(60.0, 0.0))
        if ask == "acquire":
            assert admit(breaker, 60.0).probe
        assert "half_open" == breaker.state(60.0)


def test_opening_changes_the_generation() -> None:
    """
    Each state has a generation of its own, and no generation comes back.
    """
    breaker = CircuitBreaker()
    seen = [breaker.generation]
    opened(0.0, breaker)
    seen.append(breaker.generation)
    breaker.state(60.0)
    seen.append(breaker.generation)
    for now in (60.0, 120.0, 180.0):
        call(breaker, now, "success")
    seen.append(breaker.generation)

    assert "closed" == breaker.state(180.0)
    assert sorted(set(seen)) == seen


# -- permits of an earlier epoch -------------------------------------------


def test_stale_failure_does_not_reopen() -> None:
    """
    A call admitted before the breaker opened cannot open it again from half-open.
    """
    breaker = CircuitBreaker()
    stale = admit(breaker, 0.0)
    opened(0.0, breaker)
    breaker.state(60.0)
    breaker.record(stale, "timeout", 61.0)

    assert "half_open" == breaker.state(61.0)
    assert admit(breaker, 61.0).probe


def test_stale_success_does_not_close() -> None:
    """
    A call admitted before the breaker opened cannot close it afterwards.
    """
    breaker = CircuitBreaker(close_after=1)
    stale = admit(breaker, 0.0)
    opened(0.0, breaker)
    breaker.record(stale, "success", 30.0)
    assert "open" == breaker.state(30.0)
    breaker.state(60.0)
    breaker.record(stale, "success", 61.0)

    assert "half_open" == breaker.state(61.0)


def test_what_ended_after_it_opened_is_not_in_the_window_of_the_next_epoch() -> None:
    """
    A failure from before counts nowhere once the breaker has closed again.
    """
    breaker = CircuitBreaker(close_after=1)
    stale = admit(breaker, 0.0)
    opened(0.0, breaker)
    call(breaker, 60.0, "success")
    breaker.record(stale, "timeout", 61.0)

    assert "closed" == breaker.state(61.0)
    assert 0.0 == breaker.weight(61.0)


# -- half-open -------------------------------------------------------------


def test_of_100_callers_one_gets_through() -> None:
    """
    Half-open admits one probe, and tells the other 99 when to come back.
    """
    breaker = opened()
    answers = [breaker.acquire(60.0, timeout=90.0) for _ in range(100)]
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]

    assert 99 == len(refusals)
    assert {90.0} == {refusal.retry_after for refusal in refusals}


def test_one_probe_per_60_s() -> None:
    """
    A probe that has reported makes room for the next one 60 s after its own start.
    """
    breaker = opened()
    probe = admit(breaker, 70.0)
    breaker.record(probe, "success", 75.0)

    assert 54.0 == refuse(breaker, 76.0).retry_after
    assert 1.0 == refuse(breaker, 129.0).retry_after
    assert admit(breaker, 130.0).probe


def test_no_second_probe_while_one_is_out() -> None:
    """
    Also after 60 s the next probe waits for the one that is out.
    """
    breaker = opened()
    probe = admit(breaker, 60.0, timeout=90.0)
    assert 29.0 == refuse(breaker, 121.0).retry_after

    breaker.record(probe, "success", 122.0)

    assert admit(breaker, 122.0).probe


def test_three_successes_close() -> None:
    """
    Three consecutive probe successes close it, with an empty window.
    """
    breaker = opened()
    call(breaker, 60.0, "success")
    call(breaker, 120.0, "success")
    assert "half_open" == breaker.state(120.0)

    call(breaker, 180.0, "success")

    assert "closed" == breaker.state(180.0)
    assert (0.0, 0.0) == (breaker.weight(180.0), breaker.failure_rate(180.0))
    assert not admit(breaker, 180.0).probe


def test_trusted_again_two_to_three_minutes_after_it_answers() -> None:
    """
    Three greens take three probes: 120 s from the first to the last.
    """
    breaker = opened()
    now = 60.0
    while breaker.state(now) != "closed":
        answer = breaker.acquire(now)
        if isinstance(answer, Permit):
            breaker.record(answer, "success", now)
        now += 1.0

    assert 181.0 == now


def test_who_wants_it_sooner_sets_probe_every() -> None:
    """
    With probe_every=0 three probes one after the other close it.
    """
    breaker = opened(0.0, CircuitBreaker(probe_every=0.0))
    call(breaker, 60.0, "success", "success", "success")

    assert "closed" == breaker.state(60.0)


@pytest.mark.parametrize("outcome", COUNTED_FAILURES)
def test_one_probe_failure_opens_again(outcome: str) -> None:
    """
    Any counted failure of a probe opens it again, a 429 too, after two greens too.
    """
    breaker = opened()
    call(breaker, 60.0, "success")
    call(breaker, 120.0, "success")
    call(breaker, 180.0, outcome)

    assert "open" == breaker.state(180.0)
    assert 60.0 == refuse(breaker, 180.0).retry_after


def test_greens_before_a_failure_do_not_count_after_it() -> None:
    """
    The three successes must follow one another.
    """
    breaker = opened()
    call(breaker, 60.0, "success")
    call(breaker, 120.0, "success")
    call(breaker, 180.0, "timeout")
    call(breaker, 240.0, "success")
    call(breaker, 300.0, "success")
    assert "half_open" == breaker.state(300.0)

    call(breaker, 360.0, "success")

    assert "closed" == breaker.state(360.0)


def test_a_4xx_of_a_probe_proves_that_the_provider_answers() -> None:
    """
    A 4xx is a probe success.
    """
    breaker = opened()
    for now in (60.0, 120.0, 180.0):
        call(breaker, now, "4xx")

    assert "closed" == breaker.state(180.0)


def test_a_slow_probe_is_a_failed_probe() -> None:
    """
    A success slower than slow_call weighs as a failure, of a probe too.
    """
    breaker = opened(0.0, CircuitBreaker(slow_call=10.0))
    breaker.record(admit(breaker, 60.0), "success", 80.0, seconds=20.0)

    assert "open" == breaker.state(80.0)


def test_each_failed_probe_backs_off_to_a_cap() -> None:
    """
    It opens for 60 s x backoff^n, n failed probes in a row, at most for 600 s.
    """
    breaker = opened(0.0, CircuitBreaker(backoff=2.0))
    now, spans = 0.0, list[float | None]()
    for _ in range(6):
        wait = refuse(breaker, now).retry_after
        spans.append(wait)
        now += wait or 0.0
        call(breaker, now, "5xx")

    assert [60.0, 120.0, 240.0, 480.0, 600.0, 600.0] == spans


def test_backoff_begins_anew_after_closing() -> None:
    """
    The failed probes of one outage do not prolong the next.
    """
    breaker = opened(0.0, CircuitBreaker(backoff=2.0, close_after=1))
    call(breaker, 60.0, "5xx")
    assert 120.0 == refuse(breaker, 60.0).retry_after
    call(breaker, 180.0, "success")

    opened(200.0, breaker)

    assert 60.0 == refuse(breaker, 200.0).retry_after


def test_backoff_without_end_does_not_overflow() -> None:
    """
    After a thousand failed probes it still opens for max_open_for.
    """
    breaker = opened(0.0, CircuitBreaker(backoff=10.0))
    now = 0.0
    for _ in range(1000):
        now += 600.0
        call(breaker, now, "5xx")

    assert 600.0 == refuse(breaker, now).retry_after


@pytest.mark.parametrize("outcome", [None, "cancelled", "rejected"])
def test_a_probe_given_back_was_never_asked_for(outcome: str | None) -> None:
    """
    A cancelled probe proves nothing, costs no 60 s, and leaves the greens alone.
    """
    breaker = opened()
    call(breaker, 60.0, "success")
    call(breaker, 120.0, "success")
    probe = admit(breaker, 180.0)
    if outcome is None:
        breaker.release(probe, 181.0)
    else:
        breaker.record(probe, outcome, 181.0)
    assert "half_open" == breaker.state(181.0)

    call(breaker, 181.0, "success")

    assert "closed" == breaker.state(181.0)


def test_a_probe_that_never_reports_falls_free() -> None:
    """
    A half-open permit is a lease: after its timeout the next probe may start.
    """
    breaker = opened()
    admit(breaker, 60.0, timeout=90.25)
    assert 0.25 == refuse(breaker, 150.0).retry_after

    assert admit(breaker, 150.25).probe


def test_a_short_lease_does_not_shorten_the_distance_between_probes() -> None:
    """
    A probe that fell free after 5 s has still been started, 60 s count from there.
    """
    breaker = opened()
    admit(breaker, 60.0, timeout=5.0)

    assert 54.0 == refuse(breaker, 66.0).retry_after
    assert admit(breaker, 120.0).probe


@pytest.mark.parametrize("outcome", [None, "success", "5xx", "cancelled"])
def test_what_a_probe_reports_after_its_lease_counts_nowhere(outcome: str | None) -> None:
    """
    Late, a probe neither opens, nor closes, nor makes room for another.
    """
    breaker = opened(0.0, CircuitBreaker(close_after=1))
    late = admit(breaker, 60.0, timeout=5.0)
    if outcome is None:
        breaker.release(late, 65.0)
    else:
        breaker.record(late, outcome, 65.0)

    assert "half_open" == breaker.state(65.0)
    assert 55.0 == refuse(breaker, 65.0).retry_after


def test_a_late_probe_does_not_free_the_place_of_the_next() -> None:
    """
    Of two probes of one half-open state only the one whose lease runs is heard.
    """
    breaker = opened()
    late = admit(breaker, 60.0, timeout=60.0)
    admit(breaker, 120.0, timeout=90.0)
    breaker.record(late, "5xx", 121.0)
    breaker.release(late, 122.0)

    assert "half_open" == breaker.state(122.0)
    assert 88.0 == refuse(breaker, 122.0).retry_after


def test_greens_survive_a_probe_that_never_reports() -> None:
    """
    A lease that ran out is no failure: the streak goes on.
    """
    breaker = opened()
    call(breaker, 60.0, "success")
    call(breaker, 120.0, "success")
    admit(breaker, 180.0, timeout=60.0)
    call(breaker, 240.0, "success")

    assert "closed" == breaker.state(240.0)


def test_a_probe_reports_once() -> None:
    """
    Settling one probe twice counts once, also through release.
    """
    breaker = opened(0.0, CircuitBreaker(close_after=2))
    probe = admit(breaker, 60.0)
    breaker.record(probe, "success", 61.0)
    breaker.record(probe, "success", 61.0)
    breaker.record(probe, "5xx", 61.0)
    breaker.release(probe, 61.0)

    assert "half_open" == breaker.state(61.0)
    assert 59.0 == refuse(breaker, 61.0).retry_after


# -- suspects --------------------------------------------------------------


def test_it_opens_while_calls_still_hang() -> None:
    """
    Each suspect is one provisional failure: five of them open a fresh breaker.
    """
    breaker = CircuitBreaker()
    breaker.suspect(4, 10.0)
    assert "closed" == breaker.state(10.0)
    assert (4.0, 1.0) == (breaker.weight(10.0), breaker.failure_rate(10.0))

    breaker.suspect(5, 11.0)

    assert "open" == breaker.state(11.0)
    assert 60.0 == refuse(breaker, 11.0).retry_after


def test_suspects_weigh_beside_what_has_ended() -> None:
    """
    Two failures, two successes and a suspect are three fifths of weight 5.
    """
    breaker = CircuitBreaker()
    call(breaker, 0.0, "success", "success", "5xx", "5xx")
    breaker.suspect(1, 0.0)

    assert "open" == breaker.state(0.0)


def test_a_success_may_open_beside_suspects() -> None:
    """
    Four suspects wait for a weight of 5; a success that brings it opens.
    """
    breaker = CircuitBreaker()
    breaker.suspect(4, 0.0)
    call(breaker, 0.0, "success")

    assert "open" == breaker.state(0.0)


def test_a_suspect_is_replaced_by_its_outcome() -> None:
    """
    A suspect that ends is a suspect no more: what it became counts instead.
    """
    breaker = CircuitBreaker()
    breaker.suspect(2, 0.0)
    breaker.suspect(1, 1.0)
    call(breaker, 1.0, "success")
    assert (2.0, 0.5) == (breaker.weight(1.0), breaker.failure_rate(1.0))

    breaker.suspect(0, 2.0)

    assert (1.0, 0.0) == (breaker.weight(2.0), breaker.failure_rate(2.0))


def test_suspects_of_a_fresh_epoch_are_none() -> None:
    """
    Who hung when it opened weighs nothing once it has closed.
    """
    breaker = CircuitBreaker(close_after=1)
    breaker.suspect(5, 0.0)
    breaker.suspect(5, 30.0)
    call(breaker, 60.0, "success")

    assert "closed" == breaker.state(60.0)
    assert 0.0 == breaker.weight(60.0)


# -- operators -------------------------------------------------------------


def test_forced_open_refuses_all_and_names_no_time() -> None:
    """
    Only an operator knows when a breaker that is forced open ends.
    """
    breaker = CircuitBreaker()
    breaker.force_open(0.0)

    assert "forced_open" == breaker.state(1e9)
    assert refuse(breaker, 1e9).retry_after is None


def test_disabled_admits_all() -> None:
    """
    A disabled breaker admits whatever happens.
    """
    breaker = CircuitBreaker()
    breaker.disable(0.0)
    call(breaker, 0.0, *["timeout"] * 30)

    assert "disabled" == breaker.state(0.0)
    assert not admit(breaker, 0.0).probe


def test_disabled_goes_on_recording() -> None:
    """
    The window of a disabled breaker tells what it would have opened for.
    """
    breaker = CircuitBreaker()
    breaker.disable(0.0)
    call(breaker, 0.0, "success", "timeout")

    assert (3.0, 2 / 3) == (breaker.weight(0.0), breaker.failure_rate(0.0))


def test_what_it_knew_stays_known_while_forced() -> None:
    """
    Forcing it does not empty the window.
    """
    for order in ("force_open", "disable"):
        breaker = CircuitBreaker()
        call(breaker, 0.0, "success", "5xx")
        getattr(breaker, order)(1.0)

        assert (2.0, 0.5) == (breaker.weight(1.0), breaker.failure_rate(1.0))


@pytest.mark.parametrize("order", ["force_open", "disable"])
def test_a_probe_from_before_moves_nothing_while_forced(order: str) -> None:
    """
    An operator's word holds against a probe that was out.
    """
    breaker = opened(0.0, CircuitBreaker(close_after=1))
    probe = admit(breaker, 60.0)
    getattr(breaker, order)(61.0)
    before = breaker.state(61.0)
    breaker.record(probe, "success", 62.0)
    breaker.record(probe, "5xx", 62.0)

    assert before == breaker.state(62.0)


@pytest.mark.parametrize("order", [None, "force_open", "disable"])
def test_reset_starts_anew(order: str | None) -> None:
    """
    Reset closes, with an empty window, whatever it was before.
    """
    breaker = opened(0.0, CircuitBreaker(backoff=2.0))
    call(breaker, 60.0, "5xx")
    if order:
        getattr(breaker, order)(60.0)
    breaker.reset(61.0)

    assert "closed" == breaker.state(61.0)
    assert 0.0 == breaker.weight(61.0)
    assert 60.0 == refuse(opened(62.0, breaker), 62.0).retry_after


# -- values and settings ---------------------------------------------------


def test_states_are_their_names() -> None:
    """
    A state equals its name and comes back from a pickle as itself.
    """
    names = ["closed", "open", "half_open", "forced_open", "disabled"]

    assert names == [state.value for state in BreakerState]
    assert BreakerState.HALF_OPEN is pickle.loads(pickle.dumps(BreakerState("half_open")))


def test_a_refusal_says_why() -> None:
    """
    Each kind of refusal has a reason of its own.
    """
    is_open, half_open, forced = opened(), opened(), CircuitBreaker()
    admit(half_open, 60.0)
    forced.force_open(0.0)
    reasons = {
        refuse(is_open, 0.0).reason,
        refuse(half_open, 60.0).reason,
        refuse(forced, 0.0).reason,
    }

    assert 3 == len(reasons)
    assert all(reasons)


NUMBERS = [
    "max_age",
    "failure_rate",
    "min_weight",
    "open_for",
    "max_open_for",
    "backoff",
    "probe_every",
    "slow_call",
]
COUNTS = ["window", "close_after"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, math.nan, -math.inf])
def test_a_setting_out_of_range_is_refused(name: str, value: float) -> None:
    """
    What cannot be meant is refused where it is given, with its name and value.
    """
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
        CircuitBreaker(**{name: value})  # type: ignore[arg-type]  # What is refused.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window", 0),
        ("window", -1),
        ("max_age", 0.0),
        ("failure_rate", 0.0),
        ("failure_rate", 1.5),
        ("failure_rate", math.inf),
        ("min_weight", 0.0),
        ("min_weight", math.inf),
        ("open_for", 0.0),
        ("open_for", math.inf),
        ("max_open_for", 59.0),
        ("backoff", 0.9),
        ("backoff", math.inf),
        ("probe_every", math.inf),
        ("close_after", 0),
        ("close_after", -1),
        ("slow_call", 0.0),
    ],
)
def test_a_setting_at_the_wrong_side_of_its_bound_is_refused(name: str, value: float) -> None:
    """
    The message names the setting, what would do, and what was given.
    """
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
        CircuitBreaker(**{name: value})  # type: ignore[arg-type]  # What is refused.


@pytest.mark.parametrize("name", NUMBERS)
def test_an_int_too_large_for_a_float_is_refused(name: str) -> None:
    """
    No setting is a number that no float can hold.
    """
    with pytest.raises(ValueError, match=f"{name} must be "):
        CircuitBreaker(**{name: 10**400})  # type: ignore[arg-type]  # What is refused.


@pytest.mark.parametrize("name", NUMBERS + COUNTS)
@pytest.mark.parametrize("value", [True, "5", [5]])
def test_a_setting_that_is_no_number_is_refused(name: str, value: object) -> None:
    """
    True is no number here, and neither is the name of one.
    """
    with pytest.raises(TypeError, match=f"{name} must be .*, got "):
        CircuitBreaker(**{name: value})  # type: ignore[arg-type]  # What is refused.


def test_the_message_says_what_would_do() -> None:
    """
    One clear line: who, what would do, what was given.
    """
    with pytest.raises(ValueError, match=r"^failure_rate must be in \(0, 1\], got 1\.5$"):
        CircuitBreaker(failure_rate=1.5)


def test_a_weight_for_no_outcome_names_those_there_are() -> None:
    """
    Who misspells an outcome is told how they are spelt.
    """
    with pytest.raises(ValueError, match="outcome") as caught:
        CircuitBreaker(weights={"timeuot": 2.0})

    told = str(caught.value)
    assert "timeuot" in told
    assert all(name in told for name in ("success", *COUNTED_FAILURES))


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_out_of_range_is_refused(weight: float) -> None:
    """
    A weight is a number, 0 or more.
    """
    with pytest.raises(ValueError, match=f"timeout.*{weight}"):
        CircuitBreaker(weights={"timeout": weight})
    with pytest.raises(TypeError):
        CircuitBreaker(weights={"timeout": True})


class Printed(float):
    """
    A float that prints itself in its own way, as those of numpy do.
    """

    def __repr__(self) -> str:
        return f"Printed({float(self)})"


def test_a_float_of_another_library_is_a_number() -> None:
    """
    A float is read by its value, however its class prints it.
    """
    breaker = CircuitBreaker(failure_rate=Printed(0.1), weights={"5xx": Printed(1.0)})
    call(breaker, 0.0, *["success"] * 9, "5xx")

    assert "open" == breaker.state(0.0)
