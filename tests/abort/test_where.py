"""
An aborted call says where it hung: file, line and function of the innermost frames, and no values.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import pytest
import trio

from hungframe import CallTimeoutError
from hungframe.events import GenAbandoned, GenFail
from hungframe.testing import RecordingSink
from tests.abort.measure import LONG, hostile_guard

SECRET = "a prompt that nobody may read"
# Where frames were left out it says so with three dots.
STEP = re.compile(r"^([\w.\-]+(/[\w.\-]+)*:\d+ in [\w<>]+|\.\.\.)$")


def _here() -> int:
    """
    The line after the one that asks.
    """
    frame = inspect.currentframe()
    assert isinstance(frame, FrameType) and frame.f_back is not None
    return frame.f_back.f_lineno + 1


lines: dict[str, int] = {}


async def innermost(prompt: str) -> None:
    lines["innermost"] = _here()
    await asyncio.sleep(LONG)
    print(prompt)


async def middle(prompt: str) -> None:
    await innermost(prompt)


async def in_a_task(prompt: str) -> None:
    await asyncio.create_task(middle(prompt))


async def gathers(prompt: str) -> None:
    await asyncio.gather(asyncio.sleep(0), middle(prompt))


async def in_tasks_of_tasks(prompt: str) -> None:
    await asyncio.create_task(in_a_task(prompt))


async def waits_for(prompt: str) -> None:
    await asyncio.wait_for(middle(prompt), LONG)


async def to_thread(prompt: str) -> None:
    await asyncio.to_thread(in_a_thread, prompt)


def in_a_thread(prompt: str) -> None:
    lines["in_a_thread"] = _here()
    time.sleep(0.12)
    print(prompt)


def _steps(where: str) -> list[str]:
    steps = where.split(" < ")
    for step in steps:
        assert STEP.match(step), step
    assert SECRET not in where
    return steps


def _hangs_on_asyncio(callee: Callable[[str], Awaitable[Any]]) -> CallTimeoutError:
    async def main() -> CallTimeoutError:
        with pytest.raises(CallTimeoutError) as caught:
            await hostile_guard().acall(callee, SECRET)
        return caught.value

    return asyncio.run(main())


@pytest.mark.parametrize("callee", [innermost, middle, in_a_task, gathers, in_tasks_of_tasks])
def test_the_innermost_frames_of_a_chain_of_awaits(callee: Callable[[str], Awaitable[Any]]) -> None:
    """
    Through coroutines, tasks and gathers down to the line that waits.
    """
    error = _hangs_on_asyncio(callee)

    steps = _steps(error.where)
    assert f"abort/test_where.py:{lines['innermost']} in innermost" in steps
    assert len(steps) <= 6
    assert error.where in str(error)
    assert SECRET not in str(error) + repr(error)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="before, wait_for hides its task behind a future")
def test_through_wait_for() -> None:
    """
    Through asyncio.wait_for, too.
    """
    assert f"abort/test_where.py:{lines['innermost']} in innermost" in _steps(_hangs_on_asyncio(waits_for).where)


def test_a_callee_that_waits_for_a_thread() -> None:
    """
    The chain ends at the call that handed the work to the thread.
    """
    steps = _steps(_hangs_on_asyncio(to_thread).where)

    assert any("in to_thread" in step and "test_where" in step for step in steps)


def test_the_stack_of_a_worker_thread() -> None:
    """
    A sync callee's stack, innermost first, and nothing of the guard below it.
    """
    with pytest.raises(CallTimeoutError) as caught:
        hostile_guard().call(in_a_thread, SECRET)

    steps = _steps(caught.value.where)
    assert f"abort/test_where.py:{lines['in_a_thread']} in in_a_thread" == steps[0]
    assert not any("hungframe/" in step for step in steps)


def test_the_stack_of_an_async_callee_in_a_thread() -> None:
    """
    With isolate="thread" it names the callee's code, when the thread is in it.
    """

    async def blocks() -> None:
        lines["blocks"] = _here()
        time.sleep(0.12)

    async def main() -> CallTimeoutError:
        with pytest.raises(CallTimeoutError) as caught:
            await hostile_guard(isolate="thread").acall(blocks)
        return caught.value

    where = asyncio.run(main()).where
    assert f"abort/test_where.py:{lines['blocks']} in blocks" == _steps(where)[0]


def test_on_trio() -> None:
    """
    The innermost frames of a callee on trio.
    """

    async def hangs(prompt: str) -> None:
        lines["hangs"] = _here()
        await trio.sleep(LONG)

    async def main() -> CallTimeoutError:
        with pytest.raises(CallTimeoutError) as caught:
            await hostile_guard().acall(hangs, SECRET)
        return caught.value

    steps = _steps(trio.run(main).where)
    assert f"abort/test_where.py:{lines['hangs']} in hangs" in steps


def test_it_is_in_the_events_and_among_the_orphans() -> None:
    """
    gen.fail, gen.abandoned and the snapshot's orphans tell the same place.
    """
    sink = RecordingSink()
    guard = hostile_guard(sinks=[sink])
    let_go = threading.Event()

    def hangs() -> None:
        lines["let_go"] = _here()
        let_go.wait(LONG)

    with pytest.raises(CallTimeoutError) as caught:
        guard.call(hangs)
    (orphan,) = guard.snapshot().orphan_calls
    let_go.set()

    where = caught.value.where
    assert f"abort/test_where.py:{lines['let_go']} in hangs" in _steps(where)
    fail, abandoned = sink.of("gen.fail")[0], sink.of("gen.abandoned")[0]
    assert isinstance(fail, GenFail) and isinstance(abandoned, GenAbandoned)
    assert {where} == {fail.where, abandoned.where, orphan.where}
    assert "orphan" == fail.receipt


def test_a_call_that_ends_is_not_asked() -> None:
    """
    Nothing is looked up for a call that ends in time.
    """
    sink = RecordingSink()

    asyncio.run(hostile_guard(timeout=LONG, sinks=[sink]).acall(asyncio.sleep, 0.001))

    assert ["gen.request", "gen.success"] == sink.names()


def test_a_very_deep_chain() -> None:
    """
    However deep the callee hangs, a few frames tell where.
    """

    async def deep(levels: int) -> None:
        if levels:
            await deep(levels - 1)
        else:
            await asyncio.sleep(LONG)

    async def main() -> CallTimeoutError:
        with pytest.raises(CallTimeoutError) as caught:
            await hostile_guard().acall(deep, 150)
        return caught.value

    steps = _steps(asyncio.run(main()).where)
    assert len(steps) <= 6
    assert "in sleep" in steps[0]
