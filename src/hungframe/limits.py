"""
The settings that hold for one call, and may differ between views of one guard.
"""

from __future__ import annotations

from hungframe.ports import Classifier, Clock, TimeoutPolicy


class Limits:
    """
    How long a call may take, where it runs, and how its end is read.
    """

    __slots__ = ("classify", "clock", "grace", "isolate", "timeout")

    def __init__(
        self,
        clock: Clock,
        timeout: TimeoutPolicy,
        grace: float,
        isolate: str | None,
        classify: Classifier | None,
    ) -> None:
        self.clock = clock
        self.timeout = timeout
        self.grace = grace
        self.isolate = isolate
        self.classify = classify
