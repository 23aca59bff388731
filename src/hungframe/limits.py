"""
The settings that hold for one call, and may differ between views of one guard.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

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

        waits_for_slot: Whether a call may wait where the bulkhead is full.

        waits_for_token: Whether a call waits where the budget is empty, and is not refused.

        max_wait: Most seconds that a call waits to be let in; None: as long as it may take.

        priority: Who is more important is let in first, and turned away last.

        around: What is done around the attempts of a call; None: there is one attempt, and its end is the call's.
    """

    __slots__ = (
        "around",
        "between_items",
        "by_key",
        "classify",
        "clock",
        "first_item",
        "given_grace",
        "grace",
        "isolate",
        "learner",
        "learns_apart",
        "max_wait",
        "policy",
        "priority",
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
        *,
        waits_for_slot: bool = False,
        waits_for_token: bool = False,
        max_wait: float | None = None,
        priority: float = 0,
        around: Around | None = None,
    ) -> None:
        self.clock = clock
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
        # Whether the timeout depends on the call's arguments.
        self.by_key = isinstance(policy, TimeoutPerKey)
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
