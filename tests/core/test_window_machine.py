"""Histories of the window against a model that sums everything again."""

from dataclasses import dataclass
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from hungframe._core.window import Window

from .models.times import BACK_AND_FORTH, FEWER, HISTORIES, Step, decimal, histories, starts
from .models.window import WindowModel


@dataclass(frozen=True)
class Add:
    """
    Add an entry.
    """

    weight: int
    failed: int


LOOK, CLEAR = "look", "clear"
Action = Add | str
History = list[tuple[Step, Action]]

SIZES = st.one_of(st.integers(1, 6), st.just(25))
AGES = st.sampled_from([0.25, 7.5, 60.0, 3600.0])
ACTIONS: list[Action] = [
    *[Add(w, w * share) for w in (1, 2, 5, 20, 10**12) for share in (0, 1)],
    LOOK,
    CLEAR,
]


@HISTORIES
@given(SIZES, AGES, starts(), histories(ACTIONS))
def test_sums_are_those_of_the_entries_held(size: int, max_age: float, now: float, history: History) -> None:
    """
    The running sums are, at every instant, the sums of what is held.
    """
    window = Window(size=size, max_age=max_age)
    model = WindowModel(size, decimal(max_age))
    for step, action in history:
        now = step(now, model.edges())
        if isinstance(action, Add):
            window.add((action.weight, action.failed), now)
            model.add(Fraction(action.weight), Fraction(action.failed), Fraction(now))
        elif action == CLEAR:
            window.clear()
            model.clear()
        assert len(window) <= size
        assert 0 <= window.failed <= window.total
        window.expire(now)

        held = model.held(Fraction(now))
        assert len(held) == len(window)
        assert model.total(Fraction(now)) == window.total
        assert model.failed(Fraction(now)) == window.failed


@FEWER
@given(SIZES, AGES, starts(), histories(ACTIONS, BACK_AND_FORTH))
def test_a_clock_that_goes_backwards_breaks_no_sum(size: int, max_age: float, now: float, history: History) -> None:
    """
    Whatever order instants come in, sums stay possible, and age out in the end.
    """
    window = Window(size=size, max_age=max_age)
    latest = now
    for step, action in history:
        now = step(now, [])
        latest = max(latest, now)
        if isinstance(action, Add):
            window.add((action.weight, action.failed), now)
        elif action == CLEAR:
            window.clear()
        window.expire(now)
        assert len(window) <= size
        assert 0 <= window.failed <= window.total
        assert (len(window) == 0) == (window.total == 0)
    window.expire(latest + max_age + 1.0)

    assert (0, 0, 0) == (len(window), window.total, window.failed)
