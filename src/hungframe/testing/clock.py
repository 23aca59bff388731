"""
A clock that a test turns by hand.
"""

from __future__ import annotations

from hungframe._core import check
from hungframe.testing import virtual_time


class VirtualClock:
    """
    A `Clock` port whose time passes when `advance` is called, and by itself only within `run_virtual`.

    Args:
        start: What `now()` tells first, in seconds.

        wall: What `wall()` tells first, in Unix seconds.

    >>> clock = VirtualClock()
    >>> clock.advance(60)
    >>> clock.now()
    60.0
    """

    __slots__ = ("_advanced", "_began", "_start", "_wall")

    def __init__(self, start: float = 0.0, wall: float = 1_700_000_000.0) -> None:
        self._start = check.number("start", start)
        self._wall = check.number("wall", wall)
        self._advanced = 0.0
        self._began = virtual_time.passed()

    def advance(self, seconds: float) -> None:
        """
        Let *seconds* pass.

        Raises:
            ValueError: If *seconds* is negative: a monotonic clock does not run backwards.
        """
        self._advanced += check.number("seconds", seconds, at_least=0)

    def _passed(self) -> float:
        # The difference first: outside of `run_virtual` it is nothing at all, and must not round what was advanced.
        return self._advanced + (virtual_time.passed() - self._began)

    def now(self) -> float:
        """
        Seconds.
        """
        return self._start + self._passed()

    def wall(self) -> float:
        """
        Unix seconds.
        """
        return self._wall + self._passed()
