"""
The story of a provider that hangs, as the requirements tell it (R16, R30): open after three, closed after three.
"""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

from hungframe import CallTimeoutError, CircuitOpenError, Guard
from hungframe.testing import HostileProvider, RecordingSink, VirtualClock, run_virtual
from tests.guard.fakes import (
    Backend,
    StatusError,
    about,
    fail,
    on_each_backend,
    open_by_timeouts,
    opened_guard,
    outcome_of,
    sleeps,
)


@on_each_backend
def test_provider_that_sleeps_65_seconds_is_aborted_at_60(backend: Backend) -> None:
    """
    A fresh guard gives a call 60 s; one that would take 65 ends at 60, and is told so.
    """

    async def main() -> None:
        guard = Guard("images")
        began_at = anyio.current_time()

        with pytest.raises(CallTimeoutError) as aborted:
            await guard.acall(sleeps, 65)

        assert 60.0 == anyio.current_time() - began_at
        assert (60.0, about(60.0)) == (aborted.value.timeout, aborted.value.elapsed)
        assert ("images", "clean") == (aborted.value.guard, aborted.value.receipt)

    run_virtual(main, backend=backend)


@on_each_backend
def test_provider_that_sleeps_59_seconds_is_waited_for(backend: Backend) -> None:
    """
    A call that ends before its deadline is no timeout, however slow.
    """

    async def main() -> None:
        guard = Guard("images")

        assert "done" == await guard.acall(sleeps, 59.9)
        assert 1 == guard.snapshot().counts["success"]

    run_virtual(main, backend=backend)


@on_each_backend
def test_three_hung_calls_open_a_fresh_guard(backend: Backend) -> None:
    """
    Two hung calls leave it closed; the third opens it, and the next caller is refused without being called.
    """

    async def main() -> None:
        guard = Guard("images")
        called = 0

        async def hangs() -> None:
            nonlocal called
            called += 1
            await anyio.sleep(65)

        states = []
        for _ in range(3):
            with pytest.raises(CallTimeoutError):
                await guard.acall(hangs)
            states.append(guard.snapshot().state)
        with pytest.raises(CircuitOpenError) as refused:
            await guard.acall(hangs)

        assert ["closed", "closed", "open"] == states
        assert 3 == called
        assert ("images", 60.0) == (refused.value.guard, about(refused.value.retry_after))

    run_virtual(main, backend=backend)


def test_three_sync_timeouts_open_a_fresh_guard() -> None:
    """
    Three timeouts of the callee's own (an SDK's) open it just so.
    """
    guard, _ = opened_guard()

    with pytest.raises(CircuitOpenError):
        guard.call(str)


def test_five_ordinary_failures_open_a_fresh_guard() -> None:
    """
    A 500 weighs 1, so that it takes five.
    """
    guard = Guard("images")

    fail(guard, *[StatusError(500) for _ in range(4)])
    assert "closed" == guard.snapshot().state
    fail(guard, StatusError(500))

    assert "open" == guard.snapshot().state


@on_each_backend
def test_three_greens_close(backend: Backend) -> None:
    """
    From open: a probe after 60 s, one more each 60 s, closed after the third, with nothing left in the window.
    """

    async def main() -> None:
        guard = Guard("images")
        open_by_timeouts(guard)
        opened_at = anyio.current_time()
        probed_at = []

        while guard.snapshot().state != "closed":
            if "in" == await outcome_of(lambda: guard.acall(sleeps, 1)):
                probed_at.append(anyio.current_time() - 1 - opened_at)
            else:
                await anyio.sleep(1)

        assert [60, 120, 180] == [round(at) for at in probed_at]
        assert (0.0, 0.0) == (guard.snapshot().weight, guard.snapshot().failure_rate)

    run_virtual(main, backend=backend)


def test_red_among_greens_opens_again() -> None:
    """
    Greens must be consecutive: two, then a failure, and it is open for another 60 s.
    """
    guard, clock = opened_guard()
    for _ in range(2):
        clock.advance(60)
        guard.call(str)
    clock.advance(60)

    fail(guard, StatusError(503))

    assert ("open", 60.0) == (guard.snapshot().state, guard.snapshot().retry_after)
    for _ in range(2):
        clock.advance(60)
        guard.call(str)
    assert "half_open" == guard.snapshot().state


@on_each_backend
def test_one_of_a_hundred_at_each_probe_time(backend: Backend) -> None:
    """
    Each minute a hundred callers come; of each hundred one gets through until the circuit is closed, then all.
    """

    async def main() -> None:
        guard = Guard("images")
        open_by_timeouts(guard)
        got_in = []

        for _ in range(4):
            await anyio.sleep(60)
            ends: list[str] = []

            async def caller(ends: list[str] = ends) -> None:
                ends.append(await outcome_of(lambda: guard.acall(sleeps, 0.5)))

            async with anyio.create_task_group() as group:
                for _ in range(100):
                    group.start_soon(caller)
            got_in.append(Counter(ends)["in"])

        assert [1, 1, 1, 100] == got_in

    run_virtual(main, backend=backend)


def test_the_whole_story_in_events() -> None:
    """
    Each change of state is told once: open, half-open, closed.
    """
    clock, sink = VirtualClock(), RecordingSink()
    guard = Guard("images", clock=clock, sinks=[sink])

    open_by_timeouts(guard)
    for _ in range(3):
        clock.advance(60)
        guard.call(str)

    states = [getattr(event, "state") for event in sink.of("breaker.state")]  # noqa: B009  # an Event has no state
    assert ["open", "half_open", "closed"] == states


def test_real_provider_that_is_silent_opens_and_recovers() -> None:
    """
    The same over a real socket: silent three times, refused, then answered again.
    """
    httpx = pytest.importorskip("httpx")
    clock = VirtualClock()
    guard = Guard("images", clock=clock)

    with HostileProvider(["silent", "silent", "silent", "ok"]) as provider:

        def ask() -> int:
            status: int = httpx.get(provider.url, timeout=0.1, trust_env=False).status_code
            return status

        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                guard.call(ask)
        with pytest.raises(CircuitOpenError):
            guard.call(ask)
        assert 3 == provider.stats.requests
        for _ in range(3):
            clock.advance(60)
            assert 200 == guard.call(ask)

    assert "closed" == guard.snapshot().state


def timeouts(count: int) -> list[TimeoutError]:
    """
    Make errors, each an object of its own.
    """
    return [TimeoutError() for _ in range(count)]


@pytest.mark.parametrize(
    ("ends", "opens"),
    [
        # Eight timeouts push eight of 25 successes out: 16 / (17 + 16) is less than a half. Nine make it 18 / 34.
        ([*[None] * 25, *timeouts(8)], False),
        ([*[None] * 25, *timeouts(9)], True),
        # 4 successes and 2 timeouts: a rate of exactly a half, and a weight of 8.
        ([*[None] * 4, *timeouts(2)], True),
        ([*[None] * 5, *timeouts(2)], False),
        # A success may tip the minimum: two timeouts weigh 4, and a success makes it 5 at a rate of 0.8.
        ([*timeouts(2), None], True),
        # Ten quotas weigh 5; nine do not.
        ([StatusError(429) for _ in range(9)], False),
        ([StatusError(429) for _ in range(10)], True),
    ],
)
def test_exact_at_the_thresholds(ends: list[Exception | None], opens: bool) -> None:
    """
    It opens at a rate of a half or above once 5 of weight are in the window, and at nothing less.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock)

    for error in ends:
        # A 429 is followed by a pause.
        clock.advance(61)
        guard.call(str) if error is None else fail(guard, error)

    assert ("open" if opens else "closed") == guard.snapshot().state
