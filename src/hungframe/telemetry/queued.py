"""
A bounded queue before a sink that is slow: what tells an event never waits for it.

Nothing on the way of a call takes a lock that the slow side holds: events are
told from finalizers as well, which may interrupt a thread anywhere.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from types import TracebackType
from typing import Final

from typing_extensions import Self

from hungframe._core import check
from hungframe.abort.call import current_call
from hungframe.events import Event
from hungframe.ports import EventSink

_logger = logging.getLogger("hungframe")

# Seconds between two log lines about dropped events.
_TOLD_EVERY: Final = 60.0

# Seconds that the end of the interpreter waits, for all queues together.
_AT_EXIT: Final = 2.0

# An event and the variables of who told it; somebody who waits for all before it; None: end.
Entry = tuple[Event, Context] | threading.Event | None


class QueuedSink:
    """
    Hand events to *sink* in a daemon thread, in the order in which they came.

    A call never waits: where *size* events wait already, the next is dropped and counted. The thread begins with the
    first event. *sink* runs with the context variables of the code that told the event, so one that makes spans finds
    the right parent; the deadline of the call around is not in force there.

    What *sink* raises is counted in `errors` and logged once; the next event is handed on all the same. A forked child
    has a queue and a thread of its own, and what waited at the fork is the parent's. When the interpreter ends, what
    still waits is handed on for 2 s at most.

    Args:
        sink: Takes one event. It may be slow, and may raise.

        size: How many events may wait, at least 1.

    Raises:
        TypeError: If *sink* cannot be called, or *size* is no whole number.

        ValueError: If *size* is below 1.

    >>> from hungframe import Guard
    >>> from hungframe.testing import RecordingSink
    >>> recorded = RecordingSink()
    >>> with QueuedSink(recorded) as sink:
    ...     Guard("images", sinks=[sink]).call(str.upper, "done")
    'DONE'
    >>> recorded.names(), sink.dropped
    (['gen.request', 'gen.success'], 0)
    """

    def __init__(self, sink: EventSink, size: int = 1000) -> None:
        if not callable(sink):
            raise TypeError(f"sink must be callable with one event, got {sink!r}")
        self._sink = sink
        self._size = check.whole("size", size, at_least=1)
        self.errors = 0
        """How many events *sink* has raised at."""
        self._dropped = 0
        self._told_dropped = 0
        self._told_at = -_TOLD_EVERY
        self._closed = False
        self._renew()
        _open.add(self)

    def _renew(self) -> None:
        # A place for each event that may wait. Taking one from a deque and putting an entry into a SimpleQueue are
        # single steps, also for a finalizer that runs in the middle of this.
        self._room = deque([None] * self._size)
        self._entries: queue.SimpleQueue[Entry] = queue.SimpleQueue()
        # Reentrant, for the same reason.
        self._counting = threading.RLock()
        self._starting = threading.RLock()
        self._thread: threading.Thread | None = None

    # -- telling ----------------------------------------------------------------

    def __call__(self, event: Event) -> None:
        if not self._closed:
            try:
                self._room.pop()
            except IndexError:
                # Full.
                pass
            else:
                self._entries.put((event, copy_context()))
                if self._thread is None:
                    self._start()
                return
        with self._counting:
            self._dropped += 1

    @property
    def dropped(self) -> int:
        """Events that were not handed on: they came when the queue was full, or closed."""
        return self._dropped

    @property
    def waiting(self) -> int:
        """Events that wait now, with the one that is being handed on."""
        return self._size - len(self._room)

    def flush(self, timeout: float = 5.0) -> bool:
        """
        Wait until all events that were told before are handed on.

        It blocks the thread that asks, so in async code ask in a worker thread.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether they are; False as well where *sink* itself asks.
        """
        check.number("timeout", timeout, at_least=0)
        if self._thread is None and self.waiting:
            # It could not be started until now.
            self._start()
        thread = self._thread
        if thread is None or thread is threading.current_thread() or _has_ended(thread):
            return not self.waiting
        reached = threading.Event()
        self._entries.put(reached)
        return reached.wait(min(timeout, threading.TIMEOUT_MAX))

    def close(self, timeout: float = 5.0) -> bool:
        """
        Hand on what waits, and end the thread; events that come later are dropped.

        Args:
            timeout: Seconds to wait at most; a thread that still runs then ends by itself when *sink* lets it.

        Returns:
            Whether all were handed on.
        """
        check.number("timeout", timeout, at_least=0)
        self._closed = True
        _open.discard(self)
        thread = self._thread
        if thread is None:
            return not self.waiting
        self._entries.put(None)
        if thread is not threading.current_thread():
            thread.join(min(timeout, threading.TIMEOUT_MAX))
        return not self.waiting

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"QueuedSink({self._sink!r}, size={self._size}) with {self.waiting} waiting, {self.dropped} dropped"

    # -- handing on --------------------------------------------------------------

    def _start(self) -> None:
        """
        Begin the thread; whoever comes while another thread does so leaves it to that one.
        """
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, args=(self._entries,), name="hungframe-sink", daemon=True)
                self._thread = thread
                try:
                    thread.start()
                except RuntimeError:
                    # No more threads, or the interpreter is at its end: the next event tries again.
                    self._thread = None
        finally:
            self._starting.release()

    def _run(self, entries: queue.SimpleQueue[Entry]) -> None:
        closed = False
        while not (closed and entries.empty()):
            entry = entries.get()
            if entry is None:
                # What another thread has told meanwhile is handed on as well.
                closed = True
            elif isinstance(entry, threading.Event):
                entry.set()
            else:
                event, context = entry
                try:
                    context.run(self._hand_on, event)
                except BaseException:
                    # Whatever it is, also SystemExit: the next event may be a good one.
                    _tell(self._failed)
                self._room.append(None)
                # What it refers to must not live until the next event comes.
                del event, context
            del entry
            _tell(self._tell_dropped)
        _tell(partial(self._tell_dropped, now=True))

    def _hand_on(self, event: Event) -> None:
        # The sink is no part of the call that it is told of, and this is no event loop.
        current_call.set(None)
        sniffio = sys.modules.get("sniffio")
        if sniffio is not None:
            sniffio.current_async_library_cvar.set(None)
        self._sink(event)

    def _failed(self) -> None:
        self.errors += 1
        if self.errors == 1:
            _logger.error(
                "%s raised in its queue; events go on, further errors of it are only counted",
                self._name,
                exc_info=sys.exc_info(),
            )

    def _tell_dropped(self, *, now: bool = False) -> None:
        # Only ever told by the thread: a log that hangs, perhaps what keeps this queue full, must not hang a call.
        lost = self._dropped - self._told_dropped
        at = time.monotonic()
        if lost and (now or at - self._told_at >= _TOLD_EVERY):
            self._told_dropped += lost
            self._told_at = at
            _logger.warning(
                "the queue before %s was full: %d events were dropped, %d in all; make its size of %d larger, or the "
                "sink faster",
                self._name,
                lost,
                self._told_dropped,
                self._size,
            )

    @property
    def _name(self) -> str:
        return type(self._sink).__name__

    def after_fork(self) -> None:
        """
        Go on in a forked child, where the thread does not run and any lock may be held by nobody.
        """
        self._dropped = self._told_dropped = self.errors = 0
        self._renew()


def _tell(told: Callable[[], None]) -> None:
    # The log may have a filter or a handler that raises; a thread that ended by it would leave all that comes waiting.
    with contextlib.suppress(Exception):
        told()


def _has_ended(thread: threading.Thread) -> bool:
    # One that is being started is not alive yet.
    return thread.ident is not None and not thread.is_alive()


_open: weakref.WeakSet[QueuedSink] = weakref.WeakSet()


def _after_fork() -> None:
    for sink in list(_open):
        sink.after_fork()


def _at_exit() -> None:
    until = time.monotonic() + _AT_EXIT
    for sink in list(_open):
        sink.flush(max(0.0, until - time.monotonic()))


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
