"""
Whether a call that failed is tried again, and when.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

from hungframe._core import check
from hungframe._core.backoff import full_jitter
from hungframe._core.outcome import Outcome
from hungframe._core.retry_budget import RetryBudget

Reason = Literal["attempts", "outcome", "not_idempotent", "time", "budget"]

# What another attempt cannot change, or must not.
_FINAL = (Outcome.SUCCESS, Outcome.CANCELLED, Outcome.REJECTED)

# All that were told "in 2 s" shall not come back in one tick: so much later at most, as a share and in seconds.
_SPREAD = 0.1
_MOST_SPREAD = 1.0


@dataclass(frozen=True, slots=True)
class Again:
    """
    Try again.

    Args:
        delay: Seconds to wait before that.
    """

    delay: float


@dataclass(frozen=True, slots=True)
class GivenUp:
    """
    Do not try again.

    Args:
        reason: `attempts`: all were made. `outcome`: it is none to try again. `not_idempotent`: the work may have been
            begun, and must not be done twice. `time`: none would be left after the wait. `budget`: there are too many
            retries already.
    """

    reason: Reason


class Retry:
    """
    Try again what failed and may be repeated, later and later, and not too often.

    Give it to a guard: `Guard(retry=Retry())`; one object given to several guards
    is one budget of retries for all of them.

    Only idempotent work is tried again, unless it is certain that it was not
    begun. A provider that says when (Retry-After) is obeyed, also beyond *cap*;
    else the wait is drawn with full jitter. All retries together are at most a
    share of the calls, so that they do not add to an outage.

    Args:
        attempts: All in all, the first included, at least 1; 3 if not given.

        base: Seconds that the first wait has at most; each further one has twice as much. At least 0; 0.5 if not given.

        cap: Seconds that no wait exceeds that the provider did not ask for; at least *base*; 30 if not given.

        budget: Retries as a share of the calls of the last 60 s, in (0, 1], where ten are always allowed; a tenth if
            not given; None for no limit.

        on: Outcomes that are tried again: of `timeout`, `quota`, `5xx`, `connection`, which are the default, and `4xx`
            and `unknown`.

    Raises:
        TypeError: If an argument is of the wrong kind.

        ValueError: If an argument is out of range, or *on* names what is no outcome, or one that is never tried again.

    >>> retry = Retry()
    >>> def failed(attempt: int, outcome: Outcome) -> Again | GivenUp:
    ...     return retry.delay(
    ...         attempt,
    ...         outcome,
    ...         now=0.0,
    ...         retry_after=None,
    ...         time_left=60.0,
    ...         idempotent=True,
    ...         not_begun=False,
    ...         random=lambda: 0.5,
    ...     )
    >>> failed(1, Outcome.TIMEOUT), failed(2, Outcome.TIMEOUT)
    (Again(delay=0.25), Again(delay=0.5))
    >>> failed(3, Outcome.TIMEOUT), failed(1, Outcome.CLIENT_ERROR)
    (GivenUp(reason='attempts'), GivenUp(reason='outcome'))
    """

    __slots__ = ("_base", "_cap", "_on", "_ratio", "attempts", "retry_budget", "shared_under")

    def __init__(
        self,
        attempts: int = 3,
        base: float = 0.5,
        cap: float = 30.0,
        budget: float | None = 0.1,
        *,
        on: Collection[Outcome | str] = ("timeout", "quota", "5xx", "connection"),
    ) -> None:
        self.attempts = check.whole("attempts", attempts, at_least=1)
        self._base = check.number("base", base, at_least=0)
        self._cap = check.number("cap", cap, at_least=0)
        if cap < base:
            raise ValueError(f"cap must be at least base, got base={base!r} and cap={cap!r}")
        self._ratio = None if budget is None else check.number("budget", budget, above=0, at_most=1)
        self._on = _outcomes(on)
        self.retry_budget: RetryBudget | None = None if budget is None else RetryBudget(budget)
        # As of a TokenBucket: the lock of whoever shares this between threads.
        self.shared_under: Any = None

    def __repr__(self) -> str:
        on = tuple(outcome.value for outcome in Outcome if outcome in self._on)
        return (
            f"Retry(attempts={self.attempts!r}, base={self._base!r}, cap={self._cap!r}, "
            f"budget={self._ratio!r}, on={on!r})"
        )

    def called(self, now: float) -> None:
        """
        Learn of a call, before its first attempt.
        """
        if self.retry_budget is not None:
            self.retry_budget.called(now)

    def delay(
        self,
        attempt: int,
        outcome: Outcome,
        now: float,
        *,
        retry_after: float | None,
        time_left: float,
        idempotent: bool,
        not_begun: bool,
        random: Callable[[], float],
    ) -> Again | GivenUp:
        """
        Decide whether to try again, and when; a retry is then taken from the budget.

        Args:
            attempt: The one that has failed, 1 for the first.

            outcome: How it failed.

            now: Seconds on the caller's clock.

            retry_after: Seconds that the provider asked to wait; None where it did not.

            time_left: Seconds until the call must have ended; infinity for no end.

            idempotent: Whether the work may be done twice.

            not_begun: Whether it is certain that the provider got nothing of it; a 429 is safe in any case.

            random: Gives a number in [0, 1).
        """
        if attempt >= self.attempts:
            return GivenUp("attempts")
        if outcome not in self._on:
            return GivenUp("outcome")
        if not (idempotent or not_begun or outcome is Outcome.QUOTA):
            return GivenUp("not_idempotent")
        if retry_after is None:
            seconds = full_jitter(attempt - 1, self._base, self._cap, random)
        else:
            seconds = retry_after + random() * min(_MOST_SPREAD, _SPREAD * retry_after)
        # Nothing is taken for an attempt that could not be made.
        if seconds >= time_left:
            return GivenUp("time")
        if self.retry_budget is not None and not self.retry_budget.try_take(now):
            return GivenUp("budget")
        return Again(seconds)


def _outcomes(on: object) -> frozenset[Outcome]:
    if isinstance(on, str) or not isinstance(on, Collection):
        raise TypeError(f"on must be several outcomes, such as ('timeout', '5xx'), got {on!r}")
    found: set[Outcome] = set()
    for name in on:
        try:
            outcome = Outcome(name)
        except ValueError:
            outcome = Outcome.SUCCESS
        if outcome in _FINAL:
            would_do = ", ".join(outcome.value for outcome in Outcome if outcome not in _FINAL)
            raise ValueError(f"on must name outcomes of {would_do}, got {name!r}")
        found.add(outcome)
    return frozenset(found)
