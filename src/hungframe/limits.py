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
    How long a call may take, where it runs, and how its end is read.

    Args:
        clock: The guard's.

        policy: Says how long a call may take.

        total_timeout: Most seconds, whatever *policy* says; None: no limit.

        learner: Learns how long a call took; the guard's own policy, unless *policy* is another that learns.

        learns_apart: Whether it is another.

        grace: Seconds that a callee gets to leave; DEFAULT where it was not given.

        isolate: Where it runs.

        classify: The user's classifier.

        first_item: Most seconds until a stream's first item; None: no limit.

        between_items: Most seconds from one item of a stream to the next; None: no limit.
    """

    __slots__ = (
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
        "policy",
        "timeout",
        "total_timeout",
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
    ) -> None:
        self.clock = clock
        self.policy = policy
        # Whether the timeout depends on the call's arguments.
        self.by_key = isinstance(policy, TimeoutPerKey)
        self.total_timeout = total_timeout
        self.timeout = policy if total_timeout is None else CappedTimeout(policy, total_timeout)
        self.learner = learner
        self.learns_apart = learns_apart
        self.given_grace = grace
        self.grace = _DEFAULT_GRACE if isinstance(grace, Default) else grace
        self.isolate = isolate
        self.classify = classify
        self.first_item = first_item
        self.between_items = between_items

    def under(self, policy: LearnedTimeout) -> Limits:
        """
        The same settings under another policy, which learns from the call.
        """
        return Limits(
            self.clock,
            policy,
            self.total_timeout,
            policy,
            True,
            self.given_grace,
            self.isolate,
            self.classify,
            self.first_item,
            self.between_items,
        )
