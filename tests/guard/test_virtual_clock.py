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


@pytest.mark.parametrize("naps", range(1, 12))
def test_clock_outside_is_exact_whatever_virtual_time_has_passed(naps: int) -> None:
    """
    The virtual time of runs before it is not added and taken away again, which would round what is advanced.
    """
    run_virtual(anyio.sleep, 0.1 * naps)
    clock = VirtualClock()

    for turn in range(1, 200):
        clock.advance(0.5)

        assert turn * 0.5 == clock.now()
