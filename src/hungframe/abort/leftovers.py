"""
What an asyncio callee leaves behind: a coroutine that will not close, tasks and threads that run on.

asyncio keeps no account of what belongs to what. So what a callee waits for is
followed, through coroutines, tasks, gathers and task groups, down to threads.
This happens at a deadline only.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import weakref

# There is no public word for whose turn it is; see `_run_on`.
from asyncio.tasks import _enter_task, _leave_task  # pyright: ignore[reportPrivateUsage]
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextvars import Context, copy_context
from types import AsyncGeneratorType, CoroutineType, FrameType, FunctionType
from typing import Any

from hungframe.abort.where import STEPS, frames_in, links_of

# A tree of tasks with more branches than this is not walked to its end.
_MOST_BRANCHES = 100

# Functions that wait for a thread, and run it in a context that they made for
# it: asyncio's, anyio's and trio's.
_RUN_IN_THREAD = frozenset({"to_thread", "run_sync_in_worker_thread", "to_thread_run_sync"})


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

    def release(self) -> None:
        """
        The callee is through: keep nothing of it.
        """

    def end(self, *_: object) -> None:
        """
        It has ended.
        """
        self._ended = True
        if self._tell is not None:
            self._tell()


# What runs on, and by what it is known.
_Thing = (
    Leftover
    | asyncio.Task[Any]
    | concurrent.futures.Future[Any]
    | tuple[Context, "CoroutineType[Any, Any, Any]"]
    | AsyncGeneratorType[Any, Any]
)


class _Last(Leftover):
    """
    Several things that run on; it has ended when the last of them has.
    """

    __slots__ = ("_count", "_held", "_lock", "_waiters")

    def __init__(self) -> None:
        super().__init__()
        # One for the one who adds them.
        self._count = 1
        self._held: list[Any] = []
        self._waiters: list[tuple[CoroutineType[Any, Any, Any], FrameType]] = []
        # They end in threads of their own.
        self._lock = threading.Lock()

    def add(self, thing: _Thing) -> None:
        """
        Wait for *thing* as well: a task, a thread's future, a context that only a thread holds until it is done
        (and the coroutine that it was found in), or an async generator, which only the loop holds that closes it.
        """
        with self._lock:
            self._count += 1
        if isinstance(thing, Leftover):
            self._held.append(thing)
            thing.when_ended(self.end)
        elif isinstance(thing, tuple):
            context, waiter = thing
            self._held.append(weakref.ref(context, self.end))
            if waiter.cr_frame is not None:
                self._waiters.append((waiter, waiter.cr_frame))
        elif isinstance(thing, AsyncGeneratorType):
            self._held.append(weakref.ref(thing, self.end))
        elif isinstance(thing, asyncio.Task):
            thing.add_done_callback(self._end_task)
        else:
            thing.add_done_callback(self.end)

    def release(self) -> None:
        """
        Let the frames go, which hold what must be held by nobody but a thread.
        """
        for held in self._held:
            if isinstance(held, Leftover):
                held.release()
        waiters, self._waiters = self._waiters, []
        for waiter, frame in waiters:
            # One that waits on lets go by itself, at its end. Clearing its
            # frame would end it here and now, before 3.13.
            if waiter.cr_frame is None:
                frame.clear()

    def _end_task(self, task: asyncio.Task[Any]) -> None:
        # Nobody is left who would ask for it, and asyncio would complain.
        if not task.cancelled():
            task.exception()
        self.end()

    def end(self, *_: object) -> None:
        """
        One of them has ended.
        """
        with self._lock:
            self._count -= 1
            if self._count:
                return
        super().end()


def threads_behind(coro: Any, waits_for: Any) -> Leftover | None:
    """
    Find the threads that a suspended callee waits for; None where there are none, or none that can be told.

    A thread takes no cancellation: its caller goes, it stays.

    Args:
        coro: The callee.

        waits_for: What it has yielded to the event loop.
    """
    return _all_of(thread for links, waits_for in _branches(coro, waits_for) for thread in _threads(links, waits_for))


def _all_of(things: Iterable[Any]) -> Leftover | None:
    last = None
    for thing in things:
        last = last or _Last()
        last.add(thing)
    if last is not None:
        # All are added: take off the one that stood for that.
        last.end()
    return last


def _branches(coro: Any, waits_for: Any) -> Iterator[tuple[list[Any], Any]]:
    """
    The callee's chain of awaits, and those of the tasks below it: its links, and the future at the end.
    """
    waiting = [(coro, waits_for)]
    for _ in range(_MOST_BRANCHES):
        if not waiting:
            return
        coro, waits_for = waiting.pop()
        links = list(links_of(coro))
        yield links, waits_for
        below = tasks_below(list(frames_in(links)), waits_for)
        waiting += [(task.get_coro(), getattr(task, "_fut_waiter", None)) for task in below]


def tasks_below(frames: list[FrameType], waits_for: Any, *, done: bool = False) -> list[asyncio.Task[Any]]:
    """
    The tasks one level below a chain of awaits: those that have not ended, or, if *done*, those too that have.
    """
    found = {waits_for, *(getattr(waits_for, "_children", None) or ())}
    for frame in frames:
        if frame.f_code.co_name == "__aexit__":
            # A task group, asyncio's or anyio's, that waits for its tasks.
            found.update(getattr(frame.f_locals.get("self"), "_tasks", None) or ())
        elif frame.f_code.co_name == "wait_for":
            found.add(frame.f_locals.get("fut"))
    return [task for task in found if isinstance(task, asyncio.Task) and (done or not task.done())]


def _threads(
    links: list[Any], waits_for: Any
) -> Iterator[concurrent.futures.Future[Any] | tuple[Context, CoroutineType[Any, Any, Any]]]:
    # What `run_in_executor` and `asyncio.to_thread` wait for holds its
    # thread's future in the closure of the callback that would cancel it.
    callbacks: list[Any] = list(getattr(waits_for, "_callbacks", None) or ())
    for callback, _ in callbacks:
        if isinstance(callback, FunctionType):
            for cell in callback.__closure__ or ():
                value = _content(cell)
                if isinstance(value, concurrent.futures.Future) and not value.done():
                    yield value
                    return
    for link in links:
        if type(link) is CoroutineType and link.cr_frame is not None and link.cr_code.co_name in _RUN_IN_THREAD:
            values: Any = link.cr_frame.f_locals
            contexts = [value for value in values.values() if isinstance(value, Context)]
            if isinstance(values, dict):
                # Before 3.13 a copy, which the frame would keep.
                values.clear()
            if contexts:
                yield contexts[0], link
                return


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def close(coro: Coroutine[Any, Any, Any], waited_for: Any) -> Leftover | None:
    """
    Close a coroutine that did not leave; return what of it runs on.

    Args:
        coro: The coroutine, suspended.

        waited_for: What it has yielded to the event loop.
    """
    waits_for = None
    for leave in (_Left, GeneratorExit):
        # Looked for first: a coroutine that has ended has no links.
        links = list(links_of(coro))
        try:
            waits_for = coro.throw(leave) if leave is _Left else _close(coro, links)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            # It has ended, whatever it said. What it waited for may go on.
            if isinstance(waited_for, asyncio.Future):
                waited_for.add_done_callback(_retrieve)
            return _survivor(links) or _all_of(_open_generators(links))
    leftover = Leftover()
    _run_on(coro, waits_for, leftover)
    return leftover


def _close(coro: Coroutine[Any, Any, Any], links: list[Any]) -> Any:
    """
    Throw GeneratorExit into a coroutine, and before that into the async generators below it, innermost first.

    Python would close their steps and not them: each would wait for ever, with
    nobody to wake it.

    Returns:
        What the first of them that ignores it has yielded.
    """
    for link in reversed(links):
        if type(link).__name__ in STEPS:
            try:
                return link.throw(GeneratorExit)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:
                continue
    return coro.throw(GeneratorExit)


class _Left(BaseException):
    """
    Thrown into a callee that is left.

    Not GeneratorExit, at first: that one Python does not hand down a chain of
    awaits, but closes from the inside, and an async generator that awaits in
    its `finally` cannot bear that.
    """


def _survivor(links: list[Any]) -> Leftover | None:
    """
    A coroutine below one that has ended, which ignored that it was closed.
    """
    for link in links:
        if isinstance(link, CoroutineType) and link.cr_frame is not None and not link.cr_running:
            # What it waits for now is lost; asking it to go on makes it wait anew.
            leftover = Leftover()
            _run_on(link, None, leftover)
            return leftover
    return None


def _open_generators(links: list[Any]) -> list[AsyncGeneratorType[Any, Any]]:
    return [link for link in links if isinstance(link, AsyncGeneratorType) and link.ag_frame is not None]


def left_by(coro: Any, waits_for: Any) -> Leftover | None:
    """
    Find the threads and tasks that will run on when a suspended callee is left; before anything of it is cancelled.
    """
    return _all_of(_threads_and_tasks(coro, waits_for))


def both(first: Leftover | None, second: Leftover | None) -> Leftover | None:
    """
    Two leftovers as one.
    """
    if first is None or second is None:
        return first or second
    return _all_of([first, second])


def _threads_and_tasks(coro: Any, waits_for: Any) -> Iterator[Any]:
    for links, awaited in _branches(coro, waits_for):
        yield from _threads(links, awaited)
        yield from tasks_below(list(frames_in(links)), awaited)


def _retrieve(future: asyncio.Future[Any]) -> None:
    # Nobody is left who would ask for it, and asyncio would complain.
    if not future.cancelled():
        future.exception()


_never_closed: set[Coroutine[Any, Any, Any]] = set()


def _run_on(coro: Coroutine[Any, Any, Any], waits_for: Any, leftover: Leftover) -> None:
    """
    Let a coroutine that ignores even GeneratorExit go on by itself until it ends.

    Left suspended it would never end, and complain when it is collected. It is
    not a task: `asyncio.run` waits for every task, and would wait for this one
    for ever. But code that asks for the current task must find one; so another
    task stands for it, which ends when it is told to.
    """
    loop = asyncio.get_running_loop()
    context = copy_context()
    gone = loop.create_future()

    async def stand_in() -> None:
        await gone

    task = loop.create_task(stand_in(), name="hungframe-orphan")
    # Should the loop end first, it stays suspended, and better silent.
    _never_closed.add(coro)

    def step(done: Any = None) -> None:
        _enter_task(loop, task)
        try:
            yielded = coro.send(None)
        except BaseException:
            _never_closed.discard(coro)
            leftover.end()
            if not gone.done():
                gone.set_result(None)
        else:
            wait(yielded)
        finally:
            _leave_task(loop, task)

    def wait(yielded: Any) -> None:
        if yielded is None:
            loop.call_soon(step, context=context)
        else:
            # What a task does with a future that it was handed.
            yielded._asyncio_future_blocking = False
            yielded.add_done_callback(step, context=context)

    wait(waits_for)
