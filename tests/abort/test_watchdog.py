"""
The loop watchdog: a blocked event loop is told once, with the culprit's stack, where it was asked for.
"""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import trio

from hungframe import Guard
from hungframe.events import LoopBlocked
from hungframe.testing import RecordingSink


def _watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "watchdog" in thread.name]


def _gone() -> bool:
    until = time.monotonic() + 1.0
    while _watchdogs() and time.monotonic() < until:
        time.sleep(0.002)
    return not _watchdogs()


def _sole_culprit(seconds: float) -> None:
    time.sleep(seconds)


def _check(told: list[object], name: str, least: int) -> None:
    assert 1 == len(told)
    event = told[0]
    assert isinstance(event, LoopBlocked)
    assert name in event.where and "test_watchdog.py" in event.where
    assert event.blocked_ms >= least
    assert "loop.blocked" in event.to_json()


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_told_once_with_the_culprits_stack(library: str) -> None:
    """
    A loop that is blocked for long is told of one time, while it is blocked.
    """
    sink = RecordingSink()
    guard = Guard("watching", sinks=[sink])
    while_blocked: list[int] = []

    async def main() -> None:
        async with guard.watch_loop(blocked_after=0.03):
            await (asyncio.sleep(0.01) if library == "asyncio" else trio.sleep(0.01))
            _sole_culprit(0.2)
            while_blocked.append(len(sink.of("loop.blocked")))
            await (asyncio.sleep(0.05) if library == "asyncio" else trio.sleep(0.05))

    asyncio.run(main()) if library == "asyncio" else trio.run(main)

    _check(list(sink.of("loop.blocked")), "_sole_culprit", 25)
    assert [1] == while_blocked
    assert _gone()


def test_told_again_when_it_blocks_again() -> None:
    """
    Two blocks, two events.
    """
    sink = RecordingSink()
    guard = Guard("watching", sinks=[sink])

    async def main() -> None:
        async with guard.watch_loop(blocked_after=0.03):
            for _ in range(2):
                _sole_culprit(0.12)
                await asyncio.sleep(0.05)

    asyncio.run(main())

    assert 2 == len(sink.of("loop.blocked"))


def test_a_loop_that_turns_is_not_told_of() -> None:
    """
    A busy loop that keeps turning, and an idle one, are both well.
    """
    sink = RecordingSink()
    guard = Guard("watching", sinks=[sink])

    async def main() -> None:
        async with guard.watch_loop(blocked_after=0.2):
            until = time.monotonic() + 0.1
            while time.monotonic() < until:
                await asyncio.sleep(0)
            await asyncio.sleep(0.3)

    asyncio.run(main())

    assert [] == sink.of("loop.blocked")


def test_off_unless_asked_for() -> None:
    """
    A guard that was not asked to watch starts no thread for it.
    """
    guard = Guard("not watching", timeout=1.0)

    asyncio.run(guard.acall(asyncio.sleep, 0.001))

    assert [] == _watchdogs()


@pytest.mark.parametrize("how", ["raises", "is cancelled", "while blocked"])
def test_its_thread_ends(how: str) -> None:
    """
    However the block is left.
    """
    guard = Guard("watching")

    async def main() -> None:
        async with guard.watch_loop(blocked_after=0.02):
            await asyncio.sleep(0.005)
            assert 1 == len(_watchdogs())
            if how == "raises":
                raise KeyError
            if how == "is cancelled":
                raise asyncio.CancelledError
            time.sleep(0.06)

    try:
        asyncio.run(main())
    except (KeyError, asyncio.CancelledError):
        pass

    assert _gone()


def test_its_thread_ends_with_a_loop_that_was_just_closed() -> None:
    """
    A loop that is closed within the block is not waited for.
    """
    guard = Guard("watching")
    loop = asyncio.new_event_loop()
    watch = guard.watch_loop(blocked_after=0.02)
    loop.run_until_complete(watch.__aenter__())
    loop.close()

    assert _gone()
