"""
Compare timeouts on recorded calls and on providers that change: ``python -m benchmarks.timeouts``.

Prints the tables of docs/explanation/the-timeout.md. The latencies are
recorded (tests/data); arrivals and hangs are made up, from fixed seeds.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arrivals import HANGS, Ended, play, poisson
from benchmarks.timeout_policies import CountsTimeouts, DropsTimeouts, Rto
from benchmarks.timeout_scenarios import LEARNERS, SCENARIOS, hang, run
from hungframe import AdaptiveTimeout, Guard
from hungframe.ports import TimeoutPolicy
from hungframe.testing import VirtualClock

CALLS = Path(__file__).parents[1] / "tests" / "data" / "llm_calls.csv"

EVERY = 2.0
"""Seconds between two arrivals, on average."""

HANG_ALONE = 0.01
"""Share of calls that hang by themselves."""

SPELL_EVERY, SPELL = 900.0, 60.0
"""Seconds from one spell in which all hang to the next, and how long it is."""

LEAST, MOST = 1.0, 60.0
"""Bounds of all timeouts compared, seconds."""

SEEDS = range(1, 6)

Make = Callable[[], TimeoutPolicy | float]

POLICIES: Mapping[str, Make] = {
    "60 s, always": lambda: MOST,
    "smoothed mean and deviation (RFC 6298)": lambda: Rto(LEAST, MOST, MOST),
    "P95 that drops timeouts": lambda: _learner(DropsTimeouts),
    "P95 that counts a timeout as a latency": lambda: _learner(CountsTimeouts),
    "`AdaptiveTimeout`": lambda: _learner(AdaptiveTimeout),
}


def _learner(learner: type[AdaptiveTimeout]) -> AdaptiveTimeout:
    return learner(margin=1.0, floor=LEAST, ceiling=MOST, initial=MOST)


def latencies(path: Path = CALLS) -> list[float]:
    """
    Read how long each recorded call took, in order; one endpoint after the other, failures left out.
    """
    with path.open(newline="") as file:
        return [float(row["latency_s"]) for row in csv.DictReader(file) if not row["error"]]


@dataclass(frozen=True)
class Told:
    """
    Hold what a timeout cost.

    Args:
        wasted: Seconds that callers waited for nothing, a call.

        false_aborts: Share of the calls that would have ended within the ceiling and were aborted.

        rejected: Share of those that the breaker refused.
    """

    wasted: float
    false_aborts: float
    rejected: float


def told(ended: Iterable[Ended]) -> Told:
    """
    Sum up how calls ended.
    """
    calls = list(ended)
    sound = [each for each in calls if each.latency <= MOST]
    return Told(
        wasted=sum(each.given for each in calls if each.how == "aborted") / len(calls),
        false_aborts=sum(each.how == "aborted" for each in sound) / len(sound),
        rejected=sum(each.how == "rejected" for each in sound) / len(sound),
    )


def replay(make: Make, *, seed: int = 1) -> list[Ended]:
    """
    Let the recorded calls arrive at a guard with that timeout, some of them hanging.

    To the guard it is one provider that becomes another every 150 calls.
    """
    rng = random.Random(seed)
    recorded = latencies()
    instants = poisson(EVERY, math.inf, rng)
    arrivals = [at for _, at in zip(recorded, instants, strict=False)]
    takes = {
        at: HANGS if at % SPELL_EVERY >= SPELL_EVERY - SPELL or rng.random() < HANG_ALONE else seconds
        for at, seconds in zip(arrivals, recorded, strict=True)
    }
    clock = VirtualClock()
    return play(Guard("provider", timeout=make(), clock=clock), clock, arrivals, takes.__getitem__)


def recorded_table() -> str:
    """
    Write the table of the recorded calls.
    """
    lines = [
        "| timeout | wasted, s a call | aborted in vain | refused in vain |",
        "|---|---|---|---|",
    ]
    for name, make in POLICIES.items():
        total = told(each for seed in SEEDS for each in replay(make, seed=seed))
        lines.append(f"| {name} | {total.wasted:.2f} | {total.false_aborts:.1%} | {total.rejected:.1%} |")
    return "\n".join(lines)


def changing_table() -> str:
    """
    Write the table of the providers that change.
    """
    lines = [
        f"| the provider | {' | '.join(LEARNERS)} |",
        f"|---|{'---|' * len(LEARNERS)}",
    ]
    for name, latency in SCENARIOS.items():
        cells: list[str] = []
        for learner in LEARNERS.values():
            played = [run(learner, latency, seed=seed) for seed in SEEDS]
            missed = sum(each.missed(600.0) for each in played) / len(played)
            moved = sum(each.timeout(900.0) / each.timeout(-1.0) for each in played) / len(played)
            cells.append(f"{missed:.1%}, x {moved:.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    # Where a breaker does not keep calls from a provider that hangs, the gate alone does.
    cells = []
    for learner in LEARNERS.values():
        played = [run(learner, hang(300.0), seed=seed, seconds=300.0, breaker=False) for seed in SEEDS]
        cells.append(f"x {sum(each.timeout(299.0) / each.timeout(-1.0) for each in played) / len(played):.1f}")
    lines.append(f"| the same, no breaker: at the end of the hang | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    print(recorded_table(), changing_table(), sep="\n\n")


if __name__ == "__main__":
    main()
