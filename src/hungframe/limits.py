"""
The settings that hold for one call, and may differ between views of one guard.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final

from hungframe._core.cost import ONE, Amounts, Cost
from hungframe._core.per_key import TimeoutPerKey
from hungframe._core.timeouts import CappedTimeout
from hungframe.ports import Classifier, Clock

if TYPE_CHECKING:
    from hungframe._core.timeouts import LearnedTimeout
    from hungframe.around import Around


_DEFAULT_GRACE = 0.25


class Default(enum.Enum):
    """
    What stands for an argument that was not given.
    """

    DEFAULT = "default"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = Default.DEFAULT


class Limits:
    """
    How long a call may take, where it runs, how its end is read, and what is done around it.

    Args:
        clock: The guard's.

        policy: Says how long a call may take.

        total_timeout: Most seconds for all of it, whatever *policy* says; None: no limit.

        learner: Learns how long a call took; the guard's own policy, unless *policy* is another that learns.

        learns_apart: Whether it is another.

        grace: Seconds that a callee gets to leave; DEFAULT where it was not given.

        isolate: Where it runs.

        classify: The user's classifier.

        first_item: Most seconds until a stream's first item; None: no limit.

        between_items: Most seconds from one item of a stream to the next; None: no limit.

        cost: What a call asks of the budget.

        waits_for_slot: Whether a call may wait where the bulkhead is full.

        waits_for_token: Whether a call waits where the budget is empty, and is not refused.

        max_wait: Most seconds that a call waits to be let in; None: as long as it may take.

        priority: Who is more important is let in first, and turned away last.

        around: What is done around the attempts of a call; None: there is one attempt, and its end is the call's.
    """

    __slots__ = (
        "amounts",
        "around",
        "between_items",
        "by_arguments",
        "classify",
        "clock",
        "cost",
        "first_item",
        "given_grace",
        "grace",
        "isolate",
        "learner",
        "learns_apart",
        "max_wait",
        "measures",
        "policy",
        "priority",
        "reads_result",
        "timeout",
        "total_timeout",
        "waits",
        "waits_for_token",
    )

    def __init__(
        self,
        clock: Clock,
        policy: LearnedTimeout,
        total_timeout: float | None,
        learner: LearnedTimeout,
        learns_apart: bool,
        grace: float | Default,
        isolate: str | None,
        classify: Classifier | None,
        first_item: float | None = None,
        between_items: float | None = None,
        cost: Cost = ONE,
        *,
        waits_for_slot: bool = False,
        waits_for_token: bool = False,
        max_wait: float | None = None,
        priority: float = 0,
        around: Around | None = None,
    ) -> None:
        self.clock = clock
        self.cost = cost
        # What this call takes of the budget, as `Amounts`; None where its
        # arguments must be asked first, which is done before it begins.
        self.amounts: Any = cost.constant
        # Whether the result tells what was used of the budget.
        self.measures = cost.measures
        # Whether a result means more than that there is one.
        self.reads_result = classify is not None or cost.measures
        self.total_timeout = total_timeout
        self._under(policy, learner, learns_apart)
        self.given_grace = grace
        self.grace = _DEFAULT_GRACE if isinstance(grace, Default) else grace
        self.isolate = isolate
        self.classify = classify
        self.first_item = first_item
        self.between_items = between_items
        self.waits_for_token = waits_for_token
        self.waits = waits_for_slot or waits_for_token
        self.max_wait = max_wait
        self.priority = priority
        self.around = around

    def _under(self, policy: LearnedTimeout, learner: LearnedTimeout, learns_apart: bool) -> None:
        self.policy = policy
        # Whether timeout or cost depend on the call's arguments.
        self.by_arguments = isinstance(policy, TimeoutPerKey) or self.cost.constant is None
        self.timeout = policy if self.total_timeout is None else CappedTimeout(policy, self.total_timeout)
        self.learner = learner
        self.learns_apart = learns_apart

    def under(self, policy: LearnedTimeout) -> Limits:
        """
        The same settings under another policy, which learns from the call.
        """
        limits = Limits.__new__(Limits)
        for name in Limits.__slots__:
            setattr(limits, name, getattr(self, name))
        limits._under(policy, policy, True)
        return limits

    def costing(self, amounts: Amounts) -> Limits:
        """
        The same settings for a call that takes *amounts* of the budget.
        """
        other = Limits.__new__(Limits)
        for name in Limits.__slots__:
            setattr(other, name, getattr(self, name))
        other.amounts = amounts
        return other

    def by_hand(self, cost: float | None) -> Limits:
        """
        The same settings for a call without arguments or a result: *cost* says what it takes.

        Raises:
            TypeError, ValueError: As `Cost.by_hand`.
        """
        if cost is None and self.amounts is not None and not self.measures:
            return self
        other = self.costing(self.cost.by_hand(cost))
        other.measures = False
        other.reads_result = self.classify is not None
        return other
