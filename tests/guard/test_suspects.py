"""
Age in flight is evidence: calls that hang open the breaker before the first of them times out (semantics 2).
"""

from __future__ import annotations

import anyio
import pytest

from hungframe import AdaptiveTimeout, CircuitBreaker, CircuitOpenError, Guard
from hungframe.testing import VirtualClock, run_virtual
from tests.guard.fakes import Backend, fail, in_flight, on_each_backend, sleeps


def warm(guard: Guard, clock: VirtualClock, seconds: float = 1.0, times: int = 20) -> None:
    """
    Let calls of *seconds* end well.
    """
    for _ in range(times):
        permit = guard.acquire()
        clock.advance(seconds)
        permit.settle("success")


def warm_guard(seconds: float = 1.0, times: int = 20) -> tuple[Guard, VirtualClock]:
    """
    A guard that knows how long calls take; its window is empty again.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, breaker=CircuitBreaker(max_age=60.0))
    warm(guard, clock, seconds, times)
    clock.advance(61)
    return guard, clock


@on_each_backend
def test_hung_calls_open_before_they_time_out(backend: Backend) -> None:
    """
    Twenty-five calls hang; 5 s later the next caller is refused, 40 s before the first of them times out.
    """

    async def main() -> None:
        guard = Guard("images")
        for _ in range(20):
            await guard.acall(sleeps, 1)
        began_at = anyio.current_time()

        async with anyio.create_task_group() as group:
            for _ in range(25):
                group.start_soon(lambda: guard.acall(sleeps, 40))
            await anyio.sleep(4.9)
            await guard.acall(sleeps, 0)
            await anyio.sleep(0.2)
            with pytest.raises(CircuitOpenError):
                await guard.acall(sleeps, 0)

            assert anyio.current_time() - began_at < 6
            assert 0 == guard.snapshot().counts["timeout"]

    run_virtual(main, backend=backend)


def test_suspected_after_5_seconds_at_least() -> None:
    """
    With a P95 of 1 s a call is suspected after 5 s and not a moment before.
    """
    guard, clock = warm_guard()
    with in_flight(guard, 5):
        clock.advance(4.99)
        guard.acquire().settle("4xx")
        clock.advance(0.01)
        with pytest.raises(CircuitOpenError):
            guard.acquire()

        assert ("open", 5) == (guard.snapshot().state, guard.snapshot().in_flight)


def test_suspects_of_each_moment() -> None:
    """
    Whoever looks a moment before the five seconds are over sees none, and then all.
    """
    guard, clock = warm_guard()
    with in_flight(guard, 3):
        clock.advance(4.99)
        assert 0 == guard.snapshot().suspects
        clock.advance(0.01)
        assert 3 == guard.snapshot().suspects


def test_suspected_on_time_whenever_it_began() -> None:
    """
    Calls that began between two looks are suspected when they are old enough, and not a look later.
    """
    guard, clock = warm_guard()
    guard.acquire().cancel()
    clock.advance(0.1)
    with in_flight(guard, 5):
        clock.advance(4.9)
        guard.acquire().cancel()
        clock.advance(0.2)
        with pytest.raises(CircuitOpenError):
            guard.acquire().cancel()


def test_suspected_after_twice_the_p95() -> None:
    """
    With a P95 of 20 s a call is suspected after 40.
    """
    guard, clock = warm_guard(seconds=20.0)
    with in_flight(guard, 5):
        clock.advance(39.99)
        guard.acquire().settle("4xx")
        clock.advance(0.01)
        with pytest.raises(CircuitOpenError):
            guard.acquire()


def test_no_suspects_before_20_samples() -> None:
    """
    A fresh guard has no P95, and suspects nobody.
    """
    guard, clock = warm_guard(times=19)
    with in_flight(guard, 10):
        clock.advance(30)
        guard.acquire().cancel()

        assert ("closed", 0) == (guard.snapshot().state, guard.snapshot().suspects)


def test_four_suspects_do_not_open() -> None:
    """
    A suspect weighs 1 in rate and weight: four are a rate of 1, and a weight of 4.
    """
    guard, clock = warm_guard()
    with in_flight(guard, 4):
        clock.advance(30)
        guard.acquire().cancel()

        assert ("closed", 4.0, 1.0, 4) == (
            guard.snapshot().state,
            guard.snapshot().weight,
            guard.snapshot().failure_rate,
            guard.snapshot().suspects,
        )


def test_suspect_is_replaced_by_its_outcome() -> None:
    """
    Suspects that end well after all have been provisional: nothing of them is left but the successes.
    """
    guard, clock = warm_guard()
    with in_flight(guard, 4) as hung:
        clock.advance(30)
        guard.acquire().cancel()

        for permit in hung:
            permit.settle("success")

        assert ("closed", 4.0, 0.0, 0) == (
            guard.snapshot().state,
            guard.snapshot().weight,
            guard.snapshot().failure_rate,
            guard.snapshot().suspects,
        )


def test_cancelled_suspect_leaves_nothing() -> None:
    """
    Suspects that are cancelled leave the window as it was.
    """
    guard, clock = warm_guard()
    with in_flight(guard, 4) as hung:
        clock.advance(30)
        guard.acquire().cancel()

        for permit in hung:
            permit.cancel()

        assert (0.0, 0) == (guard.snapshot().weight, guard.snapshot().suspects)


def test_suspects_weigh_with_the_outcomes() -> None:
    """
    Two suspects and two timeouts: 2 + 4 of 6 is enough.
    """
    guard, clock = warm_guard()
    with in_flight(guard, 2):
        clock.advance(30)
        fail(guard, TimeoutError(), TimeoutError())

        assert "open" == guard.snapshot().state


def test_successes_outweigh_few_suspects() -> None:
    """
    Ten successes stand against five suspects: a third is less than half.
    """
    guard, clock = warm_guard()
    warm(guard, clock, seconds=0.0, times=10)
    with in_flight(guard, 5):
        clock.advance(30)
        guard.acquire().cancel()

        assert ("closed", 5 / 15) == (guard.snapshot().state, guard.snapshot().failure_rate)


def test_suspects_that_opened_count_nowhere_when_they_time_out() -> None:
    """
    They were admitted before the circuit opened: their timeouts, later, neither reopen nor prolong.
    """
    guard, clock = warm_guard()
    with in_flight(guard, 5) as hung:
        clock.advance(10)
        with pytest.raises(CircuitOpenError):
            guard.acquire()
        clock.advance(40)

        for permit in hung:
            permit.settle("timeout")

        assert ("open", 20.0) == (guard.snapshot().state, guard.snapshot().retry_after)


def test_suspects_of_a_state_that_is_gone_weigh_nothing() -> None:
    """
    They opened the circuit; when it has closed again, and they hang on, they neither open it again nor count.
    """
    guard, clock = warm_guard()
    with in_flight(guard, 5):
        clock.advance(10)
        with pytest.raises(CircuitOpenError):
            guard.acquire()
        for _ in range(3):
            clock.advance(60)
            guard.call(str)
        assert "closed" == guard.snapshot().state

        with in_flight(guard, 1):
            clock.advance(10)
            guard.acquire().cancel()

            assert ("closed", 1, 1.0) == (
                guard.snapshot().state,
                guard.snapshot().suspects,
                guard.snapshot().weight,
            )


def test_snapshot_tells_the_suspects_of_now() -> None:
    """
    Whoever looks sees the calls that are suspects now, also when nobody has asked for a call since.
    """
    guard, clock = warm_guard()
    with in_flight(guard, 3):
        clock.advance(30)

        assert (3, 3.0) == (guard.snapshot().suspects, guard.snapshot().weight)


def test_poller_is_told_of_a_hang() -> None:
    """
    A poller that asks the health port before it fetches a job learns of a hang without having to walk into it.
    """
    guard, clock = warm_guard()
    with in_flight(guard, 5):
        clock.advance(30)

        assert guard.health.should_open_circuit()


def test_fixed_timeout_suspects_nobody() -> None:
    """
    A number of seconds learns no P95, so that no call is suspected.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, timeout=60)
    warm(guard, clock)
    with in_flight(guard, 10):
        clock.advance(30)
        guard.acquire().cancel()

        assert "closed" == guard.snapshot().state


def test_samples_needed_are_the_estimators() -> None:
    """
    An estimator that is content with 3 samples suspects after 3.
    """
    clock = VirtualClock()
    breaker = CircuitBreaker(max_age=60.0)
    guard = Guard("images", clock=clock, timeout=AdaptiveTimeout(min_samples=3), breaker=breaker)
    warm(guard, clock, times=3)
    clock.advance(61)
    with in_flight(guard, 5):
        clock.advance(5)
        with pytest.raises(CircuitOpenError):
            guard.acquire()
