"""Histories of the adaptive timeout against a model that sorts everything again."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from hungframe import AdaptiveTimeout

from .models.latency import TimeoutModel, TimeoutRules
from .models.times import BACK_AND_FORTH, FEWER, HISTORIES, Step, histories, starts

# The seconds of a call that completed, or None to look only.
LATENCIES = [0.0, 1.0, None, 35.0, 35.1, 34.9, 80.0, 80.5, 0.1 + 0.2, 1e-9, 1e6]


@st.composite
def rules(draw: st.DrawFn) -> TimeoutRules:
    """
    Draw small windows mostly, and quantiles whose product with n is a trap.
    """
    window = draw(st.sampled_from([1, 2, 5, 10, 20]))
    floor = draw(st.sampled_from([0.5, 45.0]))
    return TimeoutRules(
        quantile=draw(st.sampled_from([0.95, 0.2, 0.4, 0.8, 0.9, 0.55, 1 / 3, 1.0])),
        margin=draw(st.sampled_from([0.0, 10.0, 0.1])),
        floor=floor,
        ceiling=draw(st.sampled_from([floor, 60.0, 90.0])),
        initial=draw(st.sampled_from([floor, 50.0])),
        min_samples=draw(st.integers(1, window)),
        window=window,
        max_age=draw(st.sampled_from([7.5, 60.0, 3600.0])),
    )


def play(rules: TimeoutRules, now: float, history: list[tuple[Step, float | None]]) -> None:
    """
    Do to a timeout and to its model the same, and compare them after each step.
    """
    timeout = AdaptiveTimeout(**vars(rules))
    model = TimeoutModel(rules)
    for step, seconds in history:
        now = step(now, model.edges())
        if seconds is not None:
            timeout.observe(seconds, now)
            model.observe(seconds, Fraction(now))
        p95 = model.p95(Fraction(now))
        assert (None if p95 is None else float(p95)) == timeout.p95(now)
        assert float(model.current(Fraction(now))) == timeout.current(now)


@HISTORIES
@given(rules(), starts(), histories(LATENCIES))
def test_timeout_is_that_of_the_latencies_held(
    rules: TimeoutRules, now: float, history: list[tuple[Step, float | None]]
) -> None:
    """
    After any history the timeout is clamp(nearest rank + margin), or initial.
    """
    play(rules, now, history)


@FEWER
@given(rules(), starts(), histories(LATENCIES, BACK_AND_FORTH))
def test_a_clock_that_goes_backwards_breaks_no_bound(
    rules: TimeoutRules, now: float, history: list[tuple[Step, float | None]]
) -> None:
    """
    Whatever order instants come in, the answer is initial or within the bounds.
    """
    timeout = AdaptiveTimeout(**vars(rules))
    seen = set[float]()
    for step, seconds in history:
        now = step(now, [])
        if seconds is not None:
            timeout.observe(seconds, now)
            seen.add(seconds)
        p95, current = timeout.p95(now), timeout.current(now)
        assert p95 is None or p95 in seen
        assert current == rules.initial or rules.floor <= current <= rules.ceiling
