"""
What an asyncio callee leaves behind: a coroutine that will not close, a task or a thread that runs on.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import weakref
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from types import FrameType, FunctionType
from typing import Any

# Functions that wait for a thread, and run it in a context that they made for
# it: asyncio's and anyio's.
_RUN_IN_THREAD = frozenset({"to_thread", "run_sync_in_worker_thread"})


class Leftover:
    """
    Something that runs on, and tells when it has ended.
    """

    __slots__ = ("_ended", "_tell")

    def __init__(self) -> None:
        self._ended = False
        self._tell: Callable[[], None] | None = None

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended

    def when_ended(self, tell: Callable[[], None]) -> None:
        """
        Have *tell* called, from any thread, when it ends or if it has.
        """
        self._tell = tell
        if self._ended:
            tell()

    def end(self, *_: object) -> None:
        """
        It has ended.
        """
        self._ended = True
        if self._tell is not None:
            self._tell()


class Thread(Leftover):
    """
    A worker thread, known by something that only it holds until it has done its work.
    """

    __slots__ = ("_held",)

    def __init__(self, known_by: Context | concurrent.futures.Future[Any]) -> None:
        super().__init__()
        if isinstance(known_by, concurrent.futures.Future):
            known_by.add_done_callback(self.end)
        else:
            self._held = weakref.ref(known_by, self.end)


def thread_behind(frames: list[FrameType], waits_for: Any) -> Thread | None:
    """
    Find the thread that a suspended callee waits for; None where it waits for none, or for one that cannot be told.

    A thread takes no cancellation: its caller goes, it stays.

    Args:
        frames: The callee's, outermost first.

        waits_for: What it has yielded to the event loop.
    """
    for frame in frames:
        if frame.f_code.co_name in _RUN_IN_THREAD:
            for value in frame.f_locals.values():
                if isinstance(value, Context):
                    return Thread(value)
    return _executor_behind(waits_for)


def _executor_behind(waits_for: Any) -> Thread | None:
    # What `run_in_executor` returns holds its thread's future in the closure
    # of the callback that would cancel it.
    callbacks: list[Any] = list(getattr(waits_for, "_callbacks", None) or ())
    for callback, _ in callbacks:
        if isinstance(callback, FunctionType):
            for cell in callback.__closure__ or ():
                try:
                    value = cell.cell_contents
                except ValueError:
                    continue
                if isinstance(value, concurrent.futures.Future) and value.running():
                    return Thread(value)
    return None


def close(coro: Coroutine[Any, Any, Any], waited_for: Any) -> Leftover | None:
    """
    Close a coroutine that did not leave; return what of it runs on.

    Args:
        coro: The coroutine, suspended.

        waited_for: What it has yielded to the event loop.
    """
    try:
        waits_for = coro.throw(GeneratorExit)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        # It has ended, whatever it said. What it waited for may go on: a task
        # that takes no cancellation.
        if not isinstance(waited_for, asyncio.Task) or waited_for.done():
            return None
        leftover = Leftover()
        waited_for.add_done_callback(leftover.end)
    else:
        leftover = Leftover()
        _run_on(coro, waits_for, leftover)
    return leftover


def _run_on(coro: Coroutine[Any, Any, Any], waits_for: Any, leftover: Leftover) -> None:
    """
    Let a coroutine that ignores even GeneratorExit go on by itself until it ends.

    Left suspended it would never end, and complain when it is collected. It
    gets no task: `asyncio.run` waits for every task, and would wait for this
    one for ever.
    """
    loop = asyncio.get_running_loop()
    context = copy_context()

    def step(done: Any = None) -> None:
        try:
            yielded = coro.send(None)
        except BaseException:
            leftover.end()
        else:
            wait(yielded)

    def wait(yielded: Any) -> None:
        if yielded is None:
            loop.call_soon(step, context=context)
        else:
            # What the task does with a future that it was handed.
            yielded._asyncio_future_blocking = False
            yielded.add_done_callback(step, context=context)

    wait(waits_for)
