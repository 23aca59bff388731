"""Turn samples into figures: what was added, and how that compares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.baselines import ASYNCIO_TIMEOUT
from benchmarks.rounds import Samples
from benchmarks.subjects import BARE, BARE_ROW, YARDSTICK, Callee, Row


@dataclass(frozen=True)
class Figure:
    """
    Hold what one subject costs.

    Args:
        row: The title of its row.

        who: The library, with a variant after a comma.

        best: Nanoseconds added to a bare call, best of all rounds of both.

        middle: Nanoseconds added, the median of the rounds' differences.

        ratio: *best* as a multiple of what asyncio.timeout adds to the same
            callee, or None where that was not measured.

        middle_ratio: *middle* as such a multiple.

        note: What differs from the other subjects of the row.
    """

    row: str
    who: str
    best: float
    middle: float
    ratio: float | None
    middle_ratio: float | None
    note: str


def figures(samples: Samples) -> list[Figure]:
    """
    Compare all *samples* to their bare calls and to asyncio.timeout.

    For bare calls the figure is the time itself.
    """
    by_name = {(subject.row, subject.who): taken for subject, taken in samples.items()}
    bare = {callee: by_name[row, BARE] for callee, row in BARE_ROW.items()}
    result: list[Figure] = []
    for subject, taken in samples.items():
        if subject.who == BARE:
            result.append(Figure(subject.row.title, BARE, min(taken), median(taken), None, None, ""))
            continue
        callee = subject.row.callee
        best, middle = _added(taken, bare[callee])
        yardstick = _yardstick(by_name, bare, callee)
        result.append(
            Figure(
                subject.row.title,
                subject.who,
                best,
                middle,
                best / yardstick[0] if yardstick else None,
                middle / yardstick[1] if yardstick else None,
                subject.note,
            )
        )
    return result


def find(all_figures: Iterable[Figure], row: Row, who: str) -> Figure | None:
    """Find the figure of *who* in *row*, if it was measured."""
    return next((f for f in all_figures if f.row == row.title and f.who == who), None)


def _added(taken: Sequence[float], bare: Sequence[float]) -> tuple[float, float]:
    # A round's two samples met the same weather, so they are subtracted pair
    # by pair; the two minima met the best weather there was.
    return min(taken) - min(bare), median(t - b for t, b in zip(taken, bare, strict=True))


def _yardstick(
    by_name: dict[tuple[Row, str], list[float]],
    bare: dict[Callee, list[float]],
    callee: Callee,
) -> tuple[float, float] | None:
    row = YARDSTICK[callee]
    taken = by_name.get((row, ASYNCIO_TIMEOUT))
    return None if taken is None else _added(taken, bare[row.callee])
