"""
Timeouts that learn nothing: a number, none, and a cap on another policy's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hungframe._core import check

if TYPE_CHECKING:
    from typing import Protocol

    from hungframe.ports import TimeoutPolicy

    class LearnedTimeout(TimeoutPolicy, Protocol):
        """
        A timeout policy as the engine knows it, that of a user in its adapter.
        """

        def longest(self, now: float) -> float: ...
        def remember(self, seconds: float, now: float, *, completed: bool) -> None: ...
        def p95(self, now: float) -> float | None: ...


class _LearnsNothing:
    """
    What all policies have in common that give what they give, whatever happens.
    """

    __slots__ = ()

    def current(self, now: float) -> float:
        """
        Seconds for the next call: no limit.
        """
        return math.inf

    def longest(self, now: float) -> float:
        """
        The same for a probe.
        """
        return self.current(now)

    def p95(self, now: float) -> float | None:
        """
        Nothing is learned.
        """
        return None

    def observe(self, seconds: float, now: float, *, completed: bool) -> None:
        """
        Learn nothing.
        """

    def remember(self, seconds: float, now: float, *, completed: bool) -> None:
        """
        Learn nothing.
        """

    def unmoved_up_to(self, now: float) -> float:
        """
        No latency changes the answer.
        """
        return math.inf

    def observe_unmoved(self, seconds: Sequence[float], at: Sequence[float]) -> None:
        """
        Learn nothing.
        """


class FixedTimeout(_LearnsNothing):
    """
    Give every call the same number of *seconds*.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = check.number("timeout", seconds, above=0)

    def __repr__(self) -> str:
        return f"FixedTimeout({self.seconds!r})"

    def current(self, now: float) -> float:
        """
        Seconds for the next call.
        """
        return self.seconds


class NoTimeout(_LearnsNothing):
    """
    Give every call as long as it takes.
    """

    __slots__ = ()


class CappedTimeout:
    """
    Give what another policy gives, but never more than *most* seconds.
    """

    __slots__ = ("_most", "_policy")

    def __init__(self, policy: LearnedTimeout, most: float) -> None:
        self._policy = policy
        self._most = most

    def current(self, now: float) -> float:
        """
        Seconds for the next call.
        """
        return min(self._policy.current(now), self._most)

    def longest(self, now: float) -> float:
        """
        Seconds for a probe.
        """
        return min(self._policy.longest(now), self._most)

    def observe(self, seconds: float, now: float, *, completed: bool) -> None:
        """
        Let the policy learn.
        """
        self._policy.observe(seconds, now, completed=completed)
