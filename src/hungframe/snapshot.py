"""
What a guard looks like at one moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hungframe.abort.orphans import OrphanInfo


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    A guard at one moment; all times are seconds.

    >>> from hungframe import Guard
    >>> snapshot = Guard("images", timeout=20).snapshot()
    >>> snapshot.state, snapshot.timeout, snapshot.in_flight
    ('closed', 20, 0)
    """

    name: str
    state: str
    """`closed`, `open`, `half_open`, `forced_open` or `disabled`."""
    failure_rate: float
    """Weight of failures over weight of all in the window, in 0..1."""
    weight: float
    """Weight of the outcomes in the window."""
    budget: int | None
    """Whole tokens that the scarcest budget has now: calls, where each costs one; None without a budget."""
    timeout: float | None
    """What the next call would be given; None for no limit."""
    p95: float | None
    """The learned quantile; None until enough was observed."""
    in_flight: int
    """Calls that run now and have a caller."""
    waiting: int
    """Calls that wait to be let in: for a slot of the bulkhead, or for a token; of all guards that share it."""
    slots: int | None
    """How many the bulkhead lets run at once, now; None without one."""
    suspects: int
    """Those among them that have taken suspiciously long."""
    orphans: int
    """Callees that were left behind and still run."""
    orphan_calls: tuple[OrphanInfo, ...]
    """Their age, and where they hung."""
    retry_after: float | None
    """Until a call may be let through; 0 for now, None where no time can be named."""
    generation: int
    """Counts the breaker's changes of state."""
    open_seconds_today: float
    """For how long the breaker was open since midnight, UTC."""
    counts: Mapping[str, int]
    """Calls by outcome, since the guard was made."""
    faults: int
    """Errors raised by sinks, classifiers and ports of the user's own."""

    def to_json(self) -> str:
        """
        Write one JSON object with these names.
        """

        def plain(value: Any) -> Any:
            return None if value in (float("inf"), float("-inf")) else value

        return json.dumps({name: plain(value) for name, value in asdict(self).items()})
