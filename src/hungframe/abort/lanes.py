"""
Which calls of a guard are in flight, and on each event loop one timer for all their deadlines.

A timer for each call would cost more than the rest of it. The deadlines of one
guard are nearly sorted, and most calls end long before theirs: so the oldest is
looked at when its time comes, and a call that has ended is simply not there.
"""

from __future__ import annotations

import asyncio
import math
import sys
from asyncio import current_task
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from hungframe.abort import asyncio_driver

if TYPE_CHECKING:
    from hungframe.abort.call import Call
    from hungframe.ports import Clock


class LoopLane:
    """
    The suspended calls of one guard on one event loop; only that loop's thread changes it.
    """

    __slots__ = ("_clock", "_in_order", "_last_deadline", "_leaving", "_timer_at", "calls", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self.loop = loop
        # A dict as an ordered set: first in, first looked at.
        self.calls: dict[Call, None] = {}
        self._clock = clock
        self._timer_at = math.inf
        self._last_deadline = -math.inf
        # Callees in their grace, and when it is over, on the loop's own time: a
        # guard's clock that a test has stopped must not stop this.
        self._leaving: dict[Call, float] = {}
        # Whether each call came with a deadline no earlier than the one before.
        self._in_order = True

    def enter(self, call: Call, coro: Coroutine[Any, Any, Any] | None) -> None:
        """
        Watch over *call* from now on, in the task that runs now.

        Raises:
            RuntimeError: If no task runs.
        """
        task = current_task(self.loop)
        if task is None:
            raise RuntimeError("a guarded call must be awaited inside a task of asyncio or trio")
        call.task = task
        call.coro = coro
        call.waits_for = None
        if sys.version_info >= (3, 11):
            call.cancels_before = task.cancelling()
        call.lane = self
        deadline = call.deadline
        if deadline < self._last_deadline:
            self._in_order = not self.calls
        self._last_deadline = deadline
        self.calls[call] = None
        if deadline < self._timer_at:
            self._arm(deadline)

    def _arm(self, at: float) -> None:
        # A timer that was armed for later stays: it finds nothing to do, and
        # is cheaper than being cancelled.
        self._timer_at = at
        # At least a millisecond, so that a loop whose timers are that coarse
        # does not spin until the clock agrees.
        self.loop.call_later(max(at - self._clock.now(), 0.001), self._fire, at)

    def _fire(self, at: float) -> None:
        if at != self._timer_at:
            return
        self._timer_at = math.inf
        now = self._clock.now()
        due: list[Call] = []
        next_at = math.inf
        for call in self.calls:
            if call.aborting:
                continue
            if call.deadline <= now:
                due.append(call)
            else:
                next_at = min(next_at, call.deadline)
                if self._in_order:
                    break
        if next_at < math.inf:
            self._arm(next_at)
        # One turn later: after a stall this timer comes first, and what comes
        # up behind it in the same turn may be the answer.
        if due:
            self.loop.call_soon(self._end, due)

    def _end(self, due: list[Call]) -> None:
        for call in due:
            asyncio_driver.deadline_passed(call)

    def leave_after_grace(self, call: Call) -> None:
        """
        Give the callee of *call* its grace, from now on, and leave it then; asked again, nothing changes.
        """
        if call in self._leaving:
            return
        if not self._leaving:
            self.loop.call_later(call.limits.grace, self._leave)
        self._leaving[call] = self.loop.time() + call.limits.grace

    def stay(self, call: Call) -> None:
        """
        The callee of *call* has ended in its grace.
        """
        self._leaving.pop(call, None)

    def _leave(self) -> None:
        now = self.loop.time()
        next_at = math.inf
        for call, at in list(self._leaving.items()):
            # A timer may be early by what a loop takes for no time at all.
            if at - now < 0.001:
                del self._leaving[call]
                asyncio_driver.grace_passed(call)
            else:
                next_at = min(next_at, at)
        if next_at < math.inf:
            self.loop.call_later(next_at - now, self._leave)


# Shared by all guards that were called on no loop yet; never changed.
_NO_LOOPS: dict[int, LoopLane] = {}


class Lanes:
    """
    All calls of one guard that are in flight, on whatever loop or thread.
    """

    __slots__ = ("_clock", "_loops", "last", "others")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loops = _NO_LOOPS
        self.last: LoopLane | None = None
        # Calls that no loop's timer watches over: those of threads and of trio,
        # open streams, and permits in the user's hand. Each step on it is a single one on a
        # dict, so no lock is taken. (An empty set weighs three times as much.)
        self.others: dict[Call, None] = {}

    def here(self) -> LoopLane:
        """
        The lane of the event loop that runs now.
        """
        loop = asyncio.get_running_loop()
        lane = self.last
        if lane is None or lane.loop is not loop:
            lane = self._loops.get(id(loop))
            if lane is None or lane.loop is not loop:
                lane = self._add(loop)
            self.last = lane
        return lane

    def _add(self, loop: asyncio.AbstractEventLoop) -> LoopLane:
        # Loops come and go (one a test, one a thread): those that are closed
        # make room for the new one.
        for key, old in list(self._loops.items()):
            if old.loop.is_closed():
                self._loops.pop(key, None)
        if self._loops is _NO_LOOPS:
            self._loops = {}
        lane = self._loops[id(loop)] = LoopLane(loop, self._clock)
        return lane

    def in_flight(self) -> Iterator[Call]:
        """
        Every call that is in flight, oldest first within a lane.
        """
        # A stream stands here for as long as it is open; while it is asked, a
        # loop may watch over it as well.
        yield from [call for call in list(self.others) if call.lane is None]
        for lane in list(self._loops.values()):
            if not lane.loop.is_closed():
                yield from list(lane.calls)

    def stranded(self) -> list[Call]:
        """
        Calls whose loop was closed under them: nobody resumes them any more.
        """
        return [call for lane in list(self._loops.values()) if lane.loop.is_closed() for call in list(lane.calls)]

    def count(self) -> int:
        """
        About how many are in flight, without a look at each: a stream that is being asked may count twice.
        """
        return len(self.others) + sum(
            len(lane.calls) for lane in list(self._loops.values()) if not lane.loop.is_closed()
        )

    def forget(self, keep: set[Call]) -> None:
        """
        Drop all calls but those to *keep*: after a fork the other threads' calls do not run in the child.
        """
        self._loops = _NO_LOOPS
        self.last = None
        # In place: guarded functions hold on to this very dict.
        for call in [call for call in self.others if call not in keep]:
            del self.others[call]
