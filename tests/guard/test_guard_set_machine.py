"""
Which guards a set holds: histories of uses, calls in flight, operators and time, against a list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hungframe import BudgetExhaustedError, CircuitOpenError, Guard, GuardSet, TokenBucket
from hungframe.permit import GuardPermit
from hungframe.testing import VirtualClock

CAPACITY, REFILL = 2, 60.0


@dataclass
class Known:
    """
    What a guard knows that a new one would not.
    """

    in_flight: int = 0
    forced_open: bool = False
    full_at: float = 0.0
    paused_until: float = 0.0

    def is_idle(self, now: float) -> bool:
        """
        Tell whether that is nothing.
        """
        return not self.in_flight and not self.forced_open and self.full_at <= now and self.paused_until <= now


@dataclass
class Model:
    """
    The keys in the order of their last use.
    """

    most: int
    order: list[int] = field(default_factory=list)
    known: dict[int, Known] = field(default_factory=dict)
    look_at: float = 0.0

    def use(self, key: int, now: float, held: dict[int, Guard]) -> Known:
        """
        Ask for a key; drop what may be dropped for it.
        """
        if key in self.order:
            self.order.remove(key)
            self.order.append(key)
            return self.known[key]
        self.order.append(key)
        # A guard that somebody holds has kept what it knows.
        self.known.setdefault(key, Known())
        over = len(self.order) - self.most
        if over > 0 and now >= self.look_at:
            idle = [each for each in self.order[:-1] if self.known[each].is_idle(now)]
            for each in idle[:over]:
                self.order.remove(each)
                if each not in held:
                    del self.known[each]
            if len(idle) < over:
                self.look_at = now + 1.0
        return self.known[key]


KEYS = st.integers(0, 5)


class Uses(RuleBasedStateMachine):
    """
    Do to a set and to the model the same.
    """

    @initialize(most=st.integers(1, 4))
    def begin(self, most: int) -> None:
        """Make both."""
        self.clock = VirtualClock()
        self.guards = GuardSet(
            "images",
            max_guards=most,
            timeout=1e6,
            clock=self.clock,
            budget=lambda: TokenBucket(CAPACITY, REFILL),
        )
        self.model = Model(most)
        self.held: dict[int, Guard] = {}
        self.permits: list[tuple[int, GuardPermit]] = []

    def _use(self, key: int) -> Known:
        return self.model.use(key, self.clock.now(), self.held)

    @rule(key=KEYS)
    def ask(self, key: int) -> None:
        """Ask for a guard and let it go."""
        known = self._use(key)
        guard = self.guards[key]
        assert f"images[{key}]" == guard.name
        assert self.held.get(key, guard) is guard
        assert known.forced_open is (guard.snapshot().state == "forced_open")

    @rule(key=KEYS)
    def call(self, key: int) -> None:
        """Begin a call."""
        known = self._use(key)
        now = self.clock.now()
        full_at = max(known.full_at, now) + REFILL
        has_budget = full_at - now <= CAPACITY * REFILL and known.paused_until <= now
        try:
            permit = self.guards[key].acquire()
        except CircuitOpenError:
            assert known.forced_open
        except BudgetExhaustedError:
            assert not has_budget
        else:
            assert has_budget and not known.forced_open
            known.full_at = full_at
            known.in_flight += 1
            self.permits.append((key, permit))

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), cancel=st.booleans())
    def end(self, data: Any, cancel: bool) -> None:
        """End one of the calls in flight."""
        key, permit = self.permits.pop(data.draw(st.integers(0, len(self.permits) - 1)))
        known = self.model.known[key]
        known.in_flight -= 1
        if cancel:
            permit.cancel()
            known.full_at -= REFILL
        else:
            permit.settle("success")

    @rule(key=KEYS, verb=st.sampled_from(["force_open", "reset"]))
    def steer(self, key: int, verb: str) -> None:
        """Open or close its breaker."""
        self._use(key).forced_open = verb == "force_open"
        getattr(self.guards[key], verb)()

    @rule(key=KEYS, seconds=st.sampled_from([1.0, 30.0]))
    def pause(self, key: int, seconds: float) -> None:
        """Let it grant nothing."""
        known = self._use(key)
        known.paused_until = max(known.paused_until, self.clock.now() + seconds)
        self.guards[key].pause(seconds)

    @rule(key=KEYS)
    def hold(self, key: int) -> None:
        """Keep a guard in hand, so that it is found again whatever the set does."""
        self._use(key)
        self.held[key] = self.guards[key]

    @rule(key=KEYS)
    def let_go(self, key: int) -> None:
        """Keep it no longer."""
        if self.held.pop(key, None) is not None and key not in self.model.order:
            del self.model.known[key]

    @rule(key=KEYS)
    def look(self, key: int) -> None:
        """Look and choose, which is no use."""
        assert (key in self.model.order) is (key in self.guards)
        self.guards.choose([key, key + 1])
        assert set(self.model.order) == set(self.guards.snapshot())

    @rule(seconds=st.sampled_from([0.5, 1.0, 60.0, 600.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    @invariant()
    def same(self) -> None:
        """The same keys, in the same order."""
        if hasattr(self, "guards"):
            assert self.model.order == list(self.guards)
            assert len(self.model.order) == len(self.guards)

    def teardown(self) -> None:
        """Leave no permit behind."""
        for _, permit in getattr(self, "permits", []):
            permit.cancel()


TestUses = Uses.TestCase
TestUses.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
