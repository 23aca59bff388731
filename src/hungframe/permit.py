"""
A call made by hand, in two phases: ask, then tell how it ended.
"""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import TYPE_CHECKING

from hungframe._core.outcome import Outcome

if TYPE_CHECKING:
    from hungframe.abort.call import Call
    from hungframe.engine import Engine


class GuardPermit:
    """
    The right to make one call, to be settled or cancelled once.

    As a context manager it settles by what leaves the block.
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

    def _close(self) -> None:
        # Under the lock, so that of two threads one is told.
        with self._engine.lock:
            if self._settled:
                raise RuntimeError(f"guard {self._engine.name!r}: this permit is settled already; acquire a new one")
            self._settled = True
        self._call.ended = True
        self._engine.lanes.others.pop(self._call, None)

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
