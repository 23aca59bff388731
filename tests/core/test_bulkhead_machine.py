"""Histories of the bulkhead against a model of lists."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hungframe import Bulkhead, Outcome
from hungframe._core.line import Ticket

PRIORITIES = st.sampled_from([0, 0, 0, 1, -1, 2.5])


class BulkheadMachine(RuleBasedStateMachine):
    """
    Do to a bulkhead what its callers do, and to three lists the same: who waits, who was granted, who runs.
    """

    @initialize(adaptive=st.booleans(), limit=st.integers(1, 4), queue=st.integers(0, 4))
    def begin(self, adaptive: bool, limit: int, queue: int) -> None:
        self.bulkhead = Bulkhead("adaptive", queue, min=1, max=limit) if adaptive else Bulkhead(limit, queue)
        self.queue = queue
        self.now = 0.0
        # In the order in which they are served.
        self.waiting: list[Ticket] = []
        self.granted: list[Ticket] = []
        self.running = 0
        self.ever: list[Ticket] = []

    def told(self, woken: Iterable[Ticket]) -> None:
        """
        Expect those to be woken, and no others, who are first in line as long as there are slots.
        """
        expected: list[Ticket] = []
        while self.waiting and self.running + len(self.granted) < self.bulkhead.limit:
            ticket = self.waiting.pop(0)
            expected.append(ticket)
            assert ticket not in self.granted
            self.granted.append(ticket)
        assert list(woken) == expected
        assert all(ticket.granted and not ticket.shed for ticket in expected)

    @rule(priority=PRIORITIES)
    def try_acquire(self, priority: float) -> None:
        free = self.running + len(self.granted) < self.bulkhead.limit
        assert free == self.bulkhead.try_acquire(self.now, priority=priority)
        self.running += free

    @rule(priority=PRIORITIES)
    def enqueue(self, priority: float) -> None:
        free = self.running + len(self.granted) < self.bulkhead.limit
        ticket, woken = self.bulkhead.enqueue(self.now, priority=priority)
        shed: list[Ticket] = []
        if free:
            assert ticket is not None and ticket.granted
            self.granted.append(ticket)
        elif len(self.waiting) < self.queue or (self.waiting and self.waiting[-1].priority < priority):
            if len(self.waiting) == self.queue:
                shed.append(self.waiting.pop())
            assert ticket is not None and not ticket.granted
            self.waiting.append(ticket)
            self.waiting.sort(key=lambda each: -each.priority)
        else:
            assert ticket is None
        assert shed == list(woken)
        assert all(each.shed and not each.granted for each in shed)
        if ticket is not None:
            self.ever.append(ticket)

    @precondition(lambda self: self.granted)
    @rule(data=st.data())
    def run_what_was_granted(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.granted))
        self.granted.remove(ticket)
        self.ever.remove(ticket)
        self.running += 1

    @precondition(lambda self: self.ever)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """
        Whatever became of it, also twice; only who runs gives the slot back with a release.
        """
        ticket = data.draw(st.sampled_from(self.ever))
        held = ticket in self.granted
        if held:
            self.granted.remove(ticket)
        elif ticket in self.waiting:
            self.waiting.remove(ticket)
        woken = self.bulkhead.withdraw(ticket, self.now)
        if held:
            self.told(woken)
        else:
            assert not woken

    @precondition(lambda self: self.running)
    @rule()
    def release(self) -> None:
        self.running -= 1
        self.told(self.bulkhead.release(self.now))

    @precondition(lambda self: not self.running and not self.granted)
    @rule()
    def release_what_nobody_has(self) -> None:
        with pytest.raises(RuntimeError):
            self.bulkhead.release(self.now)

    @rule(
        outcome=st.sampled_from([Outcome.SUCCESS] * 3 + [Outcome.TIMEOUT, Outcome.QUOTA, Outcome.UNKNOWN]),
        seconds=st.sampled_from([0.0, 1.0, 1.0, 5.0, float("nan")]),
        times=st.integers(1, 8),
    )
    def record(self, outcome: Outcome, seconds: float, times: int) -> None:
        for _ in range(times):
            self.now += 1.0
            before = self.bulkhead.limit
            woken = self.bulkhead.record(outcome, seconds, self.now, self.bulkhead.in_flight)
            self.told(woken)
            assert self.bulkhead.is_adaptive or before == self.bulkhead.limit

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "bulkhead"):
            return
        assert self.bulkhead.in_flight == self.running + len(self.granted)
        assert self.bulkhead.waiting == len(self.waiting)
        assert not self.waiting or self.bulkhead.in_flight >= self.bulkhead.limit
        assert all(ticket.granted for ticket in self.granted)
        assert not any(ticket.granted or ticket.shed for ticket in self.waiting)


BulkheadMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBulkhead = BulkheadMachine.TestCase
