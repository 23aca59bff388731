"""Set up hungframe, as a user would and one policy at a time."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from benchmarks.subjects import (
    CALLEES,
    OPEN_FOR,
    PLENTY,
    TIMEOUT,
    YARDSTICK,
    Callee,
    Row,
    Subject,
    fails,
    fails_sync,
    instant,
    open_async,
    open_sync,
    plain,
)
from hungframe import AdaptiveTimeout, Bulkhead, CircuitBreaker, CircuitOpenError, Guard, Retry, TokenBucket

HUNGFRAME: Final = "hungframe"

_ASYNC: Final = (
    (Callee.INSTANT, Row.FULL_INSTANT),
    (Callee.ONCE, Row.FULL_ONCE),
    (Callee.FUTURE, Row.FULL_FUTURE),
)


def breaker_only(**settings: Any) -> Guard:
    """Guard with a breaker and nothing else."""
    return Guard("breaker", breaker=_breaker(), budget=None, timeout=None, **settings)


def bucket_only(**settings: Any) -> Guard:
    """Guard with a token bucket that never runs dry, and nothing else."""
    return Guard("bucket", breaker=None, budget=_bucket(), timeout=None, **settings)


def full(**settings: Any) -> Guard:
    """Guard with breaker, bucket, learned timeout and abort."""
    return Guard("full", breaker=_breaker(), budget=_bucket(), timeout=AdaptiveTimeout(), **settings)


def _breaker() -> CircuitBreaker:
    return CircuitBreaker(open_for=OPEN_FOR, max_open_for=OPEN_FOR)


def _bucket() -> TokenBucket:
    return TokenBucket(capacity=PLENTY, refill_every=1.0 / PLENTY)


async def hungframe() -> list[Subject]:
    """List all that is timed of hungframe."""
    return [*_admitted(), *_admitted_sync(), *await _refused(), *_asked()]


def _admitted() -> list[Subject]:
    timeout = Guard("timeout", breaker=None, budget=None, timeout=TIMEOUT)
    complete = "breaker + bucket + learned timeout + abort"
    undecorated = full()
    around = full(retry=Retry(), bulkhead=Bulkhead(1000))

    def acall() -> Any:
        return undecorated.acall(instant)

    return [
        Subject(Row.BREAKER_ASYNC, HUNGFRAME, breaker_only()(instant)),
        Subject(Row.LIMITER_ASYNC, HUNGFRAME, bucket_only()(instant)),
        *(
            Subject(YARDSTICK[callee], HUNGFRAME, timeout(CALLEES[callee]), "can abandon the callee")
            for callee, _ in _ASYNC
        ),
        *(Subject(row, HUNGFRAME, full()(CALLEES[callee]), complete) for callee, row in _ASYNC),
        Subject(Row.AROUND_ONCE, HUNGFRAME, around(CALLEES[Callee.ONCE]), f"{complete} + retry + bulkhead"),
        Subject(Row.FULL_INSTANT, f"{HUNGFRAME}, acall", acall, f"{complete}; undecorated, through a def"),
    ]


def _admitted_sync() -> list[Subject]:
    return [
        Subject(Row.BREAKER_SYNC, HUNGFRAME, breaker_only(isolate=None)(plain), "isolate=None"),
        Subject(Row.LIMITER_SYNC, HUNGFRAME, bucket_only(isolate=None)(plain), "isolate=None"),
        Subject(Row.FULL_OWN_THREAD, HUNGFRAME, full(isolate=None)(plain), "isolate=None; deadline published"),
        Subject(Row.FULL_WORKER, HUNGFRAME, full()(plain), "isolate='auto'; can be abandoned"),
    ]


async def _refused() -> list[Subject]:
    opened, opened_sync = full(), full(isolate=None)
    await open_async(opened(fails))
    open_sync(opened_sync(fails_sync))
    forced = full()
    forced.force_open()
    return [
        Subject(Row.REFUSED_ASYNC, HUNGFRAME, opened(instant), "opened by failures", CircuitOpenError),
        Subject(Row.REFUSED_ASYNC, f"{HUNGFRAME}, forced", forced(instant), "force_open()", CircuitOpenError),
        Subject(Row.REFUSED_SYNC, HUNGFRAME, opened_sync(plain), "opened by failures", CircuitOpenError),
    ]


def _asked() -> list[Subject]:
    opened = full(isolate=None)
    open_sync(opened(fails_sync))
    if not opened.health.should_open_circuit():
        raise AssertionError("the health port calls an open circuit closed")
    return [
        Subject(Row.ASKED_HEALTH, HUNGFRAME, opened.health.should_open_circuit, "should_open_circuit()"),
        Subject(Row.ASKED_CORE, HUNGFRAME, _ask_core(), "acquire(now, timeout=60.0)"),
    ]


def _ask_core() -> Callable[[], Any]:
    """Open a breaker by hand, and give a function that asks it."""
    breaker, now = _breaker(), monotonic()
    for _ in range(10):
        permit: Any = breaker.acquire(now, timeout=TIMEOUT)
        if hasattr(permit, "retry_after"):
            break
        breaker.record(permit, "unknown", now)
    else:
        raise AssertionError("ten failures did not open the breaker")
    acquire = breaker.acquire
    return lambda: acquire(now, timeout=TIMEOUT)
