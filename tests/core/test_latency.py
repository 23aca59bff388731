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
    assert 50.0 == timeout.current(0.0)


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


def test_an_aborted_call_is_no_success() -> None:
    """
    A call that was cut off enters neither the count nor the quantile.

    Change this test with the estimator that learns from censored calls.
    """
    timeout = fed(*[40.0] * 19)
    for _ in range(100):
        timeout.observe(60.0, 0.0, completed=False)
    assert 60.0 == timeout.current(0.0)

    timeout.observe(40.0, 0.0)

    assert 40.0 == timeout.p95(0.0)
    assert 50.0 == timeout.current(0.0)


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
        AdaptiveTimeout(**{name: value})  # type: ignore[arg-type]


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
        AdaptiveTimeout(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NUMBERS + COUNTS)
@pytest.mark.parametrize("value", [True, "5", None])
def test_a_setting_that_is_no_number_is_refused(name: str, value: object) -> None:
    """
    True is no number here, and neither is the name of one.
    """
    with pytest.raises(TypeError, match=f"{name} must be .*, got "):
        AdaptiveTimeout(**{name: value})  # type: ignore[arg-type]


def test_the_message_says_what_would_do() -> None:
    """
    One clear line: who, what would do, what was given.
    """
    with pytest.raises(ValueError, match=r"^quantile must be in \(0, 1\], got 1\.5$"):
        AdaptiveTimeout(quantile=1.5)
