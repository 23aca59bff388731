"""What the adaptive timeout promises, one sentence a test."""

import math

import pytest

from hungframe import AdaptiveTimeout


def fed(*latencies: float, timeout: AdaptiveTimeout | None = None) -> AdaptiveTimeout:
    """
    Tell a timeout at second 0 of calls that completed.
    """
    found = timeout or AdaptiveTimeout()
    for seconds in latencies:
        found.observe(seconds, 0.0)
    return found


def test_60_s_until_20_successes() -> None:
    """
    Nineteen successes are too few to judge by, twenty are not.
    """
    timeout = fed(*[50.0] * 19)
    assert 60.0 == timeout.current(0.0)
    assert timeout.p95(0.0) is None

    timeout.observe(51.0, 0.0)

    assert 50.0 == timeout.p95(0.0)
    assert 60.0 == timeout.current(0.0)
    timeout.observe(51.0, 0.0)
    assert 61.0 == timeout.current(0.0)


def test_p95_and_ten_seconds() -> None:
    """
    The timeout is the P95 and a margin of 10 s.
    """
    assert 62.5 == fed(*[52.5] * 20).current(0.0)


def test_never_below_45_nor_above_90() -> None:
    """
    A fast provider still gets 45 s, a slow one no more than 90.
    """
    assert 45.0 == fed(*[0.1] * 20).current(0.0)
    assert 45.0 == fed(*[35.0] * 20).current(0.0)
    assert 90.0 == fed(*[80.0] * 20).current(0.0)
    assert 90.0 == fed(*[300.0] * 20).current(0.0)


def test_p95_is_a_latency_that_was_seen() -> None:
    """
    Nearest rank: of 1 to 20 the 19th, of 1 to 21 the 20th, nothing between.
    """
    latencies = [float(n) for n in range(1, 21)]

    assert 19.0 == fed(*latencies).p95(0.0)
    assert 20.0 == fed(*latencies, 21.0).p95(0.0)
    assert 19.0 == fed(*reversed(latencies)).p95(0.0)


@pytest.mark.parametrize(
    ("quantile", "n", "rank"),
    [
        (0.95, 20, 19),
        (0.95, 100, 95),
        (0.95, 200, 190),
        (0.55, 20, 11),  # 0.55 * 20 is 11.000000000000002 in floats
        (0.07, 100, 7),  # and 0.07 * 100 is 7.000000000000001
        (0.29, 100, 29),  # and 0.29 * 100 is 28.999999999999996
        (0.5, 21, 11),
        (1.0, 20, 20),
        (0.001, 20, 1),
    ],
)
def test_rank_is_that_of_the_decimal_as_written(quantile: float, n: int, rank: int) -> None:
    """
    The rank is the quantile times n, rounded up, without a float between.
    """
    timeout = AdaptiveTimeout(quantile=quantile)

    assert float(rank) == fed(*map(float, range(1, n + 1)), timeout=timeout).p95(0.0)


def test_it_is_numpys_inverted_cdf() -> None:
    """
    Numpy, where it is installed, finds the same quantiles.
    """
    numpy = pytest.importorskip("numpy")
    for n in range(20, 201):
        latencies = [float((k * 7919) % 1009) for k in range(n)]
        expected = numpy.quantile(latencies, 0.95, method="inverted_cdf")
        assert float(expected) == fed(*latencies).p95(0.0)


def test_the_last_200_count() -> None:
    """
    The 201st success pushes the first one out.
    """
    timeout = fed(*[80.0] * 11, *[40.0] * 189)
    assert 80.0 == timeout.p95(0.0)

    timeout.observe(40.0, 0.0)

    assert 40.0 == timeout.p95(0.0)


def test_nothing_older_than_an_hour_counts() -> None:
    """
    A latency counts until it is 3,600 s old, and not a moment longer.
    """
    timeout = fed(*[70.0] * 20)
    assert 80.0 == timeout.current(3600.0)

    later = math.nextafter(3600.0, math.inf)

    assert timeout.p95(later) is None
    assert 60.0 == timeout.current(later)


@pytest.mark.parametrize("seconds", [0.1, 70.0])
def test_age_is_looked_at_with_each_question(seconds: float) -> None:
    """
    Without a new observation old ones stop counting, one after the other.
    """
    timeout = AdaptiveTimeout(min_samples=2)
    for now in (0.0, 10.0, 20.0):
        timeout.observe(seconds, now)

    assert timeout.current(3610.0) == max(45.0, seconds + 10.0)
    assert 60.0 == timeout.current(3611.0)


def test_a_slower_provider_is_learned() -> None:
    """
    The timeout follows the provider up, and down again.
    """
    timeout = fed(*[40.0] * 200)
    assert 50.0 == timeout.current(0.0)

    fed(*[60.0] * 200, timeout=timeout)
    assert 70.0 == timeout.current(0.0)

    fed(*[40.0] * 200, timeout=timeout)
    assert 50.0 == timeout.current(0.0)


def cut(timeout: AdaptiveTimeout, *instants: float, after: float | None = None) -> AdaptiveTimeout:
    """
    Tell of a call at each of the instants that was cut off by the timeout of then, or after so many seconds.
    """
    for now in instants:
        timeout.observe(timeout.current(now) if after is None else after, now, completed=False)
    return timeout


def test_an_aborted_call_is_no_success() -> None:
    """
    Calls that were cut off are not among the 20 that must have completed, and the timeout does not move by them.
    """
    timeout = cut(fed(*[40.0] * 19), *[0.0] * 100)
    assert (60.0, None) == (timeout.current(0.0), timeout.p95(0.0))

    timeout.observe(40.0, 0.0)

    assert 60.0 == timeout.current(0.0)


def test_an_aborted_call_takes_longer_than_that() -> None:
    """
    Of 100 the 95th is 40 s; ten that were cut off at 41 s hand what they weigh on to the only one that took longer.
    """
    timeout = fed(*[40.0] * 99, 70.0)
    assert 40.0 == timeout.p95(0.0)

    cut(timeout, *[0.0] * 10, after=41.0)

    assert 70.0 == timeout.p95(0.0)
    # Ended at 41 s they would not have been among the longest five.
    assert 41.0 == fed(*[40.0] * 99, 70.0, *[41.0] * 10).p95(0.0)


def test_a_quick_timeout_of_the_callee_says_little() -> None:
    """
    An SDK that gave up after a second is evidence of "longer than a second".
    """
    timeout = fed(*[40.0] * 100)

    assert 50.0 == cut(timeout, *[1000.0] * 50, after=1.0).current(1000.0)


def test_cut_off_at_once_says_nothing() -> None:
    """
    Longer than no time at all is what every call takes.
    """
    timeout = cut(fed(*[40.0] * 20), *[0.0] * 100, after=0.0)

    assert 50.0 == timeout.current(0.0)
    assert 40.0 == timeout.p95(0.0)


def grown() -> AdaptiveTimeout:
    """
    A timeout of 45 s in a ring of one call in twelve that was cut off.
    """
    return cut(fed(*[30.0] * 20), 100.0, 100.0)


def test_it_grows_where_more_than_a_twentieth_is_cut_off() -> None:
    """
    The P95 lies beyond 30 s, nobody knows where: one step of half as much again.
    """
    assert 45.0 == cut(fed(*[30.0] * 20), 100.0).current(100.0)
    assert 67.5 == grown().current(100.0)


def test_it_grows_once_a_timeout() -> None:
    """
    Those that the timeout of before the step has cut off come in later, and are no reason for another one.
    """
    timeout = cut(grown(), *[101.0] * 5, after=67.5)
    assert 67.5 == timeout.current(101.0)

    timeout.observe(30.0, 102.0)
    assert 67.5 == cut(timeout, 167.4).current(168.0)

    assert 90.0 == cut(timeout, 167.5).current(168.0)


def test_it_grows_where_its_own_timeout_cut_off() -> None:
    """
    A call that ended long before the timeout would not have lived longer with a larger one.
    """
    assert 45.0 == cut(fed(*[30.0] * 20), 100.0, 100.0, after=40.0).current(100.0)


def test_it_grows_only_while_some_calls_complete() -> None:
    """
    Where none of the last ten completed, nobody answers: a larger timeout would only wait longer.
    """
    timeout = cut(fed(*[30.0] * 200), *[100.0] * 10)
    assert 45.0 == timeout.current(100.0)

    assert 45.0 == cut(timeout, *[float(now) for now in range(200, 3200, 10)]).current(3200.0)


@pytest.mark.parametrize(("earlier", "grows"), [(8, True), (9, False)])
def test_one_of_the_last_ten_must_have_completed(earlier: int, grows: bool) -> None:
    """
    Of the ninth that was cut off in a row one of the last ten is alive, of the tenth none.
    """
    timeout = fed(*[30.0] * 100)
    for _ in range(earlier):
        timeout.remember(45.0, 100.0, completed=False)

    assert grows == (45.0 < cut(timeout, 100.0).current(100.0))


def test_calls_cut_off_cost_nothing_once_they_are_gone() -> None:
    """
    Short successes may wait to be learned again, however many calls were cut off before.
    """
    timeout = fed(*[1.0] * 200)
    cut(timeout, *[0.0] * 200)
    assert -math.inf == timeout.unmoved_up_to(0.0)
    fed(*[1.0] * 200, timeout=timeout)
    assert 35.0 == timeout.unmoved_up_to(0.0)

    for _ in range(50):
        cut(timeout, *[0.0] * 5)
        assert 35.0 == timeout.unmoved_up_to(0.0)
        timeout.observe_unmoved([1.0] * 200, [0.0] * 200)


def test_300_calls_that_hang_leave_it_where_it_was() -> None:
    """
    And when calls complete again, the timeout is at once what it was before.
    """
    timeout = fed(*[40.0] * 200)
    cut(timeout, *[float(now) for now in range(300)])
    assert 50.0 == timeout.current(300.0)

    for now in range(300, 500):
        timeout.observe(40.0, float(now))
        assert 50.0 == timeout.current(float(now))


def test_a_call_that_outlasts_the_ceiling_is_served_by_no_timeout() -> None:
    """
    Once a call was given the most that there is and did not end, the P95 is that of those that do end.
    """
    timeout = cut(fed(*[30.0] * 20), *[100.0] * 12, after=46.0)
    assert 67.5 == timeout.current(100.0)

    cut(timeout, 200.0, after=90.0)

    assert 30.0 == timeout.p95(200.0)
    assert 54.0 == timeout.current(200.0)
    assert 45.0 == fed(30.0, timeout=timeout).current(200.0)


def test_a_probe_that_took_longer_is_learned() -> None:
    """
    What all that were cut off weigh is handed on to the one of them that was let live: no more than one step at once.
    """
    timeout = cut(fed(*[30.0] * 100), *[0.0] * 10)
    assert 45.0 == timeout.current(0.0)

    timeout.observe(75.0, 1.0)
    assert 75.0 == timeout.p95(1.0)
    assert 67.5 == timeout.current(1.0)

    timeout.observe(75.0, 2.0)
    assert 85.0 == timeout.current(2.0)


def test_it_moves_in_steps() -> None:
    """
    No further than to 0.8 or 1.5 of what it was, however much the P95 has changed.
    """
    timeout = AdaptiveTimeout(margin=0.0, floor=1.0, ceiling=1000.0, min_samples=1, window=1)
    seen = [fed(each, timeout=timeout).current(0.0) for each in (100.0, 1000.0, 1000.0, 10.0, 10.0, 100.0)]

    assert [100.0, 150.0, 225.0, 180.0, 144.0, 115.2] == [pytest.approx(each) for each in seen]


def test_the_first_answer_is_no_step() -> None:
    """
    The initial timeout is a guess to start from, and what is too old was never known.
    """
    assert 45.0 == fed(*[1.0] * 20).current(0.0)
    assert 60.0 == fed(*[80.0] * 20).current(3601.0)


def test_it_stands_still_while_the_breaker_is_open() -> None:
    """
    What ends then is learned, and moves the timeout with the next one that ends when it is not.
    """
    timeout = fed(*[40.0] * 20)
    for _ in range(20):
        timeout.remember(60.0, 1.0)
        assert 50.0 == timeout.current(1.0)
    assert 60.0 == timeout.p95(1.0)

    timeout.observe(60.0, 2.0)

    assert 70.0 == timeout.current(2.0)


def test_asking_changes_nothing() -> None:
    """
    A question about a far future does not forget what counts today.
    """
    timeout = fed(*[70.0] * 20)
    timeout.current(1e9)
    timeout.p95(1e9)

    assert 80.0 == timeout.current(0.0)


NUMBERS = ["quantile", "margin", "floor", "ceiling", "initial", "max_age"]
COUNTS = ["min_samples", "window"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, math.nan, -math.inf])
def test_a_setting_out_of_range_is_refused(name: str, value: float) -> None:
    """
    What cannot be meant is refused where it is given, with its name and value.
    """
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
        AdaptiveTimeout(**{name: value})  # type: ignore[arg-type]  # What is refused.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quantile", 0.0),
        ("quantile", 1.5),
        ("margin", math.inf),
        ("floor", 0.0),
        ("ceiling", 44.0),
        ("ceiling", math.inf),
        ("initial", 0.0),
        ("initial", math.inf),
        ("min_samples", 0),
        ("window", 0),
        ("window", 19),
        ("max_age", 0.0),
    ],
)
def test_a_setting_at_the_wrong_side_of_its_bound_is_refused(name: str, value: float) -> None:
    """
    The message names the setting, what would do, and what was given.
    """
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
        AdaptiveTimeout(**{name: value})  # type: ignore[arg-type]  # What is refused.


@pytest.mark.parametrize("name", NUMBERS + COUNTS)
@pytest.mark.parametrize("value", [True, "5", None])
def test_a_setting_that_is_no_number_is_refused(name: str, value: object) -> None:
    """
    True is no number here, and neither is the name of one.
    """
    with pytest.raises(TypeError, match=f"{name} must be .*, got "):
        AdaptiveTimeout(**{name: value})  # type: ignore[arg-type]  # What is refused.


def test_the_message_says_what_would_do() -> None:
    """
    One clear line: who, what would do, what was given.
    """
    with pytest.raises(ValueError, match=r"^quantile must be in \(0, 1\], got 1\.5$"):
        AdaptiveTimeout(quantile=1.5)
