"""
A permit that was taken before is spent on a call, with all that a guarded call has.
"""

from __future__ import annotations

import asyncio
import gc
import time
import warnings
from collections.abc import Iterator
from typing import Literal

import anyio
import pytest

from hungframe import CallTimeoutError, CircuitOpenError, Guard, TokenBucket, current_deadline
from hungframe.permit import GuardPermit
from hungframe.testing import RecordingSink, hostile, run_virtual
from tests.guard.fakes import Backend, StatusError, on_each_backend, opened_guard


async def upper(text: str) -> str:
    await anyio.sleep(1)
    return text.upper()


@on_each_backend
def test_async_call_is_made_and_settled(backend: Backend) -> None:
    """
    One request, one success, one token; nothing is in flight after.
    """
    sink = RecordingSink()
    guard = Guard("images", budget=TokenBucket(capacity=3), sinks=[sink])

    async def main() -> str:
        permit = guard.acquire()
        assert 1 == guard.snapshot().in_flight
        answer = await permit.acall(upper, "a cat")
        snapshot = guard.snapshot()
        assert (0, 2, 1) == (snapshot.in_flight, snapshot.budget, snapshot.counts["success"])
        return answer

    assert "A CAT" == run_virtual(main, backend=backend)
    assert ["gen.request", "gen.success"] == sink.names()


@on_each_backend
def test_async_call_ends_at_the_deadline_counted_from_the_asking(backend: Backend) -> None:
    """
    What was waited between asking and calling is gone.
    """
    guard = Guard("images", timeout=10)

    async def main() -> float:
        permit = guard.acquire()
        await anyio.sleep(4)
        began = anyio.current_time()
        with pytest.raises(CallTimeoutError):
            await permit.acall(anyio.sleep, 60)
        return anyio.current_time() - began

    assert 6.0 == pytest.approx(run_virtual(main, backend=backend))
    assert 1 == guard.snapshot().counts["timeout"]


@on_each_backend
def test_async_call_begun_after_its_deadline_ends_at_once(backend: Backend) -> None:
    """
    A permit is no way around the deadline.
    """
    guard = Guard("images", timeout=1)

    async def main() -> float:
        permit = guard.acquire()
        await anyio.sleep(4)
        began = anyio.current_time()
        with pytest.raises(CallTimeoutError):
            await permit.acall(anyio.sleep, 60)
        return anyio.current_time() - began

    assert 0.25 >= run_virtual(main, backend=backend)


@on_each_backend
def test_callee_that_swallows_the_abort_is_left(backend: Backend) -> None:
    """
    The grace, and the orphan, as for any other call.
    """
    guard = Guard("images", timeout=0.05, grace=0.05)

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await guard.acquire().acall(hostile.swallows_cancel, 0.3)
        await anyio.sleep(0.3)

    began = time.monotonic()
    anyio.run(main, backend=backend)
    assert 2.0 > time.monotonic() - began
    assert 1 == guard.snapshot().counts["timeout"]


def test_sync_call() -> None:
    """
    In a worker thread, or in place; it sees the deadline.
    """
    where: list[Literal["auto"] | None] = ["auto", None]
    for isolate in where:
        guard = Guard("images", timeout=5, isolate=isolate)

        deadline = guard.acquire().call(current_deadline)

        assert deadline is not None
        assert {"success": 1} == {name: count for name, count in guard.snapshot().counts.items() if count}


def test_error_settles_and_goes_on() -> None:
    """
    The same object, counted as what it is.
    """
    guard, error = Guard("images"), StatusError(429)

    def fails() -> None:
        raise error

    with pytest.raises(StatusError) as raised:
        guard.acquire().call(fails)

    assert error is raised.value
    assert 1 == guard.snapshot().counts["quota"]


@pytest.mark.parametrize("before", ["settle", "cancel", "call"])
def test_spent_once(before: str) -> None:
    """
    A second time is a mistake, told as such, and counts nothing.
    """
    guard = Guard("images", isolate=None)
    permit = guard.acquire()
    if before == "settle":
        permit.settle("success")
    elif before == "cancel":
        permit.cancel()
    else:
        permit.call(str.upper, "a cat")
    counts = dict(guard.snapshot().counts)

    with pytest.raises(RuntimeError, match="settled already"):
        permit.call(str.upper, "a cat")
    with pytest.raises(RuntimeError, match="settled already"):
        asyncio.run(_awaited(permit))

    assert counts == guard.snapshot().counts


async def _awaited(permit: GuardPermit) -> str:
    return await permit.acall(upper, "a cat")


def test_wrong_callee_leaves_the_permit_unspent() -> None:
    """
    A mistake in the code must not cost a token for good.
    """
    guard = Guard("images", budget=TokenBucket(capacity=1))

    def numbers() -> Iterator[int]:
        yield 1

    permit = guard.acquire()
    with pytest.raises(TypeError, match="use `await acall"):
        _ = permit.call(upper, "a cat")
    with pytest.raises(TypeError, match="one answer"):
        permit.call(numbers)
    with pytest.raises(TypeError, match="one answer"):
        _ = permit.acall(numbers)  # type: ignore[arg-type]  # What this test is about.
    permit.cancel()

    assert 1 == guard.snapshot().budget


def test_coroutine_that_is_never_awaited_spends_nothing() -> None:
    """
    A task that is cancelled before it began: the block around gives the permit back, once.
    """
    guard = Guard("images", budget=TokenBucket(capacity=1))

    async def main() -> None:
        async def job() -> None:
            with permit:
                await permit.acall(upper, "a cat")

        permit = guard.acquire()
        task = asyncio.ensure_future(job())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        unused = guard.acquire() if guard.snapshot().budget else None
        assert unused is None

        other = Guard("other", budget=TokenBucket(capacity=1))
        permit = other.acquire()
        never_awaited = permit.acall(upper, "a cat")
        never_awaited.close()
        permit.cancel()
        assert 1 == other.snapshot().budget

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        asyncio.run(main())
        gc.collect()
    assert {"cancelled": 1} == {name: count for name, count in guard.snapshot().counts.items() if count}


@on_each_backend
def test_deadline_around_the_spending_holds(backend: Backend) -> None:
    """
    An inner call never outlives the outer one, wherever its permit was taken.
    """
    outer, inner = Guard("outer", timeout=2), Guard("inner", timeout=50)

    async def main() -> float:
        permit = inner.acquire()

        async def job() -> None:
            await permit.acall(anyio.sleep, 60)

        began = anyio.current_time()
        with pytest.raises(CallTimeoutError):
            await outer.acall(job)
        return anyio.current_time() - began

    assert 2.0 == pytest.approx(run_virtual(main, backend=backend), abs=0.3)


@on_each_backend
def test_probe_that_is_spent_closes_the_breaker(backend: Backend) -> None:
    """
    The permit of a half-open breaker is its probe.
    """
    guard, clock = opened_guard()
    clock.advance(60)

    async def main() -> None:
        for _ in range(3):
            permit = guard.acquire()
            with pytest.raises(CircuitOpenError):
                guard.acquire()
            assert "A CAT" == await permit.acall(upper, "a cat")
            clock.advance(60)

    run_virtual(main, backend=backend)
    assert "closed" == guard.snapshot().state
