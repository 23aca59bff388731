"""
When a call that takes unusually long is sent once more, for whichever answer comes first.

After the P95 a second request costs some 5 % of load and cuts the tail
(Dean & Barroso, "The Tail at Scale", 2013).
"""

from __future__ import annotations

import math
from typing import Literal

from hungframe._core import check


class Hedge:
    """
    Send another attempt of a call that takes too long; the first answer counts.

    Give it to a guard: `Guard(hedge=Hedge())`. Nothing is hedged that is not
    idempotent. Each attempt takes a token and a slot of its own.

    Args:
        after: Seconds from one attempt to the next, above 0, or "p95", the
            default, for the P95 that the guard's timeout has learned: until it
            has, nothing is hedged.

        max: Additional attempts at most, at least 1; 1 if not given.

    Raises:
        TypeError: If an argument is of the wrong kind.

        ValueError: If an argument is out of range.

    >>> Hedge().delay(1.5), Hedge().delay(None), Hedge(after=3.0).delay(None)
    (1.5, None, 3.0)
    """

    __slots__ = ("_seconds", "max")

    def __init__(self, after: float | Literal["p95"] = "p95", max: int = 1) -> None:
        self._seconds = _seconds(after)
        self.max = check.whole("max", max, at_least=1)

    def __repr__(self) -> str:
        return f"Hedge(after={(self._seconds or 'p95')!r}, max={self.max!r})"

    def delay(self, p95: float | None) -> float | None:
        """
        Tell the seconds until the next attempt is sent; None where that is not known yet: then none is sent.

        Args:
            p95: Seconds, as far as learned.
        """
        if self._seconds is not None:
            return self._seconds
        # One that cannot be told is infinite; and after none at all, each call would be sent twice.
        return p95 if p95 is not None and 0 < p95 < math.inf else None


def _seconds(after: object) -> float | None:
    if isinstance(after, str):
        if after != "p95":
            raise ValueError(f"after must be 'p95' or seconds above 0, got {after!r}")
        return None
    return check.number("after", after, above=0)
