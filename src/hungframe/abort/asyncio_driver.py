"""
Drive a callee in the caller's own task, and leave it when its time is up.

The callee's coroutine is stepped by a generator that hands on what it yields.
So there is no second task: context variables, cancel scopes and the current
task stay what they were. Nothing is armed until the callee first suspends.

At the deadline the task is cancelled, which reaches through asyncio.shield
and anyio's shields. A callee that is still there `grace` seconds later is
closed and left. Whoever cancels the caller from outside wins over both.
"""

from __future__ import annotations

import asyncio
import math
import sys
import types
from asyncio import get_running_loop
from collections.abc import Coroutine, Generator
from types import FrameType
from typing import TYPE_CHECKING, Any

from hungframe.abort import leftovers, where
from hungframe.abort.wire import freeze

if TYPE_CHECKING:
    from hungframe.abort.call import Call
    from hungframe.abort.lanes import Lanes, LoopLane

# Before 3.11 a task does not count who cancelled it. Our own request is told
# from the caller's by the message that the task was last cancelled with.
COUNTS_CANCELS = sys.version_info >= (3, 11)
_OURS = "hungframe: the deadline of a guarded call"


class Abandoned(Exception):
    """
    The callee did not leave in its grace, and was left. Internal: the guard turns it into `CallTimeoutError`.
    """


@types.coroutine
def drive(call: Call, coro: Coroutine[Any, Any, Any], waits_for: Any, lanes: Lanes) -> Generator[Any, Any, Any]:
    """
    Run *coro*, which has suspended for the first time, to its end in the caller's task, or leave it.

    Args:
        call: The call, with its deadline and grace.

        coro: The callee.

        waits_for: What it has yielded to the event loop.

        lanes: Where the calls of a guard are watched, a lane for each loop.

    Raises:
        Abandoned: If the callee was left.
    """
    try:
        lane = lanes.last
        if lane is None or lane.loop is not get_running_loop():
            lane = lanes.here()
        lane.enter(call, coro)
    except BaseException:
        coro.close()
        raise
    step = coro.send
    try:
        while True:
            call.waits_for = waits_for
            try:
                yield waits_for
            except BaseException as thrown:
                waits_for = _hand_on(call, coro, thrown)
            else:
                waits_for = step(None)
    except StopIteration as stop:
        return stop.value


# -- inside the task ----------------------------------------------------------


def _hand_on(call: Call, coro: Coroutine[Any, Any, Any], thrown: BaseException) -> Any:
    """
    Throw into the callee what was thrown at its caller; return what it yields next.
    """
    disturb(call)
    if isinstance(thrown, GeneratorExit) and getattr(coro, "cr_frame", coro) is None:
        # The garbage collector takes a task whose loop was closed, and has come to the callee first.
        raise thrown
    if call.must_leave:
        call.leftover = leftovers.both(call.leftover, leftovers.close(coro, call.waits_for))
        raise Abandoned
    if isinstance(thrown, asyncio.CancelledError):
        if not call.aborting:
            call.leftover = leftovers.threads_behind(coro, call.waits_for)
        call.cancel_args = thrown.args or call.cancel_args
        if not COUNTS_CANCELS:
            _guess_who(call, thrown)
    try:
        yielded = coro.throw(thrown)
    finally:
        # This frame is in the traceback of what it raises: a cycle.
        del thrown
    if COUNTS_CANCELS and _cancelled_from_outside(call):
        # Whoever ends a call, its deadline or its caller: the callee has its
        # grace to leave and no more. 3.10 cannot tell a caller's cancellation
        # from one that the callee sent to itself, so there the deadline has
        # to do.
        _lane(call).leave_after_grace(call)
    return yielded


def disturb(call: Call) -> None:
    """
    From here on somebody wants the callee to end; few calls come here, so only now is an account opened.
    """
    if not call.disturbed:
        call.disturbed = True
        call.must_leave = call.theirs = False
        call.ambiguous_at = -math.inf
        call.cancels_sent = call.cancels_seen = 0
        call.cancel_args = ()


def _guess_who(call: Call, thrown: asyncio.CancelledError) -> None:
    """
    Find out on 3.10, as far as that goes, who has cancelled the task.
    """
    message = str(thrown)
    if call.aborting:
        call.cancels_seen += 1
    # What has come up through a task has lost its message.
    ours = message == _OURS or (call.aborting and call.cancels_seen <= call.cancels_sent)
    if ours or _is_of_a_scope(message):
        return
    if call.aborting:
        call.theirs = True
    else:
        # The caller did, or the callee itself (async_timeout cancels its own task).
        call.ambiguous_at = call.limits.clock.now()


def end(call: Call) -> bool:
    """
    Take back the cancellations that were sent to the task of a call that has ended.

    Returns:
        Whether somebody else's cancellation is left.
    """
    if call.lane is None:
        return False
    theirs = False
    if call.disturbed:
        call.lane.stay(call)
        theirs = _settle_cancels(call)
    # What an orphan still needs of the call is not the callee's frames.
    call.coro = call.waits_for = call.lane = call.task = None
    return theirs


def _settle_cancels(call: Call) -> bool:
    theirs = _cancelled_from_outside(call)
    if sys.version_info >= (3, 11):
        for _ in range(call.cancels_sent):
            _task(call).uncancel()
    return theirs


def _cancelled_from_outside(call: Call) -> bool:
    """
    Tell whether somebody else has cancelled the task and is not yet answered.
    """
    if sys.version_info >= (3, 11):
        return _task(call).cancelling() - call.cancels_sent > call.cancels_before
    overwritten = bool(getattr(call.task, "_cancel_message", _OURS) != _OURS)
    return call.theirs or (call.cancels_sent > 0 and overwritten) or _is_within_a_cancelled_scope()


def _is_within_a_cancelled_scope() -> bool:
    """
    Tell whether a scope of anyio around the code that asks was cancelled.
    """
    import anyio

    try:
        return anyio.current_effective_deadline() == -math.inf
    except RuntimeError:
        # Collected when its loop had ended: nobody is left who could cancel.
        return False


def _task(call: Call) -> asyncio.Task[Any]:
    """
    The task of a call that is watched.
    """
    assert call.task is not None
    return call.task


def _lane(call: Call) -> LoopLane:
    """
    The lane of a call that is watched.
    """
    assert call.lane is not None
    return call.lane


# -- outside of the task: timers ----------------------------------------------


def deadline_passed(call: Call, turn: int = 0) -> None:
    """
    Cancel the callee, unless what it waits for has just come.
    """
    if call.ended or call.lane is None or call.aborting:
        # The last: while an answer was waited for, the lane's timer came upon the call once more.
        return
    if call.deadline > call.limits.clock.now():
        # A stream whose item came a turn ago, and which waits for the next.
        return
    if turn < _MOST_TURNS and _is_coming(call):
        # Both came up in one tick: the loop was held up, not the callee. It
        # may have its answer; if it goes on waiting, its time is up.
        get_running_loop().call_soon(deadline_passed, call, turn + 1)
    else:
        _cancel_callee(call)


# An answer comes up through so many tasks at most, one a turn of the loop.
_MOST_TURNS = 6

# A timer that is later than this was held up by something.
_HELD_UP = 0.001


def _is_coming(call: Call) -> bool:
    """
    Tell whether what the callee waits for has come: to itself, or to a task below it.
    """
    waits_for = _waits_for(call)
    if waits_for is not None and waits_for.done():
        return True
    coro = call.coro
    if coro is None or call.limits.clock.now() - call.deadline < _HELD_UP:
        return False
    below = leftovers.tasks_below(list(where.frames_of(coro)), waits_for, done=True)
    for _ in range(_MOST_TURNS):
        if any(_has_come(task) for task in below):
            return True
        below = [deeper for task in below for deeper in leftovers.tasks_below(_frames(task), _waits(task), done=True)]
    return False


def _has_come(task: asyncio.Task[Any]) -> bool:
    waits_for = _waits(task)
    return task.done() or waits_for is None or bool(waits_for.done())


def _waits(task: asyncio.Task[Any]) -> Any:
    return getattr(task, "_fut_waiter", None)


def _frames(task: asyncio.Task[Any]) -> list[FrameType]:
    return list(where.frames_of(task.get_coro()))


def _is_cancel_coming(task: Any, depth: int = _MOST_TURNS) -> bool:
    """
    Tell whether a task, or one that it waits for, has been cancelled and has not been told yet.
    """
    if getattr(task, "_must_cancel", False):
        return not _is_of_a_scope(getattr(task, "_cancel_message", None))
    waits_for = getattr(task, "_fut_waiter", None)
    if waits_for is None or depth == 0:
        return False
    if waits_for.cancelled():
        return not _is_of_a_scope(getattr(waits_for, "_cancel_message", None))
    return _is_cancel_coming(waits_for, depth - 1)


def _is_of_a_scope(message: object) -> bool:
    """
    Tell whether a cancellation came from a scope of anyio, which asks again until it is answered.
    """
    return str(message).startswith(("Cancelled by cancel scope", "Cancelled via cancel scope"))


def _waits_for(call: Call) -> Any:
    # A block (`attempt`) has no coroutine that we step; what it waits for is
    # known to its task alone.
    return call.waits_for if call.coro is not None else getattr(call.task, "_fut_waiter", None)


def _cancel_callee(call: Call) -> None:
    disturb(call)
    if not COUNTS_CANCELS:
        # Who was cancelled a moment ago is leaving because of that, and a
        # cancellation that is on its way came before ours.
        just_now = call.ambiguous_at >= call.limits.clock.now() - call.limits.grace
        call.theirs = call.theirs or just_now or _is_cancel_coming(_task(call))
    call.aborting = True
    freeze(call)
    waits_for = _waits_for(call)
    coro = call.coro if call.coro is not None else _task(call).get_coro()
    frames = list(where.frames_of(coro, waits_for))
    call.where = where.of_frames(frames)
    if call.coro is not None:
        call.leftover = leftovers.threads_behind(coro, waits_for)
        _lane(call).leave_after_grace(call)
    _cancel_task(call)


def _cancel_task(call: Call) -> None:
    call.cancels_sent += 1
    task: Any = _task(call)
    if COUNTS_CANCELS:
        task.cancel()
    else:
        # The only trace that 3.10 leaves of who was the last to cancel.
        task._cancel_message = _OURS
        task.cancel(_OURS)


def grace_passed(call: Call) -> None:
    """
    Bring the caller back without its callee.
    """
    waits_for = call.waits_for
    if call.ended or call.lane is None:
        return
    if not call.aborting and not _cancelled_from_outside(call):
        # The callee had cancelled itself (anyio's scopes do, for each new
        # connection), and has taken that back meanwhile.
        return
    if not call.aborting:
        call.where = where.of_frames(list(where.frames_of(call.coro, waits_for)))
    # What is left is looked for while it still can be told.
    call.leftover = leftovers.both(call.leftover, leftovers.left_by(call.coro, waits_for))
    call.must_leave = True
    _cancel_task(call)
    if waits_for is not None and not waits_for.done():
        # It waits for something that takes no cancellation either.
        _wake(_task(call), waits_for)


def _wake(task: asyncio.Task[Any], waits_for: Any) -> None:
    """
    Wake a task although what it waits for is not done.

    asyncio has no word for this: a task that awaits a task which ignores its
    cancellation cannot be woken by cancelling it. What wakes a task is the
    callback that it has put on the future; so that one is taken off, and
    called with a future that is done.
    """
    loop = get_running_loop()
    callbacks: list[Any] = list(getattr(waits_for, "_callbacks", None) or ())
    for callback, _ in callbacks:
        if getattr(callback, "__self__", None) is task:
            waits_for.remove_done_callback(callback)
            done: asyncio.Future[None] = loop.create_future()
            done.cancel()
            loop.call_soon(callback, done)
            return
