"""Histories of the adaptive timeout against a model that sorts everything again."""

import itertools
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from hungframe import AdaptiveTimeout

from .models.latency import TimeoutModel, TimeoutRules
from .models.times import BACK_AND_FORTH, FEWER, HISTORIES, Step, histories, starts

# The seconds of a call that completed, or None to look only.
LATENCIES = [0.0, 1.0, None, 35.0, 35.1, 34.9, 80.0, 80.5, 0.1 + 0.2, 1e-9, 1e6]


@dataclass(frozen=True)
class Cut:
    """
    A call that was cut off after *seconds*, or after *share* of today's timeout.
    """

    seconds: float
    share: float = 0.0


@dataclass(frozen=True)
class WhileOpen:
    """
    A call that ends while the breaker is open.
    """

    seconds: float
    completed: bool


Ending = float | None | Cut | WhileOpen

ENDINGS: list[Ending] = [
    *LATENCIES,
    *[Cut(0.0, share) for share in (1.0, 1.0, 1.0, 0.9, 1.01, 0.89, 2.0, 0.5)],
    *map(Cut, (0.0, 1.0, 35.0, 81.0, 90.0)),
    WhileOpen(36.0, completed=True),
    WhileOpen(45.0, completed=False),
]


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


def play(rules: TimeoutRules, now: float, history: list[tuple[Step, Ending]]) -> None:
    """
    Do to a timeout and to its model the same, and compare them after each step.
    """
    timeout = AdaptiveTimeout(**vars(rules))
    model = TimeoutModel(rules)
    for step, ending in history:
        now = step(now, model.edges())
        if isinstance(ending, Cut):
            seconds = ending.seconds + ending.share * model.last
            timeout.observe(seconds, now, completed=False)
            model.observe(seconds, Fraction(now), completed=False)
        elif isinstance(ending, WhileOpen):
            timeout.remember(ending.seconds, now, completed=ending.completed)
            model.remember(ending.seconds, Fraction(now), ending.completed)
        elif ending is not None:
            timeout.observe(ending, now)
            model.observe(ending, Fraction(now))
        p95 = model.p95(Fraction(now))
        assert (None if p95 is None else float(p95)) == timeout.p95(now)
        assert model.current(Fraction(now)) == timeout.current(now)


@HISTORIES
@given(rules(), starts(), histories(LATENCIES))
def test_timeout_is_that_of_the_latencies_held(
    rules: TimeoutRules, now: float, history: list[tuple[Step, Ending]]
) -> None:
    """
    After any history without an abort the timeout is clamp(nearest rank + margin), or on its way there.
    """
    play(rules, now, history)


@HISTORIES
@given(rules(), starts(), histories(ENDINGS))
def test_timeout_is_that_of_the_calls_held(rules: TimeoutRules, now: float, history: list[tuple[Step, Ending]]) -> None:
    """
    After any history the timeout is what Efron's redistribution, the gate and the steps make it.
    """
    play(rules, now, history)


@HISTORIES
@given(rules(), starts(), histories(ENDINGS))
def test_no_step_is_too_long(rules: TimeoutRules, now: float, history: list[tuple[Step, Ending]]) -> None:
    """
    Once it has learned, the timeout moves to no less than 0.8 and no more than 1.5 of what it was.
    """
    timeout = AdaptiveTimeout(**vars(rules))
    seen = [rules.initial]
    for step, ending in history:
        now = step(now, [])
        if isinstance(ending, Cut):
            timeout.observe(ending.seconds + ending.share * timeout.current(now), now, completed=False)
        elif isinstance(ending, float):
            timeout.observe(ending, now)
        seen.append(timeout.current(now))
    for before, after in itertools.pairwise(seen):
        assert rules.initial in (before, after) or before * 0.8 <= after <= before * 1.5


@FEWER
@given(rules(), starts(), histories(ENDINGS, BACK_AND_FORTH))
def test_a_clock_that_goes_backwards_breaks_no_bound(
    rules: TimeoutRules, now: float, history: list[tuple[Step, Ending]]
) -> None:
    """
    Whatever order instants come in, the answer is initial or within the bounds.
    """
    timeout = AdaptiveTimeout(**vars(rules))
    seen = set[float]()
    for step, ending in history:
        now = step(now, [])
        if isinstance(ending, Cut):
            timeout.observe(ending.seconds, now, completed=False)
        elif isinstance(ending, WhileOpen):
            timeout.remember(ending.seconds, now, completed=ending.completed)
            seen.add(ending.seconds)
        elif ending is not None:
            timeout.observe(ending, now)
            seen.add(ending)
        p95, current = timeout.p95(now), timeout.current(now)
        assert p95 is None or p95 in seen
        assert current == rules.initial or rules.floor <= current <= rules.ceiling
