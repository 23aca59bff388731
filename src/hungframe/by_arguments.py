"""
Calls whose timeout or cost depends on their arguments: the settings of each, and a wrapper that looks them up.

A wrapper of its own, so that other calls pay nothing for that.
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
    Find the settings for a call with these arguments: the timeout without a key if the user's key function fails.

    Raises:
        ValueError: If a cost function returned no cost. What it raises is raised.
    """
    if not limits.by_arguments:
        return limits
    try:
        amounts = limits.cost.of(args, kwargs) if limits.amounts is None else limits.amounts
        policy = limits.policy
        if isinstance(policy, TimeoutPerKey):
            found = engine.faults.attempt("timeout key()", None, _policy_of, engine, policy, args, kwargs)
            if found is not None:
                limits = limits.under(found)
        return limits if limits.amounts == amounts else limits.costing(amounts)
    finally:
        # What this frame holds lives as long as the error that leaves it.
        del args, kwargs


def _policy_of(engine: Engine, policy: TimeoutPerKey, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AdaptiveTimeout:
    key = policy.key(*args, **kwargs)
    # A key that cannot be hashed fails here, and not below the lock.
    hash(key)
    with engine.lock:
        return policy.of(key)


def wrap_async_by_arguments(
    engine: Engine, limits: Limits, fn: Callable[P, Awaitable[T]]
) -> Callable[P, Coroutine[Any, Any, T]]:
    """
    Make the coroutine function that calls *fn* under a guard, with the settings of its arguments.
    """

    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await compose_async(engine, limits_for(engine, limits, args, kwargs), fn)(*args, **kwargs)
        finally:
            # What this frame holds lives as long as the error that leaves it.
            del args, kwargs

    return guarded


def wrap_sync_by_arguments(engine: Engine, limits: Limits, fn: Callable[P, T]) -> Callable[P, T]:
    """
    Make the function that calls *fn* under a guard, with the settings of its arguments.
    """
    # What it would refuse at each call is refused where it is decorated.
    compose_sync(engine, limits, fn)

    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return compose_sync(engine, limits_for(engine, limits, args, kwargs), fn)(*args, **kwargs)
        finally:
            del args, kwargs

    return guarded
