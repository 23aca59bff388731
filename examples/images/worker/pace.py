"""
How often a worker does what it does, and how long it waits for others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Pace:
    """
    All but `concurrency` are seconds, above 0; `drain` may be 0.

    Raises:
        ValueError: If one is out of range.
    """

    concurrency: int = 4
    """Jobs that run at once, at least 1."""
    lease: float = 60.0
    """For how long a claim or a heartbeat holds a job: that of the queue."""
    poll_interval: float = 1.0
    """Until an empty queue is asked again if nobody says that there is a job."""
    claim_within: float = 5.0
    """Within which the queue answers a claim; after that, its permits are given back."""
    store_within: float = 10.0
    """Within which an image is stored, or the queue told how a job ended, each time it is tried."""
    drain: float = 30.0
    """That running jobs get to finish after the first signal."""
    give_back_within: float = 3.0
    """That a stopped worker spends on giving a job back."""
    backoff: float = 0.25
    """The first wait after the database failed; it doubles from then on."""
    backoff_at_most: float = 10.0
    """The longest wait after the database failed."""
    reap_every: float = 15.0
    """Between two looks for jobs of dead workers."""
    board_every: float = 2.0
    """Between two posts to the health board."""

    def __post_init__(self) -> None:
        concurrency: object = self.concurrency
        if not isinstance(concurrency, int) or concurrency < 1:
            raise ValueError(f"concurrency must be a whole number of at least 1, got {self.concurrency!r}")
        for field in fields(self)[1:]:
            seconds = getattr(self, field.name)
            if field.name == "drain":
                if not 0 <= seconds < math.inf:
                    raise ValueError(f"drain must be at least 0 seconds, and not infinite, got {seconds!r}")
            elif not 0 < seconds < math.inf:
                raise ValueError(f"{field.name} must be above 0 seconds, and not infinite, got {seconds!r}")

    @property
    def heartbeat_every(self) -> float:
        """
        A third of the lease: one heartbeat may be lost, and the next still comes in time.
        """
        return self.lease / 3

    def backoff_after(self, failures: int, draw: float) -> float:
        """
        Seconds to wait after so many failures in a row, at least 1.

        Args:
            draw: From [0, 1), so that workers do not come back all at once: half of the wait is random.
        """
        # No shift beyond what a float holds: the cap was reached long before.
        full = min(self.backoff_at_most, self.backoff * 2.0 ** min(failures - 1, 60))
        return full * (0.5 + 0.5 * draw)
