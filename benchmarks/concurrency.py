"""
Compare limits of concurrency on a provider that loses capacity: ``python -m benchmarks.concurrency``.

Prints the tables of docs/explanation/adaptive-concurrency.md and draws its
picture. Everything is made up, from fixed seeds, and takes some seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.concurrency_picture import draw
from benchmarks.crowded_provider import Arrival, Ended, Played, arrivals, play
from hungframe import Bulkhead

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "adaptive-concurrency.svg"

CAPACITY, WORK = 20, 10.0
"""Calls at full speed, and the seconds that one takes then, on average."""

LOAD = 0.75
"""What arrives, as a share of what the provider can answer with all of its capacity."""

PHASE = 1800.0
"""Seconds with all of the capacity, with half of it, and with all of it again."""

PHASES = ((0.0, CAPACITY), (PHASE, CAPACITY / 2), (2 * PHASE, CAPACITY))

QUEUE = 10

SEEDS = range(1, 6)

Make = Callable[[], Bulkhead]

BULKHEADS: Mapping[str, Make] = {
    "none": lambda: Bulkhead(1_000_000),
    "20, what it takes with all of its capacity": lambda: Bulkhead(CAPACITY, QUEUE),
    "10, what it takes with half": lambda: Bulkhead(CAPACITY // 2, QUEUE),
    '`"adaptive"`': lambda: Bulkhead("adaptive", QUEUE),
}


@dataclass(frozen=True)
class Told:
    """
    Hold how the calls of a phase went.

    Args:
        goodput: Answers a minute.

        p95: Seconds from arrival to answer, for those answered.

        timed_out: Share of all calls.
    """

    goodput: float
    p95: float
    timed_out: float


def halved(make: Make, seed: int) -> Played:
    """
    Let the provider lose half of its capacity, and get it back.
    """
    calls = arrivals(LOAD * CAPACITY / WORK, 3 * PHASE, seed, work=WORK)
    return play(make(), calls, PHASES, timeout=3 * WORK, patience=WORK)


def told(played: Iterable[Played], phase: int) -> Told:
    """
    Sum up a phase, 0 to 2, by the calls that arrived in it.
    """
    runs = list(played)
    ended = [each for run in runs for each in run.ended if each.call.at // PHASE == phase]
    answered = sorted(each.seconds for each in ended if each.how == "answered")
    return Told(
        goodput=len(answered) / len(runs) / PHASE * 60,
        p95=answered[int(0.95 * (len(answered) - 1))],
        timed_out=sum(each.how == "timed out" for each in ended) / len(ended),
    )


def learned_after(played: Played) -> tuple[float, float]:
    """
    Tell after how many seconds the limit had followed the loss of capacity, and its return.

    That is within 1.5 times what is left, and within 0.9 of all.
    """
    down = next(at for at, limit, _ in played.seen if at >= PHASE and limit <= 0.75 * CAPACITY)
    up = next(at for at, limit, _ in played.seen if at >= 2 * PHASE and limit >= 0.9 * CAPACITY)
    return down - PHASE, up - 2 * PHASE


def halved_table() -> str:
    """
    Write the table of the provider that loses half of its capacity.
    """
    lines = ["| limit | all of its capacity | half of it | all again |", "|---|---|---|---|"]
    for name, make in BULKHEADS.items():
        played = [halved(make, seed) for seed in SEEDS]
        sums = [told(played, phase) for phase in range(3)]
        cells = [f"{each.goodput:.0f} a minute, {each.p95:.0f} s, {each.timed_out:.0%}" for each in sums]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def crowd(seed: int, *, important: float = 0.2) -> list[Arrival]:
    """
    Draw calls of which half more arrive than the provider can answer.
    """
    return arrivals(1.5 * CAPACITY / WORK, PHASE, seed, work=WORK, important=important)


def answered(ended: Iterable[Ended], *, priority: float | None = None) -> float:
    """
    Tell what share of the calls, of one priority or of all, was answered.
    """
    meant = [each for each in ended if priority is None or each.call.priority == priority]
    return sum(each.how == "answered" for each in meant) / len(meant)


def overloaded(make: Make, seed: int, *, by_priority: bool) -> Sequence[Ended]:
    """
    Let half more calls arrive than the provider can answer.
    """
    played = play(make(), crowd(seed), [(0.0, CAPACITY)], timeout=3 * WORK, patience=WORK, by_priority=by_priority)
    return played.ended


def priority_table() -> str:
    """
    Write the table of the important calls.
    """
    lines = ["| limit | priorities | important ones answered | all answered |", "|---|---|---|---|"]
    for name in list(BULKHEADS)[1::2]:
        for by_priority in (False, True):
            ended = [each for seed in SEEDS for each in overloaded(BULKHEADS[name], seed, by_priority=by_priority)]
            cells = f"{answered(ended, priority=1):.0%} | {answered(ended):.0%}"
            lines.append(f"| {name.split(',')[0]} | {'yes' if by_priority else 'no'} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables, tell how soon the limit was learned, draw the picture."""
    runs = [halved(BULKHEADS['`"adaptive"`'], seed) for seed in SEEDS]
    print(halved_table(), priority_table(), sep="\n\n")
    times = [learned_after(played) for played in runs]
    downs, ups = (", ".join(f"{each:.0f}" for each in column) for column in zip(*times, strict=True))
    print(f"\nlearned after the loss: {downs} s; after the return: {ups} s")
    PICTURE.write_text(draw(runs[0].seen, PHASES), encoding="utf-8")


if __name__ == "__main__":
    main()
