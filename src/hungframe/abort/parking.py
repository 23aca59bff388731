"""
Where somebody waits to be woken, from any thread: on asyncio, on trio, in a thread.
"""

from __future__ import annotations

import asyncio
import math
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import trio


class Place(Protocol):
    """Where one task waits on an event loop."""

    def wake(self) -> bool:
        """Let it go on, from any thread, and also before it waits; tell whether somebody may be there."""
        ...

    async def wait(self, seconds: float) -> None:
        """Wait until woken, at most so many seconds."""
        ...


class AsyncioPlace:
    """
    A place on the running loop of asyncio.
    """

    __slots__ = ("_event", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def wake(self) -> bool:
        """
        Let it go on.
        """
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            if not self._loop.is_closed():
                raise
            return False
        return True

    async def wait(self, seconds: float) -> None:
        """
        Wait until woken, at most so many seconds.
        """
        timer = self._loop.call_later(seconds, self._event.set) if seconds < math.inf else None
        try:
            await self._event.wait()
        finally:
            if timer is not None:
                timer.cancel()
            self._event.clear()


class TrioPlace:
    """
    A place in the running run of trio.
    """

    __slots__ = ("_event", "_token")

    def __init__(self) -> None:
        import trio

        self._token = trio.lowlevel.current_trio_token()
        self._event: trio.Event = trio.Event()

    def wake(self) -> bool:
        """
        Let it go on.
        """
        import trio

        try:
            self._token.run_sync_soon(self._set)
        except trio.RunFinishedError:
            return False
        return True

    def _set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """
        Wait until woken, at most so many seconds.
        """
        import trio

        with trio.move_on_after(seconds):
            await self._event.wait()
        if self._event.is_set():
            self._event = trio.Event()


class ThreadPlace:
    """
    A place in a thread.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def wake(self) -> bool:
        """
        Let it go on.
        """
        self._event.set()
        return True

    def wait(self, seconds: float) -> None:
        """
        Wait until woken, at most so many seconds.
        """
        # More than this overflows; who waits longer looks and waits again.
        self._event.wait(min(seconds, threading.TIMEOUT_MAX))
        self._event.clear()
