"""
What a callee is, before it is called.
"""

from __future__ import annotations

import functools
import inspect
from types import FunctionType
from typing import Any


def body_of(fn: object) -> Any:
    """
    The function that is run when *fn* is called: below partials, and behind an object's `__call__`.

    Raises:
        TypeError: If *fn* cannot be called.
    """
    if not callable(fn):
        raise TypeError(f"a guard takes functions and methods, got {fn!r}, which cannot be called")
    body: Any = fn
    while isinstance(body, functools.partial):
        body = body.func
    if not inspect.isroutine(body) and not isinstance(body, type):
        body = type(body).__call__
    return body


def is_stream(body: Any) -> bool:
    """
    Tell whether *body* is a generator function, async or not: it answers again and again.
    """
    return inspect.isasyncgenfunction(body) or inspect.isgeneratorfunction(body)


_NOT_PLAIN = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def is_plain(fn: object) -> bool:
    """
    Tell whether *fn* is a function that does its work when it is called; by a flag, since this is asked for each call.
    """
    return type(fn) is FunctionType and not fn.__code__.co_flags & _NOT_PLAIN


def is_coroutine_function(fn: object) -> bool:
    """
    Tell whether *fn* is an `async def`; likewise.
    """
    return type(fn) is FunctionType and bool(fn.__code__.co_flags & inspect.CO_COROUTINE)


def checked_sync(fn: object) -> Any:
    """
    The body of *fn* if that is a generator function, None if it is a plain one.

    Raises:
        TypeError: If it is a coroutine function.
    """
    body = body_of(fn)
    if inspect.iscoroutinefunction(body):
        raise TypeError(f"call() takes a sync function, got the coroutine function {fn!r}; use `await acall()`")
    return body if is_stream(body) else None
