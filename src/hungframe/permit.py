"""
A call in two phases: ask, then make it, or tell how it ended.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import ParamSpec

from hungframe._core.outcome import Outcome
from hungframe.abort.call import current_call
from hungframe.callees import body_of, checked_sync, is_coroutine_function, is_stream
from hungframe.wrapping import wrap_async, wrap_sync

if TYPE_CHECKING:
    from hungframe.abort.call import Call
    from hungframe.engine import Engine
    from hungframe.limits import Limits

P = ParamSpec("P")
T = TypeVar("T")


class GuardPermit:
    """
    The right to make one call: to be spent on it, settled or cancelled, once.

    As a context manager it settles by what leaves the block, if nothing has before.
    """

    __slots__ = ("_call", "_engine", "_settled")

    def __init__(self, call: Call, engine: Engine) -> None:
        self._settled = False
        self._call = call
        self._engine = engine
        engine.lanes.others[call] = None

    @property
    def deadline(self) -> float:
        """
        The instant, on the guard's clock, by which the call must be over; infinite where there is none.
        """
        return self._call.deadline

    @property
    def timeout(self) -> float:
        """
        Seconds that the call is given.
        """
        return self._call.timeout

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Spend the permit on a sync function: it is called as by `Guard.call`, in one attempt, and ends by `deadline`.

        Raises:
            CallTimeoutError: If *fn* had not finished at the deadline.

            TypeError: If *fn* is a coroutine function or a generator function; the permit is then not spent.

            RuntimeError: If the permit was spent, settled or cancelled before.
        """
        if checked_sync(fn) is not None:
            raise TypeError(f"a permit is for one answer, got the generator function {fn!r}; use `Guard.call()`")
        return wrap_sync(self._engine, self._call.limits, fn, self._spend)(*args, **kwargs)

    def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        """
        Spend the permit on an async function, likewise; it is spent when what this returns is first awaited.

        Raises:
            CallTimeoutError: If *fn* had not finished at the deadline.

            TypeError: If *fn* returns nothing that can be awaited, or is a generator function.

            RuntimeError: If the permit was spent, settled or cancelled before.
        """
        if not is_coroutine_function(fn) and is_stream(body_of(fn)):
            raise TypeError(f"a permit is for one answer, got the generator function {fn!r}; use `Guard.call()`")
        return wrap_async(self._engine, self._call.limits, fn, self._spend_async)(*args, **kwargs)

    def settle(self, outcome: Outcome | str, used: float | None = None) -> None:
        """
        Tell how the call ended.

        Args:
            outcome: An `Outcome`, or its name; "cancelled" is `cancel`.

            used: Tokens that the call really used of the budget: the
                difference to its cost goes back, or is owed; None: the cost.

        Raises:
            TypeError: If *used* is no number.

            ValueError: If *outcome* is no outcome's name; if *used* is
                negative, or told of a cancelled call.

            RuntimeError: If the permit was settled or cancelled before.
        """
        known = Outcome(outcome)
        if known is Outcome.CANCELLED:
            if used is not None:
                raise ValueError(f"used must not be told of a call that was cancelled, got {used!r}")
            self.cancel()
            return
        call = self._call
        amounts = call.amounts if used is None else call.limits.cost.used_by_hand(call.amounts, used)
        self._close()
        self._engine.settle_budget(call, amounts, self._engine.clock.now())
        self._engine.settle(self._call, known, self._engine.clock.now())

    def cancel(self) -> None:
        """
        Tell that the call was not made: nothing is learned, everything is given back.

        Raises:
            RuntimeError: If the permit was settled or cancelled before.
        """
        self._close()
        self._engine.give_back(self._call, self._engine.clock.now())

    def _spend(self, engine: Engine, limits: Limits) -> Call:
        """
        Give the call to who makes it now. It ends by the deadline of the call around it, which may be another than when
        it was asked for.
        """
        self._give_away()
        call = self._call
        outer = current_call.get()
        while outer is not None and outer.ended:
            outer = outer.outer
        if outer is not None and outer.deadline < call.deadline:
            call.deadline = outer.deadline
            call.timeout = max(0.0, call.deadline - call.started_at)
        call.outer = outer
        return call

    async def _spend_async(self, engine: Engine, limits: Limits) -> Call:
        return self._spend(engine, limits)

    def _give_away(self) -> None:
        # Under the lock, so that of two threads one is told.
        with self._engine.lock:
            if self._settled:
                raise RuntimeError(f"guard {self._engine.name!r}: this permit is settled already; acquire a new one")
            self._settled = True
        self._engine.lanes.others.pop(self._call, None)

    def _close(self) -> None:
        self._give_away()
        self._call.ended = True

    def __enter__(self) -> GuardPermit:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._settled:
            return
        if error is None:
            self.settle(Outcome.SUCCESS)
        else:
            outcome = self._engine.classified(error, self._call.limits)
            self._close()
            self._engine.settle(self._call, outcome, self._engine.clock.now())

    def __del__(self) -> None:
        # Whoever loses a permit must not take its slot away for good.
        if not getattr(self, "_settled", True):
            name = self._engine.name
            self._engine.commons.outside_lock(self.cancel)
            warnings.warn(
                f"guard {name!r}: a permit was dropped without being settled; it is cancelled",
                ResourceWarning,
                stacklevel=2,
            )
