"""
A thread that brings a sink up to date every so often, where a process that reads is not the one that writes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from typing import Protocol

_logger = logging.getLogger("hungframe")


class Refreshable(Protocol):
    """
    What is to be brought up to date.
    """

    def refresh(self) -> None:
        """Do it."""

    def after_fork(self) -> None:
        """Make it the child's own."""


class Refresher:
    """
    Begin with a process's first event, so that a parent which only forks is counted as none that serves.
    """

    def __init__(self, whom: Refreshable, every: float) -> None:
        self._whom = weakref.ref(whom)
        self._every = every
        self._stopped = threading.Event()
        self._is_running = False
        _all.add(self)

    def start(self) -> None:
        """
        Have the thread run from now on; at most one does.
        """
        if self._is_running or self._stopped.is_set():
            return
        self._is_running = True
        target, args = _run, (self._whom, self._every, self._stopped)
        try:
            threading.Thread(target=target, args=args, name="hungframe-prometheus", daemon=True).start()
        except RuntimeError:
            # No more threads, or the interpreter is at its end: the next event tries again.
            self._is_running = False

    def stop(self) -> None:
        """
        Let it end; it does not begin again.
        """
        self._stopped.set()

    def after_fork(self) -> None:
        """
        Forget the parent's thread, which does not run in a child.
        """
        was_stopped, self._stopped = self._stopped.is_set(), threading.Event()
        if was_stopped:
            self._stopped.set()
        self._is_running = False
        whom = self._whom()
        if whom is not None:
            whom.after_fork()


def _run(ref: weakref.ref[Refreshable], every: float, stopped: threading.Event) -> None:
    has_failed = False
    while True:
        whom = ref()
        if whom is None:
            return
        try:
            whom.refresh()
        except Exception:
            # The next turn may go well; told once, as errors of a sink are.
            if not has_failed:
                has_failed = True
                # A filter or handler of the log may raise as well.
                with contextlib.suppress(Exception):
                    _logger.exception(
                        "PrometheusSink could not look at its guards; it goes on, and does not say so again"
                    )
        # Not kept while it waits: a sink that nobody else has may go.
        del whom
        if stopped.wait(every):
            return


_all: weakref.WeakSet[Refresher] = weakref.WeakSet()


def _after_fork() -> None:
    for refresher in list(_all):
        refresher.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
