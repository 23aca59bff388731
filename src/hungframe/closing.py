"""
The clean-up of a stream that its consumer has left: it has the grace, and no more.

No policy has a say in it, and none learns from it.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hungframe._core.states import NO_PERMIT
from hungframe.abort import asyncio_driver
from hungframe.abort.asyncio_driver import Abandoned
from hungframe.abort.call import Call, current_call, id_of
from hungframe.abort.where import NOWHERE

if TYPE_CHECKING:
    from hungframe.engine import Engine

# Of the grace, the share that a clean-up gets to leave once it was cancelled.
_TO_LEAVE = 0.1


@contextmanager
def closing(engine: Engine, ended: Call) -> Generator[Call, None, None]:
    """
    Make the call that a clean-up is, and end it; what is raised in its time goes on, what comes of its end does not.

    Args:
        engine: The guard's, which counts what is left behind.

        ended: The call that is settled.
    """
    call = _call(engine, ended)
    current_call.set(call)
    instead: BaseException | None = None
    engine.lanes.others[call] = None
    try:
        yield call
    except BaseException as raised:
        instead = _end(engine, call, raised)
        if instead is raised:
            raise
        del raised
    else:
        instead = _end(engine, call, None)
    finally:
        engine.lanes.others.pop(call, None)
        current_call.set(call.outer)
    try:
        if instead is not None:
            raise instead
    finally:
        # A frame that holds the exception which holds the frame is a cycle.
        del instead


def _call(engine: Engine, ended: Call) -> Call:
    now = ended.limits.clock.now()
    seconds = ended.limits.grace
    if ended.aborting:
        # Part of it is used up.
        seconds = max(0.0, min(seconds, ended.deadline + seconds - now))
    call = Call()
    call.limits = copy.copy(ended.limits)
    call.limits.grace = seconds * _TO_LEAVE
    call.started_at = now
    call.timeout = seconds - call.limits.grace
    call.deadline = now + call.timeout
    call.permit = NO_PERMIT
    call.outer = current_call.get()
    call.lane = call.leftover = call.wire = None
    call.ended = call.aborting = call.disturbed = call.slot = False
    call.where = NOWHERE
    if engine.sinks:
        call.id = id_of(ended)
    return call


def _end(engine: Engine, call: Call, raised: BaseException | None) -> BaseException | None:
    """
    End a clean-up; return what its caller is to see, if there is something.
    """
    if call.lane is not None:
        call.lane.calls.pop(call, None)
    cancelled = asyncio_driver.end(call)
    engine.left_behind(call, call.limits.clock.now())
    is_cancel = isinstance(raised, asyncio.CancelledError)
    if cancelled:
        # Its caller was, and is told so.
        if is_cancel or (raised is not None and not isinstance(raised, Exception)):
            return raised
        return asyncio.CancelledError(*call.cancel_args)
    if isinstance(raised, Abandoned) or (call.aborting and (is_cancel or isinstance(raised, Exception))):
        return None
    return raised
