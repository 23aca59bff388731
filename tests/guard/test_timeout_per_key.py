"""
A timeout for each kind of call: `AdaptiveTimeout.per(key)`.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncGenerator, Generator
from typing import Any

import anyio
import pytest

from hungframe import AdaptiveTimeout, CircuitOpenError, Guard, current_deadline, time_left
from hungframe._core.per_key import TimeoutPerKey
from hungframe.testing import VirtualClock, run_virtual
from tests.guard.fakes import Backend, about, on_each_backend, sleeps


def model(*args: object, model: str = "small", **others: object) -> str:
    """
    The key of these tests: what the call says its model is.
    """
    return model


def per_model(**settings: Any) -> TimeoutPerKey:
    """
    A policy that has learned of the small model that it takes a second, and of the large one that it takes 50.
    """
    policy = AdaptiveTimeout.per(model, **settings)
    for _ in range(20):
        policy.of("small").observe(1.0, 0.0)
        policy.of("large").observe(50.0, 0.0)
    return policy


def guard_per_model() -> tuple[Guard, VirtualClock]:
    """
    A guard with that policy.
    """
    clock = VirtualClock()
    return Guard("images", timeout=per_model(), clock=clock, isolate=None), clock


def left(clock: VirtualClock) -> float:
    """
    Seconds until the deadline of the call around.
    """
    deadline = current_deadline()
    assert deadline is not None
    return deadline - clock.now()


def test_each_key_has_its_own() -> None:
    """
    45 s for the small model, 60 for the large one, the initial 60 for one that is new.
    """
    guard, clock = guard_per_model()

    @guard
    def draw(clock: VirtualClock, *, model: str = "small") -> float:
        return left(clock)

    assert [45.0, 45.0, 60.0, 60.0] == [
        draw(clock),
        draw(clock, model="small"),
        draw(clock, model="large"),
        draw(clock, model="new"),
    ]


def test_each_key_learns_its_own() -> None:
    """
    What a call took is learned by the timeout of its key, and by no other.
    """
    clock = VirtualClock()
    policy = AdaptiveTimeout.per(lambda seconds: seconds, min_samples=2)
    guard = Guard("images", timeout=policy, clock=clock, isolate=None)
    for seconds in (40.0, 55.0, 40.0, 55.0):
        guard.call(clock.advance, seconds)

    now = clock.now()
    assert (50.0, 65.0, 60.0) == (policy.of(40.0).current(now), policy.of(55.0).current(now), policy.current(now))


@on_each_backend
def test_every_kind_of_callee(backend: Backend) -> None:
    """
    Coroutine functions, generators of both kinds, methods, and what is not decorated.
    """
    guard = Guard("images", timeout=per_model(initial=7.0), clock=VirtualClock())

    class Studio:
        @guard
        async def draw(self, *, model: str) -> float | None:
            return time_left()

    @guard
    async def items(*, model: str) -> AsyncGenerator[float | None, None]:
        yield time_left()

    @guard
    def items_sync(*, model: str) -> Generator[float | None, None, None]:
        yield time_left()

    async def undecorated(*, model: str) -> float | None:
        return time_left()

    async def main() -> None:
        for expected, name in ((about(7.0), "new"), (about(60.0), "large")):
            assert expected == await Studio().draw(model=name)
            assert [expected] == [each async for each in items(model=name)]
            assert [expected] == list(items_sync(model=name))
            assert expected == await guard.acall(undecorated, model=name)

    run_virtual(main, backend=backend)


def test_a_block_has_no_key() -> None:
    """
    A permit and a block know no arguments: theirs is one more timeout, which learns from them alone.
    """
    guard, clock = guard_per_model()
    for _ in range(20):
        with guard.attempt():
            clock.advance(55.0)

    assert 65.0 == guard.snapshot().timeout
    assert 55.0 == guard.snapshot().p95


@pytest.mark.parametrize("key", [lambda *args: 1 / 0, lambda *args: []])
def test_a_key_that_fails_harms_no_call(key: object) -> None:
    """
    A function that raises, and a key that cannot be hashed: the timeout without a key, and a fault that is counted.
    """
    guard = Guard("images", timeout=AdaptiveTimeout.per(key), isolate=None)  # type: ignore[arg-type]

    assert "A CAT" == guard.call(str.upper, "a cat")
    assert 1 == guard.snapshot().faults
    assert 1 == guard.snapshot().counts["success"]


def test_a_view_keeps_the_keys() -> None:
    """
    What a view changes besides holds for each key.
    """
    guard, clock = guard_per_model()

    assert 45.0 == guard.using(grace=1.0).call(lambda model: left(clock), model="small")
    assert 20.0 == guard.using(total_timeout=20.0).call(lambda model: left(clock), model="large")
    assert 5.0 == guard.using(timeout=5).call(lambda model: left(clock), model="large")
    other = Guard("other", clock=clock, isolate=None).using(timeout=per_model())
    assert 45.0 == other.call(lambda model: left(clock), model="small")


def test_those_used_last_are_held() -> None:
    """
    Of more keys than `most` the one goes that was not used for the longest time.
    """
    policy = AdaptiveTimeout.per(model, most=2, min_samples=1)
    for key in ("a", "b", "a", "c"):
        policy.of(key).observe(50.0, 0.0)

    assert 2 == len(policy)
    assert [50.0, 50.0, None] == [policy.of(key).p95(0.0) for key in ("a", "c", "b")]


def test_a_key_weighs_no_more_than_1500_bytes() -> None:
    """
    With its window full, and the key's own string.
    """
    policy = AdaptiveTimeout.per(model)
    policy.of("").observe(1.0, 0.0)
    # What other tests have left is no part of it.
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for nth in range(200):
            for seconds in range(60):
                policy.of(f"model-{nth}").observe(30.0 + seconds, float(seconds))
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / 200
    finally:
        tracemalloc.stop()

    assert each <= 1500


@on_each_backend
def test_suspects_by_key(backend: Backend) -> None:
    """
    After 5 s a call to the small model is suspect, one to the large model is not.
    """

    async def main() -> None:
        guard = Guard("images", timeout=per_model(), clock=VirtualClock())

        async def ask(model: str) -> None:
            await guard.acall(lambda model: anyio.sleep(40), model=model)

        for name, is_open in (("large", False), ("small", True)):
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(ask, name)
                await anyio.sleep(5.1)
                if is_open:
                    with pytest.raises(CircuitOpenError):
                        await guard.acall(sleeps, 0)
                else:
                    await guard.acall(sleeps, 0)
                group.cancel_scope.cancel()

    run_virtual(main, backend=backend)


def test_wrong_settings_are_refused() -> None:
    """
    Where they are given, and not at the first call.
    """
    with pytest.raises(TypeError, match=r"^key must be a function of the call's arguments, got 'model'$"):
        AdaptiveTimeout.per("model")  # type: ignore[arg-type]  # What is refused.
    with pytest.raises(ValueError, match=r"^most must be at least 1, got 0$"):
        AdaptiveTimeout.per(model, most=0)
    with pytest.raises(ValueError, match=r"^floor must be above 0 and finite, got 0$"):
        AdaptiveTimeout.per(model, floor=0)
    with pytest.raises(TypeError, match="flor"):
        AdaptiveTimeout.per(model, flor=1)
    with pytest.raises(ValueError, match="grace must be at most the timeout"):
        Guard("images", timeout=AdaptiveTimeout.per(model, floor=0.1), grace=0.2)
