"""
Budgets that are made of no bucket, or of several.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hungframe._core.waiting import wait

if TYPE_CHECKING:
    from hungframe.ports import Budget


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

    def give_back(self, tokens: float, now: float) -> None:
        """
        Nothing was taken.
        """

    def available(self, now: float) -> int:
        """
        As many as there are numbers, or 0 while paused.
        """
        return 0 if now < self._paused_until else sys.maxsize

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
    """

    __slots__ = ("_budgets",)

    def __init__(self, budgets: Sequence[Budget]) -> None:
        self._budgets = tuple(budgets)

    def try_acquire(self, tokens: float, now: float) -> bool:
        """
        Take the tokens from each budget, or from none.
        """
        for position, budget in enumerate(self._budgets):
            if not budget.try_acquire(tokens, now):
                for taken in self._budgets[:position]:
                    taken.give_back(tokens, now)
                return False
        return True

    def give_back(self, tokens: float, now: float) -> None:
        """
        Put the tokens back into each.
        """
        for budget in self._budgets:
            budget.give_back(tokens, now)

    def available(self, now: float) -> int:
        """
        What the scarcest has.
        """
        return min(budget.available(now) for budget in self._budgets)

    def retry_after(self, tokens: float, now: float) -> float:
        """
        Until the last of them has the tokens.
        """
        return max(budget.retry_after(tokens, now) for budget in self._budgets)

    def pause(self, until: float) -> None:
        """
        Pause each.
        """
        for budget in self._budgets:
            budget.pause(until)
