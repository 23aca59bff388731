"""
A block of code as a guarded call: its deadline is cooperative, since a block cannot be left behind.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import TYPE_CHECKING

from hungframe.abort import where
from hungframe.abort.backend import in_trio
from hungframe.abort.call import Call, current_call
from hungframe.abort.wire import freeze
from hungframe.admission import let_in, let_in_sync

if TYPE_CHECKING:
    import trio

    from hungframe.engine import Engine
    from hungframe.limits import Limits


class Attempt:
    """
    One guarded block, `with` or `async with`.

    At the deadline an async block is cancelled. A sync block is not
    interrupted, but what asks `current_deadline()` within it sees the
    deadline, and a guarded transport ends its operation then.

    Raises, on entering:
        CallRejectedError: If the guard refuses.

    Raises, on leaving:
        CallTimeoutError: If the block was cancelled at its deadline, or a guarded transport in it ended its operation.
    """

    __slots__ = ("_call", "_engine", "_limits", "_scope")

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits
        self._call: Call | None = None
        self._scope: trio.CancelScope | None = None

    def _entered(self) -> Call:
        if self._call is None:
            raise RuntimeError("an attempt has a deadline once its block is entered")
        return self._call

    @property
    def deadline(self) -> float:
        """
        The instant, on the guard's clock, by which the block must be over; infinite where there is none.
        """
        return self._entered().deadline

    @property
    def timeout(self) -> float:
        """
        Seconds that the block is given.
        """
        return self._entered().timeout

    def _enter(self, call: Call) -> Call:
        self._call = call
        current_call.set(call)
        return call

    def _not_entered(self) -> None:
        if self._call is not None:
            raise RuntimeError("an attempt is one block; ask the guard for another")

    def _leave(self, error: BaseException | None) -> BaseException | None:
        call = self._entered()
        self._engine.lanes.others.pop(call, None)
        if error is None:
            return self._engine.returned(call, None)
        return self._engine.failed(call, error)

    # -- sync -----------------------------------------------------------------

    def __enter__(self) -> Attempt:
        self._not_entered()
        call = self._enter(let_in_sync(self._engine, self._limits))
        self._engine.lanes.others[call] = None
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        instead = self._leave(error)
        if instead is None:
            return
        try:
            raise instead from None
        finally:
            # The error that left the block would keep its frames, and what
            # they hold, alive with this one.
            instead.__context__ = None
            del instead, error

    # -- async ----------------------------------------------------------------

    async def __aenter__(self) -> Attempt:
        self._not_entered()
        call = self._enter(await let_in(self._engine, self._limits))
        try:
            if in_trio():
                self._enter_trio(call)
            else:
                self._engine.lanes.here().enter(call, None)
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def _enter_trio(self, call: Call) -> None:
        import trio

        self._engine.lanes.others[call] = None
        left = call.deadline - call.limits.clock.now()
        scope = self._scope = trio.CancelScope()
        scope.__enter__()
        if left < math.inf:
            until = trio.current_time() + left
            trio.lowlevel.spawn_system_task(_cancel_at, until, scope, call, trio.lowlevel.current_task())

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if self._scope is not None:
            self._scope.__exit__(exc_type, error, traceback)
            if self._scope.cancelled_caught:
                error = asyncio.CancelledError()
        instead = self._leave(error)
        if instead is None:
            return False
        try:
            raise instead from None
        finally:
            # A frame that holds the exception which holds the frame is a cycle.
            del instead, error


async def _cancel_at(until: float, scope: trio.CancelScope, call: Call, task: trio.lowlevel.Task) -> None:
    """
    Cancel a block on trio at its deadline, unless it has just been woken: then it may have its answer first.
    """
    import trio

    while not call.ended:
        left = until - trio.current_time()
        if left <= 0:
            await trio.lowlevel.checkpoint()
            break
        # In steps, so that a block that ends early is not watched for long.
        await trio.sleep(min(left, _STEP))
    if not call.ended:
        call.aborting = call.disturbed = True
        freeze(call)
        call.where = where.of_frames(list(where.frames_of(task.coro)))
        scope.cancel()


# Seconds.
_STEP = 1.0
