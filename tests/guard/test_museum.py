"""
The museum: faults that were proved in other libraries, each with the test that keeps it out of this one.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import anyio
import pytest

from hungframe import CircuitOpenError, Guard
from hungframe.testing import VirtualClock, run_virtual
from tests.guard.fakes import (
    Backend,
    SteppingClock,
    about,
    fail,
    on_each_backend,
    open_by_timeouts,
    opened_guard,
    outcome_of,
    raises,
    sleeps,
)

# -- a hundred callers get through half-open (7 libraries) -----------------------------------------------------------


@on_each_backend
def test_one_of_a_hundred_callers_gets_through_half_open(backend: Backend) -> None:
    """
    A hundred tasks that ask a half-open guard at once: one is let through, the others are told when to come back.
    """

    async def main() -> None:
        guard = Guard("images")
        open_by_timeouts(guard)
        await anyio.sleep(60)
        ends: list[str] = []

        async def caller() -> None:
            ends.append(await outcome_of(lambda: guard.acall(sleeps, 5)))

        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(caller)

        assert {"in": 1, "CircuitOpenError": 99} == Counter(ends)

    run_virtual(main, backend=backend)


def test_one_of_a_hundred_threads_gets_through_half_open() -> None:
    """
    A hundred threads that ask a half-open guard at once: one is let through, the others are told when to come back.
    """
    guard, clock = opened_guard()
    clock.advance(60)
    everybody = threading.Barrier(100)
    ends: list[str] = []

    def caller() -> None:
        everybody.wait()
        try:
            ends.append(guard.using(isolate=None).call(lambda: "in"))
        except CircuitOpenError as error:
            # Until the next period; with the probe still out, until that would fall free.
            ends.append("refused" if error.retry_after in (60.0, 90.25) else str(error))

    threads = [threading.Thread(target=caller) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {"in": 1, "refused": 99} == Counter(ends)


# -- a cancelled probe sticks, or closes the breaker (4 libraries) ---------------------------------------------------


@on_each_backend
def test_cancelled_probe_gives_its_place_back(backend: Backend) -> None:
    """
    A probe whose caller is cancelled proves nothing: the next caller is the probe, at once.
    """

    async def main() -> None:
        guard = Guard("images")
        open_by_timeouts(guard)
        await anyio.sleep(60)

        with anyio.move_on_after(1):
            await guard.acall(sleeps, 30)

        assert "half_open" == guard.snapshot().state
        assert "done" == await guard.acall(sleeps, 1)
        assert "half_open" == guard.snapshot().state

    run_virtual(main, backend=backend)


def test_three_cancelled_probes_do_not_close() -> None:
    """
    Cancelled probes count as no success, however many there are.
    """
    guard, clock = opened_guard()
    clock.advance(60)

    for _ in range(3):
        guard.acquire().settle("cancelled")

    assert "half_open" == guard.snapshot().state
    guard.acquire().cancel()


def test_interrupted_sync_probe_gives_its_place_back() -> None:
    """
    A probe that KeyboardInterrupt ends proves nothing: the next caller is the probe, at once.
    """
    guard, clock = opened_guard()
    clock.advance(60)

    with pytest.raises(KeyboardInterrupt):
        guard.using(isolate=None).call(raises, KeyboardInterrupt())

    assert "in" == guard.call(lambda: "in")


# -- a stale success closes it (8 libraries) -------------------------------------------------------------------------


def test_stale_success_does_not_close() -> None:
    """
    Calls admitted before the circuit opened cannot close it afterwards, nor be taken for its probes.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock)
    stale = [guard.acquire() for _ in range(3)]
    open_by_timeouts(guard)
    stale[0].settle("success")
    clock.advance(60)
    assert "half_open" == guard.snapshot().state

    stale[1].settle("success")
    stale[2].settle("success")

    assert "half_open" == guard.snapshot().state
    guard.acquire().cancel()


def test_stale_failure_does_not_reopen() -> None:
    """
    Calls admitted before the circuit opened, and closed again, cannot open it a second time.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock)
    stale = [guard.acquire() for _ in range(3)]
    open_by_timeouts(guard)
    for _ in range(3):
        clock.advance(60)
        guard.call(str)
    assert "closed" == guard.snapshot().state

    for permit in stale:
        permit.settle("timeout")

    assert "closed" == guard.snapshot().state
    assert 0.0 == guard.snapshot().weight


# -- a hung probe blocks recovery for ever (6 of the 6 that cap probes) ----------------------------------------------


def test_hung_probe_falls_free() -> None:
    """
    A probe that never reports, since its holder died, is forgotten at its deadline and grace.
    """
    guard, clock = opened_guard()
    clock.advance(60)
    dead = guard.acquire()

    clock.advance(dead.timeout + 0.2)
    with pytest.raises(CircuitOpenError) as refused:
        guard.acquire()
    assert about(0.05) == refused.value.retry_after
    clock.advance(0.06)
    guard.acquire().settle("success")

    # What it says after all counts nowhere.
    dead.settle("timeout")
    assert "half_open" == guard.snapshot().state


@on_each_backend
def test_hung_probe_is_aborted_and_the_next_is_let_through(backend: Backend) -> None:
    """
    A probe that hangs is ended by the guard's own deadline; recovery goes on a period later.
    """

    async def main() -> None:
        guard = Guard("images")
        open_by_timeouts(guard)
        await anyio.sleep(60)

        with pytest.raises(TimeoutError):
            await guard.acall(sleeps, 10_000)
        assert "open" == guard.snapshot().state
        await anyio.sleep(60.01)

        assert "done" == await guard.acall(sleeps, 1)

    run_virtual(main, backend=backend)


# -- a step of the wall clock opens early, or sticks (7 libraries) ---------------------------------------------------


@pytest.mark.parametrize("step", [3600.0, -3600.0, 1e9, -1e9])
def test_step_of_the_wall_clock_changes_nothing(step: float) -> None:
    """
    An open circuit is half-open after 60 s of monotonic time, whatever the wall clock is set to.
    """
    clock = SteppingClock()
    guard = Guard("images", clock=clock)
    open_by_timeouts(guard)

    clock.step_wall(step)
    clock.advance(59.99)
    with pytest.raises(CircuitOpenError):
        guard.acquire()
    clock.step_wall(-2 * step)
    clock.advance(0.01)

    guard.acquire().settle("success")
    assert "half_open" == guard.snapshot().state


def test_default_clock_is_not_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A guard without a clock of its own never decides by `time.time`.
    """

    def no_time() -> float:
        raise AssertionError("the wall clock decided something")

    guard = Guard("images")
    monkeypatch.setattr(time, "time", no_time)

    open_by_timeouts(guard)
    with pytest.raises(CircuitOpenError) as refused:
        guard.acquire()

    assert refused.value.retry_after is not None
    assert 59 < refused.value.retry_after <= 60


# -- async generators are silently unguarded (7 libraries) -----------------------------------------------------------


def generator() -> Iterator[int]:
    """
    Calling it runs nothing yet.
    """
    yield 1


async def async_generator() -> AsyncIterator[int]:
    """
    Calling it runs nothing yet.
    """
    yield 1


class GeneratorObject:
    """
    An object whose call is a generator function.
    """

    def __call__(self) -> Iterator[int]:
        yield 1


class AsyncObject:
    """
    An object whose call is a coroutine function.
    """

    async def __call__(self) -> int:
        return 1


def returns_a_coroutine() -> object:
    """
    What a careless decorator makes of a coroutine function.
    """
    return AsyncObject()()


GENERATORS = [
    generator,
    async_generator,
    functools.partial(generator),
    functools.partial(async_generator),
    GeneratorObject(),
]


@pytest.mark.parametrize("callee", GENERATORS)
@pytest.mark.parametrize("make", [lambda guard, callee: guard(callee)(), lambda guard, callee: guard.call(callee)])
def test_generators_are_never_silently_unguarded(callee: Callable[[], object], make: Callable[..., Any]) -> None:
    """
    Making one is no success of the provider's; it is in flight while it is open, and counts when it has ended.
    """
    guard = Guard("images")

    async def main() -> None:
        stream = make(guard, callee)
        assert (0, 0) == (guard.snapshot().in_flight, guard.snapshot().counts["success"])
        if isinstance(stream, Iterator):
            assert 1 == next(stream)
        else:
            assert 1 == await anext(stream)
        assert (1, 0) == (guard.snapshot().in_flight, guard.snapshot().counts["success"])
        if isinstance(stream, Iterator):
            assert [] == list(stream)
        else:
            assert [] == [item async for item in stream]
        assert (0, 1) == (guard.snapshot().in_flight, guard.snapshot().counts["success"])

    run_virtual(main)


ASYNC_IN_DISGUISE = [AsyncObject(), functools.partial(AsyncObject()), returns_a_coroutine]


@pytest.mark.parametrize("callee", ASYNC_IN_DISGUISE)
def test_call_of_async_code_is_never_a_success(callee: Callable[[], object]) -> None:
    """
    `call` does not count the making of a coroutine as a success of the provider.
    """
    assert 0 == successes_counted(lambda guard: guard.call(callee))


@pytest.mark.parametrize("callee", ASYNC_IN_DISGUISE)
def test_decorated_async_code_is_guarded_whatever_it_looks_like(callee: Callable[[], object]) -> None:
    """
    A decorated callee that returns a coroutine is guarded until that has ended, or is refused; never waved through.
    """
    assert 0 == successes_counted(lambda guard: guard(callee)())


def successes_counted(call: Callable[[Guard], object]) -> int:
    """
    Make a call, await nothing of what it returns, and count.
    """
    guard = Guard("images")
    made: object = None
    try:
        made = call(guard)
    except TypeError:
        pass
    finally:
        if isinstance(made, Coroutine):
            made.close()

    return guard.snapshot().counts["success"]


# -- a swallowed cancel is recorded as success -----------------------------------------------------------------------


async def swallows_and_answers() -> str:
    """
    Take a cancellation for an answer.
    """
    try:
        await anyio.sleep(1000)
    except BaseException:
        return "as if nothing had happened"
    return "done"


@on_each_backend
def test_swallowed_cancel_is_no_success(backend: Backend) -> None:
    """
    A callee that swallows its caller's cancellation and returns has proved nothing: it is counted as cancelled.
    """

    async def main() -> None:
        guard = Guard("images", timeout=50)

        with anyio.move_on_after(1):
            await guard.acall(swallows_and_answers)

        counts = guard.snapshot().counts
        assert (0, 1) == (counts["success"], counts["cancelled"])
        assert 0.0 == guard.snapshot().weight

    run_virtual(main, backend=backend)


@on_each_backend
def test_swallowed_deadline_is_a_timeout(backend: Backend) -> None:
    """
    A callee that swallows the guard's own cancellation and returns is a timeout, three of which open.
    """

    async def main() -> None:
        guard = Guard("images", timeout=1)

        for _ in range(3):
            with pytest.raises(TimeoutError):
                await guard.acall(swallows_and_answers)

        assert (0, 3) == (guard.snapshot().counts["success"], guard.snapshot().counts["timeout"])
        assert "open" == guard.snapshot().state

    run_virtual(main, backend=backend)


def test_swallowed_cancel_of_a_probe_does_not_close() -> None:
    """
    A probe that swallows its caller's cancellation is not one of the greens that close.
    """

    async def main() -> None:
        guard = Guard("images")
        open_by_timeouts(guard)
        await anyio.sleep(60)

        for _ in range(3):
            with anyio.move_on_after(1):
                await guard.acall(swallows_and_answers)

        assert "half_open" == guard.snapshot().state

    run_virtual(main)


# -- and one that the house added ------------------------------------------------------------------------------------


def test_failures_of_the_caller_do_not_open() -> None:
    """
    A hundred cancelled calls, and a hundred that the guard itself refused, leave the window empty.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock)
    for _ in range(100):
        guard.acquire().settle("cancelled")
        guard.acquire().settle("rejected")

    fail(guard, TimeoutError(), TimeoutError())

    assert 4.0 == guard.snapshot().weight
    assert "closed" == guard.snapshot().state
