"""
Lets a call in: at once, or when a slot and a token are there for it.

First a slot of the bulkhead, then a token, since that is the order in which a
call is asked for. Both lines are first come first served among equals; who leaves one,
cancelled or out of time, leaves no hole in it. Written once, as a generator
that yields the seconds to wait, for asyncio, trio and threads.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, NoReturn

from hungframe._core.line import Line
from hungframe.abort.backend import in_trio
from hungframe.abort.call import Call, deadline_on, running_call
from hungframe.abort.parking import AsyncioPlace, Place, ThreadPlace, TrioPlace
from hungframe.bulkheads import EngineWithBulkhead
from hungframe.errors import BudgetExhaustedError
from hungframe.waiting import WILLING, NotYet, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hungframe._core.line import Ticket
    from hungframe.engine import Engine
    from hungframe.limits import Limits


async def let_in(engine: Engine, limits: Limits) -> Call:
    """
    Ask for a call, and wait for it on asyncio or trio where it may come by itself.

    Raises:
        CallRejectedError: If it is refused, at once or after waiting.
    """
    try:
        return engine.begin(limits, WILLING)
    except NotYet:
        # Raised again below, if it is so still.
        pass
    place: Place = TrioPlace() if in_trio() else AsyncioPlace()
    steps = _steps(engine, limits, place.wake)
    try:
        while True:
            await place.wait(next(steps))
    except StopIteration as stop:
        call: Call = stop.value
        return call
    finally:
        steps.close()


def let_in_sync(engine: Engine, limits: Limits) -> Call:
    """
    Ask for a call, and wait for it in this thread; likewise.
    """
    try:
        return engine.begin(limits, WILLING)
    except NotYet:
        pass
    place = ThreadPlace()
    steps = _steps(engine, limits, place.wake)
    try:
        while True:
            place.wait(next(steps))
    except StopIteration as stop:
        call: Call = stop.value
        return call
    finally:
        steps.close()


def _steps(engine: Engine, limits: Limits, wake_up: Callable[[], bool]) -> Generator[float, None, Call]:
    """
    Wait step by step.

    Yields:
        Seconds to wait, or until *wake_up* is called.

    Returns:
        The call.
    """
    waiting, until = _bounds(limits)
    if not isinstance(engine, EngineWithBulkhead):
        return (yield from _until_granted(engine, limits, waiting, until, wake_up))
    yield from _until_free(engine, limits, waiting, until, wake_up)
    try:
        return (yield from _until_granted(engine, limits, waiting, until, wake_up))
    except BaseException:
        engine.commons.outside_lock(engine.free, waiting.slot, limits.clock.now())
        raise


def _bounds(limits: Limits) -> tuple[Waiting, float]:
    """
    Who asks, and until when it may wait: as long as it is told to, and not beyond a deadline of its own.
    """
    now = limits.clock.now()
    outer = running_call()
    ends_at = math.inf if limits.total_timeout is None else now + limits.total_timeout
    until = ends_at if outer is None else min(ends_at, deadline_on(limits.clock, outer))
    if limits.max_wait is not None:
        until = min(until, now + limits.max_wait)
    elif until == math.inf:
        # It may wait for as long as it may take.
        until = now + limits.timeout.current(now)
    return Waiting(now, ends_at), until


def _until_free(
    engine: EngineWithBulkhead, limits: Limits, waiting: Waiting, until: float, wake_up: Callable[[], bool]
) -> Generator[float, None, None]:
    """
    Wait for a slot.
    """
    clock, bulkhead, era = limits.clock, engine.bulkhead, engine.bulkhead.era
    now = clock.now()
    ticket: Ticket | None = None
    shed: Sequence[Ticket] = ()
    with engine.lock:
        if bulkhead.try_acquire(now, priority=limits.priority):
            waiting.slot = era
            return
        if now < until:
            # Who has no time to wait takes nobody's place.
            ticket, shed = bulkhead.enqueue(now, priority=limits.priority)
        if ticket is not None:
            ticket.wake = wake_up
    engine.wake(shed)
    if ticket is None:
        engine.refuse_slot(limits)
    try:
        while not ticket.granted:
            now = clock.now()
            if ticket.shed or now >= until:
                engine.refuse_slot(limits, now - waiting.began_at)
            engine.refuse_if_open(limits, now - waiting.began_at)
            yield until - now
        waiting.slot = era
    finally:
        if not waiting.slot:
            engine.commons.outside_lock(engine.withdraw, ticket, era, clock.now())


def _until_granted(
    engine: Engine, limits: Limits, waiting: Waiting, until: float, wake_up: Callable[[], bool]
) -> Generator[float, None, Call]:
    """
    Wait for a token, and every time that there may be one ask all the policies anew: the breaker may have opened.
    """
    clock = limits.clock
    line: Line | None = None
    try:
        while True:
            try:
                return engine.begin(limits, waiting)
            except NotYet as not_yet:
                after = not_yet.retry_after
            now = clock.now()
            if now >= until or after is None or after == math.inf or now + after > until:
                # It would wait in vain, whoever is before it.
                _refuse_token(engine, limits, now, waiting)
            if line is None:
                line, waiting.ticket = _stand_in_line(engine, limits.priority, wake_up)
                # Where the first is on a loop that was closed, it is passed over.
                engine.commons.call_on(engine.line_key)
            if line.head is not waiting.ticket:
                # Woken when it is its turn.
                after = math.inf
            yield min(after, until - now)
    finally:
        if line is not None and waiting.ticket is not None:
            engine.commons.outside_lock(_leave_line, engine, line, waiting.ticket)


def _stand_in_line(engine: Engine, priority: float, wake_up: Callable[[], bool]) -> tuple[Line, Ticket]:
    with engine.lock:
        line = engine.commons.lines.setdefault(engine.line_key, Line())
        ticket = line.join(priority)
        ticket.wake = wake_up
        return line, ticket


def _leave_line(engine: Engine, line: Line, ticket: Ticket) -> None:
    if engine.commons.leave(engine.line_key, line, ticket):
        engine.commons.call_on(engine.line_key)


def _refuse_token(engine: Engine, limits: Limits, now: float, waiting: Waiting) -> NoReturn:
    with engine.lock:
        retry_after = engine.budget.retry_after(limits.amounts, now)
    budget_before = engine.budget_before(now) if engine.sinks else None
    timeout, waited = limits.timeout.current(now), now - waiting.began_at
    if now < engine.paused_until:
        engine.refuse(_paused, "budget_paused", retry_after, timeout, budget_before, waited)
    engine.refuse(BudgetExhaustedError, "budget_exhausted", retry_after, timeout, budget_before, waited)


def _paused(guard: str, retry_after: float | None) -> BudgetExhaustedError:
    return BudgetExhaustedError(guard, retry_after, paused=True)
