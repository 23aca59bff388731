"""
Run one callee under its deadline, on whatever the caller runs on.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from hungframe.abort import asyncio_driver, threads
from hungframe.abort.asyncio_driver import Abandoned
from hungframe.abort.wire import freeze

if TYPE_CHECKING:
    from hungframe.abort.call import Call
    from hungframe.abort.lanes import Lanes


class NotAwaitableError(TypeError):
    """
    An async call of something that is not async: nothing was guarded.
    """


def in_place(call: Call, awaitable: Awaitable[Any], lanes: Lanes) -> Awaitable[Any]:
    """
    Await what an async callee has returned, under the call's deadline, in the caller's own task or beside it.
    """
    coro = awaitable if type(awaitable) is CoroutineType else coroutine_of(awaitable)
    if in_trio():
        from hungframe.abort import trio_driver

        return trio_driver.drive(call, coro, lanes)
    return _on_asyncio(call, coro, lanes)


async def _on_asyncio(call: Call, coro: Coroutine[Any, Any, Any], lanes: Lanes) -> Any:
    try:
        waits_for = coro.send(None)
    except StopIteration as stop:
        return stop.value
    return await asyncio_driver.drive(call, coro, waits_for, lanes)


def in_worker(call: Call, fn: Callable[[], Any]) -> Any:
    """
    Run a sync callee in a worker thread, and wait for it in this one.

    Raises:
        Abandoned: If it was left.
    """
    job = threads.start(fn)
    try:
        if not job.wait(call.deadline - call.limits.clock.now()):
            call.aborting = call.disturbed = True
            freeze(call)
            call.where = job.where()
            if not job.wait(call.limits.grace):
                raise Abandoned
    finally:
        if job.running:
            # Also when the caller was interrupted from the keyboard.
            job.left = True
            call.leftover = job
    return job.take()


async def in_worker_async(call: Call, fn: Callable[[], Any]) -> Any:
    """
    Run a callee, sync or async, in a worker thread, and wait for it without blocking the loop.

    An async callee gets an event loop of its own there. Cancelling this leaves the worker.
    """
    on_trio = in_trio()
    wake, wait = _trio_event() if on_trio else _asyncio_event()
    job = threads.start(functools.partial(_run, fn, on_trio), wake)
    try:
        await wait()
    finally:
        if job.running:
            job.left = True
            call.where = job.where()
            call.leftover = job
    return job.take()


def _run(fn: Callable[[], Any], on_trio: bool) -> Any:
    """
    Run a callee in a worker thread; an async one in a loop of the kind that its caller runs on.
    """
    result = fn()
    if not inspect.isawaitable(result):
        return result
    contexts: list[Context] = []

    async def main() -> Any:
        try:
            return await result
        finally:
            contexts.append(copy_context())

    try:
        if on_trio:
            import trio

            return trio.run(main)
        return asyncio.run(main())
    finally:
        # The loop ran it in a context of its own.
        for context in contexts:
            threads.adopt(context)


def _asyncio_event() -> tuple[Callable[[], None], Callable[[], Awaitable[None]]]:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(event.set)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            if not loop.is_closed():
                raise

    async def wait() -> None:
        await event.wait()

    return wake, wait


def _trio_event() -> tuple[Callable[[], None], Callable[[], Awaitable[None]]]:
    import trio

    event = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def wake() -> None:
        try:
            token.run_sync_soon(event.set)
        except trio.RunFinishedError:
            pass

    return wake, event.wait


def coroutine_of(awaitable: Any) -> Coroutine[Any, Any, Any]:
    """
    A coroutine that awaits *awaitable*, which may be one itself.
    """
    if inspect.iscoroutine(awaitable):
        return awaitable
    if not inspect.isawaitable(awaitable):
        raise TypeError(f"the callee must return an awaitable, got {awaitable!r}; a sync callee is called with `call`")
    return _awaiting(awaitable)


async def _awaiting(awaitable: Any) -> Any:
    return await awaitable


def in_trio() -> bool:
    """
    Tell whether the code that asks runs in a task of trio.
    """
    trio: Any = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        # Also in guest mode, where an asyncio loop runs around trio.
        return bool(trio.lowlevel.in_trio_task())
    except AttributeError:
        # trio is being imported right now, or is older than the function.
        try:
            trio.lowlevel.current_task()
        except (AttributeError, RuntimeError):
            return False
        return True
