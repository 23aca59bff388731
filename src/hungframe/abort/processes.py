"""
Run a callee in a worker process, which can be killed.

What a thread cannot be made to do, a process can: end. Callee, arguments,
result and exception travel by pickle; context variables do not travel.

A worker thread does the job by waiting for the process. So a caller waits for
it as for any thread; interrupting it kills the process, and the thread, which
sees the process end, ends too.
"""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable
from typing import Any

from hungframe.abort import parcels
from hungframe.abort.call import time_left
from hungframe.abort.process_pool import Worker, pool
from hungframe.abort.process_worker import BEGUN
from hungframe.abort.threads import Job
from hungframe.abort.where import NOWHERE, Where
from hungframe.errors import WorkerDiedError

# Workers that may die before they begin, one after another, until the job is given up.
_MOST_TRIES = 3


class ProcessJob(Job):
    """
    One call of a callee in a worker process.

    Args:
        guard: Name of the guard.

        fn: The callee.

        args: Its arguments.

        kwargs: Those by name.

        on_trio: Whether an async callee runs on trio there, or on asyncio.
    """

    __slots__ = ("_errand", "_where")

    def __init__(self, guard: str, fn: Callable[..., Any], args: Any, kwargs: Any, *, on_trio: bool) -> None:
        while isinstance(fn, functools.partial):
            args, kwargs = (*fn.args, *args), {**fn.keywords, **kwargs}
            fn = fn.func
        self._errand = _Errand(guard, parcels.name_of(fn))
        super().__init__(functools.partial(self._errand.run, fn, args, kwargs, on_trio))
        code = getattr(fn, "__code__", None)
        self._where = NOWHERE if code is None else Where([(code, code.co_firstlineno)])

    def where(self) -> Where:
        """
        The callee; at which of its lines, only its own process knows.
        """
        return self._where

    def interrupt(self) -> None:
        """
        Kill the process.
        """
        self._errand.call_off()


class _Errand:
    """
    Which worker has the job, and whether it was called off.
    """

    def __init__(self, guard: str, callee: str) -> None:
        self._guard = guard
        self._callee = callee
        self._worker: Worker | None = None
        self._called_off = False
        self._lock = threading.Lock()

    def call_off(self) -> None:
        """
        Kill the worker, or the one that is about to get the job.
        """
        with self._lock:
            self._called_off = True
            if self._worker is not None:
                self._worker.kill()

    def run(self, fn: Callable[..., Any], args: Any, kwargs: Any, on_trio: bool) -> Any:
        """
        Give the job to a worker, and wait for its answer.
        """
        job = parcels.packed(fn, args, kwargs, time_left(), on_trio=on_trio)
        del fn, args, kwargs
        exit_code = 0
        for _ in range(_MOST_TRIES):
            worker = pool().take()
            began, answer = self._ask(worker, job)
            if answer is not None:
                return parcels.opened(*answer, self._guard, self._callee)
            exit_code = worker.bury()
            if self._called_off:
                # In the background, for the next call.
                pool().warm()
            if began or self._called_off:
                raise self._died(exit_code, began)
        raise self._died(exit_code, began=False)

    def _died(self, exit_code: int, began: bool) -> WorkerDiedError:
        try:
            name = signal.Signals(-exit_code).name if exit_code < 0 else None
        except ValueError:
            name = f"signal {-exit_code}"
        return WorkerDiedError(self._guard, self._callee, exit_code, name, began=began)

    def _ask(self, worker: Worker, job: bytes) -> tuple[bool, tuple[bytes, memoryview] | None]:
        """
        Let a worker do the job.

        Returns:
            Whether the callee began, and the answer; None if the worker has died, and is to be buried.
        """
        with self._lock:
            self._worker = worker
            if self._called_off:
                worker.kill()
        began, answer = False, None
        try:
            if worker.give(job):
                answer = worker.take()
                if answer is not None and answer[0] == BEGUN:
                    began = True
                    answer = worker.take()
        finally:
            # From here on it may be somebody else's, and must not be killed.
            with self._lock:
                self._worker = None
            if answer is None or self._called_off:
                worker.kill()
        if answer is not None:
            if self._called_off:
                worker.bury()
            else:
                pool().put(worker)
        return began, answer
