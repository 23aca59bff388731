"""
The facade: one object a provider, for async and sync code alike.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar, cast

from typing_extensions import ParamSpec

from hungframe import flag
from hungframe._core import check
from hungframe._core.bulkhead import Bulkhead
from hungframe._core.cost import Asks, Used
from hungframe._core.hedge import Hedge
from hungframe._core.outcome import Outcome
from hungframe._core.retry import Retry
from hungframe._core.states import BreakerState
from hungframe.abort.watchdog import LoopWatch
from hungframe.around import Around, Idempotent
from hungframe.attempt import Attempt
from hungframe.by_arguments import limits_for, wrap_async_by_arguments, wrap_sync_by_arguments
from hungframe.callees import body_of, checked_sync, is_coroutine_function, is_plain, is_stream
from hungframe.composition import compose_async, compose_sync
from hungframe.engine import Engine
from hungframe.events import LoopBlocked, milliseconds
from hungframe.generators import wrap_stream
from hungframe.health_port import Health
from hungframe.limits import DEFAULT, Default
from hungframe.permit import GuardPermit
from hungframe.ports import Breaker, Budget, Classifier, Clock, EventSink, RecoveryPort, TimeoutPolicy
from hungframe.recovery.port import Recovery, attach
from hungframe.settings import Isolate, OnEmpty, around_of, checked_sink, checked_timeout, engine_of, limits_of, once
from hungframe.snapshot import Snapshot
from hungframe.streams import StreamCall

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Guard:
    """
    Guard the calls to one provider: each ends on time, and none is sent that would fail.

    One guard serves async (asyncio and trio) and sync code, many threads and
    many event loops; its state is shared between them.

    Args:
        name: Names the guard in errors and events.

        breaker: A `Breaker` port, `CircuitBreaker()` by default; None: no breaker.

        budget: A `Budget` port, or several, of which a call takes from all or none; None: no limit.

        cost: Tokens that a call takes from each budget that names no cost of
            its own: a number above 0, or a function of the call's arguments.

        used: A function of the result that tells the tokens a call really
            used of each budget that names neither cost nor used of its own;
            None, also from the function: the cost.

        timeout: A `TimeoutPolicy` port, `AdaptiveTimeout()` by default; a
            number of seconds; None: no deadline of its own.

        grace: Seconds that a callee gets to leave, from its deadline (or its
            caller's cancellation) until it is abandoned; 0.25 if not given.

        max_orphans: Abandoned callees that may still run before calls are refused.

        isolate: Where sync callees run: "auto" or "thread", a worker thread
            that can be abandoned; "process", a worker process that is killed at
            the deadline, to and from which everything travels by pickle; None,
            the caller's own thread, in which nothing can be aborted. "thread"
            and "process" move async callees there, too.

        on_empty: What a call does where the budget is empty, or paused: "reject",
            it is refused; "wait", it waits for its token, first come first
            served. `acquire` never waits.

        max_wait: Most seconds that a call waits to be let in, by the budget or
            in the bulkhead's queue; None: until its total timeout or the
            deadline around it, else as long as its timeout is.

        total_timeout: Most seconds for a call, its waits and all its attempts; None: no limit but the timeout of each.

        first_item: Most seconds until a stream's first item; None: no limit.

        between_items: Most seconds that a stream may take from one item to
            the next, the consumer's own time not counted; None: no limit.

        retry: A `Retry`; None: one attempt. A stream is tried again until its
            first item; a block or a permit never.

        hedge: A `Hedge`; None: no second attempt beside the first. A hedged
            callee runs in a copy of its caller's context. Not for generators,
            nor for a sync callee with `isolate=None`.

        bulkhead: A `Bulkhead`, or a whole number: most calls in flight,
            abandoned ones that still run included; None: no limit.

        fallback: What the caller gets when a call has failed for good, be it
            refused: a value, or a function of the error, for async callees
            also a coroutine function; None: the error is raised. An outcome of
            `4xx` is always raised. Not for generators.

        idempotent: Whether the work may be done twice, or a function of the
            call's arguments that tells. Where not, nothing is hedged, and only
            what was surely not begun is tried again. None: what is decorated
            or called may be, and a client with this guard tells by the method
            of each request and by its Idempotency-Key.

        priority: The higher is let in first, by the bulkhead and by the budget, and shed last; 0 if not given.

        classify: A function of the result, or of the exception raised, that
            tells its `Outcome`; where it returns None the built-in rules hold.

        sinks: Callables that take an event.

        enabled: Whether the breaker may refuse: a bool, a function asked at
            every refusal, or None to read GEN_BREAKER_ENABLED at every refusal.

        recovery: A `Prober`, or a `RecoveryPort` of your own, which is told
            when the breaker opens; None: user calls find out that it may close.

        clock: A `Clock` port; None: the system's monotonic clock.

    Raises:
        TypeError: If an argument is of the wrong kind.

        ValueError: If an argument is out of range.

    >>> images = Guard("images", timeout=5)
    >>> @images
    ... def draw(prompt: str) -> str:
    ...     return f"a picture of {prompt}"
    >>> draw("a cat")
    'a picture of a cat'
    >>> images.snapshot().counts["success"]
    1
    """

    __slots__ = ("__weakref__", "_engine", "_limits")

    def __init__(
        self,
        name: str,
        *,
        breaker: Breaker | Default | None = DEFAULT,
        budget: Budget | Sequence[Budget] | None = None,
        cost: Asks = 1,
        used: Used | None = None,
        timeout: TimeoutPolicy | float | Default | None = DEFAULT,
        grace: float | Default = DEFAULT,
        max_orphans: int = 32,
        isolate: Isolate = "auto",
        on_empty: OnEmpty = "reject",
        max_wait: float | None = None,
        total_timeout: float | None = None,
        first_item: float | None = None,
        between_items: float | None = None,
        retry: Retry | None = None,
        hedge: Hedge | None = None,
        bulkhead: Bulkhead | int | None = None,
        fallback: Any = None,
        idempotent: Idempotent | None = None,
        priority: float = 0,
        classify: Classifier | None = None,
        sinks: Sequence[EventSink] = (),
        enabled: flag.Enabled = None,
        recovery: RecoveryPort | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._engine = engine_of(name, breaker, budget, timeout, max_orphans, sinks, enabled, clock, bulkhead, retry)
        self._limits = limits_of(
            self._engine,
            self._engine.timeout,
            grace=grace,
            total_timeout=total_timeout,
            isolate=isolate,
            classify=classify,
            first_item=first_item,
            between_items=between_items,
            on_empty=on_empty,
            max_wait=max_wait,
            priority=priority,
            around=around_of(retry, hedge, fallback, idempotent),
            cost=cost,
            used=used,
        )
        if recovery is not None:
            attach(recovery, self._engine, self._limits)

    def __repr__(self) -> str:
        return f"Guard({self._engine.name!r})"

    @property
    def name(self) -> str:
        """
        Its name, as errors and events tell it.
        """
        return self._engine.name

    def using(
        self,
        *,
        timeout: TimeoutPolicy | float | Default | None = DEFAULT,
        grace: float | Default = DEFAULT,
        on_empty: OnEmpty | Default = DEFAULT,
        max_wait: float | Default | None = DEFAULT,
        total_timeout: float | Default | None = DEFAULT,
        first_item: float | Default | None = DEFAULT,
        between_items: float | Default | None = DEFAULT,
        isolate: Isolate | Default = DEFAULT,
        retry: Retry | Default | None = DEFAULT,
        hedge: Hedge | Default | None = DEFAULT,
        fallback: Any = DEFAULT,
        idempotent: Idempotent | Default | None = DEFAULT,
        priority: float | Default = DEFAULT,
        classify: Classifier | Default | None = DEFAULT,
        cost: Asks | Default = DEFAULT,
        used: Used | Default | None = DEFAULT,
    ) -> Guard:
        """
        Give a view with other settings for its calls; all state is shared with this guard.

        >>> guard = Guard("images")
        >>> quick = guard.using(timeout=5)
        >>> quick.call(str.upper, "done"), guard.snapshot().counts["success"]
        ('DONE', 1)
        """
        old = self._limits
        around = old.around or Around()
        view = Guard.__new__(Guard)
        view._engine = self._engine
        view._limits = limits_of(
            self._engine,
            old.policy if timeout is DEFAULT else self._engine.timeout_of(checked_timeout(timeout)),
            grace=old.given_grace if grace is DEFAULT else grace,
            total_timeout=old.total_timeout if total_timeout is DEFAULT else total_timeout,
            isolate=cast("Isolate", old.isolate) if isolate is DEFAULT else isolate,
            classify=old.classify if classify is DEFAULT else classify,
            first_item=old.first_item if first_item is DEFAULT else first_item,
            between_items=old.between_items if between_items is DEFAULT else between_items,
            on_empty=("wait" if old.waits_for_token else "reject") if on_empty is DEFAULT else on_empty,
            max_wait=old.max_wait if max_wait is DEFAULT else max_wait,
            priority=old.priority if priority is DEFAULT else priority,
            around=around_of(
                around.retry if retry is DEFAULT else retry,
                around.hedge if hedge is DEFAULT else hedge,
                around.fallback if fallback is DEFAULT else fallback,
                around.idempotent if idempotent is DEFAULT else idempotent,
            ),
            cost=old.cost.default if cost is DEFAULT else cost,
            used=old.cost.default_used if used is DEFAULT else used,
        )
        return view

    # -- calling --------------------------------------------------------------

    def __call__(self, fn: F, /) -> F:
        """
        Decorate a function, a coroutine function, a generator function of either kind, or a method; its
        signature stays.

        Raises:
            TypeError: If *fn* is a class, or cannot be called.
        """
        if isinstance(fn, (classmethod, staticmethod)):
            return cast("F", type(fn)(self(fn.__func__)))
        if isinstance(fn, type):
            raise TypeError(f"a guard decorates functions and methods, got the class {fn!r}; decorate its methods")
        body = body_of(fn)
        if is_stream(body):
            return cast("F", functools.wraps(fn)(wrap_stream(self._engine, self._limits, fn, body)))
        by_arguments = self._limits.by_arguments
        if inspect.iscoroutinefunction(body):
            wrap: Callable[..., Any] = wrap_async_by_arguments if by_arguments else compose_async
        else:
            wrap = wrap_sync_by_arguments if by_arguments else compose_sync
        return cast("F", functools.wraps(fn)(wrap(self._engine, self._limits, fn)))

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Call a sync function under this guard.

        A generator function, async or not, gives its guarded generator.

        Raises:
            CallRejectedError: If the guard refuses; *fn* was not called.

            CallTimeoutError: If *fn* had not finished at its deadline.

            TypeError: If *fn* is a coroutine function.
        """
        guarded: Callable[P, T]
        if is_plain(fn) or not (body := checked_sync(fn)):
            limits = self._limits
            if limits.by_arguments:
                limits = limits_for(self._engine, limits, args, kwargs)
            guarded = compose_sync(self._engine, limits, fn)
        else:
            guarded = wrap_stream(self._engine, self._limits, fn, body)
        try:
            return guarded(*args, **kwargs)
        finally:
            # An error that leaves has this frame in its traceback.
            del fn, args, kwargs, guarded

    def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        """
        Call an async function under this guard, and await it.

        With `isolate="thread"` and `"process"` it takes a sync function as well, and runs it there without
        blocking the loop.

        Raises:
            CallRejectedError: If the guard refuses; *fn* was not called.

            CallTimeoutError: If *fn* had not finished at its deadline.

            TypeError: If *fn* returns nothing that can be awaited, or is a generator function.
        """
        if not is_coroutine_function(fn) and is_stream(body_of(fn)):
            raise TypeError(
                f"acall() awaits one answer, got the generator function {fn!r}; iterate over `call({_name(fn)}, ...)`"
            )
        limits = self._limits
        if limits.by_arguments:
            return wrap_async_by_arguments(self._engine, limits, fn)(*args, **kwargs)
        return compose_async(self._engine, limits, fn)(*args, **kwargs)

    def attempt(self, cost: float | None = None) -> Attempt:
        """
        Guard a block: `async with guard.attempt():` or `with guard.attempt():`.

        A block cannot be abandoned: at its deadline an async one is cancelled, and a sync one
        sees the deadline through `current_deadline()`.

        Args:
            cost: As of `acquire`. A block has no result that would tell what was used.
        """
        return Attempt(self._engine, self._limits.by_hand(cost))

    def acquire(self, cost: float | None = None) -> GuardPermit:
        """
        Ask for one call that is made later, by `permit.call`, `permit.acall` or by hand; never waits.

        Args:
            cost: Tokens, where a cost function would tell them from the
                arguments of a call. Where there is no such function it stands
                for the guard's `cost`; None: that.

        Returns:
            A permit, to be settled or cancelled once.

        Raises:
            CallRejectedError: If the guard refuses.

            TypeError: If there is a cost function, and no *cost*.

        >>> guard = Guard("images")
        >>> permit = guard.acquire()
        >>> permit.timeout
        60.0
        >>> permit.call(str.upper, "a cat")
        'A CAT'
        """
        return GuardPermit(self._engine.begin(self._limits.by_hand(cost)), self._engine)

    def open_stream(self, *args: object, cost: float | None = None) -> StreamCall:
        """
        Ask for one call in many steps that is made by hand: each step is awaited through what this returns.

        Args:
            args: What cost functions are asked with: a client gives its request.

            cost: As of `acquire`, instead.

        Raises:
            CallRejectedError: If the guard refuses.

            TypeError: If there is a cost function, and neither.

        >>> guard, numbers = Guard("images"), iter([1, 2])
        >>> stream = guard.open_stream()
        >>> stream.step_sync(lambda: next(numbers)), stream.step_sync(lambda: next(numbers))
        (1, 2)
        >>> stream.done()
        >>> guard.snapshot().counts["success"]
        1
        """
        limits = self._limits
        if cost is None and args and limits.amounts is None:
            limits = limits.costing(limits.cost.of(args, {}))
        elif cost is not None or limits.amounts is None:
            limits = limits.costing(limits.cost.by_hand(cost))
        return StreamCall(self._engine, self._engine.begin(limits))

    # -- seeing and steering ----------------------------------------------------

    @property
    def health(self) -> Health:
        """
        The health port: what a queue's poller asks.
        """
        return Health(self._engine)

    @property
    def recovery(self) -> Recovery:
        """
        The recovery port: who is told that the provider should be probed.
        """
        return Recovery(self._engine)

    def snapshot(self) -> Snapshot:
        """
        Tell how the guard stands now.
        """
        engine = self._engine
        now = engine.clock.now()
        refusing = engine.refusing()
        in_flight = [call for call in engine.lanes.in_flight() if not call.ended]
        timeout = self._limits.timeout.current(now)
        engine.look(now)
        with engine.lock:
            breaker = engine.breaker
            state = breaker.state(now)
            snapshot = Snapshot(
                name=engine.name,
                # Switched off, it refuses nobody, whatever it would like to.
                state=str(state if refusing else BreakerState.DISABLED),
                failure_rate=breaker.failure_rate(now) or 0.0,
                weight=breaker.weight(now) or 0.0,
                budget=engine.budget_left(now),
                timeout=timeout if timeout < math.inf else None,
                p95=self._limits.learner.p95(now),
                in_flight=len(in_flight),
                waiting=engine.waiting(),
                slots=engine.slots,
                suspects=len(engine.suspects),
                orphans=len(engine.orphans),
                orphan_calls=engine.orphans.infos(now),
                retry_after=engine.retry_after(now),
                generation=breaker.generation,
                open_seconds_today=engine.open_today(now),
                counts={outcome.value: engine.counts[outcome.ordinal] for outcome in Outcome},
                faults=engine.faults.count,
            )
        engine.notice(now)
        return snapshot

    def subscribe(self, sink: EventSink) -> Callable[[], None]:
        """
        Tell *sink* every event from now on, as if it had been among `sinks`; from any thread.

        Of a call that began while nobody listened nothing is told.

        Returns:
            A function that ends it; called again it does nothing.

        Raises:
            TypeError: If *sink* cannot be called.

        >>> guard, told = Guard("images"), []
        >>> unsubscribe = guard.subscribe(lambda event: told.append(event.evt))
        >>> guard.call(str.upper, "done")
        'DONE'
        >>> unsubscribe()
        >>> told
        ['gen.request', 'gen.success']
        """
        engine = self._engine
        engine.subscribe(checked_sink(sink))
        return once(engine.unsubscribe, sink)

    def force_open(self) -> None:
        """
        Refuse every call until `reset` or `disable`; calls in flight keep their deadlines.
        """
        self._steer("force_open")

    def disable(self) -> None:
        """
        Let the breaker refuse nobody until `reset` or `force_open`; it goes on recording.
        """
        self._steer("disable")

    def reset(self) -> None:
        """
        Close the breaker, and empty its window.
        """
        self._steer("reset")

    def pause(self, seconds: float) -> None:
        """
        Grant no call for so many seconds, as a provider asks for by 429 and Retry-After; a longer pause stays.

        >>> guard = Guard("images")
        >>> guard.pause(20)
        >>> guard.call(str.upper, "a cat")
        Traceback (most recent call last):
        hungframe.errors.BudgetExhaustedError: guard 'images': calls are paused, after a 429 or by hand; retry in 20 s
        """
        self._engine.pause(check.number("seconds", seconds, at_least=0))

    def _steer(self, verb: str) -> None:
        act = self._engine.breaker.steering(verb)
        if act is None:
            raise TypeError(f"guard {self.name!r}: its breaker has no {verb}()")
        self._engine.steer(act)

    def watch_loop(self, blocked_after: float = 1.0) -> LoopWatch:
        """
        Tell of an event loop that is blocked: `async with guard.watch_loop():`.

        A thread looks at the running loop for as long as the block lasts, and sends `loop.blocked`
        with the culprit's stack to the guard's sinks.

        Args:
            blocked_after: Seconds without a turn of the loop, above 0.
        """
        check.number("blocked_after", blocked_after, above=0)
        engine = self._engine

        def tell(seconds: float, stack: str) -> None:
            engine.teller.tell(LoopBlocked(engine.clock.wall(), engine.name, milliseconds(seconds), stack))

        return LoopWatch(blocked_after, tell)


def _name(fn: object) -> str:
    return getattr(fn, "__name__", "fn")


def engine_behind(guard: Guard) -> Engine:
    """
    The shared state of a guard, for those that read it more cheaply than by a snapshot.
    """
    return guard._engine  # pyright: ignore[reportPrivateUsage]
