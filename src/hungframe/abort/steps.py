"""
Where the steps of one stream run: in one task on trio, and in one context in threads.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from hungframe.abort import runners, threads
from hungframe.abort.backend import in_trio

if TYPE_CHECKING:
    from hungframe.abort.call import Call
    from hungframe.abort.lanes import Lanes

T = TypeVar("T")


class Steps:
    """
    The places that the steps of one stream share.

    Args:
        lanes: Where the calls of the guard are watched.

        at_end: Closes the callee where the event loop ends before anybody else has.
    """

    __slots__ = ("_at_end", "_home", "_lanes", "_variables", "in_thread")

    def __init__(self, lanes: Lanes, at_end: Callable[[], Awaitable[Any]] | None) -> None:
        self._lanes = lanes
        self._at_end = at_end
        # Whether sync steps run in worker threads.
        self.in_thread = False
        self._home: Any = None
        self._variables: Context | None = None

    def drive(self, call: Call, awaitable: Awaitable[T]) -> Awaitable[T]:
        """
        Run an async step on whatever the caller runs on.
        """
        if not in_trio():
            return runners.in_place(call, awaitable, self._lanes)
        from hungframe.abort import trio_driver

        if self._home is None or not self._home.usable:
            self.end()
            self._home = trio_driver.Home(many=True, at_end=self._at_end)
        return trio_driver.drive(call, runners.coroutine_of(awaitable), self._lanes, self._home)

    def run(self, call: Call, fn: Callable[[], T]) -> T:
        """
        Run a sync step in a worker thread, or here.
        """
        if not self.in_thread:
            return fn()
        # A variable that one step has set is set back in another by its token,
        # which is good in the one context only.
        if self._variables is None:
            self._variables = copy_context()
        variables = self._variables
        variables.run(threads.adopt, copy_context())
        try:
            result: T = runners.in_worker(call, threads.Job(functools.partial(variables.run, fn)))
        finally:
            if call.leftover is None:
                threads.adopt(variables)
            del fn
        return result

    def end(self) -> None:
        """
        There is no other step to come; may be called by the garbage collector.
        """
        home, self._home = self._home, None
        if home is not None:
            home.end()


# -- asking a generator -----------------------------------------------------------


async def ask(is_over: Callable[[], bool], gen: AsyncGenerator[T, Any], value: Any, *, first: bool) -> T:
    """
    Ask an async generator for its next item, and close it if nobody waits for that any more.

    Args:
        is_over: Tells whether the caller has gone.

        gen: The generator.

        value: What to send.

        first: Whether it was not asked before.
    """
    if first:
        # The event loop is not told of it: at the loop's end it would close
        # it, for as long as that takes. The guard does, and in time.
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)
        try:
            asked = gen.asend(value)
        finally:
            sys.set_asyncgen_hooks(*hooks)
    else:
        asked = gen.asend(value)
    return await _unless_left(is_over, gen, asked)


async def ask_by_throwing(is_over: Callable[[], bool], gen: AsyncGenerator[T, Any], error: BaseException) -> T:
    """
    Throw an error into an async generator, and get its next item.
    """
    asked = gen.athrow(error)
    del error
    return await _unless_left(is_over, gen, asked)


async def _unless_left(is_over: Callable[[], bool], gen: AsyncGenerator[T, Any], asked: Awaitable[T]) -> T:
    item = await asked
    if is_over():
        await gen.aclose()
    return item


def ask_sync(is_over: Callable[[], bool], gen: Generator[T, Any, Any], value: Any) -> T:
    """
    Ask a generator for its next item; likewise.
    """
    item = gen.send(value)
    if is_over():
        gen.close()
    return item


def ask_sync_by_throwing(is_over: Callable[[], bool], gen: Generator[T, Any, Any], error: BaseException) -> T:
    """
    Throw an error into a generator, and get its next item.
    """
    item = gen.throw(error)
    if is_over():
        gen.close()
    return item


def is_open(gen: Any) -> bool:
    """
    Tell whether a generator waits at a `yield`: it has not ended, and nobody runs it.
    """
    frame = getattr(gen, "gi_frame", None) or getattr(gen, "ag_frame", None)
    return frame is not None and not (getattr(gen, "gi_running", False) or getattr(gen, "ag_running", False))
