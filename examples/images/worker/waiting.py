"""
Wait for others, and come back although they never answer.

`asyncio.wait` is all that is awaited here: it neither cancels nor raises, so that no result is lost on the way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)

# What a cancelled task gets to leave; psycopg first asks the server to cancel its statement.
LEAVES_WITHIN = 1.0

_left_behind: set[asyncio.Future[Any]] = set()


async def within(seconds: float, work: Coroutine[Any, Any, T], what: str) -> T:
    """
    Await *work*, at most so many seconds; then it is cancelled, and left behind if it does not go.

    Args:
        what: Is done there, for the error: "the claim".

    Raises:
        TimeoutError: If it did not end in time.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        await leave(task)
    # A result that came while it was being cancelled is a result.
    if not task.done() or task.cancelled():
        raise TimeoutError(f"{what} has not ended within {seconds:.3g} s")
    return task.result()


async def leave(task: asyncio.Future[Any]) -> None:
    """
    Cancel a task unless it is done, and wait a moment for it to go.
    """
    if task.done():
        return
    task.cancel()
    try:
        await asyncio.wait({task}, timeout=LEAVES_WITHIN)
    finally:
        if not task.done():
            # The loop holds its tasks weakly, and an error that nobody fetches is told at its end.
            _left_behind.add(task)
            task.add_done_callback(_gone)


def _gone(task: asyncio.Future[Any]) -> None:
    _left_behind.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.info("what was left behind has failed: %s", one_line(error))


async def either(seconds: float | None, *works: Coroutine[Any, Any, object]) -> None:
    """
    Wait until one of *works* has ended, at most so many seconds (None: without limit); the others are cancelled.

    What one of them raises is raised.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            await leave(task)
    for task in tasks:
        if not task.cancelled() and task.done():
            task.result()


async def until(stop: asyncio.Event, seconds: float) -> None:
    """
    Sleep, but no longer than until *stop* is set.
    """
    await either(seconds, stop.wait())


async def uncancelled(work: Coroutine[Any, Any, T]) -> T:
    """
    Await *work* to its end, although who waits is cancelled meanwhile; that is raised afterwards.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as once_more:
            cancelled = once_more
    try:
        if cancelled is not None:
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("what was to be ended before its cancellation has failed: %s", one_line(error))
            raise cancelled
        return task.result()
    finally:
        # A frame that holds the exception which holds the frame is a cycle.
        del cancelled


def one_line(error: BaseException) -> str:
    """
    Name an error for the log: its class and the first line of what it says.
    """
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
