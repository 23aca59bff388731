"""
A timeout for each kind of call: one model may take four times as long as another.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from hungframe._core import check

if TYPE_CHECKING:
    from hungframe._core.latency import AdaptiveTimeout


class TimeoutPerKey:
    """
    Keep a timeout that learns for each key, those that were used last; made by `AdaptiveTimeout.per`.

    Asked without a key, as for a block of code, it is the timeout of all such calls.
    """

    __slots__ = ("_make", "_most", "_policies", "key", "shared")

    def __init__(self, key: Callable[..., Hashable], most: int, make: Callable[[], AdaptiveTimeout]) -> None:
        if not callable(key):
            raise TypeError(f"key must be a function of the call's arguments, got {key!r}")
        self.key = key
        self._most = check.whole("most", most, at_least=1)
        self._make = make
        self.shared = make()
        # In the order of their last use.
        self._policies: dict[Hashable, AdaptiveTimeout] = {}

    def __repr__(self) -> str:
        return f"AdaptiveTimeout.per({self.key!r}, most={self._most!r})"

    def __len__(self) -> int:
        return len(self._policies)

    def of(self, key: Hashable) -> AdaptiveTimeout:
        """
        Find the timeout of *key*; a new one takes the place of that which was not used for the longest time.
        """
        policies = self._policies
        policy = policies.pop(key, None)
        if policy is None:
            policy = self._make()
            if len(policies) >= self._most:
                del policies[next(iter(policies))]
        policies[key] = policy
        return policy

    def of_call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> AdaptiveTimeout:
        """
        Find the timeout of a call with these arguments.
        """
        return self.of(self.key(*args, **kwargs))

    # -- without a key --------------------------------------------------------

    def current(self, now: float) -> float:
        """
        Seconds for the next call that has no key.
        """
        return self.shared.current(now)

    def longest(self, now: float) -> float:
        """
        Seconds for a probe.
        """
        return self.shared.longest(now)

    def p95(self, now: float) -> float | None:
        """
        The quantile of calls that have no key.
        """
        return self.shared.p95(now)

    def observe(self, seconds: float, now: float, *, completed: bool = True) -> None:
        """
        Learn from a call that has no key.
        """
        self.shared.observe(seconds, now, completed=completed)

    def remember(self, seconds: float, now: float, *, completed: bool = True) -> None:
        """
        Learn the same, and let the timeout stand still.
        """
        self.shared.remember(seconds, now, completed=completed)

    def unmoved_up_to(self, now: float) -> float:
        """
        As that of the calls that have no key.
        """
        return self.shared.unmoved_up_to(now)

    def observe_unmoved(self, seconds: Sequence[float], at: Sequence[float]) -> None:
        """
        Likewise.
        """
        self.shared.observe_unmoved(seconds, at)
