"""
What runs in a worker process: take a job, run it, send back what became of it.

The process is started with this file as its script, and imports next to
nothing before its first job, so that it is soon there. hungframe itself is
imported only if the callee's module does so.

Two messages answer a job. `BEGUN` says that the callee runs from now on: a
worker that dies before has harmed nothing, and the job is given to another.
The second says how it ended. The parent is silent meanwhile, so that whatever
comes through the socket while a callee runs is the parent's end.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and sys.path and sys.path[0].replace("\\", "/").endswith("/hungframe/abort"):
    # Put there because this is a script; modules of the same names are not to be found here.
    del sys.path[0]

import io
import os
import pickle
import select
import signal
import struct
import time
from collections.abc import Callable
from typing import Any

LENGTH = struct.Struct("!Q")

BEGUN = b"b"
RETURNED = b"r"
RAISED = b"e"
NOT_LOADED = b"u"
"""The callee or an argument could not be unpickled; the callee did not run."""
NOT_SENT = b"n"
"""The result could not be pickled."""

# Ways in which an exception travels.
WHOLE, IN_PARTS, LOST = "whole", "in parts", "lost"
_MOST_CAUSES = 4

# Modules under which a program is known to itself and to its workers.
MAIN = ("__main__", "__mp_main__")


# -- the socket ------------------------------------------------------------------


class Channel:
    """
    Messages over a file descriptor; the parent's end is told by their end.
    """

    def __init__(self, read: Callable[[int], bytes], write: Callable[[memoryview], int]) -> None:
        self._read = read
        self._write = write

    def receive(self) -> bytes | None:
        """
        The next message, or None when the parent is gone.
        """
        head = self._exactly(LENGTH.size)
        return None if head is None else self._exactly(LENGTH.unpack(head)[0])

    def _exactly(self, size: int) -> bytes | None:
        parts: list[bytes] = []
        while size:
            part = self._read(min(size, 1 << 20))
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def send(self, kind: bytes, data: bytes = b"") -> None:
        """
        Send one message; its first byte says what it is.
        """
        for part in (LENGTH.pack(len(data) + 1) + kind, data):
            rest = memoryview(part)
            while rest:
                rest = rest[self._write(rest) :]


class _Parent:
    """
    Whether the parent is there still, while a callee keeps this process from asking.

    On Linux the kernel ends the process with the socket, also where a callee
    never lets go of the interpreter's lock (a regular expression that runs
    away). Elsewhere a thread asks twice a second.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._busy = False
        try:
            import fcntl

            fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
            # Instead of SIGIO, which a callee might handle.
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)  # type: ignore[attr-defined, unused-ignore]  # Linux.
            self._flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            self._set_flags: Callable[[int], object] | None = lambda flags: fcntl.fcntl(fd, fcntl.F_SETFL, flags)
        except (ImportError, AttributeError, OSError):
            self._set_flags = None
            import _thread

            _thread.start_new_thread(self._ask, ())

    def __enter__(self) -> None:
        self._busy = True
        if self._set_flags is not None:
            self._set_flags(self._flags | getattr(os, "O_ASYNC", 0o20000))
        # It may have gone a moment before.
        self._exit_if_gone()

    def __exit__(self, *_: object) -> None:
        self._busy = False
        if self._set_flags is not None:
            self._set_flags(self._flags)

    def _ask(self) -> None:
        while True:
            time.sleep(0.5)
            if self._busy:
                self._exit_if_gone()

    def _exit_if_gone(self) -> None:
        if not self._busy:
            return
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            gone = bool(poll.poll(0))
        else:
            gone = bool(select.select([self._fd], [], [], 0)[0])
        if gone:
            os._exit(1)


# -- one job ---------------------------------------------------------------------


class _Unpickler(pickle.Unpickler):
    """
    Unpickles what the parent has sent; its program is imported when something of it is asked for.
    """

    def __init__(self, data: bytes, main: dict[str, Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._main = main

    def find_class(self, module: str, name: str) -> Any:
        if module in MAIN:
            import_main(self._main)
            module = "__main__"
        return super().find_class(module, name)


_main_imported = False


def import_main(main: dict[str, Any]) -> None:
    """
    Import the parent's program as `__mp_main__`, as multiprocessing does, once.
    """
    global _main_imported
    if _main_imported:
        return
    if not main:
        raise AttributeError(
            "it is defined in a program that a worker process cannot import (an interactive session, or one "
            "that was read from -c or stdin); move it to a module"
        )
    from multiprocessing import process, spawn

    # What multiprocessing tells a program by that starts processes while it
    # is imported, because it has no `if __name__ == "__main__":`.
    current: Any = process.current_process()
    current._inheriting = True
    try:
        spawn.prepare(main)
        _main_imported = True
    finally:
        del current._inheriting


def _load(job: dict[str, Any]) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    if sys.path != job["path"]:
        sys.path[:] = job["path"]
    fn, args, kwargs = _Unpickler(job["payload"], job["main"]).load()
    return (_find(job) if fn is None else fn), args, kwargs


def _find(job: dict[str, Any]) -> Any:
    """
    Find a function by its name, and the callee below the decorators that have taken this name.
    """
    module, qualname, depth = job["callee"]
    if module in MAIN:
        import_main(job["main"])
        module = "__main__"
    __import__(module)
    found: Any = sys.modules[module]
    for name in qualname.split("."):
        found = getattr(found, name)
    for _ in range(depth):
        found = found.__wrapped__
    return found


def _run(job: dict[str, Any], fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = sys.modules.get("hungframe.abort.call")
    if call is not None:
        call.enter_from_elsewhere(job["seconds"])
    result = fn(*args, **kwargs)
    if not hasattr(type(result), "__await__"):
        return result

    async def main() -> Any:
        return await result

    if job["on_trio"]:
        import trio

        return trio.run(main)
    import asyncio

    return asyncio.run(main())


# -- exceptions ------------------------------------------------------------------


def pack_error(error: BaseException, causes: int = _MOST_CAUSES) -> dict[str, Any]:
    """
    What an exception is made of, in types that any process can read.

    Many cannot be unpickled: their constructor wants more than `args` says.
    So one that does not survive the journey travels in parts, and is put
    together without its constructor.
    """
    import traceback

    kind = type(error)
    status = getattr(error, "status_code", None)
    packed: dict[str, Any] = {
        "name": kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}",
        "text": _text(error),
        "status": status if type(status) is int else None,
        "traceback": "".join(traceback.format_exception(kind, error, error.__traceback__)),
        "cause": pack_error(error.__cause__, causes - 1) if error.__cause__ is not None and causes else None,
    }
    try:
        whole = pickle.dumps(error)
        twin = pickle.loads(whole)
        if type(twin) is kind and twin.args == error.args:
            return packed | {"how": WHOLE, "whole": whole}
    except Exception as problem:
        packed["problem"] = f"{type(problem).__name__}: {problem}"
    try:
        attributes = {name: _dumped(value) for name, value in vars(error).items()}
        return packed | {
            "how": IN_PARTS,
            "type": pickle.dumps(kind),
            "args": pickle.dumps(error.args),
            "attributes": {name: data for name, data in attributes.items() if data is not None},
            "lost": [name for name, data in attributes.items() if data is None],
        }
    except Exception as problem:
        return packed | {"how": LOST, "problem": f"{type(problem).__name__}: {problem}"}


def _dumped(value: Any) -> bytes | None:
    """
    An attribute that survives the journey, or None.
    """
    try:
        data = pickle.dumps(value)
        pickle.loads(data)
    except Exception:
        return None
    return data


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


# -- the loop --------------------------------------------------------------------


def _answer(data: bytes, channel: Channel, parent: _Parent) -> tuple[bytes, bytes]:
    """
    Run one job; say how it ended.
    """
    job = pickle.loads(data)
    try:
        fn, args, kwargs = _load(job)
    except BaseException as error:
        return NOT_LOADED, f"{type(error).__name__}: {_text(error)}".encode()
    channel.send(BEGUN)
    from contextvars import copy_context

    with parent:
        try:
            result = copy_context().run(_run, job, fn, args, kwargs)
        except BaseException as error:
            return RAISED, pickle.dumps(pack_error(error))
        try:
            return RETURNED, pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            return NOT_SENT, f"{type(error).__name__}: {_text(error)}".encode()


def _serve(channel: Channel, parent: _Parent) -> None:
    while (data := channel.receive()) is not None:
        kind, answer = _answer(data, channel, parent)
        del data
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                continue
        channel.send(kind, answer)
        del answer


def main() -> None:
    """
    Serve the parent until it closes its end.
    """
    # The parent ends its workers itself, whatever Ctrl-C means to it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "win32":
        import socket

        sock = socket.fromshare(sys.stdin.buffer.read())
        channel = Channel(sock.recv, sock.send)
        fd = sock.fileno()
    else:
        fd = int(sys.argv[1])
        # Whatever the callee starts has no part in this.
        os.set_inheritable(fd, False)
        channel = Channel(lambda size: os.read(fd, size), lambda data: os.write(fd, data))
    del sys.argv[1:]
    try:
        _serve(channel, _Parent(fd))
    finally:
        # Nothing that a callee has left behind holds this process up.
        os._exit(0)


if __name__ == "__main__":
    main()
