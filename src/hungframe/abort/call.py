"""
One guarded call while it runs, and the deadline that everything below it sees.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from hungframe._core.states import Permit
    from hungframe.abort.lanes import LoopLane
    from hungframe.abort.leftovers import Leftover
    from hungframe.limits import Limits


class Call:
    """
    What one call needs while it runs: when it began, when it must be over, and how its end is going.
    """

    # One object a call, filled without a constructor; what most calls never
    # change stands in the class. Making it is a good part of what a guarded
    # call costs.

    limits: Limits
    """The settings that it was begun with."""
    started_at: float
    timeout: float
    """Seconds from the start to the deadline."""
    deadline: float
    """Instant on the guard's clock; infinite where there is none."""
    permit: Permit
    outer: Call | None = None
    """The guarded call within which this one runs."""
    before: Call | None = None
    """What the context held when the call began."""
    id: str = ""
    """Names it in events; empty where nobody listens."""

    ended: bool = False
    """The callee has ended: nothing below this call runs any more."""
    aborting: bool = False
    """The deadline has passed and the callee was told so."""
    where: str = ""
    """Where the callee hung at the deadline."""
    leftover: Leftover | None = None
    """What of the callee runs on although its caller has left."""

    # On asyncio, once the callee has suspended (see `asyncio_driver`).
    lane: LoopLane | None = None
    task: asyncio.Task[Any] | None = None
    coro: Coroutine[Any, Any, Any] | None = None
    waits_for: Any = None
    """What the callee has yielded to the event loop."""
    disturbed: bool = False
    """Something was thrown in: from then on it must be asked who did it."""
    must_leave: bool = False
    """The callee has had its grace."""
    cancels_before: int = 0
    """Cancellations of the task that were pending when the call began."""
    cancels_sent: int = 0
    grace_timer: asyncio.TimerHandle | None = None


current_call: ContextVar[Call | None] = ContextVar("hungframe_current_call", default=None)


def running_call() -> Call | None:
    """
    The innermost guarded call that still runs around the code that asks.

    A task that was started within a call keeps that call in its context when
    the call is long over; the deadline of what is over binds nobody.
    """
    call = current_call.get()
    while call is not None and call.ended:
        call = call.outer
    return call


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
