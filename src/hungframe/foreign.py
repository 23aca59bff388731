"""
Ports that a user has written, kept from harming a call.

Each adapter has the methods that the engine needs, takes a lock of its own
where the engine would take none, and turns an exception into the answer that
lets the call go on. An error is logged once for each port and counted each time.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from hungframe._core import check
from hungframe._core.breaker import CircuitBreaker
from hungframe._core.latency import AdaptiveTimeout
from hungframe._core.outcome import Outcome
from hungframe._core.states import NO_PERMIT, BreakerState, Permit, Refusal
from hungframe.clock import SYSTEM_CLOCK
from hungframe.ports import Breaker, Budget, Clock, TimeoutPolicy

_logger = logging.getLogger("hungframe")

T = TypeVar("T")


class Faults:
    """
    Errors of a guard's ports: how many, and of whom it was told already.
    """

    __slots__ = ("_guard", "_told", "count")

    def __init__(self, guard: str) -> None:
        self._guard = guard
        self._told: tuple[str, ...] = ()
        self.count = 0

    def add(self, what: str) -> None:
        """
        Count the exception that is being handled; log it if it is the first of *what*.
        """
        self.count += 1
        if what not in self._told:
            self._told += (what,)
            # The log may have a filter or a handler that raises, and this is on the way of a call.
            with contextlib.suppress(Exception):
                _logger.error(
                    "guard %r: %s raised; calls go on, further errors of it are only counted",
                    self._guard,
                    what,
                    exc_info=sys.exc_info(),
                )

    def attempt(self, what: str, fallback: T, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """
        Call *fn*; *fallback* if it raises.
        """
        try:
            return fn(*args, **kwargs)
        except Exception:
            self.add(what)
            return fallback


class ForeignClock:
    """
    A user's clock. One that fails or returns no number stands still.
    """

    __slots__ = ("_clock", "_faults", "_last")

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self._clock = clock
        self._faults = faults
        self._last = -math.inf

    def now(self) -> float:
        """Seconds, never running backwards."""
        try:
            now = self._clock.now()
            if not math.isfinite(now):
                raise ValueError(f"now() must be a finite number, got {now!r}")
        except Exception:
            self._faults.add("clock.now()")
            return self._last if self._last > -math.inf else 0.0
        self._last = max(now, self._last)
        return self._last

    def wall(self) -> float:
        """Unix seconds; 0 where the clock has none."""
        return self._faults.attempt("clock.wall()", 0.0, self._wall)

    def _wall(self) -> float:
        wall = self._clock.wall()
        if not math.isfinite(wall):
            raise ValueError(f"wall() must be a finite number, got {wall!r}")
        return wall


class ForeignBreaker:
    """
    A user's breaker. One that fails lets the call through.
    """

    __slots__ = ("_breaker", "_faults", "_state", "generation", "shared_permit")

    def __init__(self, breaker: Breaker, faults: Faults) -> None:
        self._breaker = breaker
        self._faults = faults
        self._state = BreakerState.CLOSED
        self.generation = 1
        # It is asked for each call.
        self.shared_permit: Permit | None = None

    def acquire(self, now: float, *, timeout: float = 90.0) -> Permit | Refusal:
        """Ask it."""
        fallback: Permit | Refusal = NO_PERMIT
        answer = self._faults.attempt("breaker.acquire()", fallback, self._acquire, now, timeout)
        self.state(now)
        return answer

    def _acquire(self, now: float, timeout: float) -> Permit | Refusal:
        answer: Any = self._breaker.acquire(now, timeout=timeout)
        if not isinstance(answer, (Permit, Refusal)):
            raise TypeError(f"acquire() must return a Permit or a Refusal, got {answer!r}")
        return answer

    def acquire_probe(self, now: float, *, timeout: float = 90.0) -> Permit | Refusal:
        """Ask it for a prober's probe, by `acquire_probe` if it has that."""
        state = self.state(now)
        if state != BreakerState.HALF_OPEN:
            return Refusal(str(state), self.retry_after(now))
        own: Any = getattr(self._breaker, "acquire_probe", None)
        if not callable(own):
            return self.acquire(now, timeout=timeout)
        # A prober that cannot ask makes no probe; it asks again.
        answer = self._faults.attempt("breaker.acquire_probe()", None, own, now, timeout=timeout)
        return answer if isinstance(answer, (Permit, Refusal)) else Refusal("half_open", None)

    def record(self, permit: Permit, outcome: Outcome | str, now: float, *, seconds: float | None = None) -> None:
        """Tell it, unless it never gave that permit."""
        if permit is NO_PERMIT:
            return
        # A subclass of the built-in one knows slow calls; the port does not.
        extra = {"seconds": seconds} if isinstance(self._breaker, CircuitBreaker) else {}
        self._faults.attempt("breaker.record()", None, self._breaker.record, permit, Outcome(outcome), now, **extra)
        self.state(now)

    def release(self, permit: Permit, now: float) -> None:
        """Give it back, unless it never gave it."""
        if permit is NO_PERMIT:
            return
        self._faults.attempt("breaker.release()", None, self._breaker.release, permit, now)

    def state(self, now: float) -> BreakerState:
        """Ask for the state, and count its changes."""
        state = self._faults.attempt("breaker.state()", self._state, self._breaker.state, now)
        if state != self._state:
            self._state = state
            self.generation += 1
        return state

    def suspect(self, count: int, now: float) -> None:
        """A port knows no suspects."""

    def unmoved_up_to(self) -> float:
        """A port is told of every call at once."""
        return -math.inf

    def record_unmoved(self, permits: Sequence[Permit], seconds: Sequence[float], at: Sequence[float]) -> None:
        """Tell it of each after all."""
        for permit, one_seconds, instant in zip(permits, seconds, at, strict=True):
            self.record(permit, Outcome.SUCCESS, instant, seconds=one_seconds)

    # -- what a port may have besides; a subclass of the built-in has it all ------

    def failure_rate(self, now: float) -> float | None:
        """The rate; None if it tells none."""
        return self._number("failure_rate", now)

    def weight(self, now: float) -> float | None:
        """The weight in the window; None if it tells none."""
        return self._number("weight", now)

    def retry_after(self, now: float) -> float | None:
        """Seconds until a call may be let through; None if no time can be named."""
        if self._state in (BreakerState.CLOSED, BreakerState.DISABLED):
            return 0.0
        return self._number("retry_after", now)

    def _number(self, name: str, now: float) -> float | None:
        method = getattr(self._breaker, name, None)
        if not callable(method):
            return None
        answer = self._faults.attempt(f"breaker.{name}()", None, method, now)
        return answer if isinstance(answer, (int, float)) else None

    def steering(self, verb: str) -> Callable[[float], None] | None:
        """The method for an operator's *verb*, if there is one."""
        method: Any = getattr(self._breaker, verb, None)
        return cast("Callable[[float], None]", method) if callable(method) else None


class ForeignBudget:
    """
    A user's budget. One that fails has tokens.
    """

    __slots__ = ("_budget", "_faults")

    def __init__(self, budget: Budget, faults: Faults) -> None:
        self._budget = budget
        self._faults = faults

    def try_acquire(self, tokens: float, now: float) -> bool:
        """Take."""
        return self._faults.attempt("budget.try_acquire()", True, self._budget.try_acquire, tokens, now)

    def charge(self, tokens: float, now: float) -> None:
        """Take what was used besides; a port that cannot owe is asked for what it has of it."""
        self._faults.attempt("budget.charge()", None, self._charge, tokens, now)

    def _charge(self, tokens: float, now: float) -> None:
        charge = getattr(self._budget, "charge", None)
        if callable(charge):
            charge(tokens, now)
        elif not self._budget.try_acquire(tokens, now):
            there = min(tokens, self._budget.available(now))
            if there > 0:
                self._budget.try_acquire(there, now)

    def give_back(self, tokens: float, now: float) -> None:
        """Give back."""
        self._faults.attempt("budget.give_back()", None, self._budget.give_back, tokens, now)

    def available(self, now: float) -> int:
        """Count."""
        return self._faults.attempt("budget.available()", sys.maxsize, self._budget.available, now)

    def retry_after(self, tokens: float, now: float) -> float:
        """Tell when."""
        return self._faults.attempt("budget.retry_after()", 0.0, self._retry_after, tokens, now)

    def _retry_after(self, tokens: float, now: float) -> float:
        return check.number("retry_after()", self._budget.retry_after(tokens, now), at_least=0, finite=False)

    def pause(self, until: float) -> None:
        """Pause."""
        self._faults.attempt("budget.pause()", None, self._budget.pause, until)


class ForeignTimeout:
    """
    A user's timeout policy. One that fails leaves the last answer standing.
    """

    __slots__ = ("_faults", "_last", "_lock", "_policy")

    def __init__(self, policy: TimeoutPolicy, faults: Faults) -> None:
        self._policy = policy
        self._faults = faults
        self._last = 60.0
        # The engine reads the current timeout without its lock.
        self._lock = threading.RLock()

    def current(self, now: float) -> float:
        """Ask."""
        with self._lock:
            try:
                seconds = self._policy.current(now)
                if not seconds > 0:
                    raise ValueError(f"current() must be above 0, got {seconds!r}")
            except Exception:
                self._faults.add("timeout.current()")
                return self._last
            self._last = seconds
            return seconds

    def observe(self, seconds: float, now: float, *, completed: bool) -> None:
        """Tell."""
        with self._lock:
            self._faults.attempt("timeout.observe()", None, self._policy.observe, seconds, now, completed=completed)

    def remember(self, seconds: float, now: float, *, completed: bool) -> None:
        """Tell it of a call that ended while the breaker is open, by `remember` if it has that."""
        remember = getattr(self._policy, "remember", None)
        if not callable(remember):
            self.observe(seconds, now, completed=completed)
            return
        with self._lock:
            self._faults.attempt("timeout.remember()", None, remember, seconds, now, completed=completed)

    def unmoved_up_to(self, now: float) -> float:
        """A port is told of every call at once."""
        return -math.inf

    def observe_unmoved(self, seconds: Sequence[float], at: Sequence[float]) -> None:
        """Tell it of each after all."""
        for one_seconds, one_at in zip(seconds, at, strict=True):
            self.observe(one_seconds, one_at, completed=True)

    def p95(self, now: float) -> float | None:
        """What a subclass of the built-in one has learned."""
        policy = self._policy
        return (
            self._faults.attempt("timeout.p95()", None, policy.p95, now)
            if isinstance(policy, AdaptiveTimeout)
            else None
        )

    def longest(self, now: float) -> float:
        """The most that it ever gives, as far as is known."""
        return self._policy.ceiling if isinstance(self._policy, AdaptiveTimeout) else self.current(now)


def clock_of(clock: Clock | None, faults: Faults) -> Clock:
    """
    The system's clock, or a user's in its adapter.
    """
    # Its methods are attributes, which a type checker does not take for methods.
    return cast("Clock", SYSTEM_CLOCK) if clock is None else ForeignClock(clock, faults)
