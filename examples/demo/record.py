"""
What is noted down while the demo runs. Checks, table and picture are made of this and of nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from hungframe import Snapshot
from hungframe.events import BreakerChanged, Event
from hungframe.testing import HostileProvider

CallOutcome = Literal["waiting", "answered", "timeout", "refused", "failed", "cut off"]

WORKERS = ("worker 1", "worker 2", "worker 3")
CROWD = "everyone else"


class Stopwatch:
    """
    Tell seconds since the demo began.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()

    def now(self) -> float:
        return time.monotonic() - self._began


@dataclass(slots=True)
class Call:
    """
    One call as its caller saw it; instants are seconds since the demo began.
    """

    who: str
    began: float
    ended: float | None = None
    outcome: CallOutcome = "waiting"
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """
    What a provider has counted on its side by one moment.
    """

    requests: int
    open: int

    @classmethod
    def of(cls, provider: HostileProvider) -> Counts:
        stats = provider.stats
        return cls(stats.requests, stats.open)


@dataclass(slots=True)
class LaneRecord:
    """
    What one service went through. Its provider was asked at three moments: see the names.
    """

    calls: list[Call] = field(default_factory=list)
    when_hung: Counts = Counts(0, 0)
    before_crowd: Counts = Counts(0, 0)
    at_the_end: Counts = Counts(0, 0)
    left_open: bool = False
    """Whether a connection was open after the client was closed."""

    def ended(self, outcome: CallOutcome) -> list[Call]:
        return [call for call in self.calls if call.outcome == outcome]

    def first_answer_after(self, instant: float) -> float | None:
        """
        Seconds from *instant* to the first answer; None if there was none.
        """
        answers = [call.ended for call in self.ended("answered") if call.ended is not None and call.ended > instant]
        return min(answers) - instant if answers else None


@dataclass(slots=True)
class Record:
    """
    The whole demo.
    """

    guarded: LaneRecord = field(default_factory=LaneRecord)
    naked: LaneRecord = field(default_factory=LaneRecord)
    events: Sequence[Event] = ()
    states: list[tuple[float, str]] = field(default_factory=list)
    """The breaker's states, each from its instant on."""
    refusals: list[float] = field(default_factory=list)
    """Seconds that each refusal took, where that was measured."""
    refused_at: float = 0.0
    hung_at: float = 0.0
    well_at: float = 0.0
    cut_at: float = 0.0
    snapshot: Snapshot | None = None
    tasks_left: int = 0

    @property
    def refusal_took(self) -> float:
        """
        Seconds, the median.
        """
        return median(self.refusals) if self.refusals else 0.0

    def crowd(self) -> list[Call]:
        """
        The callers that came to the guarded service at once.
        """
        return [call for call in self.guarded.calls if call.who == CROWD]

    def state_events(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, BreakerChanged)]
