"""
Providers that fail and come back, and guards with a prober, for the tests of recovery.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from hungframe import CircuitBreaker, Guard
from hungframe.events import ProbeEnded
from hungframe.recovery import Prober
from hungframe.testing import RecordingSink
from tests.guard.fakes import open_by_timeouts


class Provider:
    """
    A provider that is probed: it answers, fails or hangs as it is told.
    """

    def __init__(self) -> None:
        self.probed_at: list[float] = []
        self.error: BaseException | None = None
        self.hangs_for = 0.0
        self.running = 0
        self.most_running = 0

    async def probe(self) -> str:
        """
        Make one request.
        """
        self.probed_at.append(anyio.current_time())
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await anyio.sleep(self.hangs_for)
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        return "a shape"


def never_later() -> float:
    """
    A draw for a jitter of nothing.
    """
    return 0.0


def probed_guard(
    probe: Callable[[], object], sink: RecordingSink | None = None, every: float = 60.0, **settings: Any
) -> tuple[Guard, Prober]:
    """
    A guard and its prober, without jitter.
    """
    prober = Prober(probe, every, random=never_later)
    settings.setdefault("breaker", CircuitBreaker())
    return Guard("images", recovery=prober, sinks=[] if sink is None else [sink], **settings), prober


def opened(guard: Guard) -> Guard:
    """
    The guard, once three timeouts have opened it.
    """
    open_by_timeouts(guard)
    return guard


def ended(sink: RecordingSink) -> list[tuple[str, str]]:
    """
    Kind and outcome of each probe.
    """
    return [(event.kind, event.outcome) for event in sink.events if isinstance(event, ProbeEnded)]
