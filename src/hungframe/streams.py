"""
A guarded call whose callee is asked again and again: a stream.

It is settled exactly once, however it ends. Between two steps nobody waits for
the callee, and nothing is watched.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hungframe._core.outcome import Outcome
from hungframe.abort.asyncio_driver import COUNTS_CANCELS
from hungframe.abort.call import Call, current_call, is_around
from hungframe.abort.steps import Steps
from hungframe.abort.stream_time import StreamTime
from hungframe.abort.wire import report_of
from hungframe.closing import closing
from hungframe.errors import CallTimeoutError
from hungframe.settling import RESTED

if TYPE_CHECKING:
    from hungframe.engine import Engine

T = TypeVar("T")


class StreamCall:
    """
    One guarded call in many steps: each is back in time, and the whole is settled once.

    The `timeout` holds for the whole, on the wall; `first_item` and
    `between_items` hold for what the callee takes, without its consumer.

    Args:
        engine: The guard's.

        call: It, as it was let in.

        at_end: The async callee's own clean-up, where trio's run ends before
            the stream is closed.
    """

    __slots__ = (
        "_asked",
        "_asking",
        "_call",
        "_engine",
        "_rested",
        "_result",
        "_steps",
        "_swallowed",
        "_then",
        "_time",
        "_unsettled",
    )

    def __init__(self, engine: Engine, call: Call, *, at_end: Callable[[], Awaitable[Any]] | None = None) -> None:
        # Popped by whoever settles: a single step, so that of two one does.
        self._unsettled: list[None] = []
        steps = self._steps = Steps(engine.lanes, at_end)
        self._call = call
        self._unsettled.append(None)
        self._engine = engine
        limits = call.limits
        # Nothing would ever call back from a thread what has no limit of time.
        limited = call.deadline < math.inf or limits.first_item is not None or limits.between_items is not None
        steps.in_thread = limited and limits.isolate is not None
        self._time = StreamTime(call, limits)
        self._asked = self._asking = self._rested = self._swallowed = False
        # As what it is to be settled when the step that goes on is over.
        self._then: Outcome | None = None
        # What `done` was given; None: nothing tells what was used.
        self._result: object = None
        engine.lanes.others[call] = None

    def settled(self) -> bool:
        """
        Tell whether it is over for its guard; the callee may still be at its clean-up, or was left.
        """
        return not self._unsettled

    # -- asking -----------------------------------------------------------------

    async def step(self, awaitable: Awaitable[T], *, item: bool = True, thrown: BaseException | None = None) -> T:
        """
        Await one answer of the callee's, on asyncio or trio, under whichever deadline comes first.

        Args:
            awaitable: What the callee was asked, and has not begun.

            item: Whether the answer is an item of the stream; what comes
                before the first, as headers do, is not.

            thrown: What the consumer has thrown in: if that comes back it is
                no failure of the callee's.

        Raises:
            CallTimeoutError: If the answer had not come at the deadline, or
                the time for the whole was up before it was asked for.

            StopAsyncIteration: If the stream has ended: a success.

            RuntimeError: If the stream is over, or is being asked already.
        """
        before = current_call.get()
        try:
            call = self._resume(before)
        except BaseException:
            _drop(awaitable)
            del self, awaitable, thrown
            raise
        error: BaseException | None
        try:
            result = await self._steps.drive(call, awaitable)
        except StopAsyncIteration:
            error = self._pause(call, item=False)
            if error is None:
                self.done()
                raise
        except BaseException as raised:
            if isinstance(raised, GeneratorExit) and not is_around(call):
                # Closed by the garbage collector, within something else.
                before = current_call.get()
            error = self._fail(call, raised, thrown)
            if error is None:
                raise
        else:
            error = self._pause(call, item=item)
            if error is None:
                return result
        finally:
            current_call.set(before)
            # What this frame holds lives as long as the error that leaves it.
            del self, awaitable, thrown, before
        # Raised after the block, so that it carries no context with the
        # callee's frames.
        try:
            raise error
        finally:
            del error

    def step_sync(self, fn: Callable[[], T], *, item: bool = True, thrown: BaseException | None = None) -> T:
        """
        Call the callee for one answer: in a worker thread, unless `isolate` is None or there is no limit of time.

        Raises:
            StopIteration: If the stream has ended: a success.

            CallTimeoutError, RuntimeError: As `step`.
        """
        before = current_call.get()
        call = self._resume(before)
        error: BaseException | None
        try:
            result = self._steps.run(call, fn)
        except StopIteration as stop:
            error = self._pause(call, item=False)
            if error is None:
                self.done(stop.value)
                raise
        except BaseException as raised:
            error = self._fail(call, raised, thrown)
            if error is None:
                raise
        else:
            error = self._pause(call, item=item)
            if error is None:
                return result
        finally:
            current_call.set(before)
            del self, fn, thrown, before
        try:
            raise error
        finally:
            del error

    def _resume(self, running: Call | None) -> Call:
        """
        Let the callee's time run, within the call that is running.
        """
        name, call = self._engine.name, self._call
        if self._asking:
            raise RuntimeError(f"guard {name!r}: this stream is being asked already; one consumer at a time")
        if not self._unsettled:
            raise RuntimeError(f"guard {name!r}: this stream is over; open another")
        call.outer = _around(call, running)
        now = call.limits.clock.now()
        if not self._time.limit(call.outer, now):
            error = CallTimeoutError(guard=name, timeout=call.timeout, elapsed=0.0, wire=report_of(call))
            self._time.named(error, now)
            # Where the consumer has used it up, that is no fault of the callee's.
            self._settle(Outcome.TIMEOUT if self._time.was_the_callees(now) else Outcome.CANCELLED, error)
            try:
                raise error
            finally:
                del error, self
        self._time.start(now)
        self._asked = self._asking = True
        current_call.set(call)
        return call

    def _pause(self, call: Call, *, item: bool) -> BaseException | None:
        """
        The callee has answered; return what is to be raised instead, if there is something.
        """
        now = call.limits.clock.now()
        if not COUNTS_CANCELS and call.disturbed and call.lane is not None and call.ambiguous_at > -math.inf:
            self._swallowed = True
        error = self._engine.paused(call)
        self._asking = False
        if error is not None:
            self._forget()
            return self._time.named(error, now)
        self._time.stop(now, item=item)
        # A driver may have taken it out.
        self._engine.lanes.others[call] = None
        if self._then is not None:
            self._settle(self._then)
        return None

    def _fail(self, call: Call, raised: BaseException, thrown: BaseException | None) -> BaseException | None:
        """
        The callee has raised; return what is to be raised instead, if there is something.
        """
        if raised is thrown and not call.disturbed:
            error = self._pause(call, item=False)
            self.leave()
            return error
        now = call.limits.clock.now()
        error = self._engine.failed(call, raised)
        self._asking = False
        self._forget()
        return self._time.named(error, now)

    def _forget(self) -> None:
        self._unsettled.clear()
        self._engine.lanes.others.pop(self._call, None)

    # -- ending -----------------------------------------------------------------

    def done(self, result: object = None) -> None:
        """
        The stream has ended, and *result* tells how: a response with a status code is read by that, and a
        `used` of the budget's, which is asked only where there is a result.

        Once it is settled nothing is settled again, by this or any other;
        during a step, this waits for its end.
        """
        if self._unsettled:
            outcome = self._engine.classified(result, self._call.limits)
            if self._then is None:
                self._result = result
            # On 3.10 the callee may have swallowed its caller's cancellation:
            # then its end proves nothing.
            self._settle(Outcome.CANCELLED if self._swallowed else outcome, ended=result)

    def rest(self, answer: object) -> None:
        """
        The provider asks for fewer calls, as the headers of *answer* say; the stream goes on to its end.
        """
        self._rested = True
        limits = self._call.limits
        self._engine.rest(self._call.started_at, limits.clock.now(), answer)

    def fail(self, error: BaseException) -> None:
        """
        The stream has ended with *error*, which no step has raised.
        """
        if self._unsettled:
            self._settle(self._engine.classified(error, self._call.limits), ended=error)

    def leave(self) -> None:
        """
        The consumer has stopped early: nothing is learned. May be called by the garbage collector.
        """
        if self._unsettled:
            self._engine.commons.outside_lock(self._settle, Outcome.CANCELLED)

    def _settle(self, outcome: Outcome, error: CallTimeoutError | None = None, ended: object = None) -> None:
        if self._asking:
            self._then = self._then or outcome
            return
        try:
            self._unsettled.pop()
        except IndexError:
            return
        engine, call = self._engine, self._call
        now = call.limits.clock.now()
        engine.lanes.others.pop(call, None)
        self._time.start(now)
        if outcome is Outcome.CANCELLED and not self._asked:
            # Nothing was sent.
            engine.give_back(call, now)
            return
        call.ended = True
        told = RESTED if self._rested else ended
        result, self._result = self._result, None
        if result is None:
            engine.settle(call, outcome, now, error, told)
        else:
            engine.settle_result(call, outcome, result, now, told)

    def __del__(self) -> None:
        self.leave()
        self._steps.end()

    # -- closing ----------------------------------------------------------------

    async def close(self, awaitable: Awaitable[Any]) -> None:
        """
        Await the callee's own clean-up for as long as the grace lasts, then leave it; it is an orphan from then on.

        A stream that is not settled was left by its consumer. What the clean-up raises in time is raised.
        """
        self.leave()
        with closing(self._engine, self._call) as call:
            await self._steps.drive(call, awaitable)

    def close_sync(self, fn: Callable[[], Any]) -> None:
        """
        Call the callee's own clean-up; the same for sync code.
        """
        self.leave()
        with closing(self._engine, self._call) as call:
            self._steps.run(call, fn)


def _around(call: Call, running: Call | None) -> Call | None:
    """
    The call that a step of *call* runs in: *running*, unless that itself runs in *call*.
    """
    while running is not None and running.ended:
        running = running.outer
    link = running
    while link is not None:
        if link is call:
            return call.outer
        link = link.outer
    return running


def _drop(awaitable: Any) -> None:
    """
    Close what will not be awaited, of which Python would complain.
    """
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
