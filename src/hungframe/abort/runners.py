"""
Run one callee under its deadline, on whatever the caller runs on.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import math
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from hungframe.abort import asyncio_driver, threads
from hungframe.abort.asyncio_driver import Abandoned
from hungframe.abort.backend import in_trio
from hungframe.abort.mistake import NotGuardedError
from hungframe.abort.parking import AsyncioPlace, Place, TrioPlace
from hungframe.abort.threads import Job
from hungframe.abort.wire import freeze

if TYPE_CHECKING:
    from hungframe.abort.call import Call
    from hungframe.abort.lanes import Lanes
    from hungframe.limits import Limits


# A callee whose connection was ended may open the next one (SDKs retry), so it
# is interrupted again, this many seconds later, for as long as its grace lasts.
_INTERRUPT_EVERY = 0.02


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


def in_worker(call: Call, job: Job) -> Any:
    """
    Have a worker thread do a job, and wait for it in this one.

    Raises:
        Abandoned: If it was left.
    """
    try:
        # Within the block: an interrupt from the keyboard may come while the
        # thread, which may have begun already, is being started.
        threads.start(job)
        return end_of(call, job)
    finally:
        if job.running:
            leave(call, job)


def end_of(call: Call, job: Job) -> Any:
    """
    Wait in this thread for the end of a job, and no longer than its call's deadline and grace.

    Raises:
        Abandoned: If it has not ended.
    """
    if not job.wait(call.deadline - call.limits.clock.now()):
        call.aborting = call.disturbed = True
        freeze(call)
        call.where = job.where()
        if not _ends_within(job, call.limits.grace):
            raise Abandoned
    return job.take()


def job_of(limits: Limits, guard: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job:
    """
    A call of a sync callee as a job, for a worker thread or a worker process as the settings say.
    """
    if limits.isolate == "process":
        from hungframe.abort.processes import ProcessJob

        return ProcessJob(guard, fn, args, kwargs, on_trio=False)
    return Job(functools.partial(fn, *args, **kwargs))


def in_process(call: Call, guard: str, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """
    Run a sync callee in a worker process, and wait for it in this thread.

    Raises:
        Abandoned: If it was left, because killing it took longer than its grace.
    """
    from hungframe.abort.processes import ProcessJob

    return in_worker(call, ProcessJob(guard, fn, args, kwargs, on_trio=False))


def _ends_within(job: Job, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while True:
        job.interrupt()
        left = until - time.monotonic()
        if job.wait(max(0.0, min(left, _INTERRUPT_EVERY))):
            return True
        if left <= _INTERRUPT_EVERY:
            return False


def leave(call: Call, job: Job) -> None:
    """
    Go without a job that runs on; what it waits for is ended, if that can be.
    """
    job.left = True
    call.leftover = job
    job.interrupt()


async def in_worker_async(call: Call, fn: Callable[[], Any]) -> Any:
    """
    Run a callee, sync or async, in a worker thread, and wait for it without blocking the loop.

    An async callee gets an event loop of its own there. Cancelling this interrupts the callee, and leaves
    the worker if it has not ended in its grace.
    """
    on_trio = in_trio()
    return await _wait_for_async(call, Job(functools.partial(_run, fn, on_trio)), on_trio)


async def in_process_async(call: Call, guard: str, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """
    Run a callee, sync or async, in a worker process, and wait for it without blocking the loop.
    """
    from hungframe.abort.processes import ProcessJob

    on_trio = in_trio()
    job = ProcessJob(guard, fn, args, kwargs, on_trio=on_trio)
    del fn, args, kwargs
    return await _wait_for_async(call, job, on_trio)


async def _wait_for_async(call: Call, job: Job, on_trio: bool) -> Any:
    place: Place = TrioPlace() if on_trio else AsyncioPlace()
    job.notify = place.wake
    try:
        threads.start(job)
        while job.running:
            await place.wait(math.inf)
    except _cancelled(on_trio):
        if job.running:
            call.where = job.where()
            # Told now: whoever leaves this coroutine looks before it ends.
            job.left = True
            call.leftover = job
            await _grace(job, call.limits.grace, place, on_trio)
            if not job.running:
                call.leftover = None
        raise
    finally:
        if job.running:
            leave(call, job)
    return job.take()


async def _grace(job: Job, seconds: float, place: Place, on_trio: bool) -> None:
    """
    Interrupt a job until it ends, at most for so many seconds, and wait for that without blocking the loop.
    """
    until = time.monotonic() + seconds
    with _shield(on_trio):
        while job.running:
            job.interrupt()
            left = until - time.monotonic()
            if left <= 0:
                return
            await place.wait(min(left, _INTERRUPT_EVERY))


def _shield(on_trio: bool) -> contextlib.AbstractContextManager[Any]:
    """
    Keep the scopes around from cancelling again and again what was cancelled already.
    """
    if on_trio:
        import trio

        return trio.CancelScope(shield=True)
    if "anyio" in sys.modules:
        import anyio

        return anyio.CancelScope(shield=True)
    return contextlib.nullcontext()


def _cancelled(on_trio: bool) -> type[BaseException]:
    if on_trio:
        import trio

        return trio.Cancelled
    return asyncio.CancelledError


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


def coroutine_of(awaitable: Any) -> Coroutine[Any, Any, Any]:
    """
    A coroutine that awaits *awaitable*, which may be one itself.
    """
    if inspect.iscoroutine(awaitable):
        return awaitable
    if not inspect.isawaitable(awaitable):
        raise NotGuardedError(
            f"the callee must return an awaitable, got {awaitable!r}; a sync callee is called with `call`"
        )
    return _awaiting(awaitable)


async def _awaiting(awaitable: Any) -> Any:
    return await awaitable
