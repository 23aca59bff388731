"""
The ports: what hungframe asks of a clock, a breaker, a budget and the rest.

Each is a `typing.Protocol`. To bring your own, write a class with these
methods; nothing has to be inherited. `now` is seconds on the guard's clock.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, runtime_checkable

from hungframe._core.outcome import Outcome
from hungframe._core.states import BreakerState, Permit, Refusal
from hungframe.events import Event

__all__ = [
    "Breaker",
    "Budget",
    "Classifier",
    "Clock",
    "EventSink",
    "HealthPort",
    "Probe",
    "RecoveryPort",
    "TimeoutPolicy",
]


@runtime_checkable
class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Tell seconds on a clock that never runs backwards; it decides everything."""
        ...

    def wall(self) -> float:
        """Tell Unix seconds; they stamp events and decide nothing."""
        ...


@runtime_checkable
class Breaker(Protocol):
    """Who may call, by how the last calls went."""

    def acquire(self, now: float, *, timeout: float) -> Permit | Refusal:
        """Ask for one call that will have ended within *timeout* seconds."""
        ...

    def record(self, permit: Permit, outcome: Outcome, now: float) -> None:
        """Learn how the call behind *permit* ended."""
        ...

    def release(self, permit: Permit, now: float) -> None:
        """Take *permit* back as if it had never been asked for."""
        ...

    def state(self, now: float) -> BreakerState:
        """Tell the state."""
        ...


@runtime_checkable
class Budget(Protocol):
    """How many calls the provider allows."""

    def try_acquire(self, tokens: float, now: float) -> bool:
        """Take all *tokens* or none."""
        ...

    def give_back(self, tokens: float, now: float) -> None:
        """Put back *tokens* that were taken for a call that was not sent."""
        ...

    def available(self, now: float) -> int:
        """Count the whole tokens that could be taken."""
        ...

    def retry_after(self, tokens: float, now: float) -> float:
        """Tell in how many seconds *tokens* can be taken."""
        ...

    def pause(self, until: float) -> None:
        """Grant nothing until the instant *until*."""
        ...


@runtime_checkable
class TimeoutPolicy(Protocol):
    """How long the next call may take."""

    def current(self, now: float) -> float:
        """Tell the seconds for the next call."""
        ...

    def observe(self, seconds: float, now: float, *, completed: bool) -> None:
        """Learn that a call took *seconds*, or, if not *completed*, that it was cut off then."""
        ...


class Classifier(Protocol):
    """What a result or an exception means."""

    def __call__(self, ended: object, /) -> Outcome | str | None:
        """Tell the outcome; None leaves it to the built-in rules."""
        ...


class EventSink(Protocol):
    """Where events go."""

    def __call__(self, event: Event, /) -> object:
        """Take one event; what it returns is not looked at."""
        ...


class Probe(Protocol):
    """A simple, deterministic request that finds out whether the provider is well."""

    def __call__(self) -> object | Awaitable[object]:
        """Make the request; raise where it failed."""
        ...


@runtime_checkable
class HealthPort(Protocol):
    """What a queue's poller or a health page asks, and what a hand-written call reports."""

    def record_success(self, seconds: float) -> None:
        """Report a call that succeeded after *seconds*."""
        ...

    def record_failure(self, kind: Outcome | str) -> None:
        """Report a call that failed; *kind* is an outcome's name."""
        ...

    def should_open_circuit(self) -> bool:
        """Tell whether a call made now would be refused by the breaker."""
        ...

    def current_budget(self) -> int:
        """Count the calls that the budget allows now."""
        ...


@runtime_checkable
class RecoveryPort(Protocol):
    """Who finds out that the provider is well again."""

    def schedule_probe(self, kind: str) -> None:
        """Have the provider probed; *kind* is why: `timeout`, `burst` or `quota`."""
        ...
