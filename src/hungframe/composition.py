"""
What is done around the attempts of a call, in one place: it is hedged, tried again, and falls back.

An attempt is what a guard without these does: bulkhead, breaker, budget,
timeout, abort. One more policy is a file of its own, and a line here.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import ParamSpec

from hungframe._core.outcome import NO_STATUS
from hungframe.abort.backend import sleep
from hungframe.attempts import Attempts
from hungframe.racing import race, race_sync
from hungframe.wrapping import wrap_async, wrap_sync

if TYPE_CHECKING:
    from hungframe.engine import Engine
    from hungframe.limits import Limits

P = ParamSpec("P")
T = TypeVar("T")

_NOTHING: frozenset[type] = frozenset()


def compose_async(engine: Engine, limits: Limits, fn: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """
    Make the coroutine function that calls *fn* under a guard, with what its settings put around an attempt.
    """
    if limits.around is None:
        return wrap_async(engine, limits, fn)
    attempt = (wrap_async if limits.around.hedge is None else race)(engine, limits, fn)
    clock, called, plain = limits.clock, limits.around.called, _certain(limits)

    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        began_at = clock.now()
        name = called(engine, began_at)
        attempts: Attempts | None = None
        result: T = None  # type: ignore[assignment]  # So that it can be let go of in any case.
        try:
            while True:
                try:
                    result = await attempt(*args, **kwargs)
                except Exception as error:
                    attempts = attempts or Attempts(engine, limits, began_at, args, kwargs, name)
                    seconds = attempts.failed(error)
                    if seconds is None and attempts.must_raise(error):
                        raise
                else:
                    if type(result) in plain:
                        return result
                    attempts = attempts or Attempts(engine, limits, began_at, args, kwargs, name)
                    seconds = attempts.returned(result)
                    if seconds is None:
                        return result
                if seconds is None:
                    instead: Any = attempts.instead()
                    # What the provider has returned is not awaited, whatever it is.
                    if attempts.falls_back and inspect.isawaitable(instead):
                        instead = await instead
                    answer: T = instead
                    return answer
                await sleep(seconds)
        finally:
            if attempts is not None:
                attempts.close()
            if name is not None:
                engine.teller.next_attempt(None)
            # What this frame holds lives as long as the error that leaves it.
            del args, kwargs, attempts, result

    return guarded


def compose_sync(engine: Engine, limits: Limits, fn: Callable[P, T]) -> Callable[P, T]:
    """
    Make the function that calls *fn* under a guard; likewise.

    Raises:
        TypeError: If the fallback is a coroutine function.

        ValueError: If a hedge could not leave the loser.
    """
    attempt = wrap_sync(engine, limits, fn)
    if limits.around is None:
        return attempt
    if limits.around.fallback_is_async:
        raise TypeError(
            f"guard {engine.name!r}: fallback is the coroutine function {limits.around.fallback!r}, which the caller "
            f"of the sync {fn!r} cannot await; give a plain function by `using(fallback=...)`"
        )
    if limits.around.hedge is not None:
        attempt = race_sync(engine, limits, fn, attempt)
    clock, called, plain = limits.clock, limits.around.called, _certain(limits)

    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        began_at = clock.now()
        name = called(engine, began_at)
        attempts: Attempts | None = None
        result: T = None  # type: ignore[assignment]  # So that it can be let go of in any case.
        try:
            while True:
                try:
                    result = attempt(*args, **kwargs)
                except Exception as error:
                    attempts = attempts or Attempts(engine, limits, began_at, args, kwargs, name)
                    seconds = attempts.failed(error)
                    if seconds is None and attempts.must_raise(error):
                        raise
                else:
                    if type(result) in plain:
                        return result
                    attempts = attempts or Attempts(engine, limits, began_at, args, kwargs, name)
                    seconds = attempts.returned(result)
                    if seconds is None:
                        return result
                if seconds is None:
                    answer: T = attempts.instead_sync()
                    return answer
                time.sleep(seconds)
        finally:
            if attempts is not None:
                attempts.close()
            if name is not None:
                engine.teller.next_attempt(None)
            del args, kwargs, attempts, result

    return guarded


def _certain(limits: Limits) -> frozenset[type]:
    """
    The types of results that are a success for certain; of any other it must be asked.
    """
    return NO_STATUS if limits.classify is None else _NOTHING
