"""
What a prober is given, and what a guard is given as its recovery: what will not do is refused with what would.
"""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest

from hungframe import BreakerState, CircuitBreaker, CircuitOpenError, Guard, Outcome, Permit, Refusal, TokenBucket
from hungframe.ports import Breaker, RecoveryPort
from hungframe.recovery import Prober
from hungframe.testing import RecordingSink, VirtualClock, run_virtual
from tests.guard.fakes import fail, open_by_timeouts, opened_guard
from tests.guard.test_bad_input import NO_SECONDS, ZERO, refused


def probe() -> str:
    return "a shape"


def takes_a_prompt(prompt: str) -> str:
    return prompt


def yields() -> Iterator[str]:
    yield "a"


async def yields_async() -> AsyncIterator[str]:
    yield "a"


async def awaits() -> str:
    return "a"


@pytest.mark.parametrize(("value", "error"), [*NO_SECONDS, *ZERO])
def test_every(value: Any, error: type[Exception]) -> None:
    """
    Seconds, above 0 and finite.
    """
    refused(error, "every", value, lambda: Prober(probe, every=value))


@pytest.mark.parametrize(
    ("value", "error"), [(-0.1, ValueError), (1.1, ValueError), (True, TypeError), ("1", TypeError)]
)
def test_jitter(value: Any, error: type[Exception]) -> None:
    """
    A share in [0, 1].
    """
    refused(error, "jitter", value, lambda: Prober(probe, jitter=value))


@pytest.mark.parametrize("value", [None, 3, "probe", takes_a_prompt, yields, yields_async, str, Prober])
def test_what_is_no_probe(value: Any) -> None:
    """
    A function without arguments, which makes one request.
    """
    with pytest.raises(TypeError, match="probe must"):
        Prober(value)


def test_a_coroutine_is_no_probe() -> None:
    """
    It could be awaited once.
    """
    with pytest.raises(TypeError, match="probe must be a function without arguments"):
        Prober(awaits())  # type: ignore[arg-type]  # What is refused.


def test_arguments_are_given_by_partial() -> None:
    """
    As the error says.
    """
    with pytest.raises(TypeError, match="functools.partial"):
        Prober(takes_a_prompt)  # type: ignore[arg-type]  # What is refused.
    Prober(functools.partial(takes_a_prompt, "abstract geometric shape, no text"))
    Prober(awaits)


@pytest.mark.parametrize(
    ("name", "value"),
    [("budget", 5), ("budget", TokenBucket), ("on_result", 1), ("on_result", awaits), ("random", 0.5)],
)
def test_other_arguments(name: str, value: Any) -> None:
    """
    Each error names its argument.
    """
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(TypeError, match=f"{name} must"):
        Prober(probe, **arguments)


def test_one_prober_belongs_to_one_guard() -> None:
    """
    The second guard is told whose it is, and what would do.
    """
    prober = Prober(probe)
    Guard("images", recovery=prober)
    with pytest.raises(ValueError, match="guard 'images'; make a Prober for each guard"):
        Guard("videos", recovery=prober)


def test_entering_it_too_early_or_twice() -> None:
    """
    Before it has a guard there is nothing to probe for.
    """
    prober = Prober(probe)
    with pytest.raises(RuntimeError, match=r"Guard\(\.\.\., recovery=prober\)"):
        prober.__enter__()
    Guard("images", recovery=prober)
    with prober, pytest.raises(RuntimeError, match="running already; enter it once"):
        prober.__enter__()
    with prober:
        pass


def test_entering_it_async_outside_of_a_loop_changes_nothing() -> None:
    """
    What could not begin may be entered later.
    """
    prober = Prober(probe)
    Guard("images", recovery=prober)
    coro: Any = prober.__aenter__()
    with pytest.raises(RuntimeError, match="no running event loop"):
        coro.send(None)
    with prober:
        pass


def test_a_guard_without_a_breaker_recovers_nothing() -> None:
    """
    There is nothing that opens.
    """
    with pytest.raises(ValueError, match="recovery must be None where breaker is None"):
        Guard("images", breaker=None, recovery=Prober(probe))


class AsyncPort:
    async def schedule_probe(self, kind: str) -> None:
        raise AssertionError


@pytest.mark.parametrize("value", [1, "prober", probe, Prober, AsyncPort()])
def test_what_is_no_recovery_port(value: Any) -> None:
    """
    An object with a plain method schedule_probe.
    """
    with pytest.raises(TypeError, match="recovery must|schedule_probe must"):
        Guard("images", recovery=value)


class OwnRecovery:
    """
    A port of the user's own, which looks at the guard's lock.
    """

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.guard: Guard | None = None
        self.error: Exception | None = None

    def schedule_probe(self, kind: str) -> None:
        assert self.guard is None or not self.guard._engine.lock.locked()
        self.kinds.append(kind)
        if self.error is not None:
            raise self.error


def test_a_port_of_ones_own_is_told_when_it_opens() -> None:
    """
    Once for each opening, outside of the lock; user calls are probes as without it.
    """
    recovery, clock = OwnRecovery(), VirtualClock()
    guard = recovery.guard = Guard("images", recovery=recovery, clock=clock)
    assert isinstance(recovery, RecoveryPort)
    open_by_timeouts(guard)
    assert ["timeout"] == recovery.kinds
    clock.advance(60)
    fail(guard, TimeoutError())
    assert ["timeout", "timeout"] == recovery.kinds
    guard.recovery.schedule_probe("quota")
    assert "quota" == recovery.kinds[-1]


def test_a_port_that_raises_is_counted() -> None:
    """
    The call that has opened the breaker ends as it would have.
    """
    recovery = OwnRecovery()
    recovery.error = OSError("the queue is down")
    guard = Guard("images", recovery=recovery)
    open_by_timeouts(guard)
    assert 1 == guard.snapshot().faults


@pytest.mark.parametrize("kind", ["", "hang", None, 3])
def test_kinds(kind: Any) -> None:
    """
    Three, and no other.
    """
    prober = Prober(probe)
    for port in (Guard("images").recovery, Guard("images", recovery=prober).recovery, prober):
        with pytest.raises(ValueError, match="kind must be 'timeout', 'burst' or 'quota'"):
            port.schedule_probe(kind)


def test_without_a_prober_the_next_call_is_the_probe() -> None:
    """
    The port is there all the same, and tells when that may be.
    """
    sink, clock = RecordingSink(), VirtualClock()
    guard = Guard("images", sinks=[sink], clock=clock)
    assert isinstance(guard.recovery, RecoveryPort)
    open_by_timeouts(guard)
    clock.advance(45)
    guard.recovery.schedule_probe("burst")
    told = [json.loads(event.to_json()) for event in sink.of("probe.scheduled")]
    assert [("timeout", 60000), ("burst", 15000)] == [(each["kind"], each["inMs"]) for each in told]
    clock.advance(15)
    assert "A" == guard.call(str.upper, "a")


def test_nothing_is_to_be_probed_while_it_is_closed() -> None:
    """
    No time can be named then, nor where an operator has forced it open.
    """
    sink = RecordingSink()
    guard = Guard("images", sinks=[sink])
    guard.recovery.schedule_probe("timeout")
    guard.force_open()
    guard.recovery.schedule_probe("timeout")
    assert [None, None] == [getattr(event, "in_ms", 0) for event in sink.of("probe.scheduled")]


def test_views_share_it() -> None:
    """
    A view is the same guard.
    """
    recovery = OwnRecovery()
    guard = Guard("images", recovery=recovery)
    open_by_timeouts(guard.using(timeout=5))
    guard.using(timeout=5).recovery.schedule_probe("burst")
    assert ["timeout", "burst"] == recovery.kinds


def test_a_closed_breaker_is_asked_without_looking_at_the_lane() -> None:
    """
    The lane costs a closed breaker nothing: it has a permit to share.
    """
    guard = Guard("images", recovery=Prober(probe))
    lane, guard._engine.probe_lane = guard._engine.probe_lane, object()  # type: ignore[assignment]
    try:
        assert "A" == guard.call(str.upper, "a")
    finally:
        # Every guard is asked to forget its lane when a later test forks.
        guard._engine.probe_lane = lane


class PlainBreaker:
    """
    A breaker of the user's own, with nothing but the port: open for 30 s, closed by one success.
    """

    def __init__(self) -> None:
        self.opened_at: float | None = None

    def acquire(self, now: float, *, timeout: float) -> Permit | Refusal:
        return Refusal("own", None) if self.state(now) is BreakerState.OPEN else Permit(1)

    def record(self, permit: Permit, outcome: Outcome, now: float) -> None:
        self.opened_at = None if outcome is Outcome.SUCCESS else now

    def release(self, permit: Permit, now: float) -> None:
        raise AssertionError

    def state(self, now: float) -> BreakerState:
        if self.opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.opened_at + 30.0 else BreakerState.HALF_OPEN


class DerivedBreaker(CircuitBreaker):
    """
    A subclass is asked as a port is.
    """


@pytest.mark.parametrize(("breaker", "probes"), [(PlainBreaker, 1), (DerivedBreaker, 3)])
def test_a_breaker_of_ones_own_is_probed_too(breaker: Callable[[], Breaker], probes: int) -> None:
    """
    A user's call is refused in its half-open, and a probe asks it by what it has.
    """
    seen: list[float] = []

    async def looks() -> None:
        seen.append(anyio.current_time())

    async def main() -> None:
        prober = Prober(looks, 10.0, random=lambda: 0.0)
        guard = Guard("images", breaker=breaker(), recovery=prober)
        async with prober:
            while guard.snapshot().state == "closed":
                fail(guard, TimeoutError())
            while guard.snapshot().state != "closed":
                with pytest.raises(CircuitOpenError):
                    guard.acquire()
                await anyio.sleep(0.5)

    run_virtual(main)
    assert probes == len(seen)


def test_opened_without_a_prober_stays_as_it_was() -> None:
    """
    One user's call in 60 s, three of which close it.
    """
    guard, clock = opened_guard()
    for _ in range(3):
        clock.advance(60)
        assert "A" == guard.call(str.upper, "a")
    assert "closed" == guard.snapshot().state
