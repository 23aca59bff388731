"""
Sinks that raise, that cannot be named, that ask back, and that are interrupted: no call is harmed.
"""

from __future__ import annotations

import pytest

from hungframe import Guard, TokenBucket
from hungframe.events import Event
from hungframe.testing import VirtualClock
from tests.guard.fakes import fail
from tests.guard.test_faults import Breaks, PortError, told


def test_sink_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """
    Each broken sink is told of once, and counted at each event.
    """
    first, second = Breaks(), Breaks()
    guard = Guard("images", sinks=[first, second])

    for _ in range(3):
        guard.call(str)

    assert (6, 6, 12) == (first.times, second.times, guard.snapshot().faults)
    assert 2 == len(told(caplog))


@pytest.mark.parametrize("evt", ["gen.request", "gen.success"])
def test_interrupt_while_telling(evt: str) -> None:
    """
    Ctrl-C within a sink goes on to the caller, and takes nothing with it: what was not sent gives its token back.
    """
    clock = VirtualClock()

    def interrupted(event: Event) -> None:
        if event.evt == evt:
            raise KeyboardInterrupt

    guard = Guard("images", clock=clock, budget=TokenBucket(capacity=3), sinks=[interrupted])

    with pytest.raises(KeyboardInterrupt):
        guard.call(str)

    assert (3 if evt == "gen.request" else 2, 0) == (guard.snapshot().budget, guard.snapshot().in_flight)
    assert 1 == sum(guard.snapshot().counts.values())


class Unspeakable:
    """
    A sink that raises, and cannot even say what it is.
    """

    def __call__(self, event: Event) -> None:
        raise PortError("broken")

    def __repr__(self) -> str:
        raise PortError("no name either")


def test_sink_that_cannot_be_named() -> None:
    """
    Telling of a broken sink does not harm a call either.
    """
    guard = Guard("images", sinks=[Unspeakable()])

    assert "done" == guard.call(lambda: "done")
    assert 2 == guard.snapshot().faults


def test_sink_that_asks_the_guard() -> None:
    """
    A sink may look at the guard that tells it: no lock is held while it runs.
    """
    states: list[str] = []

    def looks(event: Event) -> None:
        states.append(guard.snapshot().state)
        guard.health.current_budget()

    guard = Guard("images", sinks=[looks])
    fail(guard, TimeoutError(), TimeoutError(), TimeoutError())
    guard.force_open()

    assert ["open", "forced_open"] == [states[-2], states[-1]]
