"""
The attempts of one call, from the first that failed: whether there is another, and what its caller gets in the end.
"""

from __future__ import annotations

import inspect
import math
import random
import threading
from typing import TYPE_CHECKING, Any

from hungframe._core.hint import hint_of, not_begun
from hungframe._core.outcome import Outcome
from hungframe._core.retry import Again
from hungframe.abort.call import Call, deadline_on, enclose, leave, running_call
from hungframe.abort.mistake import NotGuardedError
from hungframe.errors import CallRejectedError, CallTimeoutError

if TYPE_CHECKING:
    from hungframe.engine import Engine
    from hungframe.limits import Limits

# What something else may not be given for: the caller's own mistake, which it would hide; and what the user's
# classifier takes for an answer.
_RAISED = (Outcome.CLIENT_ERROR, Outcome.CANCELLED, Outcome.SUCCESS)


class Attempts:
    """
    What is known of a call after its first attempt.

    Args:
        engine: The guard's.

        limits: The settings of the call.

        began_at: When it began, on the guard's clock.

        args: Of the call, for those settings that are functions of them.

        kwargs: Likewise.

        name: What names the call in events; None where nobody listens.
    """

    __slots__ = (
        "_args",
        "_began_at",
        "_engine",
        "_error",
        "_kwargs",
        "_limits",
        "_name",
        "_number",
        "_outcome",
        "_result",
        "_whole",
    )

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        began_at: float,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None,
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._began_at = began_at
        self._args = args
        self._kwargs = kwargs
        self._name = name
        self._number = 1
        # How the latest attempt has ended that was not refused: with an error,
        # or else with a result that is a failure.
        self._error: Exception | None = None
        self._result: Any = None
        self._outcome = Outcome.SUCCESS
        # The call around its attempts, for whose deadline they share; there
        # from the second on.
        self._whole: Call | None = None

    # -- deciding ---------------------------------------------------------------

    def failed(self, error: Exception) -> float | None:
        """
        Learn that an attempt has raised.

        Returns:
            Seconds until the next attempt; None if there is none.
        """
        outcome = self._outcome_of(error)
        if outcome is Outcome.REJECTED and self._number > 1:
            # Refused while it tried again: what the provider said tells more.
            return None
        self._error, self._result, self._outcome = error, None, outcome
        return self._again(outcome, error)

    def returned(self, result: object) -> float | None:
        """
        Learn that an attempt has returned what may be a failure: a response with a status code, say.

        Returns:
            Seconds until the next attempt; None if there is none.
        """
        outcome = self._engine.classified(result, self._limits)
        self._error, self._result, self._outcome = None, result, outcome
        return self._again(outcome, result)

    def _outcome_of(self, error: Exception) -> Outcome:
        if isinstance(error, CallRejectedError):
            return Outcome.REJECTED
        if isinstance(error, CallTimeoutError):
            return Outcome.TIMEOUT
        return self._engine.classified(error, self._limits)

    def _again(self, outcome: Outcome, ended: object) -> float | None:
        engine, limits, around = self._engine, self._limits, self._limits.around
        retry = None if around is None else around.retry
        if around is None or retry is None or outcome in (Outcome.SUCCESS, Outcome.REJECTED):
            return None
        now = limits.clock.now()
        # While the guard is paused an attempt would be refused.
        waits = (hint_of(ended, limits.clock.wall()), engine.paused_until - now)
        asked = max((seconds for seconds in waits if seconds is not None and seconds > 0), default=None)
        idempotent = around.may_repeat(engine, self._args, self._kwargs)
        with engine.lock:
            decision = retry.delay(
                self._number,
                outcome,
                now,
                retry_after=asked,
                time_left=self._time_left(now),
                idempotent=idempotent,
                not_begun=isinstance(ended, BaseException) and not_begun(ended),
                random=random.random,
            )
        if not isinstance(decision, Again):
            return None
        self._number += 1
        if engine.sinks:
            engine.teller.retry(outcome, self._number, decision.delay, self._name)
            engine.teller.next_attempt(self._name)
        if self._whole is None:
            # Let all that follows see the deadline that the attempts share.
            self._whole = enclose(limits, self._began_at, self._ends_at())
        # A guard can be paused for longer than a thread can sleep.
        return min(decision.delay, threading.TIMEOUT_MAX)

    # -- time -------------------------------------------------------------------

    def _time_left(self, now: float) -> float:
        ends_at = self._ends_at()
        outer = running_call()
        return min(ends_at, math.inf if outer is None else deadline_on(self._limits.clock, outer)) - now

    def _ends_at(self) -> float:
        total = self._limits.total_timeout
        return math.inf if total is None else self._began_at + total

    def _leave(self) -> None:
        whole, self._whole = self._whole, None
        if whole is not None:
            leave(whole)

    def close(self) -> None:
        """
        It is over, however it ended.
        """
        self._error = self._result = None
        # An error that was raised here has this object in its traceback.
        self._args, self._kwargs = (), {}
        self._leave()

    # -- ending -----------------------------------------------------------------

    @property
    def falls_back(self) -> bool:
        """Whether the caller gets the fallback, should there be no other attempt."""
        around = self._limits.around
        return (
            self._error is not None
            and around is not None
            and around.fallback is not None
            and self._outcome not in _RAISED
        )

    def must_raise(self, error: Exception) -> bool:
        """
        Tell whether the call ends with *error*, its latest.
        """
        return error is self._error and not self.falls_back

    def instead(self) -> Any:
        """
        What the caller gets for an answer; of a fallback that is a coroutine function, its coroutine.

        Raises:
            Exception: What the provider said, where the latest attempt was refused.
        """
        # The time of the attempts is up, perhaps, and the fallback has its own.
        self._leave()
        error, around = self._error, self._limits.around
        try:
            if error is None:
                # The latest attempt was refused, and this is what the provider said.
                return self._result
            if not self.falls_back or around is None:
                raise error
            if self._engine.sinks:
                self._engine.teller.fallback(self._outcome, self._name)
                # What the fallback calls is no attempt.
                self._engine.teller.next_attempt(None)
            return around.fallback(error) if callable(around.fallback) else around.fallback
        except Exception as failed:
            if failed is not error and failed.__context__ is None:
                # As if it had been raised where the error was handled.
                failed.__context__ = error
            raise
        finally:
            # A frame that holds the exception which holds the frame is a cycle.
            del error

    def instead_sync(self) -> Any:
        """
        The same for a caller that cannot await it.

        Raises:
            NotGuardedError: If the fallback has returned a coroutine.
        """
        instead = self.instead()
        if self.falls_back and inspect.iscoroutine(instead):
            instead.close()
            raise NotGuardedError(
                f"guard {self._engine.name!r}: the fallback of a sync callee returned a coroutine, which its caller "
                "cannot await; give it a plain function"
            ) from self._error
        return instead
