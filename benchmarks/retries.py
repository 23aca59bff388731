"""
Let 1,000 clients meet a provider that loses its capacity for a minute: ``python -m benchmarks.retries``.

Prints how many requests a call costs, and how long it takes until calls
succeed again, without retries and with several kinds. Discrete events, made
up from fixed seeds; nothing sleeps.

The provider works through its queue in order, also through requests whose
clients have given up. So a queue longer than their patience is work for nobody,
and retries that keep it full keep the provider down when it has all its
capacity back.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.arrivals import poisson
from hungframe import Outcome, Retry
from hungframe._core.retry import Again

CLIENTS = 1000
EVERY = 10.0
"""Seconds from one call of a client to its next, on average."""

CAPACITY = 130.0
"""Requests a second, where the clients make a hundred calls."""

QUEUE = 1000
"""Requests that wait at the provider at most; who comes then gets a 503."""

TIMEOUT = 5.0

OUTAGE, OUTAGE_ENDS, END = 60.0, 120.0, 420.0
"""Instants, in seconds."""

LEFT = 0.2
"""Share of the capacity in the outage."""

SEEDS = range(1, 4)

SLOT = 5.0
"""Seconds over which successes are counted."""


class Fixed:
    """
    Try again after the same wait, up to a number of attempts; nothing else is looked at.
    """

    def __init__(self, attempts: int, wait: float = 0.5) -> None:
        self._attempts = attempts
        self._wait = wait

    def called(self, client: int, now: float) -> None:
        """Learn of a call."""

    def delay(self, client: int, attempt: int, outcome: Outcome, now: float, rng: random.Random) -> float | None:
        """Tell the wait, or None for no other attempt."""
        return self._wait if attempt < self._attempts else None


class Guarded:
    """
    Try again as `Retry` says, the clients spread evenly over processes that have one each.
    """

    def __init__(self, budget: float | None, processes: int = 10) -> None:
        self._retries = [Retry(budget=budget) for _ in range(processes)]

    def called(self, client: int, now: float) -> None:
        """Learn of a call."""
        self._retries[client % len(self._retries)].called(now)

    def delay(self, client: int, attempt: int, outcome: Outcome, now: float, rng: random.Random) -> float | None:
        """Tell the wait, or None for no other attempt."""
        found = self._retries[client % len(self._retries)].delay(
            attempt,
            outcome,
            now,
            retry_after=None,
            time_left=math.inf,
            idempotent=True,
            not_begun=False,
            random=rng.random,
        )
        return found.delay if isinstance(found, Again) else None


POLICIES: Mapping[str, Callable[[], Fixed | Guarded]] = {
    "none": lambda: Fixed(1),
    "3 attempts, 0.5 s apart": lambda: Fixed(3),
    "`Retry(budget=None)`": lambda: Guarded(None),
    "`Retry()`, in 10 processes": lambda: Guarded(0.1),
    "`Retry()`, each client a process of its own": lambda: Guarded(0.1, CLIENTS),
}


@dataclass
class Call:
    """
    Hold one call of a client.

    Args:
        at: Instant at which it was made.

        requests: Attempts that were sent.

        succeeded: Whether one of them was answered in time.
    """

    client: int
    at: float
    requests: int = 0
    succeeded: bool = False


@dataclass(frozen=True)
class Played:
    """
    Hold the calls of a run, in the order in which they were made.
    """

    calls: list[Call]

    def between(self, begin: float, end: float) -> list[Call]:
        """
        Find the calls that were made in [begin, end).
        """
        return [call for call in self.calls if begin <= call.at < end]

    def load(self, begin: float, end: float) -> float:
        """
        Tell how many requests a call made in [begin, end) cost.
        """
        calls = self.between(begin, end)
        return sum(call.requests for call in calls) / len(calls)

    def succeeded(self, begin: float, end: float) -> float:
        """
        Tell the share of the calls made in [begin, end) that succeeded.
        """
        calls = self.between(begin, end)
        return sum(call.succeeded for call in calls) / len(calls)

    def recovers_after(self, share: float = 0.99) -> float:
        """
        Tell the seconds from the end of the outage until calls succeed again and go on doing so; infinity for never.
        """
        # What was made in the last seconds may not have ended.
        slots = math.floor((END - OUTAGE_ENDS) / SLOT) - 5
        good = [self.succeeded(at, at + SLOT) >= share for at in (OUTAGE_ENDS + n * SLOT for n in range(slots))]
        bad = [n for n, well in enumerate(good) if not well]
        if not bad:
            return 0.0
        return math.inf if bad[-1] == slots - 1 else (bad[-1] + 1) * SLOT


class Provider:
    """
    Serve one request after the other, first come first served, at a capacity that changes.
    """

    def __init__(self, left: float) -> None:
        self._left = left
        self._queue: deque[tuple[Call, float]] = deque()
        self.busy_until: float | None = None
        """When the request under way will have been served; None where there is none."""

    def take(self, call: Call, now: float) -> bool:
        """
        Put a request into the queue; False for a 503.
        """
        if len(self._queue) >= QUEUE:
            return False
        self._queue.append((call, now))
        if self.busy_until is None:
            self._serve(now)
        return True

    def served(self) -> Call | None:
        """
        End the request under way, and begin the next; return its call if it still waits.
        """
        assert self.busy_until is not None
        now = self.busy_until
        call, came_at = self._queue.popleft()
        self.busy_until = None
        if self._queue:
            self._serve(now)
        return call if now - came_at < TIMEOUT else None

    def _serve(self, now: float) -> None:
        out = OUTAGE <= now < OUTAGE_ENDS
        if out and not self._left:
            now, out = OUTAGE_ENDS, False
        self.busy_until = now + 1 / (CAPACITY * (self._left if out else 1.0))


def run(make: Callable[[], Fixed | Guarded], *, seed: int = 1, left: float = LEFT) -> Played:
    """
    Let the clients call, before the outage, in it and after it.

    Args:
        left: Share of the capacity in the outage; 0 for none.
    """
    rng = random.Random(seed)
    policy, provider, played = make(), Provider(left), Played([])
    # What is to come: an attempt is sent, or has waited for as long as it may.
    ahead: list[tuple[float, int, str, Call, int]] = []
    nth = 0

    def push(at: float, what: str, call: Call, attempt: int) -> None:
        nonlocal nth
        nth += 1
        heapq.heappush(ahead, (at, nth, what, call, attempt))

    def failed(call: Call, attempt: int, outcome: Outcome, now: float) -> None:
        wait = policy.delay(call.client, attempt, outcome, now, rng)
        if wait is not None:
            push(now + wait, "send", call, attempt + 1)

    for at in poisson(EVERY / CLIENTS, END, rng):
        call = Call(rng.randrange(CLIENTS), at)
        played.calls.append(call)
        push(at, "send", call, 1)
    while ahead and ahead[0][0] < END:
        while provider.busy_until is not None and provider.busy_until <= ahead[0][0]:
            done = provider.served()
            if done is not None:
                done.succeeded = True
        now, _, what, call, attempt = heapq.heappop(ahead)
        if what == "send":
            call.requests += 1
            if attempt == 1:
                policy.called(call.client, now)
            if provider.take(call, now):
                push(now + TIMEOUT, "give up", call, attempt)
            else:
                failed(call, attempt, Outcome.SERVER_ERROR, now)
        elif not call.succeeded:
            failed(call, attempt, Outcome.TIMEOUT, now)
    return played


def table() -> str:
    """
    Write the table.
    """
    lines = [
        "| retries | requests a call in that minute | with no capacity at all | calls that succeed | recovered after |",
        "|---|---|---|---|---|",
    ]
    for name, make in POLICIES.items():
        runs = [run(make, seed=seed) for seed in SEEDS]
        full = [run(make, seed=seed, left=0.0) for seed in SEEDS]
        after = max(played.recovers_after() for played in runs)
        cells = (
            f"{sum(played.load(OUTAGE, OUTAGE_ENDS) for played in runs) / len(runs):.2f}",
            f"{sum(played.load(OUTAGE, OUTAGE_ENDS) for played in full) / len(full):.2f}",
            f"{sum(played.succeeded(OUTAGE, OUTAGE_ENDS) for played in runs) / len(runs):.0%}",
            f"{after:.0f} s" if after < math.inf else f"not within {END - OUTAGE_ENDS:.0f} s",
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    print(table())


if __name__ == "__main__":
    main()
