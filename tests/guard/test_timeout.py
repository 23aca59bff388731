"""
How long a call is given (R15, semantics 4).
"""

from __future__ import annotations

import math

import anyio
import pytest

from hungframe import AdaptiveTimeout, CallTimeoutError, Guard
from hungframe.testing import VirtualClock, run_virtual
from tests.guard.fakes import Backend, StatusError, about, fail, on_each_backend, open_by_timeouts, sleeps
from tests.guard.own_ports import CountingBreaker


def learned(*seconds: float) -> tuple[Guard, VirtualClock]:
    """
    A guard that has seen successes of these seconds.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, isolate=None)
    for each in seconds:
        guard.call(clock.advance, each)
    return guard, clock


def test_60_seconds_until_20_successes() -> None:
    """
    19 are not enough, the 20th is.
    """
    assert 60.0 == learned(*[1.0] * 19)[0].snapshot().timeout
    assert 45.0 == learned(*[1.0] * 20)[0].snapshot().timeout


@pytest.mark.parametrize(
    ("p95", "timeout"),
    [(1.0, 45.0), (35.0, 45.0), (36.0, 46.0), (50.0, 60.0), (79.0, 89.0), (80.0, 90.0), (85.0, 90.0)],
)
def test_p95_and_ten_seconds_within_45_and_90(p95: float, timeout: float) -> None:
    """
    timeout = clamp(p95 + 10, 45, 90).
    """
    guard, _ = learned(*[p95] * 20)

    assert (p95, timeout) == (
        about(guard.snapshot().p95),
        about(guard.snapshot().timeout),
    )
    with guard.acquire() as permit:
        assert timeout == about(permit.timeout)


def test_p95_is_the_nearest_rank() -> None:
    """
    Of 1 to 20 s it is 19, a latency that was seen.
    """
    guard, _ = learned(*[float(second) for second in range(20, 0, -1)])

    assert 19.0 == guard.snapshot().p95


def test_last_200_successes_count() -> None:
    """
    The 201st pushes the first out: ten slow calls are 5 % of 200, and an eleventh is more.
    """
    guard, clock = learned(*[70.0] * 11, *[1.0] * 189)
    assert 70.0 == guard.snapshot().p95

    guard.call(clock.advance, 1.0)

    assert 1.0 == guard.snapshot().p95


def test_successes_are_forgotten_after_an_hour() -> None:
    """
    What is older than 3,600 s is no evidence: back to 60 s, and no P95.
    """
    guard, clock = learned(*[1.0] * 20)

    clock.advance(3602)

    assert (60.0, None) == (guard.snapshot().timeout, guard.snapshot().p95)


def test_failures_are_no_latencies() -> None:
    """
    What fails, fast or slow, says nothing of how long an answer takes.
    """
    guard, _ = learned(*[1.0] * 19)

    guard.acquire().settle("cancelled")
    fail(guard, StatusError(500), StatusError(404), TimeoutError(), StatusError(429))

    assert (60.0, None) == (guard.snapshot().timeout, guard.snapshot().p95)


def test_probe_runs_with_the_longest_timeout() -> None:
    """
    A probe is given the ceiling, so that a provider that has become slower can be learned again.
    """
    guard, clock = learned(*[1.0] * 20)
    guard.reset()
    open_by_timeouts(guard)
    clock.advance(60)
    assert 45.0 == guard.snapshot().timeout

    with guard.acquire() as probe:
        assert 90.0 == probe.timeout


@on_each_backend
def test_fixed_seconds(backend: Backend) -> None:
    """
    `timeout=5` is five seconds, whatever was seen.
    """
    guard = Guard("images", timeout=5)

    async def main() -> None:
        for _ in range(25):
            await guard.acall(sleeps, 4.9)
        with pytest.raises(CallTimeoutError) as aborted:
            await guard.acall(sleeps, 5.1)
        assert 5.0 == aborted.value.timeout

    run_virtual(main, backend=backend)


@on_each_backend
def test_none_is_no_deadline(backend: Backend) -> None:
    """
    `timeout=None` waits as long as it takes.
    """
    guard = Guard("images", timeout=None)

    assert "done" == run_virtual(lambda: guard.acall(sleeps, 1e6), backend=backend)
    assert None is guard.snapshot().timeout
    with guard.acquire() as permit:
        assert (math.inf, math.inf) == (permit.timeout, permit.deadline)


@on_each_backend
def test_total_timeout_caps(backend: Backend) -> None:
    """
    `total_timeout` holds whatever the timeout says.
    """
    guard = Guard("images", total_timeout=7)

    async def main() -> None:
        began_at = anyio.current_time()
        with pytest.raises(CallTimeoutError):
            await guard.acall(sleeps, 10)
        assert 7.0 == anyio.current_time() - began_at

    run_virtual(main, backend=backend)

    assert 7.0 == guard.snapshot().timeout


def test_total_timeout_above_the_timeout_changes_nothing() -> None:
    """
    The shorter of the two holds.
    """
    with Guard("images", timeout=5, total_timeout=7).acquire() as permit:
        assert 5.0 == permit.timeout


def test_guards_do_not_share_a_default_timeout() -> None:
    """
    What one guard learns is its own.
    """
    learned(*[1.0] * 20)

    assert 60.0 == Guard("other").snapshot().timeout


def test_settings_of_the_policy() -> None:
    """
    Each of the estimator's settings is obeyed.
    """
    clock = VirtualClock()
    policy = AdaptiveTimeout(quantile=0.5, margin=1.0, floor=2.0, ceiling=8.0, initial=3.0, min_samples=3)
    guard = Guard("images", clock=clock, isolate=None, timeout=policy)
    seen = [guard.snapshot().timeout]

    for seconds in (*[4.0] * 3, *[20.0] * 5, *[0.1] * 13):
        guard.call(clock.advance, seconds)
        seen.append(guard.snapshot().timeout)

    assert [3.0, 3.0, 3.0, 5.0] == [about(seconds) for seconds in seen[:4]]
    assert (7.5, 8.0, 2.0) == (about(seen[7]), seen[8], seen[-1])


def test_it_stands_still_while_the_breaker_is_open() -> None:
    """
    What is in flight when the breaker opens ends later, is learned, and moves the timeout when it is probed.
    """
    guard, clock = learned(*[40.0] * 20)
    slow = [guard.acquire() for _ in range(20)]
    guard.reset()
    open_by_timeouts(guard)
    timeout = guard.snapshot().timeout
    clock.advance(55)
    for permit in slow:
        permit.settle("success")
    guard.health.record_success(55.0)

    assert "open" == guard.snapshot().state
    assert (55.0, timeout) == (about(guard.snapshot().p95), guard.snapshot().timeout)
    clock.advance(5)
    with guard.acquire():
        clock.advance(1)

    assert "half_open" == guard.snapshot().state
    assert 65.0 == about(guard.snapshot().timeout)


@pytest.mark.parametrize("breaker", [None, CountingBreaker()])
def test_it_moves_where_no_breaker_of_ours_is_open(breaker: CountingBreaker | None) -> None:
    """
    Without a breaker, and with one of the user's own that is closed, nothing makes it stand still.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, isolate=None, breaker=breaker)
    for _ in range(20):
        guard.call(clock.advance, 50)

    assert 60.0 == guard.snapshot().timeout
    guard.call(clock.advance, 60)
    guard.call(clock.advance, 60)
    assert 70.0 == about(guard.snapshot().timeout)
