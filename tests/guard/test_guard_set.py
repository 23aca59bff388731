"""
One guard a key: what is made for each, what all share, and how calls find theirs.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import sys
import threading
import time
import tracemalloc
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import anyio
import pytest

from hungframe import (
    AdaptiveTimeout,
    BudgetExhaustedError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Guard,
    GuardSet,
    TokenBucket,
)
from hungframe.testing import RecordingSink, VirtualClock, run_virtual
from tests.guard.fakes import Backend, fail, on_each_backend, open_by_timeouts, sleeps


def region(prompt: str, *, region: str = "eu", **_: object) -> str:
    """
    The key of these tests.
    """
    return region


# -- guards ----------------------------------------------------------------------------------------------------------


def test_a_key_has_one_guard_with_a_name_of_its_own() -> None:
    """
    Made when it is first asked for, and the same one ever after.
    """
    guards = GuardSet("images")

    assert "eu" not in guards and 0 == len(guards) and [] == list(guards)
    assert "images[eu]" == guards["eu"].name
    assert guards["eu"] is guards["eu"]
    assert guards["eu"] is not guards["us"]
    assert "eu" in guards and 2 == len(guards) and ["eu", "us"] == list(guards)
    assert "images" == guards.name and "GuardSet('images', 2 guards)" == repr(guards)


def test_any_key_that_can_be_hashed_will_do() -> None:
    """
    A pair, a number, None.
    """
    guards = GuardSet("images")

    assert ["images[('eu', 'large')]", "images[5]", "images[None]"] == [
        guards[key].name for key in [("eu", "large"), 5, None]
    ]


def test_one_key_that_hangs_opens_no_other() -> None:
    """
    That is what they are for.
    """
    guards = GuardSet("images", key=region, clock=VirtualClock(), isolate=None)
    open_by_timeouts(guards["eu"])

    @guards
    def draw(prompt: str, *, region: str) -> str:
        return prompt

    with pytest.raises(CircuitOpenError, match=r"images\[eu\]"):
        draw("a cat", region="eu")
    assert "a cat" == draw("a cat", region="us")
    assert {"eu": "open", "us": "closed"} == {key: each.state for key, each in guards.snapshot().items()}


def test_settings_are_those_of_each_guard() -> None:
    """
    Plain ones as they are, sinks and clock shared.
    """
    clock, sink = VirtualClock(), RecordingSink()
    guards = GuardSet("images", timeout=20, total_timeout=15, clock=clock, sinks=[sink], isolate=None)

    for key in ("eu", "us"):
        assert 15 == guards[key].snapshot().timeout
        guards[key].call(str)
    assert {"images[eu]", "images[us]"} == {event.guard for event in sink.events}


def test_policies_are_made_for_each_key() -> None:
    """
    By a function without arguments, by one of the key, or by a class.
    """
    made: list[object] = []

    def timeout(key: str) -> float:
        made.append(key)
        return {"eu": 10.0}.get(key, 30.0)

    guards = GuardSet("images", breaker=CircuitBreaker, budget=lambda: TokenBucket(capacity=1), timeout=timeout)

    assert (10, 30) == (guards["eu"].snapshot().timeout, guards["us"].snapshot().timeout)
    assert ["eu", "us"] == made
    guards["eu"].acquire().settle("success")
    with pytest.raises(BudgetExhaustedError):
        guards["eu"].acquire()
    guards["us"].acquire().settle("success")


def test_an_argument_with_a_default_is_none_for_the_key() -> None:
    """
    A function that can be called without arguments is.
    """
    guards = GuardSet("images", timeout=lambda seconds=7.0: seconds)

    assert 7 == guards["eu"].snapshot().timeout


def test_a_budget_that_is_an_object_is_one_limit_of_all_keys() -> None:
    """
    One account limit, whatever the region; beside one that each region has.
    """
    account = TokenBucket(capacity=3, refill_every=1e6)
    guards = GuardSet("images", budget=[account, lambda: TokenBucket(capacity=2)])

    guards["eu"].acquire().settle("success")
    guards["eu"].acquire().settle("success")
    with pytest.raises(BudgetExhaustedError):
        guards["eu"].acquire()
    guards["us"].acquire().settle("success")
    for key in ("us", "asia"):
        with pytest.raises(BudgetExhaustedError):
            guards[key].acquire()


def test_no_policy_is_no_policy() -> None:
    """
    None stays None.
    """
    guards = GuardSet("images", breaker=None, timeout=None)

    assert ("disabled", None) == (guards["eu"].snapshot().state, guards["eu"].snapshot().timeout)


# -- calls -----------------------------------------------------------------------------------------------------------

GUARDS = GuardSet("images", key=lambda *args, region="eu", **_: region, timeout=20, grace=0.05)


class Studio:
    """
    Methods of every kind.
    """

    @GUARDS
    def method(self, prompt: str, *, region: str = "eu") -> str:
        return f"{prompt} from {region}"

    @GUARDS
    async def method_async(self, prompt: str, *, region: str = "eu") -> str:
        """Draw a picture, in time."""
        await anyio.sleep(0)
        return f"{prompt} from {region}"

    @classmethod
    @GUARDS
    def class_inside(cls, prompt: str, *, region: str = "eu") -> str:
        return f"{prompt} from {region}"

    @GUARDS
    @classmethod
    def class_outside(cls, prompt: str, *, region: str = "eu") -> str:
        return f"{prompt} from {region}"

    @GUARDS
    @staticmethod
    def static_outside(prompt: str, *, region: str = "eu") -> str:
        return f"{prompt} from {region}"

    @GUARDS
    def stream(self, prompt: str, *, region: str = "eu") -> Generator[str, str, str]:
        sent = yield prompt
        yield f"{sent} from {region}"
        return "over"

    @GUARDS
    async def stream_async(self, prompt: str, *, region: str = "eu") -> AsyncGenerator[str, str]:
        sent = yield prompt
        try:
            yield f"{sent} from {region}"
        except ValueError:
            yield "caught"


@on_each_backend
def test_every_kind_of_callee_finds_its_guard(backend: Backend) -> None:
    """
    Coroutine functions, methods of every kind, generators of both, and what is not decorated.
    """

    async def main() -> None:
        studio = Studio()
        assert "a cat from us" == await studio.method_async("a cat", region="us")
        assert "a cat from us" == await GUARDS.acall(Studio.method_async, studio, "a cat", region="us")
        stream = studio.stream_async("a cat", region="us")
        assert "a cat" == await stream.__anext__()
        assert "a dog from us" == await stream.asend("a dog")
        assert "caught" == await stream.athrow(ValueError())
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()
        left = studio.stream_async("a cat", region="us")
        async for item in left:
            assert "a cat" == item
            break
        await left.aclose()

    GUARDS["us"].reset()
    before = GUARDS["us"].snapshot().counts["success"]
    run_virtual(main, backend=backend)
    # The one within `acall` is a call as well; the stream that was left proves nothing.
    assert before + 4 == GUARDS["us"].snapshot().counts["success"]
    assert 0 == GUARDS["us"].snapshot().in_flight


def test_sync_callees_find_theirs() -> None:
    """
    Likewise, with what a generator returns.
    """
    studio = Studio()
    before = GUARDS["us"].snapshot().counts["success"]

    assert ["a cat from us"] * 4 == [
        studio.method("a cat", region="us"),
        studio.class_inside("a cat", region="us"),
        Studio.class_outside("a cat", region="us"),
        Studio.static_outside("a cat", region="us"),
    ]
    assert "a cat from us" == GUARDS.call(studio.method, "a cat", region="us")
    stream = studio.stream("a cat", region="us")
    assert ["a cat", "a dog from us"] == [next(stream), stream.send("a dog")]
    with pytest.raises(StopIteration) as stop:
        next(stream)
    assert "over" == stop.value.value
    assert before + 7 == GUARDS["us"].snapshot().counts["success"]


def test_what_is_decorated_keeps_its_face() -> None:
    """
    Name, signature and kind.
    """
    plain: Any = inspect.unwrap(Studio.method_async)

    assert ("method_async", "Draw a picture, in time.") == (plain.__name__, Studio.method_async.__doc__)
    assert inspect.signature(plain) == inspect.signature(Studio.method_async)
    assert inspect.iscoroutinefunction(Studio.method_async)
    assert inspect.isasyncgenfunction(Studio.stream_async)
    assert inspect.isgeneratorfunction(Studio.stream)
    assert not inspect.iscoroutinefunction(Studio.method)


def test_the_key_is_read_from_all_arguments_with_self() -> None:
    """
    As they were given, by place and by name.
    """
    seen: list[Any] = []

    def key(*args: object, **kwargs: object) -> str:
        seen.append((args, kwargs))
        return "eu"

    guards = GuardSet("images", key=key, isolate=None)

    class Own:
        @guards
        def draw(self, prompt: str, size: int = 1) -> int:
            return size

    own = Own()
    assert 2 == own.draw("a cat", size=2)
    assert [((own, "a cat"), {"size": 2})] == seen


@on_each_backend
def test_what_the_key_function_raises_is_the_callers(backend: Backend) -> None:
    """
    Before anything: no guard is made, nothing is called, nothing is counted.
    """
    guards = GuardSet("images", key=lambda prompt: {"a cat": "eu"}[prompt])
    called: list[str] = []

    @guards
    def draw(prompt: str) -> None:
        called.append(prompt)

    @guards
    async def draw_async(prompt: str) -> None:
        called.append(prompt)

    with pytest.raises(KeyError, match="a dog"):
        draw("a dog")
    with pytest.raises(KeyError, match="a dog"):
        run_virtual(draw_async, "a dog", backend=backend)
    with pytest.raises(KeyError, match="a dog"):
        guards.call(draw, "a dog")
    assert ([], []) == (called, list(guards))


def test_a_call_is_back_at_its_deadline() -> None:
    """
    The guard of the key is a guard.
    """
    guards = GuardSet("images", key=region, timeout=lambda key: {"eu": 2.0}.get(key, 5.0))

    @guards
    async def draw(prompt: str, *, region: str) -> str:
        return await sleeps(60)

    async def main(key: str) -> float:
        with pytest.raises(CallTimeoutError) as raised:
            await draw("a cat", region=key)
        assert f"images[{key}]" == raised.value.guard
        return raised.value.timeout

    assert [2.0, 5.0] == [run_virtual(main, key) for key in ("eu", "us")]


# -- dropping --------------------------------------------------------------------------------------------------------


def test_the_one_unused_for_longest_goes() -> None:
    """
    A call through it, or asking for it, is a use; looking at it is none.
    """
    guards = GuardSet("images", max_guards=2, clock=VirtualClock())
    for key in ("eu", "us", "eu"):
        guards[key].acquire().settle("success")
    assert "us" in guards
    guards.snapshot()

    guards["asia"].acquire().settle("success")

    assert ["eu", "asia"] == list(guards)


@pytest.mark.parametrize("reason", ["in flight", "open", "forced open", "disabled", "paused", "spent"])
def test_one_that_is_not_idle_stays(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """
    What it knows would be lost. The set holds more then, and says so once.
    """
    clock = VirtualClock()
    guards = GuardSet("images", max_guards=1, clock=clock, budget=TokenBucket, isolate=None)
    first = guards["eu"]
    permit = first.acquire() if reason == "in flight" else None
    if reason == "open":
        first._engine.budget.give_back(5, clock.now())
        open_by_timeouts(first)
        first._engine.budget.give_back(3, clock.now())
    elif reason == "forced open":
        first.force_open()
    elif reason == "disabled":
        first.disable()
    elif reason == "paused":
        first.pause(30)
    elif reason == "spent":
        first.acquire().settle("success")
    del first

    for key in ("us", "asia"):
        guards[key]
        clock.advance(2)

    assert "eu" in guards
    assert ["asia"] == [key for key in guards if key != "eu"]
    assert 1 == len(caplog.records) and "guard set 'images' holds 1 guards more" in caplog.text
    if permit is not None:
        permit.cancel()
        guards["africa"]
        assert ["africa"] == list(guards)


def test_a_budget_of_all_keys_keeps_no_guard() -> None:
    """
    What was taken from it stays known.
    """
    guards = GuardSet("images", max_guards=1, budget=TokenBucket(capacity=2, refill_every=1e6), clock=VirtualClock())
    for key in ("eu", "us"):
        guards[key].acquire().settle("success")

    assert ["us"] == list(guards)
    with pytest.raises(BudgetExhaustedError):
        guards["eu"].acquire()


def test_an_orphan_keeps_its_guard() -> None:
    """
    It counts against max_orphans until it ends.
    """
    guards = GuardSet("images", max_guards=1, timeout=0.05, grace=0.0)
    gate = threading.Event()
    with pytest.raises(CallTimeoutError):
        guards["eu"].call(gate.wait)
    guards["us"]
    assert {"eu", "us"} == set(guards)
    gate.set()


def test_a_dropped_guard_that_somebody_has_is_found_again() -> None:
    """
    So that no key has two, with two budgets and two breakers.
    """
    guards = GuardSet("images", max_guards=1)
    held = guards["eu"]
    guards["us"]
    assert "eu" not in guards

    assert held is guards["eu"]


def test_a_dropped_guard_is_gone_with_all_that_was_made_of_it() -> None:
    """
    By its reference count, with the wrappers of decorated functions; and a function that is gone leaves nothing either.
    """
    guards = GuardSet("images", key=region, max_guards=1, isolate=None)

    @guards
    def draw(prompt: str, *, region: str) -> str:
        return prompt

    draw("a cat", region="eu")
    dropped = weakref.ref(guards["eu"])
    function = weakref.ref(draw)
    gc.collect()
    gc.disable()
    try:
        draw("a cat", region="us")
        assert dropped() is None
    finally:
        gc.enable()
    del draw
    gc.collect()
    assert function() is None
    assert 0 == len(guards._members.caches)


def test_an_error_keeps_nothing_of_the_call() -> None:
    """
    Neither its arguments nor what the callee holds, by reference count.
    """

    class Picture:
        pass

    refs: list[weakref.ref[Picture]] = []

    def picture() -> Picture:
        new = Picture()
        refs.append(weakref.ref(new))
        return new

    guards = GuardSet("images", key=lambda picture: "eu", timeout=0.02, grace=0.02)

    @guards
    async def hangs(picture: Picture) -> None:
        await anyio.sleep(60)

    @guards
    async def hangs_midway(picture: Picture) -> AsyncGenerator[int, None]:
        yield 1
        await anyio.sleep(60)

    async def read() -> None:
        async for _ in hangs_midway(picture()):
            pass

    async def acall() -> None:
        await guards.acall(inspect.unwrap(hangs), picture())

    calls: list[Callable[[], None]] = [
        lambda: asyncio.run(hangs(picture())),
        lambda: asyncio.run(read()),
        lambda: asyncio.run(acall()),
    ]
    errors: list[BaseException] = []
    gc.collect()
    gc.disable()
    try:
        for call in calls:
            try:
                call()
            except CallTimeoutError as error:
                errors.append(error)
        assert [None] * 3 == [ref() for ref in refs]
    finally:
        gc.enable()
    assert 3 == len(errors)


# -- many ------------------------------------------------------------------------------------------------------------


def test_threads_that_ask_for_a_new_key_get_one_guard() -> None:
    """
    However slowly it is made, and it is made once.
    """
    made: list[str] = []

    def slow(key: str) -> float:
        made.append(key)
        time.sleep(0.02)
        return 5.0

    guards = GuardSet("images", timeout=slow)
    got: list[Guard] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        got.append(guards["eu"])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == len(set(got)) and ["eu"] == made


def test_threads_over_many_keys_lose_no_call() -> None:
    """
    With room for few, guards come and go while they are called: who asks within a call finds the guard that runs it.
    """
    guards = GuardSet("images", key=lambda key: key, max_guards=3, isolate=None, breaker=None, timeout=None)
    errors: list[BaseException] = []

    @guards
    def call(key: int) -> int:
        assert guards[key].snapshot().in_flight >= 1
        return key

    def many(seed: int) -> None:
        try:
            for nth in range(400):
                key = (nth * 7 + seed) % 11
                assert key == call(key)
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=many, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert [] == errors
    assert all(0 == each.in_flight for each in guards.snapshot().values())


def test_a_factory_may_ask_for_another_guard() -> None:
    """
    In the same thread, without a deadlock; even for the one that is being made.
    """
    guards: GuardSet

    def timeout(key: str) -> float:
        return 5.0 if key == "eu" else 1 + (guards["eu"].snapshot().timeout or 0)

    guards = GuardSet("images", timeout=timeout)
    assert 6 == guards["us"].snapshot().timeout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_goes_on() -> None:
    """
    Though another thread held the locks.
    """
    guards = GuardSet("images")
    guards["eu"]
    release, held = threading.Event(), threading.Event()

    def hold() -> None:
        with guards._members._lock, guards._members._making:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    pid = os.fork()
    if pid == 0:
        fine = "images[us]" == guards["us"].name and "images[eu]" == guards["eu"].name
        os._exit(0 if fine else 1)
    release.set()
    thread.join()
    until = time.monotonic() + 5
    done, status = 0, 1
    while not done and time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)
    if not done:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert done and 0 == os.waitstatus_to_exitcode(status)


def test_a_set_is_one_of_learning_timeouts_too() -> None:
    """
    Each key learns its own.
    """
    clock = VirtualClock()
    guards = GuardSet("images", timeout=lambda: AdaptiveTimeout(min_samples=2), clock=clock, isolate=None)
    for seconds, key in ((40.0, "eu"), (55.0, "us")):
        for _ in range(2):
            guards[key].call(clock.advance, seconds)
    fail(guards["eu"], ValueError())

    assert {"eu": 50.0, "us": 65.0} == {key: each.timeout for key, each in guards.snapshot().items()}


def test_a_set_adds_little_to_what_a_guard_weighs() -> None:
    """
    Its place in the order, and its name.
    """
    guards = GuardSet("images", max_guards=10_000)

    def weighs(make: Callable[[int], object]) -> float:
        make(-1)
        gc.collect()
        tracemalloc.start()
        try:
            kept = [make(nth) for nth in range(500)]
            gc.collect()
            return tracemalloc.get_traced_memory()[0] / len(kept)
        finally:
            tracemalloc.stop()

    assert weighs(lambda nth: guards[nth]) - weighs(lambda nth: Guard("images")) < 300
