"""
Run sync callees in worker threads that can be left.

Nothing stops a thread from outside. So the caller waits in its own thread for
as long as the deadline allows, and then goes; the worker is a daemon, so that
an orphan does not hold up the interpreter's exit. Workers whose calls end in
time are used again.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from hungframe.abort import thread_sockets, where
from hungframe.abort.leftovers import Leftover

# An idle worker waits this long for its next call before it ends.
_IDLE_FOR = 5.0

# On Windows a wait for a lock cannot be interrupted by Ctrl-C; there it is cut
# into slices of this many seconds.
_SLICE = 0.1 if sys.platform == "win32" else threading.TIMEOUT_MAX


class Job(Leftover):
    """
    One call of a sync callee, handed to a worker.
    """

    __slots__ = ("_context", "_done", "_fn", "error", "ident", "left", "notify", "result")

    def __init__(self, fn: Callable[[], Any]) -> None:
        super().__init__()
        self._fn: Callable[[], Any] | None = fn
        self._context: Context | None = copy_context()
        # Called by the worker when the job has ended.
        self.notify: Callable[[], object] | None = None
        self._done = threading.Lock()
        self._done.acquire()
        self.ident: int | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        # The caller has gone: the worker that did this job is not used again,
        # since nobody knows what state the callee left its thread in.
        self.left = False

    def run(self) -> None:
        """
        Run the callee; called by the worker.
        """
        self.ident = threading.get_ident()
        fn, context = self._fn, self._context
        self._fn = None
        assert fn is not None and context is not None
        try:
            self.result = context.run(fn)
        except BaseException as error:
            # Kept for the caller, if it is still there: with its traceback it
            # holds this frame, which holds this job.
            self.error = None if self.left else error
        finally:
            del fn, context
            self.end()
            self._done.release()
            if self.notify is not None:
                self.notify()

    def wait(self, seconds: float) -> bool:
        """
        Wait in the caller's thread; tell whether the callee has ended.
        """
        until = time.monotonic() + seconds
        while True:
            left = min(until - time.monotonic(), threading.TIMEOUT_MAX)
            if self._done.acquire(timeout=max(0.0, min(left, _SLICE))):
                self._done.release()
                return True
            if left <= _SLICE:
                return False

    def where(self) -> where.Where:
        """
        Where the callee is now.
        """
        return where.of_thread(self.ident, stop_at=Job.run.__code__)

    def interrupt(self) -> None:
        """
        Make the callee end, if that can be; asked again and again until it has.
        """
        thread_sockets.shut_down(self)

    def take(self) -> Any:
        """
        The result, or the exception raised again; the variables that the callee set become the caller's.
        """
        context, self._context = self._context, None
        assert context is not None
        adopt(context)
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                # A frame that holds the exception which holds the frame is a cycle.
                del error
        result, self.result = self.result, None
        return result


def adopt(context: Context) -> None:
    """
    Set each variable of the current context to what it is in *context*.
    """
    for variable in context:
        value = context[variable]
        if variable.get(_UNSET) is not value:
            variable.set(value)


_UNSET: Any = object()


class _Worker:
    """
    A daemon thread that runs one job after another.
    """

    __slots__ = ("_job", "_wake")

    def __init__(self, job: Job) -> None:
        self._wake = threading.Lock()
        self._wake.acquire()
        self._job: Job | None = job
        threading.Thread(target=self._work, name="hungframe-worker", daemon=True).start()

    def give(self, job: Job) -> None:
        """
        Hand it its next job; it must be idle.
        """
        self._job = job
        self._wake.release()

    def _work(self) -> None:
        while True:
            job, self._job = self._job, None
            if job is None:
                return
            job.run()
            used_again = not job.left
            del job
            if not used_again:
                return
            _pool.idle.append(self)
            if not self._wake.acquire(timeout=_IDLE_FOR):
                try:
                    _pool.idle.remove(self)
                except ValueError:
                    # A caller has just taken it off, so a job is on its way.
                    self._wake.acquire()


class _Pool:
    """
    The workers that wait for a job. Taking and putting are single steps on a list.
    """

    __slots__ = ("idle",)

    def __init__(self) -> None:
        self.idle: list[_Worker] = []


_pool = _Pool()


def start(job: Job) -> None:
    """
    Have a worker do a job, in a copy of the context that the job was made in.
    """
    try:
        worker = _pool.idle.pop()
    except IndexError:
        try:
            _Worker(job)
        except RuntimeError:
            # There can be no more threads: nothing of it runs.
            job.end()
            raise
    else:
        worker.give(job)


def _forget_workers() -> None:
    # Threads do not live on in a forked child.
    _pool.idle = []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
