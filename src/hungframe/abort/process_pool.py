"""
Worker processes that are kept warm: shared by all guards, bounded, ended when idle for long.

A worker is a fresh interpreter on every platform, never a fork of this one.
Nothing here uses multiprocessing's own pool: that cannot lose a worker in the
middle of a call, and starts a tracker process of its own.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing import spawn

from hungframe.abort import process_worker, threads
from hungframe.abort.process_worker import LENGTH

# A worker that has had no call for this long ends.
_IDLE_FOR = 30.0

# More than these do not wait; as many as there are calls at once may work.
_MOST_IDLE = 8

# Seconds for a process that has closed its socket to be gone.
_GONE_WITHIN = 1.0


class Worker:
    """
    A process that runs one job after another.
    """

    __slots__ = ("_process", "_sock", "idle_since")

    def __init__(self) -> None:
        self.idle_since = 0.0
        ours, theirs = socket.socketpair()
        self._sock = ours
        try:
            with theirs:
                self._process = _start(theirs)
        except BaseException:
            ours.close()
            raise
        _pool.all.add(self)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def give(self, job: bytes) -> bool:
        """
        Send it a job; tell whether it has taken all of it.
        """
        try:
            self._sock.sendall(LENGTH.pack(len(job)))
            self._sock.sendall(job)
        except OSError:
            return False
        return True

    def take(self) -> tuple[bytes, memoryview] | None:
        """
        Wait for its next message; None if it has died.
        """
        try:
            head = self._exactly(LENGTH.size)
            data = None if head is None else self._exactly(LENGTH.unpack(head)[0])
        except OSError:
            return None
        return None if data is None else (bytes(data[:1]), data[1:])

    def _exactly(self, size: int) -> memoryview | None:
        data = memoryview(bytearray(size))
        rest = data
        while rest:
            got = self._sock.recv_into(rest)
            if not got:
                return None
            rest = rest[got:]
        return data

    def is_alive(self) -> bool:
        """
        Tell whether it waits for a job; one that was killed while idle does not.
        """
        if self._process.poll() is not None:
            return False
        # Nothing is said out of turn, so whatever can be read is its end.
        self._sock.setblocking(False)
        try:
            self._sock.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self._sock.setblocking(True)
        return False

    def kill(self) -> None:
        """
        Kill it, and what its callee has started, from any thread; its socket tells whoever waits for it.
        """
        if self._process.poll() is None:
            try:
                if sys.platform == "win32":
                    self._process.kill()
                else:
                    # It leads a group of its own.
                    os.killpg(self._process.pid, signal.SIGKILL)
            except OSError:
                # It has died this very moment.
                pass
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def bury(self) -> int:
        """
        Wait until it is gone; return its exit code, negative for a signal.
        """
        try:
            try:
                return self._process.wait(_GONE_WITHIN)
            except subprocess.TimeoutExpired:
                # It has closed all its files, and lives.
                self.kill()
                return self._process.wait()
        finally:
            self._sock.close()
            _pool.all.discard(self)

    def end(self) -> None:
        """
        End it; it must be idle.
        """
        self.kill()
        self.bury()

    def forget(self) -> None:
        """
        Let go of it in a forked child: it is the parent's.
        """
        # Else it would not notice when its parent is gone.
        self._sock.close()
        # Else it would be waited for.
        self._process.returncode = 0


def _start(theirs: socket.socket) -> subprocess.Popen[bytes]:
    command = [spawn.get_executable(), *_interpreter_flags(), process_worker.__file__]
    if sys.platform == "win32":
        process = subprocess.Popen(
            [*command, "-"], stdin=subprocess.PIPE, creationflags=subprocess.CREATE_NEW_PROCESS_GROUP
        )
        assert process.stdin is not None
        process.stdin.write(theirs.share(process.pid))
        process.stdin.close()
        return process
    fd = theirs.fileno()
    return subprocess.Popen([*command, str(fd)], stdin=subprocess.DEVNULL, pass_fds=[fd], start_new_session=True)


def _interpreter_flags() -> list[str]:
    # Private, and what multiprocessing uses: -O, -W, -X and the like.
    flags: list[object] = getattr(subprocess, "_args_from_interpreter_flags", list)()
    return [str(flag) for flag in flags]


class _Pool:
    """
    The workers that wait for a job, and all that there are.
    """

    __slots__ = ("_closed", "_idle", "_janitor", "_lock", "all")

    def __init__(self) -> None:
        self.all: set[Worker] = set()
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._janitor = False
        self._closed = False

    def take(self) -> Worker:
        """
        An idle worker, the one that was used last, or a new one.
        """
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return Worker()
            if worker.is_alive():
                return worker
            worker.end()

    def put(self, worker: Worker) -> None:
        """
        Keep a worker for the next job, if there is room.
        """
        worker.idle_since = time.monotonic()
        with self._lock:
            keep = len(self._idle) < _MOST_IDLE and not self._closed
            if keep:
                self._idle.append(worker)
            tidy = keep and not self._janitor
            if tidy:
                self._janitor = True
        if not keep:
            worker.end()
        if tidy:
            threading.Thread(target=self._tidy, name="hungframe-worker-janitor", daemon=True).start()

    def warm(self) -> None:
        """
        Start a worker in the background for the next call, unless one is idle.
        """
        if not self._idle and not self._closed:
            threads.start(threads.Job(self._warm))

    def _warm(self) -> None:
        self.put(Worker())

    def _tidy(self) -> None:
        """
        End workers that have been idle for long, until there is no idle one.
        """
        while True:
            with self._lock:
                # The list is in order: what was used last is at its end.
                now = time.monotonic()
                old = [worker for worker in self._idle if now - worker.idle_since >= _IDLE_FOR]
                self._idle = [worker for worker in self._idle if worker not in old]
                if not self._idle:
                    self._janitor = False
                    wait = None
                else:
                    wait = self._idle[0].idle_since + _IDLE_FOR - now
            for worker in old:
                worker.end()
            if wait is None:
                return
            time.sleep(max(wait, 0.01))

    def close(self) -> None:
        """
        End all workers, busy ones too: the interpreter ends.
        """
        self._closed = True
        for worker in list(self.all):
            worker.kill()
        for worker in list(self.all):
            worker.bury()


_pool = _Pool()


def pool() -> _Pool:
    """
    The pool of this process.
    """
    return _pool


def _forget_workers() -> None:
    global _pool
    for worker in list(_pool.all):
        worker.forget()
    _pool = _Pool()


atexit.register(lambda: _pool.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
