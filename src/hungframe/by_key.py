"""
Calls whose timeout depends on their arguments: the settings of each, and a wrapper that looks them up.

A wrapper of its own, so that a call without a key pays nothing for those that have one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import ParamSpec

from hungframe._core.latency import AdaptiveTimeout
from hungframe._core.per_key import TimeoutPerKey
from hungframe.composition import compose_async, compose_sync

if TYPE_CHECKING:
    from hungframe.engine import Engine
    from hungframe.limits import Limits

P = ParamSpec("P")
T = TypeVar("T")


def limits_for(engine: Engine, limits: Limits, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Limits:
    """
    Find the settings for a call with these arguments; those without a key if the user's function fails.
    """
    policy = limits.policy
    if not isinstance(policy, TimeoutPerKey):
        return limits
    found = engine.faults.attempt("timeout key()", None, _policy_of, engine, policy, args, kwargs)
    return limits if found is None else limits.under(found)


def _policy_of(engine: Engine, policy: TimeoutPerKey, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AdaptiveTimeout:
    key = policy.key(*args, **kwargs)
    # A key that cannot be hashed fails here, and not below the lock.
    hash(key)
    with engine.lock:
        return policy.of(key)


def wrap_async_by_key(
    engine: Engine, limits: Limits, fn: Callable[P, Awaitable[T]]
) -> Callable[P, Coroutine[Any, Any, T]]:
    """
    Make the coroutine function that calls *fn* under a guard, with the timeout of its key.
    """

    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await compose_async(engine, limits_for(engine, limits, args, kwargs), fn)(*args, **kwargs)
        finally:
            # What this frame holds lives as long as the error that leaves it.
            del args, kwargs

    return guarded


def wrap_sync_by_key(engine: Engine, limits: Limits, fn: Callable[P, T]) -> Callable[P, T]:
    """
    Make the function that calls *fn* under a guard, with the timeout of its key.
    """

    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return compose_sync(engine, limits_for(engine, limits, args, kwargs), fn)(*args, **kwargs)
        finally:
            del args, kwargs

    return guarded
