"""
Budgets that are made of no bucket, or of several.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from hungframe._core.waiting import wait


class Purse(Protocol):
    """
    What a guard takes from: a budget, or several as one, that can be charged for what was used in the end.

    An amount is a number; for several budgets also a tuple with a number for
    each.
    """

    def try_acquire(self, tokens: Any, now: float) -> bool:
        """Take all or none."""
        ...

    def charge(self, tokens: Any, now: float) -> None:
        """Take, whether it is there or not."""
        ...

    def give_back(self, tokens: Any, now: float) -> None:
        """Put back."""
        ...

    def available(self, now: float) -> int:
        """Count the whole tokens that could be taken."""
        ...

    def retry_after(self, tokens: Any, now: float) -> float:
        """Tell in how many seconds they can be taken."""
        ...

    def pause(self, until: float) -> None:
        """Grant nothing until then."""
        ...


class Unlimited:
    """
    A budget that always has a token, except while it is paused.
    """

    __slots__ = ("_paused_until",)

    def __init__(self) -> None:
        self._paused_until = -math.inf

    def try_acquire(self, tokens: float, now: float) -> bool:
        """
        Grant the tokens, unless paused.
        """
        return now >= self._paused_until

    def charge(self, tokens: float, now: float) -> None:
        """
        There is always enough.
        """

    def give_back(self, tokens: float, now: float) -> None:
        """
        Nothing was taken.
        """

    def available(self, now: float) -> int:
        """
        As many as there are numbers, or 0 while paused.
        """
        return 0 if now < self._paused_until else sys.maxsize

    def is_full(self, now: float) -> bool:
        """
        Tell whether it is not paused.
        """
        return now >= self._paused_until

    def retry_after(self, tokens: float, now: float) -> float:
        """
        Seconds left of the pause.
        """
        return wait(self._paused_until, now)

    def pause(self, until: float) -> None:
        """
        Grant nothing until the instant *until*.
        """
        self._paused_until = max(self._paused_until, until)


class AllOf:
    """
    Several budgets as one: a call takes from all of them, or from none.

    Tokens are one number for all, or a tuple with one for each.
    """

    __slots__ = ("_budgets",)

    def __init__(self, budgets: Sequence[Purse]) -> None:
        self._budgets = tuple(budgets)

    def _each(self, tokens: float | tuple[float, ...]) -> Iterator[tuple[Purse, float]]:
        amounts = tokens if isinstance(tokens, tuple) else (tokens,) * len(self._budgets)
        return zip(self._budgets, amounts, strict=True)

    def try_acquire(self, tokens: float | tuple[float, ...], now: float) -> bool:
        """
        Take the tokens from each budget, or from none.
        """
        taken: list[tuple[Purse, float]] = []
        for budget, amount in self._each(tokens):
            if not budget.try_acquire(amount, now):
                for earlier, its_amount in taken:
                    earlier.give_back(its_amount, now)
                return False
            taken.append((budget, amount))
        return True

    def charge(self, tokens: float | tuple[float, ...], now: float) -> None:
        """
        Take the tokens from each, whether they are there or not.
        """
        for budget, amount in self._each(tokens):
            if amount:
                budget.charge(amount, now)

    def give_back(self, tokens: float | tuple[float, ...], now: float) -> None:
        """
        Put the tokens back into each.
        """
        for budget, amount in self._each(tokens):
            if amount:
                budget.give_back(amount, now)

    def available(self, now: float) -> int:
        """
        What the scarcest has.
        """
        return min(budget.available(now) for budget in self._budgets)

    def is_full(self, now: float, besides: Sequence[object] = ()) -> bool:
        """
        Tell whether each is, those *besides* apart; one that cannot tell is taken for full.
        """
        return all(is_full(budget, now, besides) for budget in self._budgets)

    def retry_after(self, tokens: float | tuple[float, ...], now: float) -> float:
        """
        Until the last of them has its tokens: what has come by then stays, so that all have theirs.
        """
        return max(budget.retry_after(amount, now) for budget, amount in self._each(tokens))

    def pause(self, until: float) -> None:
        """
        Pause each.
        """
        for budget in self._budgets:
            budget.pause(until)


def is_full(budget: object, now: float, besides: Sequence[object] = ()) -> bool:
    """
    Tell whether *budget* is as a new one would be, so that nothing is lost with it; True where it cannot tell.

    Args:
        besides: Budgets that are not lost, since others have them as well.
    """
    if any(budget is each for each in besides):
        return True
    if isinstance(budget, AllOf):
        return budget.is_full(now, besides)
    told: Any = getattr(budget, "is_full", None)
    return told is None or bool(told(now))
