"""
Reads how the guards of a set stand, more cheaply than by snapshots, and chooses among them.

Choosing takes nothing: no permit, no token. What it remembers is whose turn it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hungframe._core import choice
from hungframe._core.choice import Candidate
from hungframe._core.states import BreakerState
from hungframe.engine import Engine
from hungframe.guard import engine_behind
from hungframe.members import Member, Turn

# A quantile is read from a sorted window: seconds for which one answer will do.
_P95_EVERY = 1.0

# Where every breaker is open, one of them is asked before its time once in so many seconds.
_PANIC_EVERY = 5.0

# Of so many choices at most one goes to a key only because that is due: where calls are few, all keys are soon due.
_EXPLORE_ONE_IN = 10

_OPEN = BreakerState.OPEN

# What there is to say of a key that has no guard yet.
_UNKNOWN = Candidate(BreakerState.CLOSED, 0.0, None, 0)


class Chooser:
    """
    Choose among the guards of one set.

    Args:
        random: Gives numbers in [0, 1).

        explore_every: Seconds after which a key that was passed over is given one call; None: never.

        panic_threshold: Share of tripped breakers above which half-open keys stand beside closed ones.
    """

    __slots__ = ("_explore_every", "_panic_at", "_panic_threshold", "_random", "_since_explored")

    def __init__(self, random: Callable[[], float], explore_every: float | None, panic_threshold: float) -> None:
        self._random = random
        self._explore_every = math.inf if explore_every is None else explore_every
        self._panic_threshold = panic_threshold
        self._panic_at = -math.inf
        # Choices since one went to a key only because that was due.
        self._since_explored = 0

    def choose(self, members: Sequence[Member | None], now: float) -> int:
        """
        Tell which of them to call, by its position; None among them is a key without a guard.
        """
        self._since_explored += 1
        candidates = [_UNKNOWN if member is None else self._candidate(member, now) for member in members]
        place = choice.choose(candidates, self._random, panic_threshold=self._panic_threshold)
        member = members[place]
        if member is None:
            return place
        if candidates[place].due and not self._take_turn(member, now):
            # Another thread was quicker.
            candidates = [each._replace(due=False) for each in candidates]
            place = choice.choose(candidates, self._random, panic_threshold=self._panic_threshold)
        elif candidates[place].retry_after > 0:
            place = self._half_open_one(members, candidates, now, otherwise=place)
        self._passed_over_from(members[place], now)
        return place

    def _passed_over_from(self, member: Member | None, now: float) -> None:
        if member is not None and member.turn is not None:
            member.turn.due_at = now + self._explore_every

    def _take_turn(self, member: Member, now: float) -> bool:
        # The guard's lock, so that of two threads one takes it.
        with engine_behind(member.guard).lock:
            if member.turn is None or now < member.turn.due_at:
                return False
            member.turn.due_at = now + self._explore_every
        self._since_explored = 0
        return True

    def _half_open_one(
        self, members: Sequence[Member | None], candidates: Sequence[Candidate], now: float, *, otherwise: int
    ) -> int:
        """
        Where all would refuse and that is a panic, let an open breaker be half-open before its time: one call is let
        through. That which has the least time left, and one in so many seconds.
        """
        open_ones = [(each.retry_after, place) for place, each in enumerate(candidates) if each.state is _OPEN]
        if not open_ones or now < self._panic_at or not choice.is_panic(candidates, self._panic_threshold):
            return otherwise
        place = min(open_ones)[1]
        member = members[place]
        assert member is not None
        engine = engine_behind(member.guard)
        half_open: Callable[[float], None] | None = getattr(engine.breaker, "half_open", None)
        if half_open is None:
            return otherwise
        self._panic_at = now + _PANIC_EVERY
        with engine.lock:
            half_open(now)
        engine.notice(now)
        return place

    def _candidate(self, member: Member, now: float) -> Candidate:
        engine = engine_behind(member.guard)
        if now >= engine.look_at:
            engine.look(now)
        state, retry_after = _breaker(engine, now)
        retry_after = max(retry_after, _budget(engine, now))
        if engine.orphans.running and len(engine.orphans.running) >= engine.max_orphans:
            retry_after = math.inf
        in_flight = engine.lanes.count()
        turn = self._turn(member, engine, now)
        # What has not answered yet is no news: one call at a time finds out.
        due = not in_flight and now >= turn.due_at and self._since_explored >= _EXPLORE_ONE_IN
        return Candidate(state, retry_after, turn.p95, in_flight, due)

    def _turn(self, member: Member, engine: Engine, now: float) -> Turn:
        turn = member.turn
        if turn is None:
            turn = member.turn = Turn()
        if turn.generation != engine.breaker.generation:
            # Being passed over counts from here: a breaker that has just
            # become half-open waits behind the closed ones for so long.
            turn.generation = engine.breaker.generation
            turn.due_at = now + self._explore_every
        if now >= turn.p95_until:
            with engine.lock:
                turn.p95 = engine.p95(now)
            turn.p95_until = now + _P95_EVERY
        return turn


def _breaker(engine: Engine, now: float) -> tuple[BreakerState, float]:
    """
    The state of its breaker, and the seconds until that may let a call through.
    """
    # Closed, or disabled: no lock is needed to see that.
    if engine.breaker.shared_permit is not None:
        return BreakerState.CLOSED, 0.0
    with engine.lock:
        state = engine.breaker.state(now)
        retry_after = engine.retry_after(now)
    if engine.breaker.generation != engine.breaker_seen:
        engine.notice(now)
    if retry_after != 0.0 and not engine.refusing():
        return BreakerState.DISABLED, 0.0
    return state, math.inf if retry_after is None else retry_after


def _budget(engine: Engine, now: float) -> float:
    """
    Seconds until the budget has a token.
    """
    if engine.waiting():
        # Who comes now stands behind them.
        return math.inf
    if not engine.limited and now >= engine.paused_until:
        return 0.0
    with engine.lock:
        return 0.0 if engine.budget.available(now) >= 1 else engine.budget.retry_after(1, now)
