"""
A provider that slows down when it is crowded, callers that arrive whether or not, and a bulkhead between them.

A discrete-event simulation: nothing sleeps and nothing runs, an hour takes a second.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hungframe import Bulkhead, Outcome
from hungframe._core.line import Ticket

How = Literal["answered", "timed out", "refused", "gave up"]


@dataclass(frozen=True)
class Arrival:
    """
    Hold one call before it is made.

    Args:
        at: Instant, seconds.

        work: Seconds that it takes where the provider has capacity to spare.
    """

    at: float
    work: float
    priority: float = 0


@dataclass(frozen=True)
class Ended:
    """
    Hold how one call went; *seconds* are from its arrival to its end.
    """

    call: Arrival
    how: How
    seconds: float


@dataclass
class Played:
    """
    Hold how all calls went, and now and then the instant, the limit and how many were in flight.
    """

    ended: list[Ended] = field(default_factory=list)
    seen: list[tuple[float, int, int]] = field(default_factory=list)


def arrivals(
    a_second: float, until: float, seed: int, *, work: float = 10.0, spread: float = 0.5, important: float = 0.0
) -> list[Arrival]:
    """
    Draw calls that arrive independently of each other, and take *work* seconds on average (lognormally spread).

    Args:
        spread: Standard deviation of the logarithm of their work.

        important: Share of calls that have priority 1 instead of 0.
    """
    rng = random.Random(seed)
    drawn: list[Arrival] = []
    at = rng.expovariate(a_second)
    while at < until:
        takes = work * math.exp(rng.gauss(-spread * spread / 2, spread))
        drawn.append(Arrival(at, takes, 1 if rng.random() < important else 0))
        at += rng.expovariate(a_second)
    return drawn


class Provider:
    """
    Work on all calls at once: up to *capacity* each at full speed, more of them at so much less.

    A call that is aborted is worked on no more: its connection is reset.
    """

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.calls: dict[int, float] = {}
        self._ends: list[tuple[float, int]] = []
        # Seconds of work that each call in flight was given since the beginning.
        self._given = 0.0
        self._now = 0.0

    def move(self, now: float) -> None:
        """
        Work until *now*.
        """
        self._given += (now - self._now) * self._speed()
        self._now = now

    def begin(self, call: int, work: float) -> None:
        """
        Take a call on.
        """
        self.calls[call] = self._given + work
        heapq.heappush(self._ends, (self._given + work, call))

    def next_end(self) -> tuple[float, int]:
        """
        Tell when which call will have ended, if nothing changes until then.
        """
        while self._ends and self._ends[0][1] not in self.calls:
            heapq.heappop(self._ends)
        if not self._ends:
            return math.inf, -1
        given, call = self._ends[0]
        return self._now + max(0.0, given - self._given) / self._speed(), call

    def _speed(self) -> float:
        return min(1.0, self.capacity / len(self.calls)) if self.calls else 1.0


def play(
    bulkhead: Bulkhead,
    calls: Sequence[Arrival],
    capacity: Sequence[tuple[float, float]],
    *,
    timeout: float = 30.0,
    patience: float = 10.0,
    by_priority: bool = True,
    every: float = 5.0,
) -> Played:
    """
    Let *calls* arrive at *bulkhead*, and tell how each went.

    Args:
        capacity: From which instant on the provider has which capacity.

        timeout: Seconds that a call may run.

        patience: Seconds that a call may wait for a slot.

        by_priority: Whether the bulkhead is told of priorities.

        every: Seconds from one look at the limit to the next.
    """
    return _Play(bulkhead, calls, capacity, timeout, patience, by_priority).run(every)


class _Play:
    def __init__(
        self,
        bulkhead: Bulkhead,
        calls: Sequence[Arrival],
        capacity: Sequence[tuple[float, float]],
        timeout: float,
        patience: float,
        by_priority: bool,
    ) -> None:
        self.bulkhead, self.calls, self.timeout, self.patience = bulkhead, calls, timeout, patience
        self.by_priority = by_priority
        self.provider = Provider(capacity[0][1])
        self.now = 0.0
        self.played = Played()
        self.began: dict[int, float] = {}
        self.waiting: dict[Ticket, int] = {}
        self._happens: list[tuple[float, int, Callable[[], None]]] = []
        self._nth = 0
        for at, value in capacity[1:]:
            self._at(at, lambda value=value: setattr(self.provider, "capacity", value))  # type: ignore[misc]
        for nth, call in enumerate(calls):
            self._at(call.at, lambda nth=nth: self._arrive(nth))  # type: ignore[misc]

    def run(self, every: float) -> Played:
        look_at = 0.0
        while True:
            ends_at, call = self.provider.next_end()
            at = min(ends_at, self._happens[0][0] if self._happens else math.inf)
            if at == math.inf:
                return self.played
            while look_at <= at:
                self.played.seen.append((look_at, self.bulkhead.limit, self.bulkhead.in_flight))
                look_at += every
            self.provider.move(at)
            self.now = at
            if ends_at <= at:
                self._end(call, "answered")
            else:
                heapq.heappop(self._happens)[2]()

    def _at(self, at: float, does: Callable[[], None]) -> None:
        self._nth += 1
        heapq.heappush(self._happens, (at, self._nth, does))

    def _arrive(self, nth: int) -> None:
        priority = self.calls[nth].priority if self.by_priority else 0
        if self.bulkhead.try_acquire(self.now, priority=priority):
            self._begin(nth)
            return
        ticket, woken = self.bulkhead.enqueue(self.now, priority=priority)
        if ticket is None:
            self._tell(nth, "refused")
        else:
            self.waiting[ticket] = nth
            self._at(self.now + self.patience, lambda: self._give_up(ticket))
        self._wake(woken)

    def _give_up(self, ticket: Ticket) -> None:
        nth = self.waiting.pop(ticket, None)
        if nth is not None:
            self._tell(nth, "gave up")
            self._wake(self.bulkhead.withdraw(ticket, self.now))

    def _begin(self, nth: int) -> None:
        self.began[nth] = self.now
        self.provider.begin(nth, self.calls[nth].work)
        self._at(self.now + self.timeout, lambda: self._abort(nth))

    def _abort(self, nth: int) -> None:
        if nth in self.began:
            self._end(nth, "timed out")

    def _end(self, nth: int, how: How) -> None:
        self.provider.calls.pop(nth)
        took = self.now - self.began.pop(nth)
        self._tell(nth, how)
        outcome = Outcome.SUCCESS if how == "answered" else Outcome.TIMEOUT
        self._wake(self.bulkhead.record(outcome, took, self.now, self.bulkhead.in_flight))
        self._wake(self.bulkhead.release(self.now))

    def _wake(self, tickets: Iterable[Ticket]) -> None:
        for ticket in tickets:
            nth = self.waiting.pop(ticket)
            if ticket.granted:
                self._begin(nth)
            else:
                self._tell(nth, "refused")

    def _tell(self, nth: int, how: How) -> None:
        call = self.calls[nth]
        self.played.ended.append(Ended(call, how, self.now - call.at))
