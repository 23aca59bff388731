"""
A hedged attempt: where no answer comes, another is sent beside it, and the first answer wins.

The loser is cancelled, or left in its thread, and gives its permit back
(J. Dean and L. A. Barroso, The Tail at Scale, 2013).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import ParamSpec

from hungframe._core.outcome import Outcome
from hungframe.abort import runners, threads
from hungframe.abort.call import Call, current_call, enclose, leave
from hungframe.abort.parking import ThreadPlace
from hungframe.admission import let_in, let_in_sync
from hungframe.errors import CallRejectedError
from hungframe.wrapping import wrap_async

if TYPE_CHECKING:
    from hungframe.abort.threads import Job
    from hungframe.engine import Engine
    from hungframe.limits import Limits

P = ParamSpec("P")
T = TypeVar("T")


def race(engine: Engine, limits: Limits, fn: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """
    Make the coroutine function that makes one attempt, or several side by side, each in a task of its own.
    """

    alone, attempt = wrap_async(engine, limits, fn), wrap_async(engine, limits, fn, _let_in)

    async def hedged(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            seconds = delay(engine, limits, args, kwargs)
            if seconds is None:
                return await alone(*args, **kwargs)
            answer: T = await _race(engine, limits, functools.partial(attempt, *args, **kwargs), seconds)
            return answer
        finally:
            # What this frame holds lives as long as the error that leaves it.
            del args, kwargs

    return hedged


def delay(engine: Engine, limits: Limits, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
    """
    Seconds until another attempt is sent; None where none is.
    """
    around = limits.around
    if around is None or around.hedge is None or not around.may_repeat(engine, args, kwargs):
        return None
    now = limits.clock.now()
    with engine.lock:
        return around.hedge.delay(limits.learner.p95(now))


class Runs:
    """
    The attempts that run side by side, and how those that are over have ended.
    """

    __slots__ = ("_answer", "_ended", "_engine", "_errors", "_limits", "_stopped", "sent", "won")

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits
        self.sent = 0
        self.won = False
        self._ended = 0
        # The winner's result; until there is one, the latest.
        self._answer: list[Any] = []
        self._errors: list[Exception] = []
        # What ends the call whatever the others do.
        self._stopped: BaseException | None = None

    @property
    def running(self) -> int:
        """How many have not ended."""
        return self.sent - self._ended

    @property
    def more(self) -> bool:
        """Whether another may be sent."""
        around = self._limits.around
        return around is not None and around.hedge is not None and self.sent <= around.hedge.max

    def returned(self, result: Any) -> None:
        """
        One has returned: it has won, unless what it returned is a failure.
        """
        self._ended += 1
        if not self.won:
            self._answer = [result]
            self.won = self._engine.classified(result, self._limits) in (Outcome.SUCCESS, Outcome.CLIENT_ERROR)

    def failed(self, error: Exception) -> None:
        """
        One has raised.
        """
        self._ended += 1
        self._errors.append(error)

    def stopped(self, error: BaseException) -> None:
        """
        One was interrupted, or was cancelled by its own doing: that is no failure, and the others cannot mend it.
        """
        self._ended += 1
        if not self.won:
            self._stopped = error
            self.won = True

    def end(self) -> Any:
        """
        The answer of the one that has won; else what the provider said first.
        """
        try:
            if self._stopped is not None:
                raise self._stopped
            if self._answer:
                return self._answer[0]
            raise next((error for error in self._errors if not isinstance(error, CallRejectedError)), self._errors[0])
        finally:
            self.forget()

    def forget(self) -> None:
        """
        Let the errors go: a frame that holds the exception which holds the frame is a cycle.
        """
        self._errors.clear()
        self._answer = []
        self._stopped = None


async def _race(engine: Engine, limits: Limits, attempt: Callable[[], Awaitable[Any]], seconds: float) -> Any:
    import anyio

    runs = Runs(engine, limits)
    # Each attempt's task takes it along in its own context.
    name = engine.teller.attempt_of()
    over = anyio.Event()
    # From when the first was let in; until then none is sent beside it.
    began_at = next_at = math.inf
    # Those beside the first end when it does: the call has one deadline.
    ends_at = math.inf

    def let_in_now() -> None:
        nonlocal began_at, next_at, ends_at
        began_at = limits.clock.now()
        next_at, ends_at = began_at + seconds, began_at + limits.timeout.current(began_at)
        over.set()

    async def run(*, first: bool) -> None:
        # It runs in a context of its own, so nobody has to leave.
        whole = None if first else enclose(limits, began_at, ends_at)
        _on_entry.set(let_in_now if first else None)
        try:
            runs.returned(await attempt())
        except Exception as error:
            runs.failed(error)
        except BaseException as error:
            if isinstance(error, anyio.get_cancelled_exc_class()) and anyio.current_effective_deadline() == -math.inf:
                # It has lost, or its caller is cancelled, who is told so
                # himself. Raised, anyio would hold it on asyncio in a frame
                # that it holds, and with it what the callee held.
                return
            runs.stopped(error)
        finally:
            over.set()
            if whole is not None:
                leave(whole)

    try:
        async with anyio.create_task_group() as group:
            while not runs.won and (runs.running or not runs.sent):
                now = limits.clock.now()
                if not runs.sent or (runs.more and now >= next_at):
                    runs.sent += 1
                    if runs.sent > 1:
                        next_at = now + seconds
                        if engine.sinks:
                            engine.teller.hedge(runs.sent, now - began_at, name)
                    group.start_soon(functools.partial(run, first=runs.sent == 1))
                over = anyio.Event()
                with anyio.move_on_after(next_at - now if runs.more else math.inf):
                    await over.wait()
            group.cancel_scope.cancel()
        return runs.end()
    finally:
        runs.forget()
        # What this frame holds lives as long as the error that leaves it.
        attempt = _nothing


async def _nothing() -> None:
    """
    Stand for an attempt that is over.
    """


# Told when the first of several attempts has been let in.
_on_entry: ContextVar[Callable[[], None] | None] = ContextVar("hungframe_on_entry", default=None)


async def _let_in(engine: Engine, limits: Limits) -> Call:
    """
    Let the first attempt in, which may wait; one beside it would do so in the way of others, and is refused.
    """
    tell = _on_entry.get()
    if tell is None:
        return engine.begin(limits)
    call = await let_in(engine, limits)
    _on_entry.set(None)
    tell()
    return call


def race_sync(engine: Engine, limits: Limits, fn: Callable[P, T], attempt: Callable[P, T]) -> Callable[P, T]:
    """
    Make the function that makes one attempt, or several side by side, each in a thread or process of its own.

    Raises:
        ValueError: If it could not leave the loser.
    """
    if limits.isolate is None:
        raise ValueError(
            f"guard {engine.name!r}: hedge needs a thread or a process for each attempt of a sync callee, and "
            'isolate=None runs it in its caller\'s; use isolate="thread" or "process", or hedge=None for this one'
        )

    def hedged(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            seconds = delay(engine, limits, args, kwargs)
            if seconds is None:
                return attempt(*args, **kwargs)
            answer: T = _race_sync(engine, limits, fn, args, kwargs, seconds)
            return answer
        finally:
            del args, kwargs

    return hedged


def _race_sync(
    engine: Engine,
    limits: Limits,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    seconds: float,
) -> Any:
    runs, place, name = Runs(engine, limits), ThreadPlace(), engine.teller.attempt_of()
    before = current_call.get()
    began_at, next_at, ends_at = limits.clock.now(), math.inf, math.inf
    sent: list[tuple[Call, Job]] = []
    try:
        while not runs.won and (runs.running or not runs.sent):
            now = limits.clock.now()
            if not runs.sent or (runs.more and now >= next_at):
                runs.sent += 1
                first = runs.sent == 1
                if not first and engine.sinks:
                    engine.teller.hedge(runs.sent, now - began_at, name)
                whole = None if first else enclose(limits, began_at, ends_at)
                engine.teller.next_attempt(name)
                try:
                    # The first may wait to be let in; for one beside it the caller, who waits for both, cannot.
                    call = let_in_sync(engine, limits) if first and limits.waits else engine.begin(limits)
                    if first:
                        # Those beside the first end when it does: the call has one deadline.
                        began_at, ends_at = call.started_at, call.deadline
                    sent.append(_send(engine, limits, call, fn, args, kwargs, place.wake))
                except Exception as error:
                    runs.failed(error)
                finally:
                    if whole is not None:
                        leave(whole)
                now = limits.clock.now()
                next_at = now + seconds
            over = [each for each in sent if not each[1].running or now >= each[0].deadline]
            for each in over:
                sent.remove(each)
                try:
                    runs.returned(_ended(engine, *each))
                except Exception as error:
                    runs.failed(error)
            if not over:
                until = min([call.deadline for call, _ in sent], default=now)
                place.wait(max(0.0, min(until, next_at if runs.more else math.inf) - now))
        return runs.end()
    finally:
        for loser, job in sent:
            _lose(engine, loser, job)
        runs.forget()
        current_call.set(before)
        del fn, args, kwargs, sent, before


def _send(
    engine: Engine,
    limits: Limits,
    call: Call,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wake: Callable[[], object],
) -> tuple[Call, Job]:
    before = current_call.get()
    current_call.set(call)
    try:
        # It takes the variables of its caller with it, the call among them.
        job = runners.job_of(limits, engine.name, fn, args, kwargs)
        job.notify = wake
        threads.start(job)
    except BaseException as error:
        engine.failed(call, error)
        raise
    finally:
        current_call.set(before)
    engine.lanes.others[call] = None
    return call, job


def _ended(engine: Engine, call: Call, job: Job) -> Any:
    """
    Settle an attempt that has ended, or whose time is up.
    """
    engine.lanes.others.pop(call, None)
    try:
        try:
            result = runners.end_of(call, job)
        finally:
            if job.running:
                runners.leave(call, job)
    except BaseException as raised:
        error = engine.failed(call, raised)
        if error is None:
            raise
    else:
        error = engine.returned(call, result)
        if error is None:
            return result
    try:
        raise error
    finally:
        del error


def _lose(engine: Engine, call: Call, job: Job) -> None:
    """
    Leave an attempt that has lost; what it waits for is ended, if that can be.
    """
    engine.lanes.others.pop(call, None)
    if job.running:
        runners.leave(call, job)
    engine.failed(call, _Lost())


class _Lost(BaseException):
    """
    Another attempt was faster: like a cancellation, it proves nothing.
    """
