"""
What a caller gets when a call has failed for good, and when it gets the error all the same (semantics 8).
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

import anyio
import pytest

from hungframe import (
    AdaptiveTimeout,
    BudgetExhaustedError,
    BulkheadFullError,
    CallTimeoutError,
    CircuitOpenError,
    Guard,
    Hedge,
    Outcome,
    Retry,
    TokenBucket,
    current_deadline,
    time_left,
)
from hungframe.testing import RecordingSink, run_virtual
from tests.guard.fakes import (
    Backend,
    StatusError,
    about,
    on_each_backend,
    open_by_timeouts,
    raises,
    raises_async,
    sleeps,
)


def falling_back(fallback: Any = "a drawing", **settings: Any) -> Guard:
    """
    A guard that has something else to give.
    """
    return Guard("images", **{"fallback": fallback, "timeout": 10, **settings})


def run(main: Callable[[], Coroutine[Any, Any, Any]], backend: Backend = "asyncio") -> Any:
    return run_virtual(main, backend=backend)


class Names:
    """
    A function of the error, which remembers what it was given.
    """

    def __init__(self) -> None:
        self.given: list[Exception] = []

    def __call__(self, error: Exception) -> str:
        self.given.append(error)
        return type(error).__name__


# -- what it gives ---------------------------------------------------------------


FAILURES = [StatusError(500), StatusError(429), TimeoutError(), ConnectionResetError(), ValueError("unknown")]


@on_each_backend
@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_value_and_functions(backend: Backend, error: Exception) -> None:
    """
    A value, a function of the error, a coroutine function of it, or an object that is called.
    """

    async def later(error: Exception) -> Exception:
        await anyio.sleep(5)
        return error

    async def main() -> None:
        names = Names()
        assert "a drawing" == await falling_back().acall(raises_async, error)
        assert type(error).__name__ == await falling_back(names).acall(raises_async, error)
        assert [error] == names.given
        assert error is await falling_back(later).acall(raises_async, error)
        assert error is await falling_back(lambda error: later(error)).acall(raises_async, error)
        assert current_deadline() is None

    run(main, backend)
    for isolate in ("auto", None):
        assert "a drawing" == falling_back(isolate=isolate).call(raises, error)
        assert error is falling_back(lambda error: error, isolate=isolate)(raises)(error)


@on_each_backend
def test_values_that_are_nothing_much(backend: Backend) -> None:
    """
    An empty or a false value is one; a class is called.
    """

    async def main() -> None:
        nothing: list[Any] = ["", 0, False, (), [], {}]
        for value in nothing:
            assert value is await falling_back(value).acall(raises_async, StatusError(500))
        assert "the provider said 500" == await falling_back(str).acall(raises_async, StatusError(500))
        assert await falling_back(lambda _: None).acall(raises_async, StatusError(500)) is None

    run(main, backend)


@on_each_backend
def test_own_timeout(backend: Backend) -> None:
    """
    The function is given the timeout as its caller would have been, with where it hung.
    """

    async def main() -> None:
        names, began_at = Names(), anyio.current_time()
        assert "CallTimeoutError" == await falling_back(names).acall(sleeps, 100)
        assert 10.0 == about(anyio.current_time() - began_at)
        (error,) = names.given
        assert isinstance(error, CallTimeoutError)
        assert "clean" == error.receipt
        assert error.where

    run(main, backend)


def test_sync_timeout_is_back_in_time() -> None:
    """
    A thread that runs on is an orphan, and the caller has its drawing at the deadline.
    """
    guard = falling_back(timeout=0.05, grace=0.01)
    began_at = time.monotonic()

    assert "a drawing" == guard.call(time.sleep, 0.5)

    assert time.monotonic() - began_at < 0.4
    assert 1 == guard.snapshot().counts["timeout"]


def test_refused() -> None:
    """
    By breaker, budget, pause and bulkhead: it is for just such times.
    """
    names = Names()
    guard = falling_back(names)
    open_by_timeouts(guard.using(fallback=None))
    assert "CircuitOpenError" == guard.call(str)
    assert isinstance(names.given[0], CircuitOpenError)
    guard = falling_back(names, budget=TokenBucket(1))
    assert ["", "BudgetExhaustedError"] == [guard.call(str), guard.call(str)]
    assert isinstance(names.given[1], BudgetExhaustedError)
    guard = falling_back(names)
    guard.pause(10)
    assert "BudgetExhaustedError" == guard.call(str)
    guard = falling_back(names, bulkhead=1)
    permit = guard.acquire()
    assert "BulkheadFullError" == guard.call(str)
    assert isinstance(names.given[3], BulkheadFullError)
    permit.cancel()


def test_told_in_events_and_counted_as_it_was() -> None:
    """
    The call has failed, whatever its caller has got.
    """
    sink = RecordingSink()
    guard = falling_back(sinks=[sink])

    guard.call(raises, StatusError(500))
    guard.call(str)

    counts = guard.snapshot().counts
    assert (1, 1, 2) == (counts["5xx"], counts["success"], sum(counts.values()))
    assert ["gen.request", "gen.fail", "gen.fallback", "gen.request", "gen.success"] == sink.names()


# -- when it gives nothing ------------------------------------------------------------


def test_callers_own_mistake_is_raised() -> None:
    """
    A 4xx, the very object.
    """
    error = StatusError(404)

    with pytest.raises(StatusError) as raised:
        falling_back().call(raises, error)

    assert error is raised.value


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), asyncio.CancelledError(), GeneratorExit()])
def test_interruption_is_raised(error: BaseException) -> None:
    """
    What is no Exception is no failure.
    """
    with pytest.raises(type(error)) as raised:
        falling_back(isolate=None).call(raises, error)
    assert error is raised.value


@on_each_backend
def test_cancellation_goes_on(backend: Backend) -> None:
    """
    During the call and during the fallback.
    """

    async def slow(error: Exception) -> str:
        await anyio.sleep(100)
        return "a drawing"

    async def main() -> None:
        calls: list[tuple[Any, Any]] = [(sleeps, 8), (raises_async, StatusError(500))]
        for callee, given in calls:
            with anyio.move_on_after(5) as scope:
                await falling_back(slow).acall(callee, given)
            assert scope.cancelled_caught

    run(main, backend)


def test_classifier_decides() -> None:
    """
    What it calls the caller's mistake, a cancellation or no failure at all is raised.
    """
    for outcome in (Outcome.CLIENT_ERROR, Outcome.CANCELLED, Outcome.SUCCESS):
        guard = falling_back(classify=lambda _, outcome=outcome: outcome)
        with pytest.raises(KeyError):
            guard.call(raises, KeyError("not found"))
    assert "a drawing" == falling_back(classify=lambda _: Outcome.SERVER_ERROR).call(raises, StatusError(404))


def test_failed_result_is_the_callers() -> None:
    """
    A response with status 503 was returned: there is no error that something else would stand for.
    """
    failed = StatusError(503)

    assert failed is falling_back().call(lambda: failed)


async def _async_callee() -> None:
    """
    Would do something, if it were awaited.
    """


@pytest.mark.parametrize("settings", [{}, {"retry": Retry(base=0, on=["unknown"])}, {"isolate": None}])
def test_mistake_of_the_program_is_raised(settings: dict[str, Any]) -> None:
    """
    Hidden by a fallback, it would never be found; and it is made once.
    """
    guard = falling_back(**settings)
    calls: list[int] = []

    def returns_coroutine() -> Any:
        calls.append(1)
        return _async_callee()

    with pytest.raises(TypeError, match="returned a coroutine"):
        guard.call(returns_coroutine)
    with pytest.raises(TypeError, match="returned a generator"):
        guard.call(lambda: (item for item in "ab"))

    async def main() -> None:
        with pytest.raises(TypeError, match="must return an awaitable"):
            await guard.using(isolate="auto").acall(lambda: 5)  # type: ignore[arg-type, return-value]

    run(main, "asyncio")
    run(main, "trio")
    assert [1] == calls
    counts = guard.snapshot().counts
    assert sum(counts.values()) == counts["cancelled"]


@pytest.mark.parametrize("settings", [{}, {"hedge": Hedge(after=5)}])
def test_what_no_process_can_be_given_is_raised(settings: dict[str, Any]) -> None:
    """
    It was never called, and never will be.
    """
    guard = falling_back(isolate="process", **settings)

    with pytest.raises(TypeError, match="isolate='process'"):
        guard.call(lambda: 5)


# -- with others ----------------------------------------------------------------------


@on_each_backend
def test_after_the_last_attempt(backend: Backend) -> None:
    """
    Once, with the latest error of the provider's; also where the next attempt was refused.
    """

    async def main() -> None:
        for budget in (None, TokenBucket(2)):
            errors = [StatusError(500), StatusError(502), StatusError(503)][: 3 if budget is None else 2]
            left, given = list(errors), Names()
            guard = falling_back(given, retry=Retry(base=0), budget=budget)

            async def callee(left: list[StatusError] = left) -> str:
                raise left.pop(0)

            assert "StatusError" == await guard.acall(callee)
            assert [errors[-1]] == given.given
            assert [] == left

    run(main, backend)


@on_each_backend
@pytest.mark.parametrize("attempts", [1, 2])
def test_fallback_has_its_own_time(backend: Backend, attempts: int) -> None:
    """
    The total is for the attempts: when it is over, another provider may be asked, however many attempts there were.
    """

    async def main() -> None:
        other, left = Guard("other", timeout=30), []

        async def ask_other(error: Exception) -> str:
            async def callee() -> str:
                left.append(time_left())
                await anyio.sleep(20)
                return "of the other"

            return await other.acall(callee)

        guard = falling_back(ask_other, timeout=7, total_timeout=10, retry=Retry(attempts, base=0))
        assert "of the other" == await guard.acall(sleeps, 100)
        assert [30.0] == pytest.approx(left)
        assert current_deadline() is None
        # A call around has the last word all the same.
        with pytest.raises(CallTimeoutError):
            await Guard("outer", timeout=15).acall(guard.acall, sleeps, 100)
        assert (8.0 if attempts == 1 else 5.0) == about(left[1])

    run(main, backend)


def test_sync_fallback_has_its_own_time() -> None:
    """
    Likewise in threads.
    """
    left: list[Any] = []

    def ask_other(error: Exception) -> str:
        left.append(Guard("other", timeout=30).call(time_left))
        return "of the other"

    guard = falling_back(ask_other, timeout=0.05, grace=0.01, total_timeout=0.08, retry=Retry(base=0))

    assert "of the other" == guard.call(time.sleep, 0.3)
    assert left[0] > 20


@on_each_backend
def test_after_a_hedge(backend: Backend) -> None:
    """
    When both have failed.
    """

    async def main() -> None:
        sink = RecordingSink()
        guard = falling_back(hedge=Hedge(after=1), sinks=[sink])

        async def fails() -> str:
            await anyio.sleep(2)
            raise StatusError(500)

        assert "a drawing" == await guard.acall(fails)
        assert 2 == guard.snapshot().counts["5xx"]
        assert 1 == sink.names().count("gen.fallback")

    run(main, backend)


@on_each_backend
def test_fallback_that_raises(backend: Backend) -> None:
    """
    Its error is the caller's, and so is the provider's own if it raises that.
    """

    async def raises_other(error: Exception) -> None:
        raise LookupError from error

    async def main() -> None:
        error = StatusError(500)
        with pytest.raises(LookupError) as other:
            await falling_back(raises_other).acall(raises_async, error)
        assert error is other.value.__cause__
        with pytest.raises(StatusError) as raised:
            await falling_back(raises).acall(raises_async, error)
        assert error is raised.value

    run(main, backend)
    drawings: dict[str, str] = {}
    with pytest.raises(LookupError):
        falling_back(lambda _: drawings["a drawing"]).call(raises, StatusError(500))


def test_views() -> None:
    """
    A view without one, and one with another.
    """
    guard = falling_back()

    with pytest.raises(StatusError):
        guard.using(fallback=None).call(raises, StatusError(500))
    assert "another" == guard.using(fallback="another").call(raises, StatusError(500))
    assert "a drawing" == guard.using(timeout=5).call(raises, StatusError(500))


# -- where it cannot be -------------------------------------------------------------


async def _later(error: Exception) -> str:
    return "a drawing"


class _Later:
    async def __call__(self, error: Exception) -> str:
        return "a drawing"


@pytest.mark.parametrize("fallback", [_later, functools.partial(_later), _Later(), _Later().__call__])
@pytest.mark.parametrize("settings", [{}, {"timeout": AdaptiveTimeout.per(len)}], ids=["", "per key"])
def test_sync_callee_takes_no_coroutine_function(fallback: Any, settings: dict[str, Any]) -> None:
    """
    Nobody would await it: an error that says so, where it is decorated.
    """
    guard = falling_back(fallback, **settings)

    def callee(prompt: str) -> None:
        """Never called."""

    with pytest.raises(TypeError, match="fallback is the coroutine function.*cannot await"):
        guard(callee)
    with pytest.raises(TypeError, match="fallback"):
        guard.call(callee, "a cat")
    assert "" == guard.using(fallback=None).call(str)


def test_sync_callee_takes_no_coroutine() -> None:
    """
    Of a function that does not look like one: an error when it is seen, of which the provider's is the cause.
    """
    error = StatusError(500)
    guard = falling_back(lambda error: _later(error))

    with pytest.raises(TypeError, match="returned a coroutine") as raised:
        guard.call(raises, error)

    assert error is raised.value.__cause__


def test_coroutine_is_no_fallback() -> None:
    """
    It could be awaited once, and a guard makes many calls.
    """
    coroutine = _later(ValueError())
    try:
        for make in (Guard, Guard("images").using):
            with pytest.raises(TypeError, match="fallback must be a value or a function"):
                make(**{"fallback": coroutine, **({"name": "images"} if make is Guard else {})})  # type: ignore[arg-type]
    finally:
        coroutine.close()


def test_generator_functions_take_none() -> None:
    """
    Its items would have to come from somewhere; nor are they hedged.
    """

    def stream() -> Generator[str, None, None]:
        yield "a"

    async def stream_async() -> AsyncGenerator[str, None]:
        yield "a"

    for fn in (stream, stream_async):
        for name, value in (("fallback", "b"), ("hedge", Hedge())):
            with pytest.raises(TypeError, match=f"{name}.*generator function.*using"):
                Guard("images", **{name: value})(fn)  # type: ignore[arg-type]  # What is refused.
            with pytest.raises(TypeError, match=name):
                Guard("images", **{name: value}).call(fn)  # type: ignore[arg-type]  # What is refused.
