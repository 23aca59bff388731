"""
The clock of these tests: what it is advanced by is what passes, to the last bit.
"""

from __future__ import annotations

import anyio
import pytest

from hungframe.testing import VirtualClock, run_virtual


def test_clock_is_exact_after_virtual_runs() -> None:
    """
    Odd fractions of a second that passed in virtual runs before do not blur a clock that was made after them.
    """
    for tenths in range(50):
        run_virtual(anyio.sleep, tenths / 10 + 1 / 3)
        clock = VirtualClock()

        clock.advance(60)

        assert 60.0 == clock.now()


def test_clock_does_not_run_backwards() -> None:
    """
    It is a monotonic clock, in a test as well.
    """
    with pytest.raises(ValueError, match="seconds"):
        VirtualClock().advance(-1)
