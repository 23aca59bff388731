"""
Let one of three equal endpoints fail, and count the calls that notice: ``python -m benchmarks.choosing``.

Prints the table of docs/how-to/choose-among-endpoints.md. A discrete-event
simulation on a virtual clock, from fixed seeds: a call is a permit that is
settled at its deadline or when its endpoint answers, whichever comes first.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.arrivals import HANGS, poisson
from hungframe import CallRejectedError, GuardSet
from hungframe.permit import GuardPermit
from hungframe.testing import VirtualClock

KEYS = ("eu", "us", "asia")

TROUBLED = KEYS[0]
"""The endpoint that fails."""

CHANGE, TROUBLE = 1800.0, 300.0
"""The instant at which it begins to, and for how long, in seconds."""

UNTIL = CHANGE + TROUBLE + 900.0
"""The end of a run."""

EVERY = 0.5
"""Seconds between two calls, on average."""

SEEDS = range(1, 6)

Latency = Callable[[str, float, random.Random], float]
Pick = Callable[[], str]


def _usual(rng: random.Random, times: float = 1.0) -> float:
    # Median 1 s, P95 1.64 s.
    return times * math.exp(rng.gauss(0.0, 0.3))


def _is_troubled(key: str, at: float) -> bool:
    return key == TROUBLED and CHANGE <= at < CHANGE + TROUBLE


def hangs(key: str, at: float, rng: random.Random) -> float:
    """
    Answer nobody.
    """
    return HANGS if _is_troubled(key, at) else _usual(rng)


def is_slow(key: str, at: float, rng: random.Random) -> float:
    """
    Take three times as long.
    """
    return _usual(rng, 3.0 if _is_troubled(key, at) else 1.0)


def at_random(guards: GuardSet, rng: random.Random) -> Pick:
    """
    Pick any endpoint.
    """
    return lambda: rng.choice(KEYS)


def round_robin(guards: GuardSet, rng: random.Random) -> Pick:
    """
    Pick one after the other.
    """
    turns = itertools.cycle(KEYS)
    return lambda: next(turns)


def not_refusing(guards: GuardSet, rng: random.Random) -> Pick:
    """
    Pick any endpoint whose breaker would let the call through.
    """

    def pick() -> str:
        ready = [key for key in KEYS if not guards[key].health.should_open_circuit()]
        return rng.choice(ready or KEYS)

    return pick


def chosen(guards: GuardSet, rng: random.Random) -> Pick:
    """
    Let the guards choose.
    """
    return lambda: guards.choose(KEYS)


PICKERS: Mapping[str, Callable[[GuardSet, random.Random], Pick]] = {
    "at random": at_random,
    "round robin": round_robin,
    "at random, of those whose breaker lets it through": not_refusing,
    "`guards.choose(keys)`": chosen,
}

SCENARIOS: Mapping[str, Latency] = {"hangs": hangs, "3 x slower": is_slow}


@dataclass(frozen=True)
class Made:
    """
    Hold one call: when it arrived, where it went, how it ended, and after how many seconds.
    """

    at: float
    key: str
    how: str
    seconds: float


def run(pick: Callable[[GuardSet, random.Random], Pick], latency: Latency, *, seed: int = 1) -> list[Made]:
    """
    Let calls arrive at random, and tell how each went.
    """
    rng = random.Random(seed)
    clock = VirtualClock()
    guards = GuardSet("provider", clock=clock, random=random.Random(seed).random)
    choose = pick(guards, random.Random(seed))
    made: list[Made] = []
    in_flight: list[tuple[float, int, GuardPermit, Made]] = []

    def move(until: float) -> None:
        while in_flight and in_flight[0][0] <= until:
            at, _, permit, end = heapq.heappop(in_flight)
            clock.advance(max(0.0, at - clock.now()))
            permit.settle("success" if end.how == "answered" else "timeout")
            made.append(end)
        if until < math.inf:
            clock.advance(max(0.0, until - clock.now()))

    for nth, at in enumerate(poisson(EVERY, UNTIL, rng)):
        move(at)
        key = choose()
        takes = latency(key, at, rng)
        try:
            permit = guards[key].acquire()
        except CallRejectedError:
            made.append(Made(at, key, "rejected", 0.0))
            continue
        seconds = min(takes, permit.timeout)
        end = Made(at, key, "answered" if takes <= permit.timeout else "aborted", seconds)
        heapq.heappush(in_flight, (at + seconds, nth, permit, end))
    move(math.inf)
    return made


def noticed(made: Sequence[Made]) -> float:
    """
    Tell the share of calls that notice the trouble, of those that arrive in it: sent there, or refused.
    """
    during = [each for each in made if CHANGE <= each.at < CHANGE + TROUBLE]
    return sum(each.key == TROUBLED or each.how != "answered" for each in during) / len(during)


def failed_after(made: Sequence[Made]) -> float:
    """
    Tell the share of calls that are refused or aborted in the five minutes after it.
    """
    after = [each for each in made if 0 <= each.at - CHANGE - TROUBLE < 300.0]
    return sum(each.how != "answered" for each in after) / len(after)


def sent_later(made: Sequence[Made]) -> float:
    """
    Tell the share of calls that go to the endpoint five to fifteen minutes after it is well again.
    """
    later = [each for each in made if each.at - CHANGE - TROUBLE >= 300.0]
    return sum(each.key == TROUBLED for each in later) / len(later)


def table() -> str:
    """
    Write the table.
    """
    lines = [
        "| one of three | picked | calls that notice | fail in the 5 minutes after | its share of the calls later |",
        "|---|---|---|---|---|",
    ]
    for scenario, latency in SCENARIOS.items():
        for name, pick in PICKERS.items():
            runs = [run(pick, latency, seed=seed) for seed in SEEDS]
            cells = [
                f"{sum(measure(made) for made in runs) / len(runs):.1%}"
                for measure in (noticed, failed_after, sent_later)
            ]
            lines.append(f"| {scenario} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print it."""
    print(table())


if __name__ == "__main__":
    main()
