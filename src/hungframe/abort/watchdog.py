"""
See that an event loop has stopped running, from a thread beside it.

What blocks a loop cannot be interrupted from within the loop: no timer fires
and no cancellation is delivered. It can be named.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from hungframe.abort import where
from hungframe.abort.backend import in_trio


class LoopWatch:
    """
    Watch the running event loop, for as long as the `async with` block lasts.

    Args:
        blocked_after: Seconds without a turn of the loop until it counts as blocked.

        tell: Called from the watching thread, once for each time it blocks,
            with the seconds so far and the loop's stack.
    """

    __slots__ = ("_beat", "_blocked_after", "_ident", "_stop", "_tell", "_thread")

    def __init__(self, blocked_after: float, tell: Callable[[float, str], None]) -> None:
        self._blocked_after = blocked_after
        self._tell = tell
        self._stop = threading.Event()
        self._beat = threading.Event()
        self._ident: int | None = None
        self._thread: threading.Thread | None = None

    async def __aenter__(self) -> LoopWatch:
        self._ident = threading.get_ident()
        self._thread = threading.Thread(
            target=self._watch, args=(_caller_of_the_loop(),), name="hungframe-watchdog", daemon=True
        )
        self._thread.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The thread sees it within its current wait, and needs no loop for that.
        self._stop.set()
        self._beat.set()

    def _watch(self, call_soon: Callable[[Callable[[], Any]], Any]) -> None:
        while not self._stop.is_set():
            self._beat.clear()
            asked_at = time.monotonic()
            try:
                call_soon(self._beat.set)
            except RuntimeError:
                # The loop is gone.
                return
            if not self._beat.wait(self._blocked_after) and not self._stop.is_set():
                stack = str(where.of_thread(self._ident))
                if not self._beat.is_set():
                    self._tell(time.monotonic() - asked_at, stack)
                self._beat.wait()
            self._stop.wait(self._blocked_after / 4)


def _caller_of_the_loop() -> Callable[[Callable[[], Any]], Any]:
    """
    What has a function called in the loop that runs now, from any thread.
    """
    if in_trio():
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon
    return asyncio.get_running_loop().call_soon_threadsafe
