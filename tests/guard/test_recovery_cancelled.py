"""
Cancel the block of a prober at each turn of the loop: the permit is given back, the lane too, and no task is left.
"""

from __future__ import annotations

import asyncio
import sys

import anyio
import pytest
import trio

from hungframe import CircuitBreaker, Guard
from hungframe.testing import RecordingSink, hostile, run_virtual
from tests.guard.fakes import sleeps
from tests.guard.recovering import opened, probed_guard

TURNS = 30


async def many_turns() -> None:
    """
    A probe that suspends again and again, and tidies up.
    """
    try:
        for _ in range(4):
            await anyio.sleep(0)
        await anyio.sleep(1.0)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0)


async def check_given_back(guard: Guard, sink: RecordingSink) -> None:
    """
    A user's call is let through at once, as a probe of its own.
    """
    assert "half_open" == guard.snapshot().state
    assert 0.0 == guard.snapshot().retry_after
    assert not guard._engine.probe_lane.is_held(0.0)  # type: ignore[union-attr]  # It has one.
    assert guard._engine.probe_lane.permit is None  # type: ignore[union-attr]  # It has one.
    assert "done" == await guard.acall(sleeps, 0)
    assert 0 == guard.snapshot().faults
    assert [] == sink.of("probe.result")


@pytest.mark.parametrize("turns", range(TURNS))
def test_at_each_turn_on_asyncio(turns: int) -> None:
    """
    From the turn before the probe begins until it sleeps.
    """

    async def main() -> None:
        sink = RecordingSink()
        guard, prober = probed_guard(many_turns, sink)
        opened(guard)

        async def block() -> None:
            async with prober:
                await anyio.sleep(1e6)

        task = asyncio.create_task(block())
        await asyncio.sleep(60.0)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert {asyncio.current_task()} == asyncio.all_tasks()
        await check_given_back(guard, sink)

    run_virtual(main)


@pytest.mark.parametrize("turns", range(TURNS))
def test_at_each_turn_on_trio(turns: int) -> None:
    """
    The same on trio.
    """

    async def main() -> None:
        sink = RecordingSink()
        guard, prober = probed_guard(many_turns, sink)
        opened(guard)
        living = trio.lowlevel.current_statistics().tasks_living

        async def block() -> None:
            async with prober:
                await anyio.sleep(1e6)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            await trio.sleep(60.0)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert living == trio.lowlevel.current_statistics().tasks_living
        await check_given_back(guard, sink)

    run_virtual(main, backend="trio")


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("scoped", [False, True])
def test_cancelled_again_while_it_leaves(turns: int, scoped: bool) -> None:
    """
    A block that is cancelled twice still waits for its prober, and is cancelled then.
    """

    async def main() -> None:
        sink = RecordingSink()
        guard, prober = probed_guard(many_turns, sink)
        opened(guard)

        async def block() -> None:
            with anyio.CancelScope() as scope:
                async with prober:
                    await anyio.sleep(62 if scoped else 1e6)
                    scope.cancel()

        task = asyncio.create_task(block())
        await asyncio.sleep(60.5)
        task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert {asyncio.current_task()} == asyncio.all_tasks()
        await check_given_back(guard, sink)

    run_virtual(main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_probe_that_will_not_leave_holds_the_block_for_its_grace_only(backend: str) -> None:
    """
    The block is left within its grace, without the probe, which is counted.
    """

    if backend == "asyncio" and sys.version_info < (3, 11):
        pytest.skip("3.10 cannot tell who has cancelled a task: there its deadline has to do")

    async def main() -> None:
        async def probe() -> None:
            await hostile.ignores_close(0.6)

        breaker = CircuitBreaker(open_for=0.05, max_open_for=0.05)
        guard, prober = probed_guard(probe, every=0.05, breaker=breaker, grace=0.02)
        opened(guard)
        async with prober:
            await anyio.sleep(0.15)
            left_at = anyio.current_time()
        assert anyio.current_time() - left_at < 0.3
        assert 1 == guard.snapshot().orphans
        assert "done" == await guard.acall(sleeps, 0)
        await anyio.sleep(0.6)
        assert 0 == guard.snapshot().orphans

    anyio.run(main, backend=backend)


def test_a_loop_that_ends_ends_it() -> None:
    """
    A block that is never left, in a loop that is run to its end: the prober's task ends with the others.
    """
    guard, prober = probed_guard(many_turns)

    async def main() -> None:
        await prober.__aenter__()
        await anyio.sleep(0)

    for backend in ("asyncio", "trio"):
        anyio.run(main, backend=backend)
        prober._stopped()
    assert "closed" == guard.snapshot().state
