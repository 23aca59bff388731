"""
How long to wait for an instant.
"""

from __future__ import annotations

import math


def wait(until: float, now: float) -> float:
    """
    Seconds from *now* to *until*, such that who adds them to *now* is there, whatever the floats; 0 if it has come.

    >>> wait(60.0, now=15.0), wait(60.0, now=61.0)
    (45.0, 0.0)
    """
    if until <= now:
        return 0.0
    seconds = until - now
    # The difference of two floats may be a little less than what is between them.
    while now + seconds < until:
        seconds = math.nextafter(seconds, math.inf)
    return seconds
