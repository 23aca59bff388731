"""
Callees that do not want to end.

Each takes the seconds after which it ends by itself after all, so that a test
can see its orphan go. The async ones run on asyncio and on trio.

>>> from hungframe import CallTimeoutError, Guard
>>> guard = Guard("hostile", timeout=0.05, grace=0.01)
>>> try:
...     guard.call(blocks, 0.2)
... except CallTimeoutError as error:
...     print(error.receipt)
orphan
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import anyio.to_thread

__all__ = [
    "ASYNC",
    "SYNC",
    "blocks",
    "blocks_async",
    "ignores_close",
    "leaks_thread",
    "shields",
    "spins",
    "spins_async",
    "swallows_cancel",
]


async def swallows_cancel(seconds: float = 3.0) -> str:
    """
    Catch every cancellation and go on.
    """
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            await _hide(left)
        except GeneratorExit:
            raise
        except BaseException:
            continue
    return "done"


async def ignores_close(seconds: float = 3.0) -> str:
    """
    Catch every cancellation, and being closed, and go on.
    """
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            await _hide(left)
        except BaseException:
            continue
    return "done"


async def _hide(seconds: float) -> None:
    # trio delivers a cancellation at every checkpoint that is not shielded, so
    # that who only catches it spins. The first sleep lets it come through.
    try:
        await anyio.sleep(seconds)
    except GeneratorExit:
        raise
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(min(seconds, 0.05))
        raise


async def shields(seconds: float = 3.0) -> str:
    """
    Wait in a shielded cancel scope.
    """
    with anyio.CancelScope(shield=True):
        await anyio.sleep(seconds)
    return "done"


async def leaks_thread(seconds: float = 3.0) -> str:
    """
    Wait for a thread that knows no cancellation.
    """
    await anyio.to_thread.run_sync(time.sleep, seconds)
    return "done"


async def blocks_async(seconds: float = 3.0) -> str:
    """
    Block the event loop. Nothing within the loop can end this.
    """
    time.sleep(seconds)
    return "done"


async def spins_async(seconds: float = 3.0) -> str:
    """
    Never wait for anything, and let the loop turn all the same.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await anyio.lowlevel.checkpoint()
    return "done"


def blocks(seconds: float = 3.0) -> str:
    """
    Block the thread in a system call.
    """
    time.sleep(seconds)
    return "done"


def spins(seconds: float = 3.0) -> str:
    """
    Keep the thread busy in Python code.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return "done"


ASYNC: tuple[Callable[[float], Awaitable[str]], ...] = (
    swallows_cancel,
    ignores_close,
    shields,
    leaks_thread,
    spins_async,
)
"""Async callees that can be left; `blocks_async` cannot."""

SYNC: tuple[Callable[[float], str], ...] = (blocks, spins)
