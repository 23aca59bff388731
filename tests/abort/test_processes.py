"""
Callees in worker processes: killed at the deadline, found by name, and nothing of them stays.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

from hungframe import CallTimeoutError, Guard, RemoteError, WorkerDiedError
from hungframe.abort import process_pool
from hungframe.testing import HostileProvider
from tests.abort import process_callees as callees

guard = callees.guard

# As one that `acall` takes where it moves its callee.
sleep: Any = time.sleep

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals and sessions of Unix")


def guard_of(**settings: Any) -> Guard:
    return Guard("processes", **{"timeout": 0.3, "isolate": "process", "breaker": None, **settings})


def warm() -> int:
    """
    Have a worker wait, so that a test does not measure how long an interpreter takes to start; its pid.
    """
    return guard.call(callees.pid)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie counts: somebody has to bury it.
    return True


def gone(pid: int, within: float = 2.0) -> bool:
    until = time.monotonic() + within
    while is_running(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


# -- what runs where -------------------------------------------------------------


def test_in_another_process_and_in_the_same_again() -> None:
    """
    The callee runs elsewhere, and a worker whose calls end in time is used again.
    """
    first = callees.doubled(4)
    second = callees.doubled(5)

    assert (8, 10) == (first[0], second[0])
    assert os.getpid() != first[1] == second[1]


def test_decorated_functions_run_their_guard_once() -> None:
    """
    In the worker it is the callee that is called, not the guarded function that has its name.
    """
    before = guard.snapshot().counts["success"]

    assert 6 == callees.doubled(3)[0]
    assert ("kept", 2) == callees.decorated_twice(1)
    assert before + 2 == guard.snapshot().counts["success"]


def test_methods() -> None:
    """
    Guarded methods of each kind, and bound methods that are called undecorated.
    """
    assert 5 == callees.Adder(2).add(3)
    assert "Adder 7" == callees.Adder.of_class(7)
    assert -7 == callees.Adder(2).of_none(7)
    assert 6 == guard.call(callees.Adder(2).plain, 3)


def test_what_is_no_function() -> None:
    """
    Builtins, classes, partials and objects that can be called.
    """
    import functools
    import operator

    assert 3 == guard.call(len, "abc")
    assert 5 == guard.call(int, "5")
    assert 7 == guard.call(functools.partial(int, base=8), "7")
    assert "b" == guard.call(operator.itemgetter(1), "abc")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_callers(backend: str) -> None:
    """
    They await it, the loop turns meanwhile, and an async callee gets a loop of its own there.
    """

    async def main() -> tuple[Any, Any, int]:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await anyio.sleep(0.005)
                turns += 1

        async with anyio.create_task_group() as group:
            group.start_soon(turn)
            awaited = await callees.awaited(4) if backend == "asyncio" else 8
            slept: Any = await guard.acall(sleep, 0.1)
            group.cancel_scope.cancel()
        return awaited, slept, turns

    awaited, slept, turns = anyio.run(main, backend=backend)

    assert (8, None) == (awaited, slept)
    assert turns >= 5


def test_an_async_callee_of_trio() -> None:
    """
    Where its caller is on trio, so is the callee.
    """
    assert trio.run(guard.acall, trio.sleep, 0) is None


def test_with_using() -> None:
    """
    A view may move its calls to a process, and a wrong word is refused.
    """
    plain = Guard("plain", timeout=30.0)

    assert os.getpid() == plain.call(callees.pid)
    assert os.getpid() != plain.using(isolate="process").call(callees.pid)
    with pytest.raises(ValueError, match="isolate must be 'auto', 'thread', 'process' or None, got 'procces'"):
        plain.using(isolate="procces")  # type: ignore[arg-type]  # What is refused.


def test_without_a_deadline() -> None:
    """
    It still runs elsewhere.
    """
    assert os.getpid() != guard_of(timeout=None).call(callees.pid)


def test_the_deadline_is_seen_there() -> None:
    """
    `time_left()` and `current_deadline()` tell what the parent's call has left, and an inner guard keeps to it.
    """
    warm()
    left, until = guard_of(timeout=4.0).call(callees.left)

    assert left is not None and until is not None
    assert 3 < until <= left <= 4
    assert 3 < guard_of(timeout=4.0).call(callees.inner_timeout) <= 4
    assert (None, None) == guard_of(timeout=None).call(callees.left)


def test_context_variables_stay_here() -> None:
    """
    They do not travel.
    """
    callees.variable.set("set")

    assert "unset" == guard.call(callees.reads_variable)


def test_ten_megabytes_there_and_back() -> None:
    """
    Big arguments and results come through.
    """
    value = os.urandom(10_000_000)

    assert value == guard.call(callees.sends_back, value)


def test_eight_at_once() -> None:
    """
    Each has a worker of its own; those that wait are bounded.
    """
    pids: list[int] = []
    together = threading.Barrier(8)

    def one() -> None:
        together.wait(5.0)
        for number in range(3):
            result, pid = callees.doubled(number)
            assert 2 * number == result
            pids.append(pid)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 24 == len(pids)
    assert 1 <= len(set(pids)) <= 8
    assert len(process_pool.pool()._idle) <= process_pool._MOST_IDLE


# -- the deadline ----------------------------------------------------------------


HANG: list[Callable[[], Any]] = [
    callees.spins,
    callees.ignores_signals,
    callees.matches_for_ever,
    callees.blocks_its_loop,
]


@unix_only
@pytest.mark.parametrize("callee", HANG, ids=lambda callee: callee.__name__)
def test_killed(callee: Callable[[], Any]) -> None:
    """
    Whatever it does, it is dead when the caller comes back.
    """
    pid = warm()
    began = time.monotonic()
    with pytest.raises(CallTimeoutError) as caught:
        if callee is callees.blocks_its_loop:
            asyncio.run(guard_of().acall(callee))
        else:
            guard_of().call(callee)

    assert "clean" == caught.value.receipt
    assert 0.29 < time.monotonic() - began < 0.3 + 0.25
    assert gone(pid, within=0)
    assert callee.__name__ in caught.value.where
    assert os.getpid() != warm()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_killed_for_an_async_caller(backend: str) -> None:
    """
    The same where it is awaited.
    """
    pid = warm()
    process_guard = guard_of()

    async def main() -> CallTimeoutError:
        with pytest.raises(CallTimeoutError) as caught:
            await process_guard.acall(sleep, 60)
        return caught.value

    assert "clean" == anyio.run(main, backend=backend).receipt
    assert gone(pid, within=0)
    snapshot = process_guard.snapshot()
    assert (1, 0, 0) == (snapshot.counts["timeout"], snapshot.orphans, snapshot.in_flight)


@unix_only
def test_what_it_has_started_is_killed_too(tmp_path: Path) -> None:
    """
    A program that the callee waits for does not outlive it.
    """
    warm()
    path = tmp_path / "pid"
    with pytest.raises(CallTimeoutError):
        guard_of().call(callees.runs_a_process, str(path))

    # It is its parent's no longer, and init's to bury.
    child = int(path.read_text())
    until = time.monotonic() + 2.0
    while is_running(child) and _state(child) != "Z" and time.monotonic() < until:
        time.sleep(0.005)
    assert not is_running(child) or _state(child) == "Z"


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "?"


def test_one_that_is_cold_is_killed_as_well() -> None:
    """
    A deadline that passes while the worker starts is a deadline.
    """
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(CallTimeoutError) as caught:
            guard_of(timeout=0.005, grace=0.005).call(time.sleep, 60)
    assert time.monotonic() - began < 1.0
    assert caught.value.receipt in ("clean", "late", "orphan")
    assert "DONE" == guard.call(str.upper, "done")


@pytest.mark.parametrize("library", ["asyncio", "anyio", "trio"])
def test_a_caller_that_is_cancelled(library: str) -> None:
    """
    Its worker is killed, and the cancellation is the caller's own.
    """
    pid = warm()
    process_guard = guard_of(timeout=30.0)

    async def on_asyncio() -> None:
        task = asyncio.ensure_future(process_guard.acall(sleep, 60))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def in_a_scope() -> None:
        with anyio.move_on_after(0.1) as scope:
            await process_guard.acall(sleep, 60)
        assert scope.cancelled_caught

    if library == "asyncio":
        asyncio.run(on_asyncio())
    else:
        anyio.run(in_a_scope, backend="trio" if library == "trio" else "asyncio")

    assert gone(pid, within=0.5)
    snapshot = process_guard.snapshot()
    assert (1, 0, 0) == (snapshot.counts["cancelled"], snapshot.orphans, snapshot.in_flight)


# -- what cannot travel ----------------------------------------------------------


def test_what_cannot_be_sent_is_named() -> None:
    """
    Callee and arguments: the call is not made, the message says which and what would do, and nothing is learned.
    """
    process_guard = guard_of(timeout=30.0)
    lock = threading.Lock()

    def local() -> None:
        pass

    with pytest.raises(TypeError, match="callee .*<lambda> cannot .* make it a function of a module, or use"):
        process_guard.call(lambda: None)
    with pytest.raises(TypeError, match="callee .*local cannot be sent to a worker process"):
        process_guard.call(local)
    with pytest.raises(TypeError, match="callee lock.acquire|callee .*acquire cannot be sent"):
        process_guard.call(lock.acquire)
    with pytest.raises(TypeError, match="argument 2 of print, a lock, cannot be pickled"):
        process_guard.call(print, 1, lock)
    with pytest.raises(TypeError, match="argument 'value' of sends_back, a generator, cannot be pickled"):
        process_guard.call(callees.sends_back, value=(x for x in "abc"))
    with pytest.raises(TypeError, match="or an argument of it cannot be loaded in a worker process .*not here"):
        process_guard.call(callees.sends_back, callees.Bomb())

    assert 6 == process_guard.snapshot().counts["cancelled"] == sum(process_guard.snapshot().counts.values())


def test_a_result_that_cannot_be_sent() -> None:
    """
    It is the result that is named; the worker goes on.
    """
    pid = warm()
    with pytest.raises(TypeError, match="the result of makes_a_lock cannot be pickled .*lock.*; return what can be"):
        guard.call(callees.makes_a_lock)
    with pytest.raises(TypeError, match="the result of returns_a_trap cannot be unpickled .*not here"):
        guard.call(callees.returns_a_trap)
    assert pid == warm()


def raised_by(callee: Callable[..., Any], *args: Any) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        guard_of().call(callee, *args)
    return caught.value


def test_exceptions_come_back_as_they_were() -> None:
    """
    Type, arguments and attributes, also of those that their own constructor could not make again.
    """
    error = raised_by(callees.raises, "a key")
    assert (KeyError, ("a key",)) == (type(error), error.args)

    error = raised_by(callees.raises, "odd")
    assert isinstance(error, callees.OddError)
    assert (("status 503",), 503, {"why": "busy"}) == (error.args, error.status_code, error.detail)

    # What cannot be pickled is missing, and nothing else.
    error = raised_by(callees.raises, "odd with a lock")
    assert isinstance(error, callees.OddError)
    assert (503, False) == (error.status_code, hasattr(error, "detail"))

    error = raised_by(callees.raises, "drifting")
    assert isinstance(error, callees.DriftingError)
    assert (("5: text",), 5) == (error.args, error.code)

    error = raised_by(callees.raises, "caused")
    assert (ValueError, ConnectionResetError) == (type(error), type(error.__cause__))

    error = raised_by(callees.leaves, 3)
    assert (SystemExit, (3,)) == (type(error), error.args)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with 3.11")
def test_exceptions_tell_where_they_came_from() -> None:
    """
    The traceback of the other process is a note.
    """
    error: Any = raised_by(callees.raises, "a key")

    assert "process_callees.py" in error.__notes__[0]
    assert "in raises" in error.__notes__[0]


def test_an_exception_that_asks_what_is_lost() -> None:
    """
    urllib's HTTPError answers from its file, which stays there; it comes back all the same, with status and headers.
    """
    with HostileProvider("503:2") as provider:
        mine = guard_of(timeout=5)
        with pytest.raises(urllib.error.HTTPError, match="503") as caught:
            mine.call(urllib.request.urlopen, provider.url)

    assert (503, "2") == (caught.value.code, caught.value.headers["Retry-After"])
    assert not hasattr(caught.value, "anything")
    assert 1 == mine.snapshot().counts["5xx"]


def test_exceptions_that_are_lost() -> None:
    """
    One that cannot come back is told in words, with its status; nothing hangs.
    """
    error = raised_by(callees.raises, "held")
    assert isinstance(error, RemoteError)
    assert 429 == error.status_code
    assert "raises raised tests.abort.process_callees.HeldError" in str(error)
    assert "cannot be pickled (TypeError" in str(error)

    error = raised_by(callees.raises, "local")
    assert isinstance(error, RemoteError)
    assert "of nobody" == error.text

    error = raised_by(callees.raises, "trap")
    assert isinstance(error, RemoteError)
    assert "RuntimeError: not here" == error.reason
    assert str(error) == str(pickle.loads(pickle.dumps(error)))


def test_outcomes() -> None:
    """
    They are read off the exception as if it had been raised here.
    """
    process_guard = guard_of(timeout=30.0)
    for which, outcome in {"odd": "5xx", "caused": "connection", "a key": "unknown", "held": "quota"}.items():
        with pytest.raises(Exception):  # noqa: B017, PT011
            process_guard.call(callees.raises, which)
        assert 1 == process_guard.snapshot().counts[outcome], which


# -- workers that die ------------------------------------------------------------


@unix_only
def test_one_that_dies_by_itself() -> None:
    """
    It is no timeout: an error of its own names exit code or signal, and the next call works.
    """
    process_guard = guard_of(timeout=30.0)

    with pytest.raises(WorkerDiedError) as caught:
        process_guard.call(callees.exits, 3)
    assert (3, None) == (caught.value.exit_code, caught.value.signal)
    assert "guard 'processes': the worker process exited with 3 while it ran exits" == str(caught.value)
    for number in (signal.SIGSEGV, signal.SIGKILL):
        with pytest.raises(WorkerDiedError) as caught:
            process_guard.call(callees.kills_itself, number)
        assert (-number, number.name) == (caught.value.exit_code, caught.value.signal)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(caught.value) == str(again) and "for want of memory" in str(again)

    assert 3 == process_guard.snapshot().counts["unknown"]
    assert "DONE" == process_guard.call(str.upper, "done")


@unix_only
def test_one_that_is_killed_while_idle() -> None:
    """
    The next call does not notice.
    """
    for _ in range(3):
        os.kill(warm(), signal.SIGKILL)
        assert 4 == callees.doubled(2)[0]


@unix_only
def test_one_that_dies_in_the_moment_it_is_given_a_job() -> None:
    """
    What had not begun is begun by another worker.
    """
    pid = warm()
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(0.1, os.kill, (pid, signal.SIGKILL)).start()

    assert 4 == callees.doubled(2)[0]


def test_a_thread_that_a_callee_has_left() -> None:
    """
    It does not keep its worker alive.
    """
    pid = warm()
    guard.call(callees.leaves_a_thread)
    process_pool.pool().take().end()

    assert gone(pid, within=0.5)


def test_idle_ones_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A worker that has had nothing to do for a while is gone, and so is its zombie.
    """
    pool = process_pool._Pool()
    monkeypatch.setattr(process_pool, "_pool", pool)
    monkeypatch.setattr(process_pool, "_IDLE_FOR", 0.1)

    assert gone(warm())
    assert not pool.all


def _descriptors() -> int:
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0


def test_nothing_stays() -> None:
    """
    After ten kills there are no more descriptors, zombies or workers than before.
    """
    process_guard = guard_of(timeout=0.02)
    with pytest.raises(CallTimeoutError):
        process_guard.call(time.sleep, 60)
    gc.collect()
    before = _descriptors()
    for _ in range(10):
        with pytest.raises(CallTimeoutError):
            process_guard.call(time.sleep, 60)
    until = time.monotonic() + 2.0
    pool = process_pool.pool()
    # One is made ready for the next call, in the background.
    while (len(pool.all) > len(pool._idle) or _descriptors() > before + 1) and time.monotonic() < until:
        time.sleep(0.01)

    assert len(pool.all) == len(pool._idle) <= process_pool._MOST_IDLE
    assert _descriptors() <= before + 1
    assert 0 == process_guard.snapshot().orphans


# -- the parent ------------------------------------------------------------------


def run(program: str, path: Path, *, name: str = "program.py") -> subprocess.CompletedProcess[str]:
    """
    Run a program that is a file, as most are.
    """
    file = path / name
    file.write_text(textwrap.dedent(program))
    return subprocess.run(
        [sys.executable, "-W", "error", str(file)], capture_output=True, text=True, timeout=20, check=False
    )


def test_functions_of_the_program_itself(tmp_path: Path) -> None:
    """
    They are found as multiprocessing finds them; output comes through; no process and no noise is left.
    """
    ran = run(
        """
        import os, time
        from hungframe import CallTimeoutError, Guard
        guard = Guard("program", timeout=30, isolate="process")

        class Point:
            def __init__(self, x):
                self.x = x

        @guard
        def moved(point):
            print("moving", flush=True)
            return Point(point.x + 1), os.getpid()

        @guard.using(timeout=0.3)
        def hangs():
            time.sleep(60)

        if __name__ == "__main__":
            point, pid = moved(Point(1))
            assert type(point) is Point
            print(point.x, pid)
            try:
                hangs()
            except CallTimeoutError as error:
                print(error.receipt)
        """,
        tmp_path,
    )

    assert "" == ran.stderr
    moving, moved, receipt = ran.stdout.splitlines()
    assert ("moving", "2", "clean") == (moving, moved.split()[0], receipt)
    assert gone(int(moved.split()[1]), within=0.5)


def test_a_program_that_is_not_guarded_by_its_name(tmp_path: Path) -> None:
    """
    One that calls while it is imported would call again in its worker, without end; it is told so.
    """
    ran = run(
        """
        from hungframe import Guard
        guard = Guard("program", timeout=30, isolate="process")

        @guard
        def work():
            return "done"

        work()
        """,
        tmp_path,
    )

    assert 1 == ran.returncode
    assert "cannot be loaded in a worker process" in ran.stderr
    assert "if __name__ == '__main__':" in ran.stderr


def test_a_program_that_is_no_file() -> None:
    """
    A session's own functions cannot be found, those of modules can.
    """
    program = textwrap.dedent(
        """
        import os
        from hungframe import Guard
        guard = Guard("session", timeout=30, isolate="process")
        def work():
            return "done"
        print(guard.call(os.getpid) != os.getpid())
        try:
            guard.call(work)
        except TypeError as error:
            print(error)
        """
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)

    assert "" == ran.stderr
    first, second = ran.stdout.splitlines()
    assert "True" == first
    assert "move it to a module" in second


@unix_only
@pytest.mark.parametrize("callee", ["matches_for_ever", "pid"])
def test_a_parent_that_is_killed(callee: str) -> None:
    """
    Its workers end at once, one that never looks up too.
    """
    program = textwrap.dedent(
        f"""
        import os, sys, threading, time
        from hungframe.abort import process_pool
        from tests.abort import process_callees as callees
        print(callees.guard.call(callees.pid), flush=True)
        callees.guard.using(timeout=60).call(callees.{callee})
        time.sleep(60)
        """
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": _path()}
    )
    assert parent.stdout is not None
    with parent.stdout:
        worker = int(parent.stdout.readline())
        time.sleep(0.3)
        assert is_running(worker)
        parent.kill()
        parent.wait()
    until = time.monotonic() + 2.0
    while is_running(worker) and _state(worker) != "Z" and time.monotonic() < until:
        time.sleep(0.005)
    assert not is_running(worker) or _state(worker) == "Z"


def _path() -> str:
    return os.pathsep.join(path for path in sys.path if path)


@unix_only
def test_ctrl_c(tmp_path: Path) -> None:
    """
    The interrupt is the caller's; its worker is killed, and the next call works.
    """
    program = textwrap.dedent(
        """
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from tests.abort import process_callees as callees
        print(callees.guard.call(callees.pid), flush=True)
        try:
            callees.guard.using(timeout=30).call(callees.ignores_signals)
        except KeyboardInterrupt:
            print(callees.guard.call(callees.pid), callees.guard.snapshot().counts["cancelled"])
        """
    )
    parent = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": _path()},
    )
    assert parent.stdout is not None
    first = int(parent.stdout.readline())
    time.sleep(0.2)
    parent.send_signal(signal.SIGINT)
    out, err = parent.communicate(timeout=10)

    assert ("", 0) == (err, parent.returncode)
    second, cancelled = out.split()
    assert first != int(second) and "1" == cancelled
    assert gone(first, within=0.5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork() -> None:
    """
    A forked child has workers of its own, and the parent keeps its.
    """
    from tests.abort.test_fork import in_child

    parents = warm()

    def check() -> None:
        assert parents != warm()
        process_pool.pool().close()

    in_child(check)
    assert parents == warm()


def test_a_guarded_client_in_a_worker_process() -> None:
    """
    A guarded transport finds the deadline of the call in the parent, and works below it.
    """
    with HostileProvider("ok") as provider:
        text, left = Guard("images", timeout=20, isolate="process").call(callees.fetch, provider.url)

    assert "ok" in text
    assert left is not None and 0 < left < 20
