"""
What one call asks of its budgets, and what it really used.

Nothing is taken here: a `Cost` says how much, and whoever makes the call asks
the budget for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from hungframe._core import check
from hungframe._core.bucket import TokenBucket

if TYPE_CHECKING:
    from hungframe._core.budgets import Purse

Asks: TypeAlias = "float | Callable[..., float]"
Used: TypeAlias = "Callable[[Any], float | None]"
Amounts: TypeAlias = "float | tuple[float, ...]"


class Cost:
    """
    The cost of a call of one guard, from its budgets' own settings and the guard's.

    A bucket's own `cost` and `used` hold for that bucket. The guard's `cost`
    holds for each budget that has none of its own, and the guard's `used` for
    each that has neither: a bucket that counts requests is not settled to
    what was used of another's tokens.

    Args:
        budget: One budget, or a tuple of them; None: there is none.

        cost: The guard's: tokens, above 0, or a function of the call's arguments.

        used: The guard's: a function of the result, or None.

    Raises:
        TypeError: If *cost* or *used* is of the wrong kind.

        ValueError: If *cost* is out of range, or more than a bucket holds that it applies to.

    >>> requests = TokenBucket(capacity=500, cost=1)
    >>> tokens = TokenBucket(capacity=90_000, cost=len, used=lambda answer: 2 * len(answer))
    >>> cost = Cost((requests, tokens), 1, None)
    >>> cost.of(("a prompt",), {}), cost.measured((1, 8), "its answer")
    ((1, 8), (1, 20))
    """

    __slots__ = ("_asks", "_by_hand", "_most", "_several", "_used", "constant", "default", "default_used", "measures")

    def __init__(self, budget: object, cost: Asks, used: Used | None) -> None:
        if not callable(cost):
            check.number("cost", cost, above=0)
        if used is not None and not callable(used):
            raise TypeError(f"used must be a function of the call's result, or None, got {used!r}")
        # For views that change only the other.
        self.default = cost
        self.default_used = used
        self._several = isinstance(budget, tuple)
        budgets: tuple[object, ...] = budget if isinstance(budget, tuple) else () if budget is None else (budget,)
        buckets = [each if isinstance(each, TokenBucket) else None for each in budgets]
        own = [None if bucket is None else bucket.cost for bucket in buckets]
        self._asks = tuple(cost if each is None else each for each in own)
        self._most = tuple(math.inf if bucket is None else bucket.capacity for bucket in buckets)
        for ask, most in zip(self._asks, self._most, strict=True):
            if not callable(ask) and ask > most:
                raise ValueError(f"cost must be at most the capacity of the bucket, {most!r}, got {ask!r}")
        self._used = tuple(
            bucket.used if bucket is not None and bucket.used is not None else used if its_cost is None else None
            for bucket, its_cost in zip(buckets, own, strict=True)
        )
        self.measures = any(each is not None for each in self._used)
        """Whether the result tells of some budget what was used."""

        # Whose amount a number given by hand is: of those that are known only
        # from the arguments; where all are known, of those that name none.
        asking = [callable(ask) for ask in self._asks]
        self._by_hand = asking if any(asking) else [each is None for each in own]

        self.constant: Amounts | None = None
        """What each call costs; None if that depends on its arguments."""
        if not budgets:
            self.constant = 1
        elif not any(asking):
            self.constant = self._amounts([ask for ask in self._asks if not callable(ask)])

    def _amounts(self, each: list[float]) -> Amounts:
        return tuple(each) if self._several else each[0]

    # -- before the call --------------------------------------------------------

    def of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Amounts:
        """
        Tell what a call with these arguments costs; a function that stands for several budgets is asked once.

        Raises:
            ValueError: If a cost function returned no number from 0 to the
                capacity of its bucket. What it raises is raised.
        """
        try:
            answers: dict[int, Any] = {}
            amounts: list[float] = []
            for ask, most in zip(self._asks, self._most, strict=True):
                if callable(ask):
                    if id(ask) not in answers:
                        answers[id(ask)] = ask(*args, **kwargs)
                    amounts.append(_checked(ask, answers[id(ask)], most))
                else:
                    amounts.append(ask)
            return self._amounts(amounts)
        finally:
            # What this frame holds lives as long as the error that leaves it.
            del args, kwargs

    def by_hand(self, cost: float | None) -> Amounts:
        """
        Tell what a call costs that is made by hand: *cost* stands for what its arguments would tell.

        Raises:
            TypeError: If there is no number where one is needed, or where
                each budget has a cost of its own.

            ValueError: If it is out of range.
        """
        if cost is None:
            if self.constant is None:
                raise TypeError("the cost is a function of a call's arguments, and there are none here; pass cost=")
            return self.constant
        check.number("cost", cost, at_least=0)
        if not self._asks:
            return 1
        if not any(self._by_hand):
            raise TypeError(f"each budget has a cost of its own, so that none is left for cost={cost!r}; leave it out")
        amounts = list[float]()
        for ask, most, given in zip(self._asks, self._most, self._by_hand, strict=True):
            if given and cost > most:
                raise ValueError(f"cost must be at most the capacity of the bucket, {most!r}, got {cost!r}")
            amounts.append(cost if given or callable(ask) else ask)
        return self._amounts(amounts)

    # -- after it ---------------------------------------------------------------

    def measured(self, taken: Amounts, result: object, fault: Callable[[str], object] | None = None) -> Amounts:
        """
        Ask the result what the call used; *taken* where it does not tell.

        The call has succeeded, so nothing that a user's function does may harm
        it: its exceptions, and answers that are no number of 0 or more, are
        told to *fault*, while they are handled, and the estimate stands.
        """
        if not self._asks:
            return taken
        estimates = taken if isinstance(taken, tuple) else (taken,)
        amounts: list[float] = []
        for used, estimate in zip(self._used, estimates, strict=True):
            amount: float | None = None
            if used is not None:
                try:
                    amount = used(result)
                    if amount is not None:
                        check.number("used()", amount, at_least=0)
                except Exception:
                    amount = None
                    if fault is not None:
                        fault("used()")
            amounts.append(estimate if amount is None else amount)
        return self._amounts(amounts)

    def used_by_hand(self, taken: Amounts, used: float) -> Amounts:
        """
        Put *used* in the place of what the result would tell; where no result would, of what was given by hand.

        Raises:
            TypeError: If *used* is no number, or each budget has a cost of its own and a result tells of none.

            ValueError: If it is negative or not finite.
        """
        check.number("used", used, at_least=0)
        if not self._asks:
            return taken
        which = [each is not None for each in self._used] if self.measures else self._by_hand
        if not any(which):
            raise TypeError(f"each budget has a cost of its own, so that none is left for used={used!r}; leave it out")
        estimates = taken if isinstance(taken, tuple) else (taken,)
        return self._amounts([used if its else old for its, old in zip(which, estimates, strict=True)])

    def settle(self, budget: Purse, taken: Amounts, used: Amounts, now: float) -> None:
        """
        Give back what was taken and not used; charge what was used and not taken.
        """
        if isinstance(taken, tuple) and isinstance(used, tuple):
            pairs = list(zip(taken, used, strict=True))
            less = tuple(max(0, old - new) for old, new in pairs)
            more = tuple(max(0, new - old) for old, new in pairs)
            if any(less):
                budget.give_back(less, now)
            if any(more):
                budget.charge(more, now)
        elif not isinstance(taken, tuple) and not isinstance(used, tuple):
            if used < taken:
                budget.give_back(taken - used, now)
            elif used > taken:
                budget.charge(used - taken, now)


ONE = Cost(None, 1, None)
"""What a call costs that no budget counts."""


def _checked(function: object, value: Any, most: float) -> float:
    try:
        return check.number("cost", value, at_least=0, at_most=most if most < math.inf else None)
    except (TypeError, ValueError):
        allowed = "of at least 0" if most == math.inf else f"from 0 to the capacity of the bucket, {most!r}"
    raise ValueError(f"the cost function {function!r} must return a finite number {allowed}, got {value!r}")
