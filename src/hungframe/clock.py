"""
The system's clock, and the one place where a test may replace it.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class SystemClock:
    """
    Tell `time.monotonic()` and `time.time()`.

    `now` and `wall` are attributes and not methods: a guard asks twice a call,
    and a call to a builtin costs half of one to a method around it.
    """

    __slots__ = ("now", "wall")

    def __init__(self) -> None:
        self.now: Callable[[], float] = time.monotonic
        self.wall: Callable[[], float] = time.time

    def __repr__(self) -> str:
        return "SystemClock()"


# Every guard that was given no clock reads this one, so that a virtual run
# (`hungframe.testing.run_virtual`) can turn the time of all of them at once.
SYSTEM_CLOCK = SystemClock()
