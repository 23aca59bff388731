"""The product-limit quantile against what others work out: a model in fractions, numpy, lifelines."""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hungframe._core.survival import of_those_that_end, quantile

from .models.latency import Told, masses
from .models.times import HISTORIES

SECONDS = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.5, 7.0, 7.25, 100.0]), max_size=30)
SHARES = st.sampled_from([(19, 20), (1, 2), (1, 3), (9, 10), (1, 1), (1, 1000)])


def seen_to_end(ended: list[float], cut: list[float]) -> list[tuple[Fraction, Fraction]]:
    """
    Let the model weigh what ended.
    """
    told = [Told(Fraction(each), True, Fraction(0)) for each in ended]
    return masses([*told, *(Told(Fraction(each), False, Fraction(0)) for each in cut)])


@HISTORIES
@given(SECONDS, SECONDS, SHARES)
def test_it_is_efrons_redistribution(ended: list[float], cut: list[float], share: tuple[int, int]) -> None:
    """
    Handing the weight of the cut ones on to the longer ones gives the same quantile, to the last bit.
    """
    within, expected = Fraction(0), None
    for seconds, mass in seen_to_end(ended, cut):
        within += mass
        if expected is None and within >= Fraction(*share):
            expected = float(seconds)

    assert expected == quantile(sorted(ended), sorted(cut), share)


@HISTORIES
@given(SECONDS, SECONDS, SHARES)
def test_those_that_end_are_what_did_not_outlast_the_longest(
    ended: list[float], cut: list[float], share: tuple[int, int]
) -> None:
    """
    The share of all that a share of those is.
    """
    end = sum((mass for _, mass in seen_to_end(ended, cut)), start=Fraction(0))

    assert Fraction(*share) * end == Fraction(*of_those_that_end(sorted(ended), sorted(cut), share))


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.95, 1.0]))
def test_with_nothing_cut_off_it_is_numpys_inverted_cdf(ended: list[float], q: float) -> None:
    """
    Nearest rank, as numpy finds it; its own rank is a float, and is asked a hair below the decimal.
    """
    numpy = pytest.importorskip("numpy")
    exact = Fraction(str(q))
    expected = float(numpy.quantile(ended, q - 1e-12, method="inverted_cdf"))

    assert expected == quantile(sorted(ended), [], (exact.numerator, exact.denominator))


@pytest.mark.parametrize("seed", range(20))
def test_it_lies_where_lifelines_curve_comes_down_to_a_twentieth(seed: int) -> None:
    """
    The survival curve of lifelines is above 5 % before the quantile, and no more than that from it on.
    """
    lifelines = pytest.importorskip("lifelines", reason="lifelines is in the dependency group `oracle`")
    rng = random.Random(seed)
    latencies = [round(rng.lognormvariate(0, 0.6), rng.choice([1, 6])) for _ in range(200)]
    timeouts = [rng.choice([1.5, 2.0, rng.uniform(0.5, 5.0), 9.0]) for _ in latencies]
    pairs = list(zip(latencies, timeouts, strict=True))
    ended = sorted(each for each, timeout in pairs if each <= timeout)
    cut = sorted(timeout for each, timeout in pairs if each > timeout)

    fitter = lifelines.KaplanMeierFitter()
    fitter.fit([min(pair) for pair in pairs], [each <= timeout for each, timeout in pairs])
    curve = fitter.survival_function_["KM_estimate"]
    below = [float(at) for at, longer in curve.items() if longer <= 0.05 + 1e-9]

    assert (min(below) if below else None) == quantile(ended, cut, (19, 20))


@pytest.mark.parametrize(
    ("ended", "cut", "expected"),
    [
        ([], [], None),
        ([], [1.0, 2.0], None),
        ([1.0], [], 1.0),
        ([1.0] * 19, [2.0], 1.0),  # exactly a twentieth is beyond
        ([1.0] * 18, [2.0] * 2, None),
        ([1.0] * 18, [0.5] * 2, 1.0),  # cut off before anything ended: they say nothing
        ([1.0] * 18, [1.0] * 2, None),  # cut off when others ended: they took longer
        ([1.0] * 18 + [5.0], [2.0] * 2, 5.0),  # the one that was let live speaks for both
    ],
)
def test_where_a_twentieth_is_beyond(ended: list[float], cut: list[float], expected: float | None) -> None:
    """
    The edges, by hand.
    """
    assert expected == quantile(ended, cut, (19, 20))
