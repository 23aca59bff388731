"""Set up the peers that have one policy, and a guard stacked of them by hand."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any

from benchmarks.peer import IN_A_ROW, Decorator, full_subjects, refusal_subjects
from benchmarks.subjects import (
    OPEN_FOR,
    PLENTY,
    TIMEOUT,
    Row,
    Subject,
    fails,
    fails_sync,
    instant,
    open_async,
    open_sync,
    plain,
)


async def aiobreaker() -> list[Subject]:
    """Set up aiobreaker: breaker only."""
    lib = import_module("aiobreaker")

    def breaker() -> Any:
        return lib.CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=OPEN_FOR))

    return [
        Subject(Row.BREAKER_ASYNC, "aiobreaker", breaker()(instant), IN_A_ROW),
        Subject(Row.BREAKER_SYNC, "aiobreaker", breaker()(plain), IN_A_ROW),
        *await refusal_subjects("aiobreaker", breaker, lib.CircuitBreakerError),
    ]


async def purgatory() -> list[Subject]:
    """Set up purgatory: breaker only, looked up by name at each call."""
    lib = import_module("purgatory")
    opened_error = import_module("purgatory.domain.model").OpenedState
    note = f"{IN_A_ROW}; looks its breaker up by name"

    def breaker() -> Any:
        return lib.AsyncCircuitBreakerFactory(default_threshold=5, default_ttl=OPEN_FOR)("bench")

    def sync_breaker() -> Any:
        return lib.SyncCircuitBreakerFactory(default_threshold=5, default_ttl=OPEN_FOR)("bench")

    opened, sync_opened = breaker(), sync_breaker()
    await open_async(opened(fails))
    open_sync(sync_opened(fails_sync))

    # Each refusal raises the same exception object again, and so lengthens its
    # traceback. Left alone, a million refusals would slow the whole run.
    raised: list[BaseException] = []
    try:
        await opened(instant)()
    except opened_error as error:
        raised.append(error)
    try:
        sync_opened(plain)()
    except opened_error as error:
        raised.append(error)

    def tidy() -> None:
        for error in raised:
            error.__traceback__ = None

    again = "raises one object each time; its traceback cut between samples"
    return [
        Subject(Row.BREAKER_ASYNC, "purgatory", breaker()(instant), note),
        Subject(Row.BREAKER_SYNC, "purgatory", sync_breaker()(plain), note),
        Subject(Row.REFUSED_ASYNC, "purgatory", opened(instant), again, opened_error, tidy),
        Subject(Row.REFUSED_SYNC, "purgatory", sync_opened(plain), again, opened_error, tidy),
    ]


async def aiolimiter() -> list[Subject]:
    """Set up aiolimiter: limiter only."""
    lib = import_module("aiolimiter")
    limiter = lib.AsyncLimiter(PLENTY, 1.0)

    async def limited() -> int:
        async with limiter:
            return await instant()

    return [Subject(Row.LIMITER_ASYNC, "aiolimiter", limited, "a block in an async def")]


async def by_hand() -> list[Subject]:
    """Stack aiobreaker, aiolimiter and asyncio.timeout, as services do today."""
    if sys.version_info < (3, 11):
        raise NotImplementedError("asyncio.timeout needs Python 3.11")
    breakers, limiters = import_module("aiobreaker"), import_module("aiolimiter")

    def full() -> Decorator:
        breaker = breakers.CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=OPEN_FOR))
        limiter = limiters.AsyncLimiter(PLENTY, 1.0)

        def decorate(callee: Callable[[], Any]) -> Any:
            async def within() -> Any:
                async with limiter, asyncio.timeout(TIMEOUT):
                    return await callee()

            return breaker(within)

        return decorate

    return full_subjects("by hand", full, "aiobreaker + aiolimiter + asyncio.timeout")
