"""
Set up the peers that have several policies, each as its documentation says.

They are made as alike as they allow. Breakers: five failures in a window of 25
calls at a rate of a half, or five failures in a row where there is no rate;
open for an hour. Limiters never run dry. Timeouts are 60 s. Where a peer does
less than its row's name says, its note says so.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from benchmarks import subjects_single as single
from benchmarks.peer import IN_A_ROW, Decorator, Peer, full_subjects, refusal_subjects, timeout_subjects
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


async def resilix() -> list[Subject]:
    """Set up resilix: breaker and timeout; it has no limiter."""
    lib = import_module("resilix")
    protect = lib.protect

    def breaker() -> Any:
        return lib.CircuitBreaker(failures=5, reset_timeout=OPEN_FOR)

    def full(**limits: Any) -> Decorator:
        guard = breaker()
        return lambda callee: guard(protect.timeout(TIMEOUT, **limits)(callee))

    no_limiter = "breaker + timeout; no limiter"
    graceful = "resilix, cancel_grace"
    return [
        Subject(Row.BREAKER_ASYNC, "resilix", breaker()(instant), IN_A_ROW),
        Subject(Row.BREAKER_SYNC, "resilix", breaker()(plain), IN_A_ROW),
        *timeout_subjects("resilix", protect.timeout(TIMEOUT), "asyncio.timeout inside"),
        *timeout_subjects(graceful, protect.timeout(TIMEOUT, cancel_grace=0.25), "a task a call; can abandon it"),
        *full_subjects("resilix", full, no_limiter),
        *full_subjects(graceful, lambda: full(cancel_grace=0.25), f"{no_limiter}; can abandon the callee"),
        Subject(Row.FULL_OWN_THREAD, "resilix", breaker()(plain), "breaker only; no limiter, no deadline"),
        Subject(Row.FULL_WORKER, "resilix", full(allow_sync=True)(plain), f"{no_limiter}; a new thread a call"),
        *await refusal_subjects("resilix", breaker, lib.CircuitOpenError),
    ]


async def nopanic() -> list[Subject]:
    """Set up nopanic: breaker, limiter, timeout, composed."""
    lib = import_module("nopanic")

    def breaker() -> Any:
        return lib.circuit_breaker(failure_threshold=0.5, min_calls=5, window=3600.0, reset_timeout=OPEN_FOR)

    def limiter() -> Any:
        return lib.rate_limit(PLENTY, per=1.0, max_wait=0.001)

    def full() -> Any:
        return lib.compose(breaker(), limiter(), lib.timeout(TIMEOUT))

    in_time = "window by time, ten buckets"
    return [
        Subject(Row.BREAKER_ASYNC, "nopanic", breaker()(instant), in_time),
        Subject(Row.BREAKER_SYNC, "nopanic", breaker()(plain), in_time),
        Subject(Row.LIMITER_ASYNC, "nopanic", limiter()(instant)),
        Subject(Row.LIMITER_SYNC, "nopanic", limiter()(plain)),
        *timeout_subjects("nopanic", lib.timeout(TIMEOUT), "asyncio.timeout inside"),
        *full_subjects("nopanic", full),
        Subject(Row.FULL_OWN_THREAD, "nopanic", lib.compose(breaker(), limiter())(plain), "no deadline"),
        Subject(Row.FULL_WORKER, "nopanic", full()(plain), "a new thread a call"),
        *await refusal_subjects("nopanic", breaker, lib.CircuitOpen),
    ]


async def interlock() -> list[Subject]:
    """Set up interlock-cb: breaker and timeout in its pipeline; it has no limiter."""
    lib = import_module("interlock")
    config = lib.Config(
        failure_rate_threshold=0.5,
        minimum_number_of_calls=5,
        window_size=25,
        wait_duration_in_open=OPEN_FOR,
    )

    def breaker() -> Any:
        return lib.CircuitBreaker(name="bench", config=config)

    def full() -> Any:
        return lib.Pipeline(lib.CircuitBreakerStrategy(breaker()), lib.TimeoutStrategy(TIMEOUT))

    no_limiter = "breaker + timeout; no limiter"
    return [
        Subject(Row.BREAKER_ASYNC, "interlock-cb", breaker()(instant)),
        Subject(Row.BREAKER_SYNC, "interlock-cb", breaker()(plain)),
        *timeout_subjects("interlock-cb", lib.Pipeline(lib.TimeoutStrategy(TIMEOUT)), "asyncio.timeout inside"),
        *full_subjects("interlock-cb", full, no_limiter),
        Subject(Row.FULL_OWN_THREAD, "interlock-cb", breaker()(plain), "breaker only; no limiter, no deadline"),
        Subject(Row.FULL_WORKER, "interlock-cb", full()(plain), f"{no_limiter}; a new thread a call"),
        *await refusal_subjects("interlock-cb", breaker, lib.CircuitOpenError),
    ]


async def pyresilience() -> list[Subject]:
    """Set up pyresilience: breaker, limiter, timeout in one decorator."""
    lib = import_module("pyresilience")

    def guarded(*, breaker: bool = False, limiter: bool = False, timeout: bool = False) -> Any:
        return lib.resilient(
            circuit_breaker=lib.CircuitBreakerConfig(
                sliding_window_size=25,
                failure_rate_threshold=0.5,
                minimum_calls=5,
                recovery_timeout=OPEN_FOR,
            )
            if breaker
            else None,
            rate_limiter=lib.RateLimiterConfig(max_calls=int(PLENTY), period=1.0) if limiter else None,
            timeout=lib.TimeoutConfig(seconds=TIMEOUT) if timeout else None,
        )

    # A breaker belongs to one decorated function here, so the function that
    # fails and the one that is refused must be the same.
    ill = True

    async def ailing() -> int:
        return await (fails() if ill else instant())

    def ailing_sync() -> int:
        return fails_sync() if ill else plain()

    refused, refused_sync = guarded(breaker=True)(ailing), guarded(breaker=True)(ailing_sync)
    await open_async(refused)
    open_sync(refused_sync)
    ill = False

    who = "pyresilience"
    return [
        Subject(Row.BREAKER_ASYNC, who, guarded(breaker=True)(instant), "sums its window at each call"),
        Subject(Row.BREAKER_SYNC, who, guarded(breaker=True)(plain), "sums its window at each call"),
        Subject(Row.LIMITER_ASYNC, who, guarded(limiter=True)(instant)),
        Subject(Row.LIMITER_SYNC, who, guarded(limiter=True)(plain)),
        *timeout_subjects(who, guarded(timeout=True), "a task a call, in wait_for, up to 3.11"),
        *full_subjects(who, lambda: guarded(breaker=True, limiter=True, timeout=True)),
        Subject(Row.FULL_OWN_THREAD, who, guarded(breaker=True, limiter=True)(plain), "no deadline"),
        Subject(Row.FULL_WORKER, who, guarded(breaker=True, limiter=True, timeout=True)(plain), "a thread pool"),
        Subject(Row.REFUSED_ASYNC, who, refused, refused=lib.CircuitOpenError),
        Subject(Row.REFUSED_SYNC, who, refused_sync, refused=lib.CircuitOpenError),
    ]


async def hyx() -> list[Subject]:
    """Set up hyx: breaker, limiter, timeout, stacked; async only."""
    consecutive_breaker = import_module("hyx.circuitbreaker").consecutive_breaker
    failing = import_module("hyx.circuitbreaker.exceptions").BreakerFailing
    tokenbucket = import_module("hyx.ratelimit").tokenbucket
    timeout = import_module("hyx.timeout").timeout

    def breaker() -> Any:
        return consecutive_breaker(failure_threshold=5, recovery_time_secs=OPEN_FOR)

    def full() -> Decorator:
        guard, bucket = breaker(), tokenbucket(PLENTY, 1.0)
        return lambda callee: guard(bucket(timeout(TIMEOUT)(callee)))

    def in_block(callee: Callable[[], Any]) -> Any:
        async def within() -> Any:
            async with timeout(TIMEOUT):
                return await callee()

        return within

    opened = breaker()
    await open_async(opened(fails))
    return [
        Subject(Row.BREAKER_ASYNC, "hyx", breaker()(instant), IN_A_ROW),
        Subject(Row.LIMITER_ASYNC, "hyx", tokenbucket(PLENTY, 1.0)(instant), "reads no clock until empty"),
        *timeout_subjects("hyx", lambda callee: timeout(TIMEOUT)(callee), "decorator: a task a call, in wait_for"),
        *timeout_subjects("hyx, block", in_block, "async with timeout(): call_later"),
        *full_subjects("hyx", full),
        Subject(Row.REFUSED_ASYNC, "hyx", opened(instant), refused=failing),
    ]


PEERS: Final = (
    Peer("resilix", "resilix", resilix),
    Peer("nopanic", "nopanic", nopanic),
    Peer("interlock-cb", "interlock-cb", interlock),
    Peer("pyresilience", "pyresilience", pyresilience),
    Peer("hyx", "hyx", hyx),
    Peer("aiobreaker", "aiobreaker", single.aiobreaker),
    Peer("purgatory", "purgatory", single.purgatory),
    Peer("aiolimiter", "aiolimiter", single.aiolimiter),
    Peer("by hand", "aiobreaker", single.by_hand),
)
