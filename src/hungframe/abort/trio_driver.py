"""
Run a callee on trio in a task that may be left.

trio delivers a cancellation again and again, so a callee can hide from it only
in a shield, or in a thread that it waits for. From there nothing brings the
caller's own task back; so the callee runs in a system task, and the caller
waits beside it. The task runs in the caller's own context, so that variables
which the callee sets are seen by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import trio

from hungframe.abort import where
from hungframe.abort.asyncio_driver import Abandoned
from hungframe.abort.leftovers import Leftover, both, threads_behind
from hungframe.abort.wire import freeze

if TYPE_CHECKING:
    from hungframe.abort.call import Call
    from hungframe.abort.lanes import Lanes


class _Callee(Leftover):
    """
    The callee in its system task.
    """

    __slots__ = ("_coro", "_waiter", "cancelled", "error", "leaving", "result", "scope", "task")

    def __init__(self, coro: Coroutine[Any, Any, Any], home: Home) -> None:
        super().__init__()
        self.scope = home.scope
        self.cancelled = False
        # It was told to end, and the stream that it is a step of ends with it.
        self.leaving = False
        self.error: BaseException | None = None
        self.result: Any = None
        self._coro: Coroutine[Any, Any, Any] | None = coro
        self._waiter: trio.lowlevel.Task | None = None
        self.task: trio.lowlevel.Task | None = home.take_in(self, getattr(coro, "__qualname__", "callee"))

    async def run(self, at_end: Callable[[], Awaitable[Any]] | None) -> None:
        """
        Run the callee in the task that has taken it in; *at_end* closes the stream that it is a step of.
        """
        coro, self._coro = self._coro, None
        assert coro is not None
        # An exception that left a system task would end the whole run.
        try:
            self.result = await coro
            if self.leaving and at_end is not None:
                # It has answered all the same, and nobody will ask again.
                await at_end()
        except BaseException as error:
            self.error = _without_cancelled(error) if self.scope.cancel_called else error
            self.cancelled = self.error is None
        finally:
            del coro
            self.task = None
            self.end()
            waiter, self._waiter = self._waiter, None
            if waiter is not None:
                trio.lowlevel.reschedule(waiter)

    async def wait(self) -> None:
        """
        Wait until the callee has ended; may be cancelled without harm to it.
        """
        if not self.running:
            return
        self._waiter = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiter = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def leave(self) -> None:
        """
        Tell it to end.
        """
        self.leaving = True
        self.scope.cancel()

    def take(self) -> Any:
        """
        The result, or the exception raised again.
        """
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                # A frame that holds the exception which holds the frame is a cycle.
                del error
        return self.result


class Home:
    """
    A system task that takes in one callee, or each step of a stream.

    What a stream opens around a `yield`, a nursery or a cancel scope, must be
    closed in the task that has opened it, or trio's own books are wrong.

    Args:
        many: Whether more than one is to come; then `end` must be called.

        at_end: Closes the stream, where the run ends before anybody else has.
    """

    __slots__ = ("_at_end", "_callee", "_over", "_parked", "_task", "_token", "scope")

    def __init__(self, *, many: bool, at_end: Callable[[], Awaitable[Any]] | None = None) -> None:
        self.scope = trio.CancelScope()
        self._at_end = at_end
        self._callee: _Callee | None = None
        self._over = not many
        self._parked = False
        self._task: trio.lowlevel.Task | None = None
        self._token = trio.lowlevel.current_trio_token()

    @property
    def usable(self) -> bool:
        """
        Whether it takes in another; it does not once one was told to end.
        """
        return self._task is None or self._parked

    def take_in(self, callee: _Callee, name: str) -> trio.lowlevel.Task:
        """
        Run *callee* in this task, and in the context of the task that asks.
        """
        # Its deadline is the one that holds for the caller, so that the callee
        # is told of it when it asks trio.
        self.scope.deadline = trio.current_effective_deadline()
        self._callee = callee
        if self._task is None:
            self._task = trio.lowlevel.spawn_system_task(self._run, name=name)
        else:
            self._parked = False
            trio.lowlevel.reschedule(self._task)
        # The caller is parked while this runs and the other way round, so that
        # the two never are in the one context at once.
        self._task.context = trio.lowlevel.current_task().context
        return self._task

    async def _run(self) -> None:
        try:
            with self.scope:
                try:
                    while self._callee is not None:
                        callee, self._callee = self._callee, None
                        await callee.run(self._at_end)
                        self._over = self._over or callee.leaving
                        del callee
                        if not self._over:
                            # The time of who asks next is another.
                            self.scope.deadline = math.inf
                            await self._park()
                except trio.Cancelled:
                    # Whoever asks is cancelled; or the run ends, and its
                    # system tasks before its generators.
                    if self._at_end is not None:
                        await self._at_end()
                    raise
        except BaseException:
            # Nobody is left who could be told.
            return

    async def _park(self) -> None:
        self._parked = True

        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked = False
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def end(self) -> None:
        """
        Take in no more; may be called from any thread, and by the garbage collector.
        """
        try:
            self._token.run_sync_soon(self._end)
        except trio.RunFinishedError:
            return

    def _end(self) -> None:
        self._over = True
        if self._parked and self._task is not None:
            self._parked = False
            trio.lowlevel.reschedule(self._task)


def _without_cancelled(error: BaseException) -> BaseException | None:
    """
    What is left of an error without what a cancelled scope has raised; None where that is all.
    """
    if isinstance(error, trio.Cancelled):
        return None
    split: Any = getattr(error, "split", None)
    if split is None or not isinstance(getattr(error, "exceptions", None), tuple):
        return error
    rest: BaseException | None = split(trio.Cancelled)[1]
    return rest


async def drive(call: Call, coro: Coroutine[Any, Any, Any], lanes: Lanes, home: Home | None = None) -> Any:
    """
    Run *coro* to its end, or leave it.

    Args:
        call: The call, with its deadline and grace.

        coro: The callee.

        lanes: Where the calls of a guard are told to be in flight.

        home: The task that it runs in; None: one of its own.

    Raises:
        Abandoned: If the callee was left; `call.leftover` tells when it has ended.

        trio.Cancelled: If the caller was cancelled.
    """
    lanes.others[call] = None
    try:
        return await _drive(call, coro, call.limits.grace, home or Home(many=False))
    finally:
        lanes.others.pop(call, None)


async def _drive(call: Call, coro: Coroutine[Any, Any, Any], grace: float, home: Home) -> Any:
    left = call.deadline - call.limits.clock.now()
    until = trio.current_time() + left if left < math.inf else math.inf
    try:
        callee = _Callee(coro, home)
    except BaseException:
        # The run is at its end, and takes in no task any more.
        coro.close()
        raise
    try:
        with trio.CancelScope(deadline=until):
            await callee.wait()
    except BaseException:
        # Cancelled, or interrupted from the keyboard.
        callee.leave()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + grace):
            await callee.wait()
        if callee.running:
            _leave(call, callee, coro)
        raise
    if callee.running:
        # A callee that was woken in this very tick may have its answer first.
        await trio.lowlevel.cancel_shielded_checkpoint()
    if callee.running:
        call.aborting = call.disturbed = True
        freeze(call)
        call.where = where.of_frames(list(where.frames_of(coro)))
        # A thread that its waiter abandons stays, although the callee ends.
        call.leftover = threads_behind(coro, None)
        callee.leave()
        # The grace is the callee's even if the caller is cancelled meanwhile;
        # the caller's own next checkpoint tells it so.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + grace):
            await callee.wait()
        if callee.running:
            _leave(call, callee, coro)
        await trio.lowlevel.checkpoint_if_cancelled()
        if callee.running:
            raise Abandoned
    if callee.cancelled:
        # By the deadline of a scope around the caller, which is told now.
        call.aborting = call.disturbed = True
        await trio.lowlevel.checkpoint_if_cancelled()
    return callee.take()


def _leave(call: Call, callee: _Callee, coro: Coroutine[Any, Any, Any]) -> None:
    if not call.aborting and call.where is where.NOWHERE:
        call.where = where.of_frames(list(where.frames_of(coro)))
    # A worker thread that it waits for is left a moment before it leaves itself.
    call.leftover = both(call.leftover, callee)
    if callee.task is not None:
        # From here on the two go separate ways.
        callee.task.context = callee.task.context.copy()
