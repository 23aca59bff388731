"""
How much virtual time has passed, in all virtual runs so far.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from hungframe.clock import SYSTEM_CLOCK

_before_this_run = 0.0
_this_run: Callable[[], float] | None = None
_one_run_at_a_time = threading.Lock()


def passed() -> float:
    """
    Virtual seconds that have passed in this process; it stands still between runs.
    """
    return _before_this_run + (_this_run() if _this_run is not None else 0.0)


@contextmanager
def turned_by(seconds_so_far: Callable[[], float]) -> Generator[None, None, None]:
    """
    Let every guard without a clock of its own read virtual time, for as long as the block lasts.

    Args:
        seconds_so_far: Seconds of the run that begins now.

    Raises:
        RuntimeError: If another virtual run is going on: there is one time.
    """
    global _before_this_run, _this_run
    if not _one_run_at_a_time.acquire(blocking=False):
        raise RuntimeError("run_virtual() is running already; one process has one virtual time")
    # From a whole second on, so that a deadline 60 s away is exactly that.
    began_at, began_wall = float(math.ceil(time.monotonic())), time.time()
    _this_run = seconds_so_far
    SYSTEM_CLOCK.now = lambda: began_at + seconds_so_far()
    SYSTEM_CLOCK.wall = lambda: began_wall + seconds_so_far()
    try:
        yield
    finally:
        _before_this_run += seconds_so_far()
        _this_run = None
        SYSTEM_CLOCK.now, SYSTEM_CLOCK.wall = time.monotonic, time.time
        _one_run_at_a_time.release()
