"""
What a breaker says: its state, a permit, or a refusal.
"""

from __future__ import annotations

from enum import Enum


class BreakerState(str, Enum):
    """
    What a circuit breaker does with a call; a member equals its name as a string.

    >>> BreakerState.HALF_OPEN == "half_open"
    True
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"

    def __str__(self) -> str:
        return self.value

    __hash__ = str.__hash__


class Permit:
    """
    The right to make one call, to be given back once.

    While closed, all calls of a generation share one.

    Attributes:
        generation: That of the breaker when it was given; what ends in a later one counts nowhere.

        probe: Whether its call is to find out that the provider is well again.

    >>> from hungframe import CircuitBreaker
    >>> CircuitBreaker().acquire(now=0.0)
    Permit(generation=1, probe=False)
    """

    __slots__ = ("generation", "probe")

    def __init__(self, generation: int, probe: bool = False) -> None:
        self.generation = generation
        self.probe = probe

    def __repr__(self) -> str:
        return f"Permit(generation={self.generation}, probe={self.probe})"


# The permit of a call that the breaker has refused and that is made all the
# same, since the breaker is switched off: what comes of it teaches nothing.
NO_PERMIT = Permit(0)


class Refusal:
    """
    No permit: why, and in how many seconds it is worth asking again (None: no time can be named).

    >>> from hungframe import CircuitBreaker
    >>> breaker = CircuitBreaker()
    >>> breaker.force_open(now=0.0)
    >>> breaker.acquire(now=1.0)
    Refusal('forced_open', retry_after=None)
    """

    __slots__ = ("reason", "retry_after")

    def __init__(self, reason: str, retry_after: float | None) -> None:
        self.reason = reason
        self.retry_after = retry_after

    def __repr__(self) -> str:
        return f"Refusal({self.reason!r}, retry_after={self.retry_after!r})"
