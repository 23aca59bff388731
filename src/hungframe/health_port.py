"""
What a poller or a health page asks, and what a call made elsewhere reports.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hungframe._core import check
from hungframe._core.outcome import Outcome
from hungframe._core.states import Refusal

if TYPE_CHECKING:
    from hungframe.engine import Engine


# Seconds; a report is settled at once.
_REPORTED_WITHIN = 90.0


class Health:
    """
    The health port of a guard.
    """

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record_success(self, seconds: float) -> None:
        """
        Report a call that succeeded after *seconds*.

        Raises:
            TypeError: If *seconds* is no number.

            ValueError: If *seconds* is negative or not finite.
        """
        self._report(Outcome.SUCCESS, check.number("seconds", seconds, at_least=0))

    def record_failure(self, kind: Outcome | str) -> None:
        """
        Report a call that failed.

        Args:
            kind: Its outcome, or the outcome's name.

        Raises:
            ValueError: If *kind* is no outcome's name, or is success.
        """
        outcome = Outcome(kind)
        if outcome is Outcome.SUCCESS:
            raise ValueError("kind must be a failure, got 'success'; report that with record_success(seconds)")
        self._report(outcome, None)

    def _report(self, outcome: Outcome, seconds: float | None) -> None:
        engine = self._engine
        now = engine.clock.now()
        engine.look(now)
        with engine.lock:
            engine.counts[outcome.ordinal] += 1
            if seconds is not None:
                engine.teach(engine.timeout, seconds, now, completed=True)
            permit = engine.ask(now, _REPORTED_WITHIN)
            engine.failed_with(outcome, now)
            if not isinstance(permit, Refusal):
                engine.breaker.record(permit, outcome, now, seconds=seconds)
        engine.notice(now)
        if outcome is Outcome.QUOTA:
            engine.rest(now, now, None)

    def should_open_circuit(self) -> bool:
        """
        Tell whether the breaker would refuse a call made now.
        """
        engine = self._engine
        now = engine.clock.now()
        if now >= engine.look_at:
            engine.look(now)
        if engine.breaker.shared_permit is not None:
            return False
        with engine.lock:
            refusal = engine.refusal(now)
        engine.notice(now)
        return refusal is not None and engine.refusing()

    def current_budget(self) -> int:
        """
        Count the tokens that the budget has now: calls, where each costs one; without a budget, as many as there are
        numbers.
        """
        engine = self._engine
        with engine.lock:
            return math.floor(engine.budget.available(engine.clock.now()))
