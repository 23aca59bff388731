"""
Read the settings of a guard, and refuse the wrong ones where they were given.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from hungframe._core import check
from hungframe._core.breaker import CircuitBreaker
from hungframe._core.bulkhead import Bulkhead
from hungframe._core.cost import ONE, Asks, Cost, Used
from hungframe._core.hedge import Hedge
from hungframe._core.latency import AdaptiveTimeout
from hungframe._core.per_key import TimeoutPerKey
from hungframe._core.retry import Retry
from hungframe._core.timeouts import FixedTimeout, NoTimeout
from hungframe.around import Around, Idempotent, is_async
from hungframe.bulkheads import EngineWithBulkhead
from hungframe.engine import Engine
from hungframe.flag import Enabled
from hungframe.limits import DEFAULT, Default, Limits
from hungframe.ports import Breaker, Budget, Classifier, Clock, EventSink, TimeoutPolicy

if TYPE_CHECKING:
    from hungframe._core.timeouts import LearnedTimeout

Isolate = Literal["auto", "thread", "process"] | None
OnEmpty = Literal["reject", "wait"]


_BREAKER = ("acquire", "record", "release", "state")
_BUDGET = ("try_acquire", "give_back", "available", "retry_after", "pause")
_TIMEOUT = ("current", "observe")
_CLOCK = ("now", "wall")


def engine_of(
    name: str,
    breaker: Breaker | Default | None,
    budget: Budget | Sequence[Budget] | None,
    timeout: TimeoutPolicy | float | Default | None,
    max_orphans: int,
    sinks: Sequence[EventSink],
    enabled: Enabled,
    clock: Clock | None,
    bulkhead: Bulkhead | int | None,
    retry: Retry | None,
) -> Engine:
    """
    Make the shared state of a guard; policies given by default are made afresh.
    """
    check.text("name", name)
    if breaker is DEFAULT:
        breaker = CircuitBreaker()
    elif breaker is not None:
        _port("breaker", breaker, _BREAKER, "a CircuitBreaker, a Breaker port or None")
    if budget is not None:
        if isinstance(budget, Iterable) and not hasattr(budget, "try_acquire"):
            budget = tuple(budget)
            if not budget:
                raise ValueError("budget must name at least one budget, got an empty sequence; None is no budget")
        for each in budget if isinstance(budget, tuple) else (budget,):
            _port("budget", each, _BUDGET, "a TokenBucket, a Budget port, several of them or None")
    if clock is not None:
        _port("clock", clock, _CLOCK, "a Clock port or None")
    given: Any = sinks
    if callable(given) or isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"sinks must be a sequence of callables, got {sinks!r}; one sink is given as [sink]")
    sinks = tuple(sinks)
    for sink in sinks:
        if not callable(sink):
            raise TypeError(f"sinks must be callables that take an event, got {sink!r}")
    if not (enabled is None or isinstance(enabled, bool) or callable(enabled)):
        raise TypeError(f"enabled must be a bool, a function or None, got {enabled!r}")
    bulkhead = _bulkhead(bulkhead)
    shared: dict[str, Any] = {
        "breaker": breaker,
        "budget": budget,
        "timeout": checked_timeout(AdaptiveTimeout() if timeout is DEFAULT else timeout),
        "max_orphans": check.whole("max_orphans", max_orphans, at_least=1),
        "sinks": sinks,
        "enabled": enabled,
        "clock": clock,
        "also_shared": (retry,),
    }
    return Engine(name, **shared) if bulkhead is None else EngineWithBulkhead(name, bulkhead=bulkhead, **shared)


def _bulkhead(bulkhead: object) -> Bulkhead | None:
    if bulkhead is None or isinstance(bulkhead, Bulkhead):
        return bulkhead
    if isinstance(bulkhead, int) and not isinstance(bulkhead, bool):
        return Bulkhead(check.whole("bulkhead", bulkhead, at_least=1))
    raise TypeError(
        f"bulkhead must be a Bulkhead, a whole number of calls or None, got {bulkhead!r}; "
        'a limit that is learned is Bulkhead("adaptive")'
    )


def around_of(retry: Any, hedge: Any, fallback: Any, idempotent: Idempotent | None) -> Around | None:
    """
    What is put around the attempts of a call; None for nothing.
    """
    if not (retry is None or isinstance(retry, Retry)):
        raise TypeError(f"retry must be a Retry or None, got {retry!r}; three attempts are Retry(attempts=3)")
    if not (hedge is None or isinstance(hedge, Hedge)):
        raise TypeError(f"hedge must be a Hedge or None, got {hedge!r}; after the P95 is Hedge(), after 2 s Hedge(2)")
    if not (idempotent is None or isinstance(idempotent, bool) or callable(idempotent)):
        raise TypeError(f"idempotent must be a bool, a function of the call's arguments or None, got {idempotent!r}")
    if is_async(idempotent):
        raise TypeError(f"idempotent must tell at once, got the coroutine function {idempotent!r}; give a plain one")
    if inspect.iscoroutine(fallback):
        raise TypeError(f"fallback must be a value or a function, got {fallback!r}; give the coroutine function itself")
    if retry is None and hedge is None and fallback is None and idempotent is None:
        return None
    return Around(retry, hedge, fallback, idempotent)


def limits_of(
    engine: Engine,
    policy: LearnedTimeout,
    *,
    grace: float | Default,
    total_timeout: float | None,
    isolate: Isolate,
    classify: Classifier | None,
    first_item: float | None,
    between_items: float | None,
    on_empty: OnEmpty,
    max_wait: float | None,
    priority: float,
    around: Around | None,
    cost: Asks,
    used: Used | None,
) -> Limits:
    """
    Make the settings that hold for one call.
    """
    if total_timeout is not None:
        check.number("total_timeout", total_timeout, above=0)
    if first_item is not None:
        check.number("first_item", first_item, above=0)
    if between_items is not None:
        check.number("between_items", between_items, above=0)
    if max_wait is not None:
        check.number("max_wait", max_wait, at_least=0)
    if on_empty not in ("reject", "wait"):
        raise ValueError(f"on_empty must be 'reject' or 'wait', got {on_empty!r}")
    check.number("priority", priority)
    if isolate not in ("auto", "thread", "process", None):
        raise ValueError(f"isolate must be 'auto', 'thread', 'process' or None, got {isolate!r}")
    if classify is not None and not callable(classify):
        raise TypeError(f"classify must be a function of the result or the exception, or None, got {classify!r}")
    learns_apart = policy is not engine.timeout and not isinstance(policy, (FixedTimeout, NoTimeout))
    learner = policy if learns_apart else engine.timeout
    if around is not None and around.needs_p95 and isinstance(learner, (FixedTimeout, NoTimeout)):
        # The timeout learns nothing, and the hedge must know.
        learner, learns_apart = AdaptiveTimeout(), True
    return Limits(
        clock=engine.clock,
        policy=policy,
        total_timeout=total_timeout,
        learner=learner,
        learns_apart=learns_apart,
        grace=DEFAULT if grace is DEFAULT else _checked_grace(grace, policy, total_timeout),
        isolate=isolate,
        classify=classify,
        first_item=first_item,
        between_items=between_items,
        waits_for_slot=isinstance(engine, EngineWithBulkhead) and engine.bulkhead.queue > 0,
        waits_for_token=on_empty == "wait",
        max_wait=max_wait,
        priority=priority,
        around=around,
        cost=_cost_of(engine, cost, used),
    )


def _cost_of(engine: Engine, cost: Asks, used: Used | None) -> Cost:
    if engine.given_budget is None and cost == 1 and used is None and not isinstance(cost, bool):
        # Most guards, and a service may keep one for each of 100,000 keys.
        return ONE
    return Cost(engine.given_budget, cost, used)


def checked_sink(sink: EventSink) -> EventSink:
    """
    Return *sink* if it can be told an event.
    """
    if not callable(sink):
        raise TypeError(f"sink must be a callable that takes an event, got {sink!r}")
    return sink


def once(do: Callable[[EventSink], None], sink: EventSink) -> Callable[[], None]:
    """
    Make a function that does it when it is first called, and never again.
    """
    left = [sink]

    def end() -> None:
        # Popping is a single step, so that of two threads one does it.
        try:
            taken = left.pop()
        except IndexError:
            return
        do(taken)

    return end


def checked_timeout(timeout: TimeoutPolicy | float | None) -> TimeoutPolicy | float | None:
    """
    Return *timeout* if it can be one.
    """
    if isinstance(timeout, type):
        raise TypeError(
            f"timeout must be seconds, a TimeoutPolicy port or None, got the class {timeout!r}; make one of it"
        )
    if timeout is None or all(callable(getattr(timeout, method, None)) for method in _TIMEOUT):
        return timeout
    return check.number("timeout", timeout, above=0)


def _checked_grace(grace: float, timeout: LearnedTimeout, total_timeout: float | None) -> float:
    check.number("grace", grace, at_least=0)
    shortest = math.inf if total_timeout is None else total_timeout
    if isinstance(timeout, FixedTimeout):
        shortest = min(shortest, timeout.seconds)
    if isinstance(timeout, TimeoutPerKey):
        timeout = timeout.shared
    if isinstance(timeout, AdaptiveTimeout):
        shortest = min(shortest, timeout.floor, timeout.initial)
    if grace > shortest:
        raise ValueError(f"grace must be at most the timeout ({shortest!r}), got {grace!r}")
    return grace


def _port(name: str, given: Any, methods: tuple[str, ...], would_do: str) -> None:
    missing = [method for method in methods if not callable(getattr(given, method, None))]
    if isinstance(given, type):
        raise TypeError(f"{name} must be {would_do}, got the class {given!r}; make one of it")
    if missing:
        raise TypeError(f"{name} must be {would_do}, got {given!r}, which has no {', '.join(missing)}")
