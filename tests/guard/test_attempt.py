"""
`attempt`: a block as a guarded call, with a cooperative deadline.
"""

from __future__ import annotations

import anyio
import pytest

from hungframe import (
    BudgetExhaustedError,
    CallTimeoutError,
    CircuitOpenError,
    Guard,
    TokenBucket,
    current_deadline,
    time_left,
)
from hungframe.testing import VirtualClock, run_virtual
from tests.guard.fakes import Backend, StatusError, about, on_each_backend, open_by_timeouts


@on_each_backend
def test_block_that_ends_well_is_a_success(backend: Backend) -> None:
    """
    The block runs, and is counted once.
    """
    guard = Guard("images")

    async def main() -> None:
        async with guard.attempt():
            await anyio.sleep(1)

    run_virtual(main, backend=backend)

    assert {"success": 1} == counted(guard)


def test_sync_block_that_ends_well_is_a_success() -> None:
    """
    So it is with a plain `with`.
    """
    guard = Guard("images")

    with guard.attempt():
        pass

    assert {"success": 1} == counted(guard)


@on_each_backend
def test_error_of_a_block_comes_out_as_it_is(backend: Backend) -> None:
    """
    It is counted by what it says, and the caller gets the same object.
    """
    guard = Guard("images")
    error = StatusError(429)

    async def main() -> None:
        with pytest.raises(StatusError) as raised:
            async with guard.attempt():
                await anyio.sleep(1)
                raise error
        assert error is raised.value

    run_virtual(main, backend=backend)

    assert {"quota": 1} == counted(guard)


def test_error_of_a_sync_block_comes_out_as_it_is() -> None:
    """
    So it is with a plain `with`.
    """
    guard = Guard("images")
    error = StatusError(503)

    with pytest.raises(StatusError) as raised, guard.attempt():
        raise error

    assert error is raised.value
    assert {"5xx": 1} == counted(guard)


@on_each_backend
def test_block_is_cancelled_at_its_deadline(backend: Backend) -> None:
    """
    A block that still waits then is a timeout.
    """
    guard = Guard("images", timeout=5)

    async def main() -> None:
        began_at = anyio.current_time()
        with pytest.raises(CallTimeoutError) as aborted:
            async with guard.attempt():
                await anyio.sleep(60)
                pytest.fail("it was not cancelled")
        assert 5 == about(anyio.current_time() - began_at)
        assert (5.0, "clean") == (aborted.value.timeout, aborted.value.receipt)
        # The caller's own task is not left cancelled.
        await anyio.sleep(1)

    run_virtual(main, backend=backend)

    assert {"timeout": 1} == counted(guard)


@on_each_backend
def test_block_that_turns_its_abort_into_an_error_is_a_timeout(backend: Backend) -> None:
    """
    Code in the block that says something else about being cancelled by the deadline does not hide it.
    """
    guard = Guard("images", timeout=5)

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            async with guard.attempt():
                try:
                    await anyio.sleep(60)
                except BaseException:
                    raise ValueError("lost the connection") from None

    run_virtual(main, backend=backend)

    assert {"timeout": 1} == counted(guard)


@on_each_backend
def test_cancelled_block(backend: Backend) -> None:
    """
    A block that is cancelled from outside proves nothing, and the cancellation goes on.
    """
    guard = Guard("images", timeout=5)

    async def main() -> None:
        with anyio.move_on_after(1) as scope:
            async with guard.attempt():
                await anyio.sleep(60)
            pytest.fail("the cancellation was swallowed")
        assert scope.cancelled_caught

    run_virtual(main, backend=backend)

    assert {"cancelled": 1} == counted(guard)


@on_each_backend
def test_deadline_of_a_block(backend: Backend) -> None:
    """
    The block can read how long it has, and so can whatever it calls; after it, nothing is left of that.
    """
    clock = VirtualClock(start=1000.0)
    guard = Guard("images", timeout=5, clock=clock)

    async def main() -> None:
        async with guard.attempt() as attempt:
            assert (5.0, 1005.0) == (attempt.timeout, about(attempt.deadline))
            assert attempt.deadline == current_deadline()
            await anyio.sleep(2)
            assert 3.0 == about(time_left())
        assert None is current_deadline()

    run_virtual(main, backend=backend)


def test_deadline_of_a_sync_block_is_seen_and_not_enforced() -> None:
    """
    A plain `with` cannot be interrupted: what asks sees the deadline pass, and the block ends as it ends.
    """
    clock = VirtualClock()
    guard = Guard("images", timeout=5, clock=clock)

    with guard.attempt() as attempt:
        assert (5.0, 5.0) == (attempt.deadline, current_deadline())
        clock.advance(6)
        assert 0.0 == time_left()

    assert {"success": 1} == counted(guard)
    assert None is current_deadline()


def test_attempt_has_no_deadline_before_it_is_entered() -> None:
    """
    Nothing was asked yet, so nothing is known.
    """
    attempt = Guard("images").attempt()

    for name in ("deadline", "timeout"):
        with pytest.raises(RuntimeError, match="entered"):
            getattr(attempt, name)


@on_each_backend
def test_refused_block_does_not_run(backend: Backend) -> None:
    """
    The refusal is raised on entering.
    """
    guard = Guard("images", clock=VirtualClock())
    open_by_timeouts(guard)

    async def main() -> None:
        with pytest.raises(CircuitOpenError):
            async with guard.attempt():
                pytest.fail("it ran")

    run_virtual(main, backend=backend)

    with pytest.raises(CircuitOpenError), guard.attempt():
        pytest.fail("it ran")
    assert 2 == guard.snapshot().counts["rejected"]


def test_attempt_is_one_block() -> None:
    """
    Entering it twice is a mistake, and takes no second token.
    """
    guard = Guard("images", budget=TokenBucket(capacity=2), clock=VirtualClock())
    attempt = guard.attempt()
    with attempt:
        pass

    with pytest.raises(RuntimeError, match="one block"), attempt:
        pass

    assert 1 == guard.snapshot().budget


def test_refused_attempt_may_be_tried_again() -> None:
    """
    What was not let in has not begun.
    """
    clock = VirtualClock()
    guard = Guard("images", budget=TokenBucket(capacity=1), clock=clock)
    guard.call(str)
    attempt = guard.attempt()
    with pytest.raises(BudgetExhaustedError), attempt:
        pass
    clock.advance(60)

    with attempt:
        pass

    assert 2 == guard.snapshot().counts["success"]


@on_each_backend
def test_blocks_nest(backend: Backend) -> None:
    """
    The inner deadline is never later than the outer one, and the outer one is back when the inner block is over.
    """
    outer, inner = Guard("outer", timeout=5), Guard("inner", timeout=60)

    async def main() -> None:
        async with outer.attempt() as first:
            await anyio.sleep(1)
            async with inner.attempt() as second:
                assert 4.0 == about(second.timeout)
                assert second.deadline == current_deadline()
            assert first.deadline == current_deadline()

    run_virtual(main, backend=backend)

    assert ({"success": 1}, {"success": 1}) == (counted(outer), counted(inner))


@on_each_backend
def test_block_without_a_deadline(backend: Backend) -> None:
    """
    It takes as long as it takes.
    """
    guard = Guard("images", timeout=None)

    async def main() -> None:
        async with guard.attempt():
            assert None is time_left()
            await anyio.sleep(1e6)

    run_virtual(main, backend=backend)

    assert {"success": 1} == counted(guard)


@on_each_backend
def test_call_in_flight_is_seen(backend: Backend) -> None:
    """
    While the block runs it is in flight; after it, it is not.
    """
    guard = Guard("images")
    seen = []

    async def main() -> None:
        async with guard.attempt():
            await anyio.sleep(1)
            seen.append(guard.snapshot().in_flight)

    run_virtual(main, backend=backend)
    with guard.attempt():
        seen.append(guard.snapshot().in_flight)

    assert [1, 1] == seen
    assert 0 == guard.snapshot().in_flight


def counted(guard: Guard) -> dict[str, int]:
    """
    The outcomes that were counted at all.
    """
    return {outcome: count for outcome, count in guard.snapshot().counts.items() if count}
