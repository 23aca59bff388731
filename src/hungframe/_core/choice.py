"""
Which of several equal endpoints to call: regions of one provider, keys of one account, providers of one model.

An endpoint that would refuse the call is chosen only where all would. Among
those that would not, two are drawn and the less loaded one is taken: nearly
as even as the least loaded of all, and no crowd follows one number (the power
of two choices, Mitzenmacher 2001). The load is the latency times the calls in
flight, as in the balancers of Finagle and Envoy, so that an endpoint which
begins to hang is left at its first unanswered calls, before any has timed out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hungframe._core.states import BreakerState

_SHUT_OUT = (BreakerState.OPEN, BreakerState.FORCED_OPEN, BreakerState.HALF_OPEN)


class Candidate(NamedTuple):
    """
    What one endpoint would say to a call made now.
    """

    state: BreakerState
    """Of its breaker; disabled where it has none, or refuses nobody."""
    retry_after: float
    """Seconds until it may let a call through: 0 for now, infinite where no time can be named."""
    p95: float | None
    """Seconds that nineteen of twenty calls stay within; None where it is not known."""
    in_flight: int
    """Its calls that have not ended."""
    due: bool = False
    """Whether it was passed over for so long that it is given one call."""


def choose(candidates: Sequence[Candidate], random: Callable[[], float], *, panic_threshold: float = 0.5) -> int:
    """
    Tell which of the candidates to call, by its position.

    In this order: one that is due; a closed one; a half-open one that has a
    probe to give; of those that refuse, the one which will do so for the
    shortest time. Where more breakers than *panic_threshold* have tripped, the
    half-open ones stand beside the closed ones: so few are left that whoever
    may be well again is to be found at once.

    Args:
        candidates: At least one.

        random: Gives numbers in [0, 1).

        panic_threshold: Share of candidates, in 0..1.

    >>> eu = Candidate(BreakerState.CLOSED, 0.0, p95=4.0, in_flight=0)
    >>> us = Candidate(BreakerState.CLOSED, 0.0, p95=1.0, in_flight=2)
    >>> asia = Candidate(BreakerState.OPEN, 30.0, p95=0.5, in_flight=0)
    >>> choose([eu, us, asia], lambda: 0.0)
    1
    """
    admitting = [place for place, each in enumerate(candidates) if each.retry_after <= 0]
    if not admitting:
        return _soonest(candidates, random)
    due = [place for place in admitting if candidates[place].due]
    if due:
        return due[_draw(len(due), random)]
    closed = [place for place in admitting if candidates[place].state is not BreakerState.HALF_OPEN]
    if closed and not is_panic(candidates, panic_threshold):
        admitting = closed
    return _less_loaded(candidates, admitting, random)


def is_panic(candidates: Sequence[Candidate], threshold: float) -> bool:
    """
    Tell whether the breakers of more than a share *threshold* of the candidates have tripped; 1 for never.

    Envoy's panic threshold: where most hosts look dead, what is wrong is
    likely to be what they have in common, and their health tells little.

    >>> shut = Candidate(BreakerState.OPEN, 30.0, None, 0)
    >>> well = Candidate(BreakerState.CLOSED, 0.0, None, 0)
    >>> is_panic([shut, well], 0.5), is_panic([shut, shut, well], 0.5)
    (False, True)
    """
    return sum(each.state in _SHUT_OUT for each in candidates) > threshold * len(candidates)


def _draw(count: int, random: Callable[[], float]) -> int:
    return min(int(random() * count), count - 1)


def _soonest(candidates: Sequence[Candidate], random: Callable[[], float]) -> int:
    least = min(each.retry_after for each in candidates)
    places = [place for place, each in enumerate(candidates) if each.retry_after == least]
    return places[_draw(len(places), random)]


def _less_loaded(candidates: Sequence[Candidate], places: Sequence[int], random: Callable[[], float]) -> int:
    """
    Draw two of the *places*, and take that with less load; the first one where they are equal.
    """
    first = _draw(len(places), random)
    if len(places) == 1:
        return places[first]
    second = _draw(len(places) - 1, random)
    # Never the same one twice.
    second += second >= first
    one, other = candidates[places[first]], candidates[places[second]]
    return places[second if _load(other, one) < _load(one, other) else first]


def _load(one: Candidate, other: Candidate) -> tuple[float, int]:
    # Of whom nothing is known yet is taken for as quick as the other: it is
    # tried, and learned, and its calls in flight hold back a crowd.
    p95 = other.p95 if one.p95 is None else one.p95
    return (1.0 if p95 is None else p95) * (one.in_flight + 1), one.in_flight
