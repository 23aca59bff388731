"""
What goes to a worker process and comes back, by pickle; and what can be said where something cannot.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import spawn
from types import FunctionType
from typing import Any

from hungframe.abort.mistake import NotGuardedError
from hungframe.abort.process_worker import IN_PARTS, MAIN, NOT_LOADED, NOT_SENT, RAISED, WHOLE
from hungframe.errors import RemoteError

_OR_THREAD = "or use isolate='thread'"


# -- there -----------------------------------------------------------------------


def packed(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], seconds: float | None, *, on_trio: bool
) -> bytes:
    """
    A job for a worker process.

    Args:
        fn: The callee. A function is found by its name there, behind the decorators that have taken that name,
            the guard's own among them; anything else is pickled.

        args: Its arguments.

        kwargs: Those by name.

        seconds: What is left until the deadline; None: no deadline.

        on_trio: Whether an async callee runs on trio there, or on asyncio.

    Raises:
        NotGuardedError: If something cannot be pickled; says what.

        RuntimeError: If this is a worker that has not yet imported its program (which lacks its
            `if __name__ == "__main__":`).
    """
    callee = _place_of(fn)
    try:
        payload = pickle.dumps((None if callee else fn, tuple(args), dict(kwargs)), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        problem = _culprit(None if callee else fn, args, kwargs, name_of(fn)) or _said(error)
    else:
        here = os.getcwd()
        job = {
            "seconds": seconds,
            "on_trio": on_trio,
            "path": [here if path == "" else path for path in sys.path],
            "main": _main_of_this(),
            "callee": callee,
            "payload": payload,
        }
        return pickle.dumps(job, pickle.HIGHEST_PROTOCOL)
    raise NotGuardedError(f"isolate='process': {problem}")


def name_of(fn: object) -> str:
    """
    A callee's name, for people.
    """
    return str(getattr(fn, "__qualname__", None) or repr(fn))


def _place_of(fn: object) -> tuple[str, str, int] | None:
    """
    Where a function is found: module, name in it, and how many decorators lie above it; None if it is not.
    """
    if type(fn) is not FunctionType:
        return None
    found: Any = sys.modules.get(fn.__module__)
    for name in fn.__qualname__.split("."):
        found = getattr(found, name, None)
    depth = 0
    while found is not None and found is not fn:
        found = getattr(found, "__wrapped__", None)
        depth += 1
    return None if found is None else (fn.__module__, fn.__qualname__, depth)


def _culprit(fn: object, args: Sequence[Any], kwargs: Mapping[str, Any], name: str) -> str | None:
    """
    Tell which of the things that were to be sent cannot be.
    """
    problem = _problem(fn)
    if problem is not None:
        return (
            f"the callee {name} cannot be sent to a worker process ({problem}); "
            f"make it a function of a module, {_OR_THREAD}"
        )
    named = [(f"argument {number}", value) for number, value in enumerate(args, 1)]
    for which, value in [*named, *((f"argument {key!r}", value) for key, value in kwargs.items())]:
        problem = _problem(value)
        if problem is not None:
            return (
                f"{which} of {name}, a {type(value).__name__}, cannot be pickled ({problem}); "
                f"give it what can be, {_OR_THREAD}"
            )
    return None


def _problem(value: object) -> str | None:
    try:
        pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return _said(error)
    return None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


_main: dict[str, Any] = {}


def _main_of_this() -> dict[str, Any]:
    """
    How a worker imports this program, should it have to; empty where it cannot.
    """
    if not _main:
        data: dict[str, Any] = {**spawn.get_preparation_data("hungframe-worker")}
        ways = ("init_main_from_name", "init_main_from_path")
        found: dict[str, Any] = {way: data[way] for way in ways if way in data}
        if found:
            found["sys_argv"] = data.get("sys_argv", [])
        _main.update(known=found)
    known: dict[str, Any] = _main["known"]
    return known


# -- and back --------------------------------------------------------------------


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # What a worker knows of this program is called so there.
        return super().find_class("__main__" if module in MAIN else module, name)


def _loaded(data: bytes | memoryview) -> Any:
    return _Unpickler(io.BytesIO(data)).load()


def opened(kind: bytes, data: memoryview, guard: str, callee: str) -> Any:
    """
    The result that a worker process has sent, or the exception raised again.

    Args:
        kind: How the job has ended.

        data: What came with that.

        guard: Name of the guard.

        callee: Name of the callee.

    Raises:
        NotGuardedError: If the callee was not called, or its result could not be sent.

        RemoteError: If its exception could not be sent.
    """
    if kind == RAISED:
        error = _restored(pickle.loads(data), guard, callee)
        try:
            raise error
        finally:
            # A frame that holds the exception which holds the frame is a cycle.
            del error
    if kind == NOT_LOADED:
        problem = f"{callee} or an argument of it cannot be loaded in a worker process ({str(data, 'utf-8')})"
    elif kind == NOT_SENT:
        problem = f"the result of {callee} cannot be pickled ({str(data, 'utf-8')}); return what can be, {_OR_THREAD}"
    else:
        try:
            return _loaded(data)
        except Exception as error:
            problem = f"the result of {callee} cannot be unpickled ({_said(error)}); return what can be, {_OR_THREAD}"
    raise NotGuardedError(f"isolate='process': {problem}")


class RemoteTraceback(Exception):
    """
    Where an exception came from, in the words of the process that it was raised in.
    """

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _restored(packed: dict[str, Any], guard: str, callee: str) -> BaseException:
    """
    Make the exception again that `process_worker.pack_error` has taken apart.
    """
    error: BaseException
    try:
        if packed["how"] == WHOLE:
            error = _loaded(packed["whole"])
        elif packed["how"] == IN_PARTS:
            error = _put_together(packed)
        else:
            raise ValueError(packed["problem"])
    except Exception as problem:
        reason = packed.get("problem") or _said(problem)
        error = RemoteError(guard, callee, packed["name"], packed["text"], reason, packed["status"])
    if packed["cause"] is not None:
        error.__cause__ = _restored(packed["cause"], guard, callee)
    told = f"in a worker process:\n{packed['traceback']}"
    if sys.version_info >= (3, 11):
        error.add_note(told)
    elif error.__cause__ is None:
        error.__cause__ = RemoteTraceback(told)
    return error


def _put_together(packed: dict[str, Any]) -> BaseException:
    kind, args = _loaded(packed["type"]), _loaded(packed["args"])
    error: BaseException = kind.__new__(kind, *args)
    error.args = args
    vars(error).update({name: _loaded(data) for name, data in packed["attributes"].items()})
    try:
        getattr(error, "__notes__", None)
    except Exception:
        # It looks for what it has not in what was lost (urllib's HTTPError, in its file): whoever asks anything of it
        # would get that error instead. Nothing is there, and that it says.
        vars(error).update(dict.fromkeys(packed["lost"]))
        getattr(error, "__notes__", None)
    return error
