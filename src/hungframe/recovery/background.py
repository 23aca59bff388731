"""
Something that runs beside a block of code: a task on asyncio or trio, or an event loop in a daemon thread.

It is told to stop when the block is left, and waited for; never longer than
what it needs to leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Protocol


class Bell(Protocol):
    """
    Wakes who waits for it; rung from any thread.
    """

    stopping: bool
    """Who waits is to end, also where a callee of its has swallowed its cancellation."""

    def ring(self) -> None:
        """Wake it now, or let its next wait be none."""
        ...

    async def wait(self, seconds: float) -> None:
        """Wait until it rings, at most so many seconds."""
        ...


Serve = Callable[[Bell], Coroutine[Any, Any, None]]


class AsyncioBell:
    """
    A bell on the event loop that runs now.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._pid = os.getpid()
        self.stopping = False

    def ring(self) -> None:
        """Wake it."""
        # In a forked child the loop's socket leads to the parent's loop.
        if os.getpid() == self._pid:
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits.
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> None:
        """Wait for it."""
        timer = self._loop.call_later(seconds, self._event.set) if seconds < math.inf else None
        try:
            await self._event.wait()
        finally:
            if timer is not None:
                timer.cancel()
            self._event.clear()


class TrioBell:
    """
    A bell in the trio run that runs now.
    """

    def __init__(self) -> None:
        import trio

        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()
        self._pid = os.getpid()
        self.stopping = False

    def ring(self) -> None:
        """Wake it."""
        if os.getpid() == self._pid:
            with contextlib.suppress(self._trio.RunFinishedError):
                self._token.run_sync_soon(self._set)

    def _set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Wait for it."""
        with self._trio.move_on_after(seconds):
            await self._event.wait()
        self._event = self._trio.Event()


class AsyncioTask:
    """
    Run it in a task of the loop that runs now.
    """

    def __init__(self, serve: Serve) -> None:
        self.bell: Bell = AsyncioBell()
        # Held here: the loop itself holds its tasks weakly.
        self._task = asyncio.get_running_loop().create_task(serve(self.bell), name="hungframe-prober")

    async def stop(self) -> None:
        """
        Cancel it, and wait until it has left, although who waits may be cancelled meanwhile.
        """
        cancelled: asyncio.CancelledError | None = None
        self.bell.stopping = True
        self._task.cancel()
        with _shield():
            while not self._task.done():
                try:
                    await asyncio.wait([self._task])
                except asyncio.CancelledError as error:
                    cancelled = error
        try:
            if cancelled is not None:
                raise cancelled
        finally:
            # A frame that holds the exception which holds the frame is a cycle.
            del cancelled
        if not self._task.cancelled():
            self._task.result()


def _shield() -> contextlib.AbstractContextManager[Any]:
    """
    Keep a scope of anyio around from cancelling, at each turn of the loop, what was cancelled already.
    """
    if "anyio" in sys.modules:
        import anyio

        return anyio.CancelScope(shield=True)
    return contextlib.nullcontext()


class TrioTask:
    """
    Run it in a system task of the trio run that runs now: a nursery would wrap what the block raises.
    """

    def __init__(self, serve: Serve) -> None:
        import trio

        self._trio = trio
        self.bell: Bell = TrioBell()
        self._scope = trio.CancelScope()
        self._done = trio.Event()
        self._error: BaseException | None = None
        trio.lowlevel.spawn_system_task(self._run, serve, name="hungframe-prober", context=copy_context())

    async def _run(self, serve: Serve) -> None:
        try:
            with self._scope:
                await serve(self.bell)
        except self._trio.Cancelled:
            # The run itself is at its end.
            raise
        except BaseException as error:
            # What leaves a system task ends the run: it is the block's to raise.
            self._error = error
        finally:
            self._done.set()

    async def stop(self) -> None:
        """
        Cancel it, and wait until it has left.
        """
        self.bell.stopping = True
        self._scope.cancel()
        with self._trio.CancelScope(shield=True):
            await self._done.wait()
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error
        await self._trio.lowlevel.checkpoint_if_cancelled()


class LoopThread:
    """
    Run it on an event loop of its own in a daemon thread, which holds up no exit.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._pid = os.getpid()
        self._began = threading.Event()
        self._stop: Callable[[], object] | None = None
        self.bell: Bell | None = None
        self._thread = threading.Thread(target=self._run, name="hungframe-prober", daemon=True)
        self._thread.start()
        self._began.wait()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        finally:
            self._began.set()

    async def _main(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self.bell = AsyncioBell()
        self._stop = lambda: loop.call_soon_threadsafe(task.cancel)
        self._began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await self._serve(self.bell)

    def stop(self, within: float) -> None:
        """
        Cancel it, and wait for its thread, at most so many seconds: what hangs in it is left to itself.
        """
        # A forked child has no such thread, and the loop's socket leads to the parent.
        if os.getpid() != self._pid or self._stop is None:
            return
        if self.bell is not None:
            self.bell.stopping = True
        with contextlib.suppress(RuntimeError):  # The loop is closed: it has ended by itself.
            self._stop()
        if threading.current_thread() is not self._thread:
            self._thread.join(within)


Background = AsyncioTask | TrioTask | LoopThread
