"""
Cancel a call that waits or repeats at each step of its event loop: nothing of it is left, and others get in.

On virtual time. A step is all that the loop does between two looks at the
clock, or one step of one of its tasks; so a call is also cancelled in the very
tick in which it is granted a slot or a token, and while everybody sleeps.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Literal, cast

import anyio
import pytest
import trio

from hungframe import (
    Bulkhead,
    CallRejectedError,
    CircuitBreaker,
    Guard,
    Hedge,
    Retry,
    TokenBucket,
    current_deadline,
)
from hungframe.testing import RecordingSink, run_virtual
from tests.guard.fakes import StatusError

FINAL = {"gen.success", "gen.fail", "gen.reject", "gen.cancelled"}
CALLERS = 3
MOST_STEPS = 400

Callee = Callable[[int], Awaitable[object]]
# Who cancels: the task, as asyncio does, or a scope around it.
Way = Literal["asyncio", "anyio", "trio"]


class CountedBucket(TokenBucket):
    """
    A bucket that knows how many tokens it has granted and not got back.
    """

    __slots__ = ("taken",)

    def __init__(self, capacity: float, refill_every: float) -> None:
        super().__init__(capacity, refill_every)
        self.taken = 0.0

    def try_acquire(self, tokens: float, now: float) -> bool:
        granted = super().try_acquire(tokens, now)
        self.taken += tokens * granted
        return granted

    def give_back(self, tokens: float, now: float) -> None:
        super().give_back(tokens, now)
        self.taken -= tokens


class Work:
    """
    What is called: each attempt of each caller is counted, while it runs and in all.
    """

    def __init__(self, callee: Callee) -> None:
        self.running = self.most_running = 0
        self._callee = callee

    def of_one_caller(self) -> Callable[[], Coroutine[Any, Any, object]]:
        """
        The callee, which is told the number of its attempt, from 1.
        """
        numbers = itertools.count(1)

        async def call() -> object:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            try:
                return await self._callee(next(numbers))
            finally:
                self.running -= 1

        return call


# -- what is called --------------------------------------------------------------


async def answers(_: int) -> str:
    await anyio.sleep(1)
    return "done"


async def fails_at_first(number: int) -> str:
    await anyio.sleep(0.5)
    if number == 1:
        raise StatusError(503)
    return "done"


async def is_asked_to_wait(number: int) -> str:
    await anyio.sleep(0.5)
    if number == 1:
        error: Any = StatusError(429)
        error.headers = {"retry-after": "3"}
        raise error
    return "done"


async def hangs_at_first(number: int) -> str:
    try:
        await anyio.sleep(50 if number == 1 else 1)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)
    return "done"


async def hangs_fails_answers(number: int) -> str:
    await anyio.sleep(50 if number == 1 else 0.5)
    if number == 2:
        raise StatusError(503)
    return "done"


async def fails(_: int) -> str:
    await anyio.sleep(0.5)
    raise StatusError(503)


async def falls_back(error: Exception) -> str:
    assert isinstance(error, (StatusError, CallRejectedError))
    await anyio.sleep(0.5)
    return "instead"


# -- policies --------------------------------------------------------------------


def bucket(refill_every: float = 2.0) -> CountedBucket:
    return CountedBucket(1, refill_every)


Settings = Callable[[], dict[str, Any]]

SHAPES: dict[str, tuple[Settings, Callee]] = {
    "slot": (lambda: {"bulkhead": Bulkhead(1, queue=9)}, answers),
    "token": (lambda: {"budget": bucket(), "on_empty": "wait"}, answers),
    "slot and token": (
        lambda: {"bulkhead": Bulkhead(1, queue=9), "budget": bucket(), "on_empty": "wait"},
        answers,
    ),
    "retry": (lambda: {"retry": Retry(base=1, budget=None)}, fails_at_first),
    "retry when asked to wait": (
        lambda: {"retry": Retry(budget=None), "budget": bucket(0.5), "on_empty": "wait"},
        is_asked_to_wait,
    ),
    "hedge": (lambda: {"hedge": Hedge(after=1.0)}, hangs_at_first),
    "hedge and slot": (lambda: {"hedge": Hedge(after=1.0), "bulkhead": Bulkhead(2, queue=9)}, hangs_at_first),
    "fallback": (lambda: {"fallback": falls_back}, fails),
    "all": (
        lambda: {
            "bulkhead": Bulkhead(2, queue=9),
            "budget": bucket(0.5),
            "on_empty": "wait",
            "retry": Retry(base=1, budget=None),
            "hedge": Hedge(after=1.0),
            "fallback": falls_back,
        },
        hangs_fails_answers,
    ),
}


# -- steps -----------------------------------------------------------------------


class Steps:
    """
    Count the steps of a loop, and cancel at one of them.
    """

    def __init__(self, at: int, cancel: Callable[[], object]) -> None:
        self.passed = 0
        self.done = False
        self._at = at
        self._cancel = cancel

    def step(self) -> bool:
        """
        Count one; tell whether that was the one.
        """
        self.passed += 1
        if self.done or self.passed <= self._at:
            return False
        self._cancel()
        self.done = True
        return True


class _Instrument(trio.abc.Instrument):
    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def before_io_wait(self, timeout: float) -> None:
        self._steps.step()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._steps.step()


@contextmanager
def counted(steps: Steps, way: Way) -> Generator[None, None, None]:
    """
    Count the steps of the running loop within the block.
    """
    if way == "trio":
        instrument = _Instrument(steps)
        trio.lowlevel.add_instrument(instrument)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(instrument)
        return
    selector = cast("Any", asyncio.get_running_loop())._selector
    select = selector.select

    def counting_select(timeout: float | None = None) -> Any:
        # Whoever is cancelled while the loop is asleep wakes it.
        ready = select(0 if steps.step() else timeout)
        # And now in the tick in which a timer comes up.
        steps.step()
        return ready

    selector.select = counting_select
    try:
        yield
    finally:
        selector.select = select


# -- callers ---------------------------------------------------------------------


class Callers:
    """
    Three calls of a guard, one after the other, of which some are cancelled.
    """

    def __init__(self, guard: Guard, work: Work, way: Way) -> None:
        self.ended: dict[int, object] = {}
        self._guard = guard
        self._work = work
        self._way = way
        self._cancels: dict[int, Callable[[], object]] = {}
        self._cancelled_at: dict[int, float] = {}

    async def _call(self, name: int) -> None:
        try:
            self.ended[name] = await self._guard.acall(self._work.of_one_caller())
        except Exception as error:
            self.ended[name] = error
        except BaseException:
            self.ended[name] = "cancelled"
            raise
        finally:
            if name in self._cancelled_at:
                # And at once: it has no more than its grace and its clean-up.
                assert self._guard._engine.clock.now() - self._cancelled_at[name] < 0.1
            assert current_deadline() is None

    async def _in_scope(self, name: int) -> None:
        with anyio.CancelScope() as scope:
            self._cancels[name] = scope.cancel
            await self._call(name)

    def cancel(self, names: tuple[int, ...]) -> None:
        for name in names:
            if name in self._cancels and name not in self.ended:
                self._cancelled_at[name] = self._guard._engine.clock.now()
                self._cancels[name]()

    async def run(self, steps: Steps) -> None:
        if self._way == "asyncio":
            tasks = [asyncio.create_task(self._call(name)) for name in range(CALLERS)]
            self._cancels = {name: task.cancel for name, task in enumerate(tasks)}
            with counted(steps, self._way):
                await asyncio.wait(tasks)
            return
        with counted(steps, self._way):
            async with anyio.create_task_group() as group:
                for name in range(CALLERS):
                    group.start_soon(self._in_scope, name)


async def cancelled_at(at: int, shape: str, way: Way, who: tuple[int, ...], *, half_open: bool) -> bool:
    """
    Cancel some of three callers at one step and check what is left; tell whether there was such a step.
    """
    settings, callee = SHAPES[shape]
    given, sink, work = settings(), RecordingSink(), Work(callee)
    breaker = CircuitBreaker(open_for=1.0, probe_every=0.5, close_after=2) if half_open else None
    guard = Guard("hostile", **{"timeout": 100, "grace": 0.05, "breaker": breaker, "sinks": [sink], **given})
    if breaker is not None:
        for _ in range(3):
            guard.using(retry=None, fallback=None).acquire().settle("timeout")
            await anyio.sleep(3)
        assert "half_open" == guard.snapshot().state
        sink.clear()
    budget = given.get("budget")
    if budget is not None:
        budget.taken = 0
    callers = Callers(guard, work, way)
    steps = Steps(at, lambda: callers.cancel(who))
    began_at = anyio.current_time()

    await callers.run(steps)

    check_nothing_left(guard, sink, work)
    if way != "trio":
        assert {asyncio.current_task()} == asyncio.all_tasks()
    # Two whose hedges were refused for want of a slot, one after the other.
    assert anyio.current_time() - began_at < 110
    sent = len(sink.of("gen.request")) - len(sink.of("gen.reject"))
    if budget is not None:
        assert sent == budget.taken
    if "bulkhead" in given:
        assert work.most_running <= given["bulkhead"].limit
    if breaker is not None:
        assert breaker._probe is None
    else:
        others = set(range(CALLERS)) - set(who)
        answer = "instead" if callee is fails else "done"
        assert dict.fromkeys(others, answer) == {name: callers.ended[name] for name in others}
    return steps.done


def check_nothing_left(guard: Guard, sink: RecordingSink, work: Work) -> None:
    """
    Check that no call is in the guard any more, nor waits for it, and that each was told of once.
    """
    snapshot, engine = guard.snapshot(), cast("Any", guard._engine)
    assert (0, 0, 0, 0) == (snapshot.in_flight, snapshot.orphans, snapshot.suspects, work.running)
    assert {} == engine.commons.lines
    bulkhead = getattr(engine, "bulkhead", None)
    if bulkhead is not None:
        assert (0, 0) == (bulkhead.in_flight, bulkhead.waiting)
    requests = [cast("Any", event).id for event in sink.of("gen.request")]
    finals = [cast("Any", event).id for event in sink.events if event.evt in FINAL]
    assert sorted(requests) == sorted(finals)
    assert len(set(requests)) == len(requests)
    assert 0 == snapshot.faults


def at_each_step(shape: str, way: Way, who: tuple[int, ...], *, half_open: bool = False) -> int:
    """
    Step 0, 1, 2, ... until all calls end before one is cancelled.
    """

    async def main(at: int) -> bool:
        return await cancelled_at(at, shape, way, who, half_open=half_open)

    for at in range(MOST_STEPS):
        if not run_virtual(main, at, backend="trio" if way == "trio" else "asyncio"):
            return at
    raise AssertionError(f"more than {MOST_STEPS} steps")


on_each_way = pytest.mark.parametrize("way", ["asyncio", "anyio", "trio"])


@on_each_way
@pytest.mark.parametrize("shape", SHAPES)
def test_one_of_three(shape: str, way: Way) -> None:
    """
    The first, or the head of the line behind it, is cancelled: the others get what they would have got.
    """
    assert at_each_step(shape, way, (0,)) > 5
    assert at_each_step(shape, way, (1,)) > 5


@on_each_way
@pytest.mark.parametrize("shape", ["slot and token", "all"])
@pytest.mark.parametrize("who", [(0, 1), (1, 2), (0, 1, 2)])
def test_several_at_once(shape: str, way: Way, who: tuple[int, ...]) -> None:
    """
    Two in the same tick, and the whole line.
    """
    assert at_each_step(shape, way, who) > 5


@on_each_way
@pytest.mark.parametrize("shape", SHAPES)
def test_while_half_open(shape: str, way: Way) -> None:
    """
    The probe, or one that waits to become it, is cancelled: the next may be one.
    """
    assert at_each_step(shape, way, (0,), half_open=True) > 3
