"""
Guards with a past: what fills a page within milliseconds, as a quarter of an hour of traffic would.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable

from hungframe import AdaptiveTimeout, CallRejectedError, CallTimeoutError, CircuitBreaker, Guard, TokenBucket
from hungframe.health import HealthApp, app


class PastClock:
    """
    A clock that is late by *behind* seconds, and is let catch up.
    """

    def __init__(self, behind: float) -> None:
        self.behind = behind

    def now(self) -> float:
        return time.monotonic() - self.behind

    def wall(self) -> float:
        return time.time() - self.behind

    def advance(self, seconds: float) -> None:
        self.behind -= seconds


class StatusError(Exception):
    """
    As an SDK raises it.
    """

    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


class Past:
    """
    One guard, and the calls that it has had.
    """

    def __init__(self, name: str, behind: float = 860.0, seed: int = 1, **settings: object) -> None:
        self.clock = PastClock(behind)
        self.random = random.Random(seed)
        made: dict[str, object] = {
            "breaker": CircuitBreaker(open_for=20),
            "timeout": AdaptiveTimeout(initial=20, ceiling=30, margin=1.0, floor=0.5),
            "grace": 0.05,
        }
        self.guard = Guard(name, clock=self.clock, **(made | settings))  # type: ignore[arg-type]  # Of any type.
        self._quick = self.guard.using(isolate=None)

    def call(self, seconds: float, error: BaseException | None = None) -> None:
        """
        One call that takes so long, and fails if told so.
        """

        def work() -> None:
            self.clock.advance(seconds)
            if error is not None:
                raise error

        with contextlib.suppress(CallRejectedError, CallTimeoutError, StatusError, OSError):
            self._quick.call(work)

    def fine(self, calls: int, around: float, every: float) -> None:
        """
        So many calls that are answered, each so long after the other.
        """
        for _ in range(calls):
            self.call(around * self.random.lognormvariate(0, 0.35))
            self.clock.advance(every)

    def bad(self, calls: int, error: Callable[[], BaseException], seconds: float, every: float) -> None:
        """
        So many that fail.
        """
        for _ in range(calls):
            self.call(seconds, error())
            self.clock.advance(every)


def waits_for_a_socket(until: threading.Event) -> None:
    """
    A callee that is left behind.
    """
    until.wait(30)


def scene(until: threading.Event, **settings: object) -> HealthApp:
    """
    A page of three guards: one that is well again, one whose provider hangs, one that is asked for less.
    """
    well = Past("openai-images", seed=4, budget=TokenBucket(capacity=60, refill_every=3))
    hangs = Past(
        "stability-ai",
        seed=2,
        timeout=AdaptiveTimeout(initial=0.1, floor=0.1, ceiling=0.12),
        breaker=CircuitBreaker(window=10, open_for=100),
    )
    busy = Past("replicate[eu]", seed=3, budget=TokenBucket(capacity=10, refill_every=45), bulkhead=8)
    page = app(well.guard, hangs.guard, busy.guard, **settings)  # type: ignore[arg-type]  # Of any type.

    well.fine(90, 0.9, 3)
    well.bad(12, lambda: StatusError(503), 0.3, 1)
    for _ in range(3):
        well.clock.advance(20)
        well.bad(1, lambda: StatusError(503), 4, 0)
    well.clock.advance(30)
    well.fine(55, 0.8, 4)
    well.call(1.1, StatusError(400))
    well.fine(12, 0.8, 2.2)
    well.clock.advance(well.clock.behind)

    hangs.fine(70, 0.03, 10)
    hangs.clock.advance(hangs.clock.behind - 66)
    for _ in range(5):
        with contextlib.suppress(CallTimeoutError, CallRejectedError):
            hangs.guard.call(waits_for_a_socket, until)
        hangs.clock.advance(3)
    for _ in range(17):
        hangs.call(0.03)
        hangs.clock.advance(2.6)
    hangs.clock.advance(hangs.clock.behind)

    busy.fine(14, 2.2, 46)
    busy.bad(1, lambda: StatusError(429), 0.2, 4)
    busy.clock.advance(max(0.0, busy.clock.behind - 40))
    busy.fine(10, 2.4, 0.5)
    busy.clock.advance(max(0.0, busy.clock.behind))
    return page
