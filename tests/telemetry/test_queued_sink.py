"""
QueuedSink: what tells an event never waits for a slow sink, and nothing is lost without being counted.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from hungframe import Guard, current_deadline
from hungframe.events import Event, GenSuccess
from hungframe.telemetry import QueuedSink, queued
from hungframe.testing import RecordingSink


def event(number: int = 0) -> Event:
    """
    An event that can be told from others.
    """
    return GenSuccess(1.5, "images", f"7f-{number}", 3)


class Stuck:
    """
    A sink that takes its first event, and waits to be let go.
    """

    def __init__(self) -> None:
        self.taken: list[Event] = []
        self.has_begun = threading.Event()
        self.go = threading.Event()

    def __call__(self, event: Event) -> None:
        self.has_begun.set()
        self.go.wait(5)
        self.taken.append(event)


@contextmanager
def stuck(size: int) -> Generator[tuple[QueuedSink, Stuck], None, None]:
    """
    A queue whose sink holds the first event; one more than *size* is not taken.
    """
    slow = Stuck()
    with QueuedSink(slow, size) as sink:
        try:
            sink(event())
            assert slow.has_begun.wait(5)
            yield sink, slow
        finally:
            slow.go.set()


def test_events_come_in_order() -> None:
    """
    What one thread tells is handed on in that order, in another thread.
    """
    told: list[tuple[str, int]] = []

    def keeps(event: Event) -> None:
        assert isinstance(event, GenSuccess)
        told.append((event.id, threading.get_ident()))

    with QueuedSink(keeps) as sink:
        for number in range(500):
            sink(event(number))

    assert [f"7f-{number}" for number in range(500)] == [call_id for call_id, _ in told]
    assert threading.get_ident() not in {ident for _, ident in told}
    assert (0, 0, 0) == (sink.dropped, sink.waiting, sink.errors)


def test_a_stuck_sink_holds_up_no_call() -> None:
    """
    Calls go on at once while the sink hangs; what is too much is dropped and counted, and the rest comes in the end.
    """
    with stuck(size=10) as (sink, slow):
        guard = Guard("images", sinks=[sink], isolate=None)
        began = time.perf_counter()
        for _ in range(100):
            guard.call(str)
        took = time.perf_counter() - began

        assert took < 1.0
        assert (10, 191) == (sink.waiting, sink.dropped)
        assert 0 == guard.snapshot().faults

    assert 10 == len(slow.taken)


def test_the_bound_is_exact_with_many_threads() -> None:
    """
    Whoever comes at the same time, no more than its size waits, and each event is either handed on or counted.
    """
    with stuck(size=25) as (sink, slow):

        def tells() -> None:
            for number in range(200):
                sink(event(number))

        threads = [threading.Thread(target=tells) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (25, 8 * 200 + 1 - 25) == (sink.waiting, sink.dropped)

    assert 25 == len(slow.taken)


def test_room_is_given_back() -> None:
    """
    A queue that was full takes events again.
    """
    with stuck(size=2) as (sink, slow):
        for _ in range(5):
            sink(event())
        slow.go.set()
        assert sink.flush()
        sink(event(9))
        assert sink.flush()

    assert ([event(), event(), event(9)], 4) == (slow.taken, sink.dropped)


def test_drops_are_told_once_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """
    One line for all that were dropped until then, from the queue's thread; no further one for a minute, but at its end.
    """
    with stuck(size=1) as (sink, slow):
        for _ in range(7):
            sink(event())
        slow.go.set()
        assert sink.flush()
        assert 1 == len(caplog.records)
        slow.go.clear()
        slow.has_begun.clear()
        sink(event())
        assert slow.has_begun.wait(5)
        sink(event())
        slow.go.set()
        assert sink.flush()
        assert 1 == len(caplog.records)

    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith(
        "the queue before Stuck was full: 7 events were dropped, 7 in all; make its size of 1 larger"
    )
    assert last.startswith("the queue before Stuck was full: 1 events were dropped, 8 in all")


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_what_a_sink_raises_ends_nothing(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """
    The next event is handed on; the error is logged once, with its traceback, and counted.
    """
    taken: list[Event] = []

    def breaks(told: Event) -> None:
        if told != event(3):
            raise error
        taken.append(told)

    with QueuedSink(breaks) as sink:
        for number in range(4):
            sink(event(number))

    assert ([event(3)], 3) == (taken, sink.errors)
    (record,) = caplog.records
    assert (logging.ERROR, True) == (record.levelno, record.exc_info is not None)


def test_a_log_that_raises_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A filter of the log raises while it is told of an error, and of events that were dropped: the thread goes on.
    """

    def broken(record: logging.LogRecord) -> bool:
        raise ValueError("no such field")

    def sink(told: Event) -> None:
        taken.append(told)
        if len(taken) == 1:
            raise KeyError("no such series")

    taken: list[Event] = []
    monkeypatch.setattr(logging.getLogger("hungframe"), "filters", [broken])
    with QueuedSink(sink) as queue:
        queue._dropped = 1
        for number in range(3):
            queue(event(number))
        assert queue.flush()
        assert (3, 0, 1) == (len(taken), queue.waiting, queue.errors)


def test_flush_waits_for_those_before() -> None:
    """
    True when all are handed on; False when that takes too long, or when the sink itself asks.
    """
    with stuck(size=5) as (sink, slow):
        assert not sink.flush(0.01)
        slow.go.set()
        assert sink.flush(5)

    answers: list[bool] = []
    asking: QueuedSink

    def asks(told: Event) -> None:
        answers.append(asking.flush(5))

    with QueuedSink(asks) as asking:
        asking(event())
    assert [False] == answers


def test_close_ends_the_thread() -> None:
    """
    What waits is handed on, what comes later is dropped and counted; to close twice does nothing.
    """
    recorded = RecordingSink()
    sink = QueuedSink(recorded)
    sink(event())

    assert sink.close()
    assert sink.close()
    sink(event(1))

    assert ([event()], 1) == (recorded.events, sink.dropped)
    assert not [thread for thread in threading.enumerate() if thread.name == "hungframe-sink"]
    assert sink.flush()


def test_close_is_bounded() -> None:
    """
    A sink that hangs does not hang who closes.
    """
    with stuck(size=5) as (sink, _):
        began = time.perf_counter()
        assert not sink.close(0.02)
        assert time.perf_counter() - began < 1.0


def test_unused_queue_has_no_thread() -> None:
    """
    The thread begins with the first event.
    """
    before = threading.active_count()
    with QueuedSink(RecordingSink()) as sink:
        assert before == threading.active_count()
        assert sink.flush()


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where no thread can be started the event waits, and the next one tries again.
    """
    recorded = RecordingSink()
    with QueuedSink(recorded) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fails_to_start)
            sink(event())
            assert not sink.flush()
        sink(event(1))
        assert sink.flush()
    assert [event(), event(1)] == recorded.events


def fails_to_start(thread: threading.Thread) -> None:
    """
    What Python says when there are too many.
    """
    raise RuntimeError("can't start new thread")


def test_an_event_told_while_another_is_being_told() -> None:
    """
    A finalizer may tell an event in the middle of anything: nothing that it needs is held, also when the queue is full.
    """
    with stuck(size=1) as (sink, _):
        with sink._counting, sink._starting:
            sink(event(1))
            sink(event(2))
        assert 2 == sink.dropped


VARIABLE: ContextVar[str] = ContextVar("variable", default="nothing")


def test_variables_are_those_of_the_code_that_told() -> None:
    """
    So that a sink finds the current span; and no deadline, although the call around runs still.
    """
    seen: list[tuple[str, str, float | None]] = []

    def looks(told: Event) -> None:
        seen.append((told.evt, VARIABLE.get(), current_deadline()))

    def callee() -> None:
        VARIABLE.set("inner")
        inner.call(str)
        # The call around still runs.
        assert current_deadline() is not None
        assert sink.flush()

    with QueuedSink(looks) as sink:
        outer, inner = Guard("outer", isolate=None), Guard("inner", sinks=[sink], isolate=None)
        outer.call(callee)

    assert [("gen.request", "inner", None), ("gen.success", "inner", None)] == seen
    assert "inner" == VARIABLE.get()


@pytest.mark.parametrize(
    ("sink", "size", "error"), [(None, 5, TypeError), (print, 0, ValueError), (print, 1.5, TypeError)]
)
def test_bad_input(sink: Any, size: Any, error: type[Exception]) -> None:
    """
    Refused where it is given.
    """
    with pytest.raises(error):
        QueuedSink(sink, size)


# -- fork and exit ---------------------------------------------------------------------------------------------------


def in_child(check: Callable[[], None]) -> None:
    """
    Run *check* in a forked child; fail if it does, or if it takes longer than 5 s.
    """
    pid = os.fork()
    if pid == 0:
        try:
            check()
        except BaseException as error:
            os.write(2, f"in the child: {type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert 0 == os.waitstatus_to_exitcode(status)
            return
        time.sleep(0.002)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_has_its_own_queue() -> None:
    """
    Full and stuck in the parent, with its locks held by another thread: in the child it is empty and works, and no
    event is handed on twice.
    """
    with stuck(size=2) as (sink, slow):
        for _ in range(5):
            sink(event())
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with sink._counting, sink._starting:
                held.set()
                done.wait(5)

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(5)

        def check() -> None:
            slow.go.set()
            assert (0, 0) == (sink.waiting, sink.dropped)
            for number in range(2):
                sink(event(number))
            assert sink.flush(5)
            assert [event(0), event(1)] == slow.taken

        in_child(check)
        done.set()
        holder.join()

    assert 2 == len(slow.taken)


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    """
    Run a program that ends while events wait.
    """
    head = """
        import sys, time
        from hungframe import Guard
        from hungframe.telemetry import QueuedSink
    """
    source = textwrap.dedent(head) + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, timeout=20, check=False
    )


def test_the_end_of_the_interpreter_hands_on_what_waits() -> None:
    """
    Nothing is lost where the sink is slow but fast enough.
    """
    ended = run_script("""
        def slow(event):
            time.sleep(0.01)
            print(event.evt, flush=True)
        guard = Guard("images", sinks=[QueuedSink(slow)], isolate=None)
        for _ in range(5):
            guard.call(str)
    """)

    assert (0, "", ["gen.request", "gen.success"] * 5) == (ended.returncode, ended.stderr, ended.stdout.split())


def test_the_end_of_the_interpreter_is_not_held_up() -> None:
    """
    A sink that hangs for ever costs what is said, for all queues together.
    """
    began = time.perf_counter()
    ended = run_script("""
        from hungframe.telemetry import queued
        queued._AT_EXIT = 0.2
        sinks = [QueuedSink(lambda event: time.sleep(60)) for _ in range(3)]
        Guard("images", sinks=sinks, isolate=None).call(str)
    """)

    assert (0, "") == (ended.returncode, ended.stderr)
    assert time.perf_counter() - began < 10
    assert 0 < queued._AT_EXIT <= 5
