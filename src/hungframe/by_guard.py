"""
Calls whose guard depends on their arguments: a wrapper that finds it, and what it has made of the function.

Whatever the function is, what is made of it is one of the same kind.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Hashable
from typing import Any

from hungframe.callees import body_of
from hungframe.guard import Guard
from hungframe.members import Members


class _Wrappers(dict[Guard, Callable[..., Any]]):
    """
    One function under each of the guards, as far as they were needed; a dict that a set can refer to weakly.
    """

    __slots__ = ("__weakref__",)
    # By what it is, since what it holds changes.
    __hash__ = object.__hash__  # type: ignore[assignment]  # None in a dict.

    def __eq__(self, other: object) -> bool:
        return self is other


def wrap(members: Members, key: Callable[..., Hashable], fn: Callable[..., Any]) -> Callable[..., Any]:
    """
    Make the function that calls *fn* under the guard of the call's key.

    Raises:
        TypeError: If *fn* cannot be called, or no guard would take it.
    """
    body = body_of(fn)
    wrappers = _Wrappers()
    members.caches.add(wrappers)

    def under(guard: Guard) -> Callable[..., Any]:
        wrapper = wrappers.get(guard)
        if wrapper is None:
            wrapper = wrappers[guard] = guard(fn)
        return wrapper

    guarded: Callable[..., Any]
    if inspect.isasyncgenfunction(body):
        guarded = _async_generator(members.of, key, under)
    elif inspect.isgeneratorfunction(body):
        guarded = _generator(members.of, key, under)
    elif inspect.iscoroutinefunction(body):
        guarded = _coroutine(members.of, key, under)
    else:
        guarded = _function(members.of, key, under)
    return functools.wraps(fn)(guarded)


# Each of these holds the guard while its call runs, so that the set finds it
# again even if it was dropped meanwhile; and lets go of everything at its end,
# since what the frame holds lives as long as the error that leaves it.

_Of = Callable[[Hashable], Guard]
_Key = Callable[..., Hashable]
_Under = Callable[[Guard], Callable[..., Any]]


def _function(of: _Of, key: _Key, under: _Under) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        guard = of(key(*args, **kwargs))
        try:
            return under(guard)(*args, **kwargs)
        finally:
            del args, kwargs, guard

    return guarded


def _coroutine(of: _Of, key: _Key, under: _Under) -> Callable[..., Any]:
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        guard = of(key(*args, **kwargs))
        try:
            return await under(guard)(*args, **kwargs)
        finally:
            del args, kwargs, guard

    return guarded


def _generator(of: _Of, key: _Key, under: _Under) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        guard = of(key(*args, **kwargs))
        try:
            return (yield from under(guard)(*args, **kwargs))
        finally:
            del args, kwargs, guard

    return guarded


def _async_generator(of: _Of, key: _Key, under: _Under) -> Callable[..., Any]:
    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        guard = of(key(*args, **kwargs))
        stream = under(guard)(*args, **kwargs)
        asked = stream.__anext__()
        item: Any = None
        sent: Any = None
        try:
            while True:
                try:
                    item = await asked
                except StopAsyncIteration:
                    return
                try:
                    sent = yield item
                except GeneratorExit:
                    await stream.aclose()
                    raise
                except BaseException as error:
                    asked = stream.athrow(error)
                else:
                    asked = stream.asend(sent)
        finally:
            del args, kwargs, guard, stream, asked, item, sent

    return guarded
