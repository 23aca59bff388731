"""
Who is let in, and when: histories of callers, cancellations, pauses and tokens that come back, against a list.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hungframe import BudgetExhaustedError, Guard, TokenBucket
from hungframe.permit import GuardPermit
from hungframe.testing import RecordingSink
from hungframe.testing.run import _JumpingSelector
from tests.guard.fakes import StatusError

CAPACITY, REFILL = 2, 10
FINAL = {"gen.success", "gen.fail", "gen.reject", "gen.cancelled"}


@dataclass
class Waiter:
    """
    One in line: until when it may wait, and when it looks again if it is the first.
    """

    name: int
    until: float
    look_at: float = 0.0


@dataclass
class Model:
    """
    A list of those who wait, of whom only the first looks at the bucket.
    """

    now: float = 0.0
    tokens: Fraction = Fraction(CAPACITY)
    paused_until: float = 0.0
    line: list[Waiter] = field(default_factory=list)
    let_in: dict[int, float] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)

    def due(self) -> float:
        """
        Tell when a token is there, if nobody takes one before.
        """
        missing = float(max(Fraction(0), 1 - self.tokens) * REFILL)
        return max(self.now + missing, self.paused_until)

    def look(self) -> None:
        """
        Let the first in, or refuse it where it would wait in vain; and so on.
        """
        while self.line:
            first, due = self.line[0], self.due()
            if due <= self.now:
                self.tokens -= 1
                self.let_in[first.name] = self.now
            elif due > first.until:
                self.refused.add(first.name)
            else:
                first.look_at = due
                return
            del self.line[0]

    def arrive(self, name: int, max_wait: float) -> None:
        """
        Ask for a token, and wait for it behind the others.
        """
        until = self.now + max_wait
        if self.due() > until:
            # Refused at once: also the first in line would wait in vain.
            self.refused.add(name)
            return
        self.line.append(Waiter(name, until))
        self.look()

    def take(self) -> bool:
        """
        Ask for a token and do not wait; who waits comes first.
        """
        taken = not self.line and self.due() <= self.now
        self.tokens -= taken
        self.look()
        return taken

    def give(self, tokens: int) -> None:
        """
        Put tokens back, or owe some.
        """
        if tokens:
            self.tokens = min(Fraction(CAPACITY), self.tokens + tokens)
            self.look()

    def leave(self, names: list[int]) -> None:
        """
        Be cancelled in line.
        """
        first = self.line[0].name if self.line else None
        self.line = [each for each in self.line if each.name not in names]
        if first in names:
            self.look()

    def pass_to(self, until: float) -> None:
        """
        Let the time come.
        """
        while True:
            nexts = [self.line[0].look_at, *(each.until for each in self.line[1:])] if self.line else []
            at = min(nexts, default=until)
            if at > until:
                at = until
            self.tokens = min(Fraction(CAPACITY), self.tokens + Fraction(at - self.now) / REFILL)
            self.now = at
            for each in self.line[1:]:
                if each.until <= at:
                    self.refused.add(each.name)
                    self.line.remove(each)
            if self.line and self.line[0].look_at <= at:
                self.look()
            elif at == until:
                return


class LoopClock:
    """
    The clock of a loop whose time passes when nothing is left to do but wait.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = loop.time
        self.wall = loop.time


class History(RuleBasedStateMachine):
    """
    Do to two guards that share a bucket, and to the model, the same.
    """

    @initialize()
    def begin(self) -> None:
        """Make both."""
        selector = _JumpingSelector()
        self.loop = asyncio.SelectorEventLoop(selector)
        self.loop.time = lambda: selector.seconds  # type: ignore[method-assign]  # Of this one only.
        self.bucket = TokenBucket(CAPACITY, REFILL, used=lambda result: result)
        self.sink = RecordingSink()
        clock = LoopClock(self.loop)
        self.guards = [
            Guard(
                name,
                breaker=None,
                budget=self.bucket,
                on_empty="wait",
                timeout=1e6,
                sinks=[self.sink],
                clock=clock,
            )
            for name in ("images", "texts")
        ]
        self.model = Model()
        self.names = itertools.count()
        self.tasks: dict[int, asyncio.Task[Any]] = {}
        self.answers: dict[int, asyncio.Future[int]] = {}
        self.let_in: dict[int, float] = {}
        self.permits: list[GuardPermit] = []

    def _settle(self) -> None:
        ready = cast("Any", self.loop)._ready
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        while ready:
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    @property
    def _waiting(self) -> list[int]:
        return [each.name for each in self.model.line]

    def _arrive(self, which: int, max_wait: float) -> None:
        name = next(self.names)
        view = self.guards[which].using(max_wait=max_wait)
        self.tasks[name] = self.loop.create_task(view.acall(self._callee, name))
        self.model.arrive(name, max_wait)

    async def _callee(self, name: int) -> int:
        self.let_in[name] = self.loop.time()
        self.answers[name] = self.loop.create_future()
        try:
            return await self.answers[name]
        finally:
            del self.answers[name]

    @rule(which=st.integers(0, 1), max_wait=st.sampled_from([0.5, 14.5, 34.5, 94.5]), more=st.integers(0, 2))
    def arrive(self, which: int, max_wait: float, more: int) -> None:
        """Call, one or several in the same tick."""
        for _ in range(1 + more):
            self._arrive(which, max_wait)
        self._settle()

    def _acquire(self, which: int) -> bool:
        try:
            self.permits.append(self.guards[which].acquire())
        except BudgetExhaustedError:
            return False
        return True

    @rule(which=st.integers(0, 1))
    def acquire(self, which: int) -> None:
        """Ask by hand, which never waits."""
        assert self.model.take() is self._acquire(which)
        self._settle()

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), used=st.sampled_from([None, 0, 1, 2]), then=st.sampled_from(["nobody", "asks", "waits"]))
    def end_by_hand(self, data: Any, used: int | None, then: str) -> None:
        """Give a token back, or tell what was used; and before the first in line wakes, somebody comes by."""
        permit = self.permits.pop(data.draw(st.integers(0, len(self.permits) - 1)))
        if used is None:
            permit.cancel()
        else:
            permit.settle("success", used=used)
        self.model.give(1 - (used or 0))
        if then == "asks":
            assert self.model.take() is self._acquire(0)
        if then == "waits":
            self._arrive(0, 34.5)
        self._settle()

    @precondition(lambda self: self.answers)
    @rule(data=st.data(), used=st.sampled_from([None, 0, 1, 2]))
    def end(self, data: Any, used: int | None) -> None:
        """Answer a call, which tells what it has used; or fail."""
        answer = self.answers[data.draw(st.sampled_from(sorted(self.answers)))]
        if used is None:
            answer.set_exception(StatusError(500))
        else:
            answer.set_result(used)
            self.model.give(1 - used)
        self._settle()

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        """Cancel some in the same tick, those who wait among them."""
        alive = sorted({*self._waiting, *self.answers})
        names = data.draw(st.lists(st.sampled_from(alive), unique=True)) if alive else []
        for name in names:
            self.tasks[name].cancel()
        self.model.leave(names)
        self._settle()

    @rule(which=st.integers(0, 1), seconds=st.integers(1, 30))
    def pause(self, which: int, seconds: int) -> None:
        """Let the provider ask for a pause."""
        self.guards[which].pause(seconds)
        self.model.paused_until = max(self.model.paused_until, self.model.now + seconds)

    @rule(seconds=st.integers(1, 40), asks=st.booleans())
    def pass_time(self, seconds: int, asks: bool) -> None:
        """Sleep; and in the tick in which a token may come, somebody asks for it who has not waited."""
        until, model, taken = self.model.now + seconds, self.model, list[bool]()
        if asks:
            self.loop.call_at(until, lambda: taken.append(self._acquire(0)))
        self.loop.call_at(until, self.loop.stop)
        self.loop.run_forever()
        self._settle()
        # Nobody does anything between this and the end.
        model.pass_to(until - 0.25)
        waits = bool(model.line)
        model.pass_to(until)
        if asks:
            assert [False if waits else model.take()] == taken
            model.look()

    @invariant()
    def agree(self) -> None:
        """The same are in at the same times, refused, and in line."""
        model = self.model
        assert self.loop.time() == model.now
        assert model.let_in == self.let_in
        ended = {name: task for name, task in self.tasks.items() if task.done() and not task.cancelled()}
        refused = {name for name, task in ended.items() if isinstance(task.exception(), BudgetExhaustedError)}
        assert model.refused == refused
        lines = self.guards[0]._engine.commons.lines
        assert len(model.line) == sum(len(line) for line in lines.values())
        assert bool(model.line) == bool(lines)
        available = 0 if model.now < model.paused_until else max(0, int(model.tokens // 1))
        assert available == self.bucket.available(model.now)
        in_flight = sum(guard.snapshot().in_flight for guard in self.guards)
        assert len(self.answers) + len(self.permits) == in_flight

    def teardown(self) -> None:
        """Let all go: nothing is left, and each call was told of once."""
        if not hasattr(self, "loop"):
            return
        for permit in self.permits:
            permit.cancel()
        for task in self.tasks.values():
            task.cancel()
        self._settle()
        assert all(task.done() for task in self.tasks.values())
        self.loop.close()
        assert {} == self.guards[0]._engine.commons.lines
        assert 0 == sum(guard.snapshot().in_flight for guard in self.guards)
        requests = [(event.guard, cast("Any", event).id) for event in self.sink.of("gen.request")]
        finals = [(event.guard, cast("Any", event).id) for event in self.sink.events if event.evt in FINAL]
        assert sorted(requests) == sorted(finals)
        # Whoever was cancelled in line had not asked yet.
        assert len(requests) >= len(self.let_in) + len(self.model.refused)


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
