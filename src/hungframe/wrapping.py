"""
A callee in its guard: ask, run, settle; the same few lines for async and sync.

They stand here twice, since a function that serves both would cost each call
more than all the policies do.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Awaitable, Callable, Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import ParamSpec

from hungframe.abort import asyncio_driver, runners
from hungframe.abort.call import current_call
from hungframe.abort.threads import Job
from hungframe.admission import let_in, let_in_sync

if TYPE_CHECKING:
    from hungframe.abort.call import Call
    from hungframe.engine import Engine
    from hungframe.limits import Limits

P = ParamSpec("P")
T = TypeVar("T")


def wrap_async(
    engine: Engine,
    limits: Limits,
    fn: Callable[P, Awaitable[T]],
    ask: Callable[[Engine, Limits], Awaitable[Call]] | None = None,
) -> Callable[P, Coroutine[Any, Any, T]]:
    """
    Make the coroutine function that calls *fn* under a guard, once *ask* has let it in.
    """
    lanes = engine.lanes
    begin, returned, failed = engine.begin, engine.returned, engine.failed
    in_place, drive, enter = runners.in_place, asyncio_driver.drive, current_call.set
    modules = sys.modules
    in_process = limits.isolate == "process"
    elsewhere = in_process or limits.isolate == "thread"
    waits = limits.waits or ask is not None
    ask = ask or let_in

    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        call = await ask(engine, limits) if waits else begin(limits)
        enter(call)
        result: T
        try:
            if elsewhere:
                moved = (
                    runners.in_process_async(call, engine.name, fn, args, kwargs)
                    if in_process
                    else runners.in_worker_async(call, functools.partial(fn, *args, **kwargs))
                )
                result = await in_place(call, moved, lanes)
            else:
                coro = fn(*args, **kwargs)
                if type(coro) is not CoroutineType or "trio" in modules:
                    result = await in_place(call, coro, lanes)
                else:
                    # What `in_place` does, for most calls.
                    try:
                        waits_for = coro.send(None)
                    except StopIteration as stop:
                        result = stop.value
                    else:
                        result = await drive(call, coro, waits_for, lanes)
        except BaseException as exc:
            error = failed(call, exc)
            if error is None:
                raise
        else:
            error = returned(call, result)
            if error is None:
                return result
        # Raised after the block, so that it carries no context with the
        # callee's frames. What this frame holds lives as long as the error.
        del args, kwargs
        try:
            raise error
        finally:
            del error

    return guarded


def wrap_sync(
    engine: Engine,
    limits: Limits,
    fn: Callable[P, T],
    ask: Callable[[Engine, Limits], Call] | None = None,
) -> Callable[P, T]:
    """
    Make the function that calls *fn* under a guard, once *ask* has let it in.
    """
    others = engine.lanes.others
    begin, returned, failed = engine.begin, engine.returned, engine.failed
    in_worker, enter = runners.in_worker, current_call.set
    here = limits.isolate is None
    in_process = limits.isolate == "process"
    waits = limits.waits or ask is not None
    ask = ask or let_in_sync

    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        call = ask(engine, limits) if waits else begin(limits)
        enter(call)
        others[call] = None
        try:
            if here or (call.deadline == math.inf and not in_process):
                # Nothing would ever call it back from a thread.
                result = fn(*args, **kwargs)
            elif in_process:
                result = runners.in_process(call, engine.name, fn, args, kwargs)
            else:
                result = in_worker(call, Job(functools.partial(fn, *args, **kwargs)))
        except BaseException as exc:
            error = failed(call, exc)
            if error is None:
                raise
        else:
            error = returned(call, result)
            if error is None:
                return result
        finally:
            others.pop(call, None)
        del args, kwargs
        try:
            raise error
        finally:
            del error

    return guarded
