"""
Instants for histories: a grid on which float arithmetic is exact.

Sums and differences of multiples of `TICK` up to some 2**32 s have no
rounding, so a model in fractions and the code in floats must agree to the
last bit, also exactly at a boundary.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st

TICK = 2.0**-20

HISTORIES = settings(max_examples=300, deadline=None)
"""Settings of a test that plays histories against a model."""

FEWER = settings(HISTORIES, max_examples=100)
"""Settings of a second look at the same machine."""


def decimal(number: float) -> Fraction:
    """
    Read *number* as it is written: 0.1 is one tenth exactly.
    """
    return Fraction(str(number))


@dataclass(frozen=True)
class Step:
    """
    Move time by *seconds*, or to the next edge and *seconds* from there.
    """

    seconds: float
    to_edge: bool = False

    def __call__(self, now: float, edges: Iterable[Fraction]) -> float:
        """
        Find the instant that follows *now*, given the *edges* of the rules.
        """
        ahead = [float(edge) for edge in edges if edge > Fraction(now)]
        if not self.to_edge:
            return now + self.seconds
        return max(now, min(ahead) + self.seconds) if ahead else now


def starts() -> st.SearchStrategy[float]:
    """
    Draw where a clock begins: a rule that holds at 0 holds everywhere.
    """
    return st.sampled_from([0.0, 0.25, 1000.0, 2.0**30, -(2.0**30)])


STAY = Step(0.0)
STEPS = (
    *[STAY] * 6,
    *[Step(k * TICK, to_edge=True) for k in (0, 0, 0, 0, -1, 1)],
    *map(Step, (TICK, 0.25, 1.0, 7.5, 60.0)),
    *map(Step, (61.0, 3600.0, 86400.0, 2.0**25)),
)
"""Nothing, exactly to an edge or beside it, tiny, common, huge."""

BACK_AND_FORTH = (*STEPS, *map(Step, (-TICK, -0.25, -1.0, -61.0, -(2.0**25))))
"""The steps of a clock that sometimes goes backwards."""

A = TypeVar("A")


def histories(actions: Sequence[A], steps: Sequence[Step] = STEPS) -> st.SearchStrategy[list[tuple[Step, A]]]:
    """
    Draw what happens one after the other, each thing after a step of the clock.

    A list of lists, since hypothesis keeps a plain one at some five entries;
    and one table, since a draw costs more than what it decides.
    """
    table = list(itertools.product(steps, actions))
    chapter = st.lists(st.sampled_from(table), min_size=1, max_size=20)
    return st.lists(chapter, max_size=12).map(lambda found: [h for c in found for h in c])
