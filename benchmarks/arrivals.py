"""
Let calls arrive at a guard on a virtual clock, whether or not earlier ones have ended.

Nothing sleeps and nothing runs: a call is a permit that is settled at its
deadline or at the instant its provider answers, whichever comes first.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hungframe import CallRejectedError, Guard
from hungframe.permit import GuardPermit
from hungframe.testing import VirtualClock

HANGS = math.inf
"""The latency of a call that never ends."""


@dataclass(frozen=True)
class Ended:
    """
    Hold how one call went.

    Args:
        at: Instant of its arrival.

        latency: Seconds that the provider would have taken.

        given: Seconds that the guard gave it; 0 where it was rejected.

        how: Whether it was answered, aborted or rejected.
    """

    at: float
    latency: float
    given: float
    how: Literal["answered", "aborted", "rejected"]


def poisson(every: float, until: float, rng: random.Random) -> Iterator[float]:
    """
    Yield the instants of arrivals that come every so many seconds on average.
    """
    at = rng.expovariate(1 / every)
    while at < until:
        yield at
        at += rng.expovariate(1 / every)


def play(
    guard: Guard,
    clock: VirtualClock,
    arrivals: Iterator[float] | Sequence[float],
    latency: Callable[[float], float],
    look: Callable[[float], object] = lambda now: None,
) -> list[Ended]:
    """
    Let calls arrive at *guard*, in order, and tell how each went, in order of their ends.

    Args:
        clock: That of *guard*.

        latency: Seconds that a call takes which arrives at an instant.

        look: Called after each arrival.
    """
    ended: list[Ended] = []
    in_flight: list[tuple[float, int, GuardPermit, Ended]] = []

    def move(until: float) -> None:
        while in_flight and in_flight[0][0] <= until:
            at, _, permit, end = heapq.heappop(in_flight)
            clock.advance(max(0.0, at - clock.now()))
            permit.settle("success" if end.how == "answered" else "timeout")
            ended.append(end)
        if until < math.inf:
            clock.advance(max(0.0, until - clock.now()))

    began_at = clock.now()
    for nth, offset in enumerate(arrivals):
        at = began_at + offset
        move(at)
        takes = latency(offset)
        try:
            permit = guard.acquire()
        except CallRejectedError:
            ended.append(Ended(offset, takes, 0.0, "rejected"))
        else:
            given = permit.timeout
            end = Ended(offset, takes, given, "answered" if takes <= given else "aborted")
            heapq.heappush(in_flight, (at + min(takes, given), nth, permit, end))
        look(offset)
    move(math.inf)
    return ended


def share(ended: Sequence[Ended], *, how: tuple[str, ...] = ("aborted", "rejected")) -> float:
    """
    Tell what share of calls ended so, in 0..1.
    """
    return sum(each.how in how for each in ended) / len(ended) if ended else 0.0
