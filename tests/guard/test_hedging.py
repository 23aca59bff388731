"""
Hedged calls: the first answer wins, and the loser leaves nothing behind (semantics 8).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from hungframe import (
    CallTimeoutError,
    Guard,
    Hedge,
    TokenBucket,
    current_deadline,
)
from hungframe.testing import RecordingSink, run_virtual
from tests.guard.fakes import Backend, StatusError, about, on_each_backend, sleeps

Callee = Callable[[int], Coroutine[Any, Any, Any]]


def hedging(**settings: Any) -> Guard:
    """
    A guard that sends a second attempt after a second.
    """
    return Guard("images", **{"hedge": Hedge(after=1.0), "timeout": 10, **settings})


def numbered(callee: Callee) -> Callable[[], Coroutine[Any, Any, Any]]:
    """
    A callee that is told its number, from 1.
    """
    count = 0

    async def call() -> Any:
        nonlocal count
        count += 1
        return await callee(count)

    return call


def run(main: Callable[[], Coroutine[Any, Any, Any]], backend: Backend) -> Any:
    async def no_longer_than_a_minute() -> Any:
        with anyio.fail_after(60):
            return await main()

    return run_virtual(no_longer_than_a_minute, backend=backend)


def check_quiet(guard: Guard, sink: RecordingSink | None = None) -> None:
    """
    Check that nothing of it is left.
    """
    assert 0 == guard.snapshot().in_flight == len(guard._engine.suspects)
    if sink is not None:
        finals = {"gen.success", "gen.fail", "gen.reject", "gen.cancelled"}
        assert sink.names().count("gen.request") == sum(name in finals for name in sink.names())


@on_each_backend
@pytest.mark.parametrize("quick", [1, 2])
def test_first_answer_wins(backend: Backend, quick: int) -> None:
    """
    Whichever it is; the other's clean-up has run when the caller is back, and one success is counted.
    """

    async def main() -> None:
        sink, cleaned = RecordingSink(), []
        guard = hedging(sinks=[sink])

        async def callee(number: int) -> int:
            try:
                await anyio.sleep(2 if number == quick else 8)
            finally:
                cleaned.append(number)
            return number

        began_at = anyio.current_time()
        assert quick == await guard.acall(numbered(callee))
        assert (2.0 if quick == 1 else 3.0) == about(anyio.current_time() - began_at)
        assert [1, 2] == sorted(cleaned)
        counts = guard.snapshot().counts
        assert (1, 1, 2) == (counts["success"], counts["cancelled"], sum(counts.values()))
        assert 1 == sink.names().count("gen.hedge")
        check_quiet(guard, sink)

    run(main, backend)


@on_each_backend
def test_quick_call_is_not_hedged(backend: Backend) -> None:
    """
    Nor one that fails before it is time: that is for a retry.
    """

    async def main() -> None:
        guard = hedging(bulkhead=1)
        assert "done" == await guard.acall(sleeps, 0.9)

        async def fails(number: int) -> None:
            await anyio.sleep(0.9)
            raise StatusError(500 + number)

        with pytest.raises(StatusError, match="501"):
            await guard.acall(numbered(fails))
        assert 2 == sum(guard.snapshot().counts.values())

    run(main, backend)


@on_each_backend
def test_both_fail(backend: Backend) -> None:
    """
    The caller gets what the provider said first, the very object.
    """

    async def main() -> None:
        errors = [StatusError(500), StatusError(503)]
        guard = hedging()

        async def fails(number: int) -> None:
            await anyio.sleep(2)
            raise errors[number - 1]

        with pytest.raises(StatusError) as raised:
            await guard.acall(numbered(fails))
        assert errors[0] is raised.value
        check_quiet(guard)

    run(main, backend)


@on_each_backend
def test_first_fails_and_second_answers(backend: Backend) -> None:
    """
    An error is no answer while the other may bring one.
    """

    async def main() -> None:
        async def callee(number: int) -> str:
            await anyio.sleep(2)
            if number == 1:
                raise StatusError(500)
            return "second"

        assert "second" == await hedging().acall(numbered(callee))

    run(main, backend)


@on_each_backend
def test_one_deadline_for_both(backend: Backend) -> None:
    """
    The second does not outlive the first; one timeout is counted.
    """

    async def main() -> None:
        guard, began_at = hedging(timeout=5), anyio.current_time()
        with pytest.raises(CallTimeoutError) as late:
            await guard.acall(sleeps, 100)
        assert 5.0 == about(anyio.current_time() - began_at)
        # Both end in this tick; the second had been given what was left.
        assert late.value.timeout in (5.0, 4.0)
        assert 1 == guard.snapshot().counts["timeout"]
        check_quiet(guard)

    run(main, backend)


@on_each_backend
def test_second_is_refused(backend: Backend) -> None:
    """
    By budget or bulkhead: the first goes on as if there were no hedge.
    """

    async def main() -> None:
        for by in ("budget", "bulkhead"):
            for waits in ("reject", "wait"):
                guard = hedging(on_empty=waits, **{by: TokenBucket(1) if by == "budget" else 1})
                assert "done" == await guard.acall(sleeps, 3)
                assert (1, 1) == (guard.snapshot().counts["success"], guard.snapshot().counts["rejected"])
                assert {} == guard._engine.commons.lines

    run(main, backend)


@on_each_backend
def test_not_hedged_while_it_waits_to_be_let_in(backend: Backend) -> None:
    """
    The second is for a provider that is slow, and not for a line that is long: from when the first was let in.
    """

    async def main() -> None:
        guard = hedging(budget=TokenBucket(1, refill_every=20.0), on_empty="wait", max_wait=50)
        began_at, begun = anyio.current_time(), []

        async def callee(number: int) -> int:
            begun.append(round(anyio.current_time() - began_at, 6))
            await anyio.sleep(8)
            return number

        call = numbered(callee)
        assert [1, 2] == [await guard.acall(call), await guard.acall(call)]
        assert [0.0, 20.0] == begun
        assert 2 == guard.snapshot().counts["rejected"]

    run(main, backend)


@on_each_backend
def test_not_idempotent_is_not_hedged(backend: Backend) -> None:
    """
    Work that must not be done twice is sent once; a function of the arguments may say so of a call.
    """

    async def main() -> None:
        assert "done" == await hedging(idempotent=False, bulkhead=1).acall(sleeps, 5)
        guard = hedging(idempotent=lambda seconds: seconds > 5)
        await guard.acall(sleeps, 5)
        assert 1 == sum(guard.snapshot().counts.values())
        await guard.acall(sleeps, 6)
        assert 3 == sum(guard.snapshot().counts.values())

        def broken(seconds: float) -> bool:
            raise ValueError(seconds)

        guard = hedging(idempotent=broken)
        await guard.acall(sleeps, 5)
        assert (1, 1) == (sum(guard.snapshot().counts.values()), guard.snapshot().faults)

    run(main, backend)


@on_each_backend
def test_caller_cancelled_while_both_run(backend: Backend) -> None:
    """
    Both end, both are counted as cancelled, all slots and permits are free.
    """

    async def main() -> None:
        guard, cleaned = hedging(bulkhead=2), []

        async def callee(number: int) -> None:
            try:
                await anyio.sleep(8)
            finally:
                cleaned.append(number)

        with anyio.move_on_after(2) as scope:
            await guard.acall(numbered(callee))
        assert scope.cancelled_caught
        assert [1, 2] == sorted(cleaned)
        assert 2 == guard.snapshot().counts["cancelled"]
        assert 0 == guard._engine.bulkhead.in_flight  # type: ignore[attr-defined]  # One of ours.
        check_quiet(guard)

    run(main, backend)


def test_callee_that_cancels_itself() -> None:
    """
    A callee that ends as cancelled, and nobody has cancelled it, ends the call so, at once.
    """

    async def main() -> None:
        for at in (0.5, 1.5):
            guard = hedging()

            async def callee(number: int, at: float = at) -> None:
                await anyio.sleep(at)
                raise asyncio.CancelledError

            with pytest.raises(asyncio.CancelledError):
                await guard.acall(numbered(callee))
            check_quiet(guard)

    run(main, "asyncio")


@on_each_backend
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_interrupted(backend: Backend, error: type[BaseException]) -> None:
    """
    What is no failure ends the call, as it is and in no group.
    """

    async def main() -> None:
        guard = hedging()

        async def callee(number: int) -> None:
            await anyio.sleep(2 if number == 2 else 8)
            raise error

        with pytest.raises(error):
            await guard.acall(numbered(callee))
        check_quiet(guard)

    run(main, backend)


@on_each_backend
def test_answers_in_one_tick(backend: Backend) -> None:
    """
    The first that has come is the answer, also where a failure comes in the same tick.
    """

    class Response:
        def __init__(self, status_code: int) -> None:
            self.status_code = status_code

    async def main() -> None:
        for order in ((200, 503), (503, 200)):
            guard = hedging()

            async def callee(number: int, order: tuple[int, int] = order) -> Response:
                await anyio.sleep(4 - number)
                return Response(order[number - 1])

            assert 200 == (await guard.acall(numbered(callee))).status_code

    run(main, backend)


@on_each_backend
def test_loser_that_swallows_its_cancellation(backend: Backend) -> None:
    """
    It has its grace, and is left then.
    """

    if backend == "asyncio" and not hasattr(asyncio.Task, "uncancel"):
        pytest.skip("before 3.11 a task does not count who cancelled it")

    async def main() -> None:
        guard, began_at = hedging(grace=0.25), anyio.current_time()

        async def callee(number: int) -> int:
            for _ in range(8):
                try:
                    await anyio.sleep(1 if number == 1 else 0.1)
                except BaseException:
                    pass
                if number == 2:
                    break
            return number

        assert 2 == await guard.acall(numbered(callee))
        assert anyio.current_time() - began_at < 2
        counts = guard.snapshot().counts
        assert (1, 1) == (counts["success"], counts["cancelled"])

    run(main, backend)


@on_each_backend
def test_context(backend: Backend) -> None:
    """
    An attempt sees its caller's variables and the deadline; what it sets is its own.
    """
    variable: ContextVar[str] = ContextVar("variable", default="")

    async def main() -> None:
        seen: list[Any] = []

        async def callee(number: int) -> None:
            seen.append((variable.get(), current_deadline()))
            variable.set(f"set by {number}")
            await anyio.sleep(3)

        variable.set("the caller's")
        await hedging().acall(numbered(callee))
        assert "the caller's" == variable.get()
        assert ["the caller's"] * 2 == [name for name, _ in seen]
        assert seen[0][1] == about(seen[1][1])
        assert current_deadline() is None

    run(main, backend)


@on_each_backend
def test_three_beside_each_other(backend: Backend) -> None:
    """
    As many as `max` says, one each second.
    """

    async def main() -> None:
        guard = hedging(hedge=Hedge(after=1.0, max=2))

        async def callee(number: int) -> int:
            await anyio.sleep(1 if number == 3 else 9)
            return number

        began_at = anyio.current_time()
        assert 3 == await guard.acall(numbered(callee))
        assert 3.0 == about(anyio.current_time() - began_at)

    run(main, backend)


# -- threads -----------------------------------------------------------------------


def test_sync_callee_needs_isolation() -> None:
    """
    In its caller's own thread nothing could be sent beside it: an error that says what to do, where it is decorated.
    """
    guard = hedging(isolate=None)

    with pytest.raises(ValueError, match=r'isolate="thread".*hedge=None'):
        guard(time.sleep)
    with pytest.raises(ValueError, match="isolate=None"):
        guard.call(str)
    assert "" == guard.using(hedge=None).call(str)


def test_sync_loser_is_left_and_counted() -> None:
    """
    Its thread runs on: an orphan, which holds its slot until it ends.
    """
    sink, let_go = RecordingSink(), threading.Event()
    guard = hedging(hedge=Hedge(after=0.03), bulkhead=2, sinks=[sink])
    numbers = iter([1, 2])

    def callee() -> int:
        number = next(numbers)
        if number == 1:
            let_go.wait(5)
        return number

    began_at = time.monotonic()
    assert 2 == guard.call(callee)
    assert time.monotonic() - began_at < 1
    assert (1, 0) == (guard.snapshot().orphans, guard.snapshot().in_flight)
    assert 1 == guard._engine.bulkhead.in_flight  # type: ignore[attr-defined]  # One of ours.
    let_go.set()
    while guard.snapshot().orphans and time.monotonic() < began_at + 5:
        time.sleep(0.001)
    assert 0 == guard._engine.bulkhead.in_flight  # type: ignore[attr-defined]  # One of ours.
    counts = guard.snapshot().counts
    assert (1, 1, 2) == (counts["success"], counts["cancelled"], sum(counts.values()))
    check_quiet(guard, sink)
    assert current_deadline() is None


def test_sync_not_hedged_while_it_waits_to_be_let_in() -> None:
    """
    In a thread, too, the second is sent so long after the first was let in; and it does not wait.
    """
    guard = hedging(hedge=Hedge(after=0.1), budget=TokenBucket(1, refill_every=0.3), on_empty="wait")
    guard.using(hedge=None).call(str)

    assert "" == guard.call(str)

    assert 2 == sum(guard.snapshot().counts.values())


def test_sync_second_fails_and_first_answers() -> None:
    """
    And both fail: the first error, the very object.
    """
    guard = hedging(hedge=Hedge(after=0.02))
    numbers = iter([1, 2, 1, 2])
    errors = {number: StatusError(500 + number) for number in (1, 2)}

    def callee(succeeds: bool) -> int:
        number = next(numbers)
        time.sleep(0.06 if number == 1 else 0.001)
        if number == 2 or not succeeds:
            raise errors[number]
        return number

    assert 1 == guard.call(callee, True)
    with pytest.raises(StatusError) as raised:
        guard.call(callee, False)
    assert raised.value in errors.values()
    check_quiet(guard)


@on_each_backend
def test_a_fixed_timeout_learns_for_the_hedge(backend: Backend) -> None:
    """
    `after="p95"` is known whatever says how long a call may take.
    """

    async def main() -> None:
        guard = Guard("images", timeout=20, hedge=Hedge())
        for _ in range(20):
            await guard.acall(anyio.sleep, 1)
        sent: list[float] = []

        async def hangs_once() -> None:
            sent.append(anyio.current_time())
            await anyio.sleep(15 if len(sent) == 1 else 0.5)

        await guard.acall(hangs_once)
        assert 1.0 == pytest.approx(sent[1] - sent[0])

    run_virtual(main, backend=backend)
