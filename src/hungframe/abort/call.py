"""
One guarded call while it runs, and the deadline that everything below it sees.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from hungframe._core.states import NO_PERMIT
from hungframe.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from hungframe._core.cost import Amounts
    from hungframe._core.states import Permit
    from hungframe.abort.lanes import LoopLane
    from hungframe.abort.leftovers import Leftover
    from hungframe.abort.where import Where
    from hungframe.abort.wire import Wire
    from hungframe.limits import Limits
    from hungframe.ports import Clock


class Call:
    """
    What one call needs while it runs: when it began, when it must be over, and how its end is going.
    """

    # One slots object a call, filled in by the engine without a constructor:
    # with a dict, or with arguments, making it would be a fifth of what a
    # guarded call costs.
    __slots__ = (
        "aborting",
        "ambiguous_at",
        "amounts",
        "cancel_args",
        "cancels_before",
        "cancels_seen",
        "cancels_sent",
        "coro",
        "deadline",
        "disturbed",
        "ended",
        "id",
        "lane",
        "leftover",
        "limits",
        "must_leave",
        "outer",
        "permit",
        "slot",
        "started_at",
        "task",
        "theirs",
        "timeout",
        "waits_for",
        "where",
        "wire",
    )

    limits: Limits
    """The settings that it was begun with."""
    started_at: float
    """Instant on the guard's clock; infinite for a stream while it is not asked."""
    timeout: float
    """Seconds from the start to the deadline."""
    deadline: float
    """Instant on the guard's clock; infinite where there is none."""
    permit: Permit
    amounts: Amounts
    """Tokens that it has taken: a number, or one for each of several budgets."""
    outer: Call | None
    """The guarded call within which this one runs."""
    id: str
    """Names it in events; there only where somebody listens."""

    slot: object
    """While it holds a slot of a bulkhead: the era of that in which it was taken; else False."""
    ended: bool
    """The callee has ended: nothing below this call runs any more."""
    aborting: bool
    """The deadline has passed and the callee was told so, or is to be left."""
    disturbed: bool
    """Something was thrown in, or is about to be: it must be asked who did it."""
    where: Where
    """Where the callee hung at the deadline."""
    leftover: Leftover | None
    """What of the callee runs on although its caller has left."""
    wire: Wire | None
    """The latest request of it that a guarded transport carries."""

    lane: LoopLane | None
    """Where it is watched on asyncio, once the callee has suspended; only then there is what follows."""
    task: asyncio.Task[Any] | None
    coro: Coroutine[Any, Any, Any] | None
    """The callee; None for a block."""
    waits_for: Any
    """What the callee has yielded to the event loop."""
    cancels_before: int
    """Cancellations of the task that were pending when the call began."""

    # There once it is disturbed on asyncio.
    must_leave: bool
    """The callee has had its grace."""
    ambiguous_at: float
    """On 3.10: when somebody last cancelled the task of whom nobody can tell who it was; else -inf."""
    theirs: bool
    """On 3.10: it was the caller."""
    cancel_args: tuple[Any, ...]
    """The message of a cancellation that came from outside: some that cancel know their own by it."""
    cancels_sent: int
    cancels_seen: int
    """On 3.10: cancellations that have reached the callee since its deadline."""


def id_of(call: Call) -> str:
    """
    What names it in events; empty where nobody listened when it began, so that nothing is told of its end either.
    """
    return getattr(call, "id", "")


current_call: ContextVar[Call | None] = ContextVar("hungframe_current_call", default=None)


def running_call() -> Call | None:
    """
    The innermost guarded call that still runs around the code that asks.

    The context keeps a call that is over: that of its caller, since taking it
    out costs as much as putting it in, and that of a task that was started
    within the call. The deadline of what is over binds nobody.
    """
    call = current_call.get()
    while call is not None and call.ended:
        call = call.outer
    return call


def calls_here() -> set[Call]:
    """
    The guarded calls around the code that asks.
    """
    calls: set[Call] = set()
    call = current_call.get()
    while call is not None:
        calls.add(call)
        call = call.outer
    return calls


def deadline_on(clock: Clock, call: Call) -> float:
    """
    The deadline of a call as an instant on *clock*, which need not be its own.
    """
    theirs = call.limits.clock
    if theirs is clock or call.deadline == math.inf:
        return call.deadline
    return clock.now() + (call.deadline - theirs.now())


class _Elsewhere:
    """
    The limits of a call that runs in another process: their clock is this one's.
    """

    clock = SYSTEM_CLOCK


def enclose(limits: Limits, began_at: float, ends_at: float) -> Call:
    """
    Make a call of which others are parts, and enter it: they end when it does.

    Args:
        limits: The settings that it was begun with.

        began_at: Instant on the guard's clock.

        ends_at: Instant on it, infinite for none; a deadline around it holds as well.
    """
    call = Call()
    call.limits = limits
    call.started_at = began_at
    call.outer = running_call()
    call.deadline = ends_at if call.outer is None else min(ends_at, deadline_on(limits.clock, call.outer))
    call.timeout = call.deadline - began_at
    call.permit = NO_PERMIT
    call.lane = call.leftover = call.wire = None
    call.ended = call.aborting = call.disturbed = call.slot = False
    current_call.set(call)
    return call


def leave(call: Call, *, ended: bool = True) -> None:
    """
    Go on around a call, in the context that it was entered in. Where the garbage collector closes it that is another.

    Args:
        call: The call.

        ended: Whether nothing of it runs any more.
    """
    call.ended = call.ended or ended
    if is_around(call):
        current_call.set(call.outer)


def is_around(call: Call) -> bool:
    """
    Tell whether the code that asks runs within *call*.
    """
    inner = current_call.get()
    while inner is not None and inner is not call:
        inner = inner.outer
    return inner is call


def enter_from_elsewhere(seconds: float | None) -> None:
    """
    Let the deadline of a call in another process be seen in this context.

    Args:
        seconds: What is left of it; None: there is none.
    """
    call: Any = Call()
    call.limits = _Elsewhere
    call.outer = call.lane = call.leftover = call.wire = None
    # What a guarded transport asks and tells there; its own end comes from
    # the parent, which kills the process.
    call.ended = call.aborting = call.disturbed = False
    call.deadline = math.inf if seconds is None else SYSTEM_CLOCK.now() + seconds
    current_call.set(call)


def current_deadline() -> float | None:
    """
    The deadline of the innermost guarded call, an instant on its guard's clock (by default
    `time.monotonic`); None outside of any, or where no call around has one.

    >>> current_deadline() is None
    True
    """
    call = running_call()
    return None if call is None or call.deadline == math.inf else call.deadline


def time_left() -> float | None:
    """
    Seconds until `current_deadline()`, 0 when it has passed; None where there is none.

    >>> time_left() is None
    True
    """
    call = running_call()
    if call is None or call.deadline == math.inf:
        return None
    return max(0.0, call.deadline - call.limits.clock.now())
