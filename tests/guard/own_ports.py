"""
Ports as a user would write them, from the contract alone: nothing inherited, nothing but the methods it names.
"""

from __future__ import annotations

from hungframe import (
    BreakerState,
    Outcome,
    Permit,
    Refusal,
)
from hungframe.events import Event


class HandClock:
    """
    A clock that is set.
    """

    def __init__(self) -> None:
        self.at = 50.0

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return 1_000_000.0


class CountingBreaker:
    """
    Opens after two failures, for good.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.given: list[Permit] = []
        self.recorded: list[tuple[Permit, Outcome]] = []
        self.released: list[Permit] = []
        self.timeouts: list[float] = []

    def acquire(self, now: float, *, timeout: float) -> Permit | Refusal:
        self.timeouts.append(timeout)
        if self.failures >= 2:
            return Refusal("own_reason", 7.0)
        permit = Permit(1)
        self.given.append(permit)
        return permit

    def record(self, permit: Permit, outcome: Outcome, now: float) -> None:
        self.recorded.append((permit, outcome))
        self.failures += outcome is not Outcome.SUCCESS

    def release(self, permit: Permit, now: float) -> None:
        self.released.append(permit)

    def state(self, now: float) -> BreakerState:
        return BreakerState.OPEN if self.failures >= 2 else BreakerState.CLOSED


class Quota:
    """
    So many calls, and no more.
    """

    def __init__(self, left: int) -> None:
        self.left = left
        self.paused_until = -1.0

    def try_acquire(self, tokens: float, now: float) -> bool:
        if now < self.paused_until or self.left < tokens:
            return False
        self.left -= int(tokens)
        return True

    def give_back(self, tokens: float, now: float) -> None:
        self.left += int(tokens)

    def available(self, now: float) -> int:
        return self.left

    def retry_after(self, tokens: float, now: float) -> float:
        return 3.0

    def pause(self, until: float) -> None:
        self.paused_until = until


class Halving:
    """
    Half the time after each call that was cut off.
    """

    def __init__(self) -> None:
        self.seconds = 8.0
        self.told: list[tuple[float, bool]] = []

    def current(self, now: float) -> float:
        return self.seconds

    def observe(self, seconds: float, now: float, *, completed: bool) -> None:
        self.told.append((seconds, completed))
        if not completed:
            self.seconds /= 2


def by_text(ended: object) -> Outcome | str | None:
    """
    A classifier.
    """
    return "quota" if ended == "slow down" else None


class Counter:
    """
    A sink.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, event: Event) -> None:
        self.seen.append(event.evt)


def ask_for_a_shape() -> object:
    """
    A probe.
    """
    return "abstract geometric shape, no text"


class PlainPermits(CountingBreaker):
    """
    A breaker that knows no generations, and numbers all of its permits alike.
    """

    generation = 0

    def acquire(self, now: float, *, timeout: float) -> Permit | Refusal:
        answer = super().acquire(now, timeout=timeout)
        return Permit(self.generation) if isinstance(answer, Permit) else answer
