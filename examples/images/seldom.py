"""
Keep a library that says the same again and again from filling the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable


class Seldom(logging.Filter):
    """
    Let each kind of message pass once in *seconds*; a kind is what stands in the code, without its values.

    Args:
        clock: Tells seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._again: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, kind = self._clock(), str(record.msg)
        if now < self._again.get(kind, now):
            return False
        self._again[kind] = now + self._seconds
        return True
