"""
The thread that looks at guards where another process reads: one, that goes on after an error and keeps nothing alive.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from hungframe.telemetry._refresher import Refresher


class Looks:
    """
    Counts how often it is brought up to date; raises the first *errors* times.
    """

    def __init__(self, errors: int = 0) -> None:
        self.count = 0
        self.forks = 0
        self.threads: set[int] = set()
        self._errors = errors

    def refresh(self) -> None:
        self.count += 1
        self.threads.add(threading.get_ident())
        if self.count <= self._errors:
            raise RuntimeError("no")

    def after_fork(self) -> None:
        self.forks += 1


def until(is_so: Callable[[], bool]) -> bool:
    """
    Wait for the thread, for 5 s at most.
    """
    ends_at = time.monotonic() + 5
    while not is_so() and time.monotonic() < ends_at:
        time.sleep(0.002)
    return is_so()


def running() -> int:
    return sum(thread.name == "hungframe-prometheus" for thread in threading.enumerate())


def test_one_thread_that_stops() -> None:
    """
    Started by each event, it is one thread; stopped, it ends and begins no more.
    """
    looks = Looks()
    refresher = Refresher(looks, every=0.002)
    for _ in range(10):
        refresher.start()

    assert until(lambda: looks.count >= 3)
    assert 1 == len(looks.threads)
    refresher.stop()
    assert until(lambda: running() == 0)
    refresher.start()
    assert 0 == running()


def test_an_error_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """
    What goes wrong once does not end it, and does not fill the log.
    """
    looks = Looks(errors=3)
    refresher = Refresher(looks, every=0.002)
    refresher.start()

    assert until(lambda: looks.count >= 5)
    refresher.stop()
    assert until(lambda: running() == 0)
    assert ["PrometheusSink could not look at its guards"] == [
        record.getMessage().partition(";")[0] for record in caplog.records
    ]


def test_nothing_is_kept_alive() -> None:
    """
    The thread ends when nobody has the sink any more.
    """
    all_looks = [Looks()]
    gone = weakref.ref(all_looks[0])
    refresher = Refresher(all_looks[0], every=0.002)
    refresher.start()
    assert until(lambda: all_looks[0].count >= 1)

    all_looks.clear()
    gc.collect()

    assert until(lambda: gone() is None and running() == 0)


def test_after_a_fork() -> None:
    """
    A child has no thread until it starts one of its own, and none where the parent's sink was closed.
    """
    looks = Looks()
    refresher = Refresher(looks, every=0.002)
    refresher.start()
    refresher.stop()
    assert until(lambda: running() == 0)

    refresher.after_fork()
    refresher.start()

    assert 1 == looks.forks
    assert 0 == running()


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where no thread can be started, the next event tries again.
    """

    def fails_to_start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    looks = Looks()
    refresher = Refresher(looks, every=0.002)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails_to_start)
        refresher.start()
    assert 0 == running()

    refresher.start()
    assert until(lambda: looks.count >= 1)
    refresher.stop()
    assert until(lambda: running() == 0)


def test_a_log_that_raises_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It goes on after an error that could not be told.
    """

    def broken(record: logging.LogRecord) -> bool:
        raise ValueError("no such field")

    monkeypatch.setattr(logging.getLogger("hungframe"), "filters", [broken])
    looks = Looks(errors=1)
    refresher = Refresher(looks, every=0.002)
    refresher.start()

    assert until(lambda: looks.count >= 3)
    refresher.stop()
    assert until(lambda: running() == 0)
