"""
A block under a deadline: asyncio and trio, in time and too late, cancelled and not.
"""

from __future__ import annotations

import asyncio
import time

import anyio
import pytest

from hungframe import CallTimeoutError, time_left
from tests.abort.measure import DEADLINE, LONG, SLACK, hostile_guard

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@backends
def test_a_block_in_time(backend: str) -> None:
    """
    A block that ends before its deadline is a success.
    """
    guard = hostile_guard(timeout=LONG)

    async def main() -> None:
        async with guard.attempt() as attempt:
            await anyio.sleep(0)
            assert LONG == attempt.timeout
            left = time_left()
            assert left is not None and 0 < left <= LONG
        assert time_left() is None

    anyio.run(main, backend=backend)
    assert 1 == guard.snapshot().counts["success"] == sum(guard.snapshot().counts.values())


@backends
def test_a_block_that_awaits_nothing(backend: str) -> None:
    """
    Nor does it matter whether it awaits anything.
    """
    guard = hostile_guard()

    async def main() -> None:
        async with guard.attempt():
            pass

    anyio.run(main, backend=backend)
    assert 1 == guard.snapshot().counts["success"]


@backends
def test_a_block_past_its_deadline(backend: str) -> None:
    """
    It is cancelled at its deadline, and says where it hung.
    """
    guard = hostile_guard()

    async def main() -> float:
        began = time.monotonic()
        with pytest.raises(CallTimeoutError) as caught:
            async with guard.attempt():
                await anyio.sleep(LONG)
        assert "clean" == caught.value.receipt
        assert "main" in caught.value.where or "sleep" in caught.value.where
        await anyio.sleep(0)
        return time.monotonic() - began

    assert min(anyio.run(main, backend=backend) for _ in range(2)) < DEADLINE + SLACK
    assert guard.snapshot().counts["timeout"] == 2 == sum(guard.snapshot().counts.values())


@backends
def test_a_block_that_raises(backend: str) -> None:
    """
    What the block raises passes through unchanged.
    """
    guard = hostile_guard()
    mine = ValueError("mine")

    async def main() -> None:
        with pytest.raises(ValueError, match="mine") as caught:
            async with guard.attempt():
                raise mine
        assert mine is caught.value

    anyio.run(main, backend=backend)
    assert 1 == guard.snapshot().counts["unknown"]


@backends
def test_a_block_that_raises_when_it_is_cancelled(backend: str) -> None:
    """
    At its deadline it was a timeout, whatever the block makes of it.
    """
    guard = hostile_guard()

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            async with guard.attempt():
                try:
                    await anyio.sleep(LONG)
                finally:
                    raise ValueError("the block's own mess")

    anyio.run(main, backend=backend)
    assert 1 == guard.snapshot().counts["timeout"]


@backends
def test_a_block_that_swallows_its_cancellation(backend: str) -> None:
    """
    It can go on, since a block cannot be left; its end is a timeout.
    """
    guard = hostile_guard()

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            async with guard.attempt():
                try:
                    await anyio.sleep(LONG)
                except BaseException:
                    pass

    anyio.run(main, backend=backend)
    assert 1 == guard.snapshot().counts["timeout"] == sum(guard.snapshot().counts.values())


@backends
def test_a_block_whose_caller_is_cancelled(backend: str) -> None:
    """
    A scope around the block that is over is told to nobody but its owner.
    """
    guard = hostile_guard(timeout=LONG)

    async def main() -> None:
        with anyio.move_on_after(0.01) as scope:
            async with guard.attempt():
                await anyio.sleep(LONG)
        assert scope.cancelled_caught

    anyio.run(main, backend=backend)
    assert 1 == guard.snapshot().counts["cancelled"] == sum(guard.snapshot().counts.values())


def test_a_result_in_the_deadlines_tick() -> None:
    """
    A block whose awaited result is there when the deadline fires goes on to its end.
    """
    guard = hostile_guard()

    async def main() -> None:
        async with guard.attempt():
            asyncio.get_running_loop().call_later(0.01, time.sleep, 0.09)
            await asyncio.sleep(0.04)

    asyncio.run(main())
    assert 1 == guard.snapshot().counts["success"]


@backends
def test_nested_blocks(backend: str) -> None:
    """
    The inner block has what is left of the outer one; only one of the two tells of the timeout to the other.
    """
    outer, inner = hostile_guard(), hostile_guard(timeout=LONG)

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            async with outer.attempt():
                async with inner.attempt() as attempt:
                    assert attempt.timeout <= DEADLINE
                    await anyio.sleep(LONG)

    anyio.run(main, backend=backend)
    assert 1 == outer.snapshot().counts["timeout"] == sum(outer.snapshot().counts.values())
    assert 1 == sum(inner.snapshot().counts.values())
    assert 0 == inner.snapshot().in_flight == outer.snapshot().in_flight
