"""
A generator in its guard: the stream is asked for each item, and the callee is closed in time whoever stops.

They stand here twice, async and sync, as in `wrapping`.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import ParamSpec

from hungframe.abort import steps
from hungframe.abort.backend import sleep
from hungframe.admission import let_in, let_in_sync
from hungframe.attempts import Attempts
from hungframe.by_arguments import limits_for
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
    _check_around(limits, fn)
    if not inspect.isasyncgenfunction(body):
        if limits.isolate == "process":
            raise TypeError(f"isolate='process' takes no generator function, got {fn!r}; use 'thread'")
        return wrap_generator(engine, limits, fn)
    if limits.isolate not in ("auto", None):
        # Each of its steps would be on another event loop.
        raise TypeError(f"isolate={limits.isolate!r} takes no async generator function, got {fn!r}; use 'auto'")
    return wrap_async_generator(engine, limits, fn)


def _check_around(limits: Limits, fn: object) -> None:
    around = limits.around
    if around is not None and around.hedge is not None:
        raise TypeError(f"hedge takes no generator function, got {fn!r}; guard it by `using(hedge=None)`")
    if around is not None and around.fallback is not None:
        raise TypeError(
            f"fallback takes no generator function, got {fn!r}; catch the error where it is iterated over, "
            "and guard it by `using(fallback=None)`"
        )


def wrap_async_generator(
    engine: Engine, limits: Limits, fn: Callable[P, AsyncGenerator[T, Any]]
) -> Callable[P, AsyncGenerator[T, Any]]:
    """
    Make the async generator function that iterates over *fn* under a guard, from the first item asked for.
    """

    async def guarded(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, Any]:
        gen: Any = None
        stream: Any = None
        asked: Any = None
        thrown: BaseException | None = None
        item: Any = None
        sent: Any = None
        try:
            try:
                gen, stream, item = await _first(engine, limits_for(engine, limits, args, kwargs), fn, args, kwargs)
            except StopAsyncIteration:
                return
            is_over = stream.settled
            while True:
                try:
                    if asked is not None:
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
            del args, kwargs, gen, stream, asked, thrown, item, sent

    return guarded


async def _first(
    engine: Engine,
    limits: Limits,
    fn: Callable[..., AsyncGenerator[T, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[AsyncGenerator[T, Any], StreamCall, T]:
    """
    Ask for the first item; until it is there the callee may be called again.

    Raises:
        StopAsyncIteration: If there is none.
    """
    began_at = limits.clock.now()
    name = None if limits.around is None else limits.around.called(engine, began_at)
    attempts: Attempts | None = None
    gen: Any = None
    stream: Any = None
    try:
        while True:
            try:
                gen, stream = fn(*args, **kwargs), None
                call = await let_in(engine, limits) if limits.waits else engine.begin(limits)
                stream = StreamCall(engine, call, at_end=gen.aclose)
                return gen, stream, await stream.step(steps.ask(stream.settled, gen, None, first=True))
            except (StopAsyncIteration, GeneratorExit):
                # Closed while it waits: nothing can be awaited any more.
                raise
            except BaseException as error:
                if stream is not None:
                    await _close_quietly(stream, gen)
                if limits.around is None or not isinstance(error, Exception):
                    raise
                attempts = attempts or Attempts(engine, limits, began_at, args, kwargs, name)
                seconds = attempts.failed(error)
                if seconds is None and attempts.must_raise(error):
                    raise
            if seconds is None:
                attempts.instead()
            else:
                await sleep(seconds)
    finally:
        if attempts is not None:
            attempts.close()
        if name is not None:
            engine.teller.next_attempt(None)
        # What this frame holds lives as long as the error that leaves it.
        del args, kwargs, gen, stream, attempts


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
        gen: Any = None
        stream: Any = None
        ask: Callable[[], T] | None = None
        thrown: BaseException | None = None
        item: Any = None
        sent: Any = None
        try:
            try:
                gen, stream, item = _first_sync(engine, limits_for(engine, limits, args, kwargs), fn, args, kwargs)
            except StopIteration as stop:
                return stop.value
            is_over = stream.settled
            while True:
                try:
                    if ask is not None:
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
            del args, kwargs, gen, stream, ask, thrown, item, sent

    return guarded


def _first_sync(
    engine: Engine,
    limits: Limits,
    fn: Callable[..., Generator[T, Any, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Generator[T, Any, Any], StreamCall, T]:
    """
    Ask for the first item; likewise.

    Raises:
        StopIteration: If there is none.
    """
    began_at = limits.clock.now()
    name = None if limits.around is None else limits.around.called(engine, began_at)
    attempts: Attempts | None = None
    gen: Any = None
    stream: Any = None
    try:
        while True:
            try:
                gen, stream = fn(*args, **kwargs), None
                stream = StreamCall(engine, let_in_sync(engine, limits) if limits.waits else engine.begin(limits))
                return gen, stream, stream.step_sync(functools.partial(steps.ask_sync, stream.settled, gen, None))
            except StopIteration:
                raise
            except BaseException as error:
                if stream is not None:
                    _close_quietly_sync(stream, gen)
                if limits.around is None or not isinstance(error, Exception):
                    raise
                attempts = attempts or Attempts(engine, limits, began_at, args, kwargs, name)
                seconds = attempts.failed(error)
                if seconds is None and attempts.must_raise(error):
                    raise
            if seconds is None:
                attempts.instead()
            else:
                time.sleep(seconds)
    finally:
        if attempts is not None:
            attempts.close()
        if name is not None:
            engine.teller.next_attempt(None)
        del args, kwargs, gen, stream, attempts


def _close_quietly_sync(stream: StreamCall, gen: Generator[Any, Any, Any]) -> None:
    if steps.is_open(gen):
        try:
            stream.close_sync(gen.close)
        except Exception:
            return
