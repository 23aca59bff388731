"""
A generator in its guard: the stream is asked for each item, and the callee is closed in time whoever stops.

They stand here twice, async and sync, as in `wrapping`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import ParamSpec

from hungframe.abort import steps
from hungframe.by_key import limits_for
from hungframe.streams import StreamCall

if TYPE_CHECKING:
    from hungframe.engine import Engine
    from hungframe.limits import Limits

P = ParamSpec("P")
T = TypeVar("T")


def wrap_stream(engine: Engine, limits: Limits, fn: Callable[P, Any], body: object) -> Callable[P, Any]:
    """
    Make the generator function that calls *fn*, whose body is one, under a guard; of the same kind.

    Raises:
        TypeError: If it cannot run where the settings want it to.
    """
    if not inspect.isasyncgenfunction(body):
        if limits.isolate == "process":
            raise TypeError(f"isolate='process' takes no generator function, got {fn!r}; use 'thread'")
        return wrap_generator(engine, limits, fn)
    if limits.isolate not in ("auto", None):
        # Each of its steps would be on another event loop.
        raise TypeError(f"isolate={limits.isolate!r} takes no async generator function, got {fn!r}; use 'auto'")
    return wrap_async_generator(engine, limits, fn)


def wrap_async_generator(
    engine: Engine, limits: Limits, fn: Callable[P, AsyncGenerator[T, Any]]
) -> Callable[P, AsyncGenerator[T, Any]]:
    """
    Make the async generator function that iterates over *fn* under a guard, from the first item asked for.
    """

    async def guarded(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, Any]:
        gen = fn(*args, **kwargs)
        stream = StreamCall(engine, limits_for(engine, limits, args, kwargs), at_end=gen.aclose)
        is_over = stream.settled
        asked: Awaitable[T] = steps.ask(is_over, gen, None, first=True)
        thrown: BaseException | None = None
        item: Any = None
        sent: Any = None
        try:
            while True:
                try:
                    item = await stream.step(asked, thrown=thrown)
                except StopAsyncIteration:
                    return
                except GeneratorExit:
                    # Closed while it waits: nothing can be awaited any more.
                    raise
                except BaseException:
                    await _close_quietly(stream, gen)
                    raise
                thrown = None
                try:
                    sent = yield item
                except GeneratorExit:
                    stream.leave()
                    if steps.is_open(gen):
                        await stream.close(gen.aclose())
                    raise
                except BaseException as error:
                    thrown = error
                    asked = steps.ask_by_throwing(is_over, gen, error)
                else:
                    asked = steps.ask(is_over, gen, sent, first=False)
        finally:
            # What this frame holds lives as long as the error that leaves it.
            del args, kwargs, gen, stream, is_over, asked, thrown, item, sent

    return guarded


async def _close_quietly(stream: StreamCall, gen: AsyncGenerator[Any, Any]) -> None:
    """
    Close a callee that waits at a `yield` although its stream is over: how that ended is what its consumer is told.
    """
    if steps.is_open(gen):
        try:
            await stream.close(gen.aclose())
        except Exception:
            return


def wrap_generator(
    engine: Engine, limits: Limits, fn: Callable[P, Generator[T, Any, Any]]
) -> Callable[P, Generator[T, Any, Any]]:
    """
    Make the generator function that iterates over *fn* under a guard; likewise.
    """

    def guarded(*args: P.args, **kwargs: P.kwargs) -> Generator[T, Any, Any]:
        gen = fn(*args, **kwargs)
        stream = StreamCall(engine, limits_for(engine, limits, args, kwargs))
        is_over = stream.settled
        ask: Callable[[], T] = functools.partial(steps.ask_sync, is_over, gen, None)
        thrown: BaseException | None = None
        item: Any = None
        sent: Any = None
        try:
            while True:
                try:
                    item = stream.step_sync(ask, thrown=thrown)
                except StopIteration as stop:
                    return stop.value
                except BaseException:
                    _close_quietly_sync(stream, gen)
                    raise
                thrown = None
                try:
                    sent = yield item
                except GeneratorExit:
                    stream.close_sync(gen.close)
                    raise
                except BaseException as error:
                    thrown = error
                    ask = functools.partial(steps.ask_sync_by_throwing, is_over, gen, error)
                else:
                    ask = functools.partial(steps.ask_sync, is_over, gen, sent)
        finally:
            del args, kwargs, gen, stream, is_over, ask, thrown, item, sent

    return guarded


def _close_quietly_sync(stream: StreamCall, gen: Generator[Any, Any, Any]) -> None:
    if steps.is_open(gen):
        try:
            stream.close_sync(gen.close)
        except Exception:
            return
