"""
Calls that are tried again: which, when, how often, and what the caller gets in the end (semantics 8).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import anyio
import pytest

from hungframe import (
    BudgetExhaustedError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Guard,
    Retry,
    TokenBucket,
    current_deadline,
    time_left,
)
from hungframe.testing import RecordingSink, VirtualClock, run_virtual
from tests.guard.fakes import Backend, StatusError, about, on_each_backend, raises, sleeps

# At once, and as often as it likes.
AT_ONCE: dict[str, Any] = {"base": 0, "budget": None}


class Response:
    """
    An answer with a status, and headers.
    """

    def __init__(self, status_code: int, **headers: str) -> None:
        self.status_code = status_code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Provider:
    """
    Answers or raises one thing after the other, and remembers when it was asked.
    """

    def __init__(self, *script: Any) -> None:
        self._script = list(script)
        self.asked_at: list[float] = []

    def ask(self) -> Any:
        self.asked_at.append(time.monotonic())
        return self._next()

    async def ask_async(self) -> Any:
        self.asked_at.append(anyio.current_time())
        await anyio.sleep(0)
        return self._next()

    def _next(self) -> Any:
        ended = self._script.pop(0)
        if isinstance(ended, BaseException):
            raise ended
        return ended

    @property
    def waits(self) -> list[float]:
        """Seconds from one attempt to the next."""
        return [later - earlier for earlier, later in zip(self.asked_at, self.asked_at[1:], strict=False)]


def retrying(attempts: int = 3, **settings: Any) -> Guard:
    """
    A guard that tries again at once, of which the breaker does not open.
    """
    return Guard("images", **{"retry": Retry(attempts, **AT_ONCE), "breaker": None, "timeout": 10, **settings})


def run(main: Callable[[], Coroutine[Any, Any, Any]], backend: Backend) -> Any:
    return run_virtual(main, backend=backend)


def check_quiet(guard: Guard, sink: RecordingSink | None = None) -> None:
    """
    Check that nothing of it is left, and that no call is believed to be running around who asks.
    """
    assert 0 == guard.snapshot().in_flight
    assert {} == guard._engine.commons.lines
    assert current_deadline() is None
    if sink is not None:
        finals = {"gen.success", "gen.fail", "gen.reject", "gen.cancelled"}
        assert sink.names().count("gen.request") == sum(name in finals for name in sink.names())


# -- how it ends ------------------------------------------------------------------


@on_each_backend
def test_answer_of_the_third_attempt(backend: Backend) -> None:
    """
    The others have failed, are counted and told; the caller gets the answer.
    """

    async def main() -> None:
        sink, provider = RecordingSink(), Provider(ConnectionResetError(), StatusError(503), "a picture")
        guard = retrying(sinks=[sink])
        assert "a picture" == await guard.acall(provider.ask_async)
        counts = guard.snapshot().counts
        assert (1, 1, 1) == (counts["success"], counts["connection"], counts["5xx"])
        assert 2 == sink.names().count("gen.retry")
        check_quiet(guard, sink)

    run(main, backend)


@on_each_backend
def test_the_latest_error_is_the_callers(backend: Backend) -> None:
    """
    The very object, which tells nothing of those before it.
    """

    async def main() -> None:
        errors = [StatusError(500), StatusError(502), StatusError(503)]
        guard = retrying()
        with pytest.raises(StatusError) as raised:
            await guard.acall(Provider(*errors).ask_async)
        assert errors[2] is raised.value
        assert raised.value.__context__ is None and raised.value.__cause__ is None
        check_quiet(guard)

    run(main, backend)


def test_sync() -> None:
    """
    The same in the caller's thread and in a worker's.
    """
    for isolate in ("auto", None):
        guard = retrying(isolate=isolate)
        assert "a picture" == guard.call(Provider(ConnectionResetError(), Response(503), "a picture").ask)

        last = StatusError(503)
        with pytest.raises(StatusError) as raised:
            guard.call(Provider(ConnectionResetError(), StatusError(502), last).ask)
        assert last is raised.value
        assert raised.value.__context__ is None
        check_quiet(guard)


@on_each_backend
def test_failed_results_are_tried_again_and_the_latest_returned(backend: Backend) -> None:
    """
    A client that does not raise gets its response all the same.
    """

    async def main() -> None:
        responses = [Response(500), Response(502), Response(503)]
        assert responses[2] is await retrying().acall(Provider(*responses).ask_async)
        good = Response(200)
        assert good is await retrying().acall(Provider(responses[0], good).ask_async)
        mine = Response(404)
        assert mine is await retrying().acall(Provider(responses[0], mine, good).ask_async)

    run(main, backend)


REFUSERS: list[Callable[[], dict[str, Any]]] = [
    lambda: {"budget": TokenBucket(1)},
    lambda: {"breaker": CircuitBreaker(min_weight=1)},
]


@pytest.mark.parametrize("refuser", REFUSERS)
def test_refused_retry_returns_what_the_provider_said(refuser: Callable[[], dict[str, Any]]) -> None:
    """
    That there was no token left for another attempt does not make an answer, or the provider's own error, less true.
    """
    failed, error = Response(503), StatusError(503)

    assert failed is retrying(**refuser()).call(Provider(failed).ask)
    with pytest.raises(StatusError) as raised:
        retrying(**refuser()).call(Provider(error).ask)
    assert error is raised.value

    async def main() -> None:
        assert failed is await retrying(**refuser()).acall(Provider(failed).ask_async)
        with pytest.raises(StatusError) as raised:
            await retrying(**refuser()).acall(Provider(error).ask_async)
        assert error is raised.value

    run(main, "asyncio")


def test_refused_retry_returns_what_the_provider_said_last() -> None:
    """
    First it raised and then it answered, or the other way about: the latter counts.
    """
    failed, error = Response(503), StatusError(500)

    assert failed is retrying(budget=TokenBucket(2)).call(Provider(error, failed).ask)
    with pytest.raises(StatusError) as raised:
        retrying(budget=TokenBucket(2)).call(Provider(failed, error).ask)
    assert error is raised.value


class AwaitableResponse(Response):
    """
    A response that can be awaited, as a lazy one can; here it must not be.
    """

    def __await__(self) -> Generator[Any, Any, NoReturn]:
        raise AssertionError("it was awaited")
        yield


def test_refused_retry_does_not_await_what_the_provider_said() -> None:
    """
    What was returned is handed on as it is.
    """

    async def main() -> None:
        failed = AwaitableResponse(503)
        guard = retrying(budget=TokenBucket(1), fallback="nothing")
        assert failed is await guard.acall(Provider(failed).ask_async)

    run(main, "asyncio")


def test_refused_at_first_is_refused() -> None:
    """
    An open breaker and an empty budget are not asked three times.
    """
    sink = RecordingSink()
    guard = retrying(budget=TokenBucket(1), sinks=[sink])
    guard.call(str)

    with pytest.raises(BudgetExhaustedError):
        guard.call(str)

    assert 1 == guard.snapshot().counts["rejected"]
    assert "gen.retry" not in sink.names()


def test_breaker_opens_between_attempts() -> None:
    """
    Each attempt asks the breaker: one that opens ends it all, and the next call is refused as an open breaker does.
    """
    provider = Provider(*(StatusError(500) for _ in range(9)))
    guard = retrying(attempts=9, breaker=CircuitBreaker())

    with pytest.raises(StatusError):
        guard.call(provider.ask)
    assert (5, "open") == (len(provider.asked_at), guard.snapshot().state)
    with pytest.raises(CircuitOpenError):
        guard.call(provider.ask)
    assert 5 == len(provider.asked_at)


# -- which ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [StatusError(404), ValueError(), KeyboardInterrupt(), SystemExit(), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
def test_not_tried_again(error: BaseException) -> None:
    """
    What another attempt cannot change, and what is no failure.
    """
    provider = Provider(error, "a picture")

    with pytest.raises(type(error)) as raised:
        retrying(isolate=None).call(provider.ask)

    assert error is raised.value
    assert 1 == len(provider.asked_at)


def test_on_says_which() -> None:
    """
    Also the unknown, where the user knows better.
    """
    guard = retrying(retry=Retry(**AT_ONCE, on=["unknown"]))

    assert "a picture" == guard.call(Provider(ValueError(), "a picture").ask)
    with pytest.raises(StatusError):
        guard.call(Provider(StatusError(500), "a picture").ask)


def test_own_timeout_is_tried_again() -> None:
    """
    Each attempt has the whole timeout.
    """
    provider = Provider(60.0, 0.0)
    guard = retrying(timeout=5)

    async def main() -> str:
        async def callee() -> str:
            return await sleeps(await provider.ask_async())

        began_at = anyio.current_time()
        answer = await guard.acall(callee)
        assert 5.0 == about(anyio.current_time() - began_at)
        return answer

    assert "done" == run(main, "asyncio")
    assert 1 == guard.snapshot().counts["timeout"]


@pytest.mark.parametrize("idempotent", [False, lambda: False, lambda: 1 / 0, lambda wrong: True])
def test_what_must_not_be_done_twice(idempotent: Any) -> None:
    """
    It is tried again only where it was surely not begun; who cannot say that it may has not allowed it.
    """
    guard = retrying(idempotent=idempotent)

    for error in (StatusError(500), TimeoutError(), ConnectionResetError()):
        with pytest.raises(type(error)) as raised:
            guard.call(Provider(error, "a picture").ask)
        assert error is raised.value
    assert "a picture" == guard.call(Provider(ConnectionRefusedError(), "a picture").ask)


class Undecided:
    """
    Neither true nor false, as an array of two is.
    """

    def __bool__(self) -> bool:
        raise ValueError("neither true nor false")


async def _says_yes() -> bool:
    return True


@pytest.mark.parametrize("idempotent", [Undecided, lambda: _says_yes()])
def test_idempotent_that_tells_nothing(idempotent: Any) -> None:
    """
    A coroutine is true as any object is, and has allowed nothing; the provider's error is still the caller's.
    """
    provider = Provider(StatusError(500), "a picture")

    with pytest.raises(StatusError):
        retrying(idempotent=idempotent).call(provider.ask)

    assert 1 == len(provider.asked_at)


def test_arguments_tell() -> None:
    """
    The function is asked with what the call was given.
    """
    asked: list[Any] = []

    def idempotent(method: str, *, key: str | None = None) -> bool:
        asked.append((method, key))
        return method == "GET" or key is not None

    provider = Provider(StatusError(500), "a picture", StatusError(500), StatusError(500), "another")

    @retrying(idempotent=idempotent)
    def send(method: str, *, key: str | None = None) -> Any:
        return provider.ask()

    assert "a picture" == send("GET")
    with pytest.raises(StatusError):
        send("POST")
    assert "another" == send("POST", key="k")
    assert [("GET", None), ("POST", None), ("POST", "k")] == asked


def test_method() -> None:
    """
    A decorated method, of which each object has its own.
    """
    guard = retrying()

    class Client:
        def __init__(self) -> None:
            self.provider = Provider(StatusError(500), "a picture")

        @guard
        def draw(self, suffix: str) -> str:
            return str(self.provider.ask()) + suffix

    assert ["a picture!", "a picture?"] == [Client().draw("!"), Client().draw("?")]


def test_retry_budget_is_shared_by_all_calls() -> None:
    """
    In an outage a quiet service has ten retries a minute, and not two for each call.
    """
    clock = VirtualClock()
    guard = retrying(retry=Retry(base=0), clock=clock)
    provider = Provider(*(StatusError(500) for _ in range(100)))

    for _ in range(20):
        with pytest.raises(StatusError):
            guard.call(provider.ask)

    assert 30 == len(provider.asked_at)
    clock.advance(62)
    with pytest.raises(StatusError):
        guard.call(provider.ask)
    assert 33 == len(provider.asked_at)


def test_views() -> None:
    """
    A view without a retry, and one with another.
    """
    guard = retrying()

    with pytest.raises(StatusError):
        guard.using(retry=None).call(Provider(StatusError(500), "a picture").ask)
    with pytest.raises(StatusError):
        guard.using(idempotent=False).call(Provider(StatusError(500), "a picture").ask)
    more = guard.using(retry=Retry(5, **AT_ONCE))
    assert "a picture" == more.call(Provider(*[StatusError(500)] * 4, "a picture").ask)


# -- when ----------------------------------------------------------------------------


@on_each_backend
def test_waits_with_full_jitter(backend: Backend) -> None:
    """
    At most the base, and twice as much each time.
    """

    async def main() -> None:
        for _ in range(20):
            provider = Provider(*[StatusError(500)] * 4, "a picture")
            await retrying(retry=Retry(5, base=1.0, cap=3.0, budget=None)).acall(provider.ask_async)
            assert all(wait <= most for wait, most in zip(provider.waits, [1, 2, 3, 3], strict=True))

    run(main, backend)


def _asking(status_code: int, value: str, *, by: str) -> Any:
    response = Response(status_code, Retry_After=value)
    if by == "result":
        return response
    error = StatusError(status_code)
    setattr(error, by, response if by == "response" else response.headers)
    return error


@on_each_backend
@pytest.mark.parametrize("by", ["result", "headers", "response"])
@pytest.mark.parametrize("status_code", [429, 503])
def test_retry_after_is_obeyed(backend: Backend, status_code: int, by: str) -> None:
    """
    However it is told, and beyond the cap; a little later, so that not all come back in one tick.
    """

    async def main() -> None:
        provider = Provider(_asking(status_code, "40", by=by), "a picture")
        guard = retrying()
        assert "a picture" == await guard.acall(provider.ask_async)
        assert 40 <= provider.waits[0] <= 41
        check_quiet(guard)

    run(main, backend)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("soon", 1, 3),
        ("-5", 1, 3),
        ("0", 1, 3),
        ("nan", 1, 3),
        ("", 1, 3),
        ("1000000000000", 3600, 3601),
        ("9" * 5000, 3600, 3601),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1, 3),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600, 3601),
    ],
)
@pytest.mark.parametrize("by", ["result", "headers"])
def test_retry_after_that_cannot_be_meant(value: str, least: float, most: float, by: str) -> None:
    """
    What is not understood is as good as not said: the 429 pauses for a second or two; nobody waits for a lifetime.
    """

    async def main() -> None:
        provider = Provider(_asking(429, value, by=by), "a picture")
        guard = retrying()
        assert "a picture" == await guard.acall(provider.ask_async)
        assert least <= provider.waits[0] <= most

    run(main, "asyncio")


@on_each_backend
def test_waits_while_the_guard_is_paused(backend: Backend) -> None:
    """
    Whoever paused it: an attempt before that would be refused.
    """

    async def main() -> None:
        guard, provider = retrying(), Provider(StatusError(500), "a picture")

        async def callee() -> Any:
            guard.pause(20)
            return await provider.ask_async()

        assert "a picture" == await guard.acall(callee)
        assert 20 <= provider.waits[0] <= 21

    run(main, backend)


@on_each_backend
def test_each_attempt_waits_for_its_token(backend: Backend) -> None:
    """
    With on_empty="wait", as a call of its own would.
    """

    async def main() -> None:
        guard = retrying(budget=TokenBucket(1, refill_every=5), on_empty="wait")
        provider = Provider(StatusError(500), StatusError(500), "a picture")
        assert "a picture" == await guard.acall(provider.ask_async)
        assert [5.0, 5.0] == about(provider.waits)  # type: ignore[arg-type]
        check_quiet(guard)

    run(main, backend)


# -- the time of all attempts ---------------------------------------------------------


@on_each_backend
def test_total_timeout_is_for_all_attempts(backend: Backend) -> None:
    """
    The third attempt sees what the others and the waits have left, and is ended there.
    """

    async def main() -> None:
        guard = retrying(timeout=4, total_timeout=10)
        left: list[Any] = []

        async def callee() -> None:
            left.append(time_left())
            await anyio.sleep(100)

        began_at = anyio.current_time()
        with pytest.raises(CallTimeoutError):
            await guard.acall(callee)
        assert 10.0 == about(anyio.current_time() - began_at)
        assert [4.0, 4.0, 2.0] == pytest.approx(left)
        check_quiet(guard)

    run(main, backend)


@on_each_backend
def test_wait_that_would_be_in_vain(backend: Backend) -> None:
    """
    By its own total, or by the call around it: the provider's error at once, and no retry is taken from the budget.
    """

    async def main() -> None:
        error = _asking(503, "30", by="headers")
        guard = retrying(total_timeout=20, retry=Retry(base=0))
        began_at = anyio.current_time()
        with pytest.raises(StatusError) as raised:
            await guard.acall(Provider(error).ask_async)
        assert error is raised.value
        outer = Guard("outer", timeout=20)
        with pytest.raises(StatusError) as raised:
            await outer.acall(guard.using(total_timeout=None).acall, Provider(error).ask_async)
        assert error is raised.value
        assert 0.0 == about(anyio.current_time() - began_at)
        retry = guard._limits.around.retry  # type: ignore[union-attr]
        assert retry is not None and retry.retry_budget is not None
        assert 10 == retry.retry_budget.left(anyio.current_time())

    run(main, backend)


@on_each_backend
def test_cancelled_while_it_waits(backend: Backend) -> None:
    """
    The cancellation goes on, and nothing is left; a scope around ends the wait.
    """

    async def main() -> None:
        sink = RecordingSink()
        guard = retrying(sinks=[sink], total_timeout=1000)
        provider = Provider(_asking(503, "40", by="headers"), "a picture")
        began_at = anyio.current_time()
        with anyio.move_on_after(10) as scope:
            await guard.acall(provider.ask_async)
        assert scope.cancelled_caught
        assert 10.0 == about(anyio.current_time() - began_at)
        assert 1 == sum(guard.snapshot().counts.values())
        check_quiet(guard, sink)

    run(main, backend)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_interrupted_while_it_waits(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """
    From the keyboard, say: it is raised, and nothing is left.
    """

    def interrupted(seconds: float) -> NoReturn:
        raise error

    guard = retrying(total_timeout=1000)
    monkeypatch.setattr(time, "sleep", interrupted)

    with pytest.raises(type(error)) as raised:
        guard.call(Provider(StatusError(500), "a picture").ask)

    assert error is raised.value
    check_quiet(guard)


def test_wait_that_no_thread_can_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Somebody has paused the guard for good, without a total: as long as can be, and no error of the guard's own.
    """
    waits: list[float] = []
    guard = retrying(attempts=2)

    def paused_for_good() -> None:
        guard.pause(1e300)
        raise StatusError(500)

    monkeypatch.setattr(time, "sleep", waits.append)

    with pytest.raises(StatusError):
        guard.call(paused_for_good)

    assert [threading.TIMEOUT_MAX] == waits


def test_orphan_that_holds_the_only_slot() -> None:
    """
    What was abandoned still runs: there is no room for another attempt, and the caller is told of the timeout.
    """
    guard = retrying(bulkhead=1, timeout=0.03, grace=0.01)

    with pytest.raises(CallTimeoutError) as late:
        guard.call(time.sleep, 0.2)

    assert "orphan" == late.value.receipt
    assert (1, 1) == (guard.snapshot().counts["timeout"], guard.snapshot().counts["rejected"])


def test_many_threads() -> None:
    """
    All get their answer at their second attempt, and no count is lost.
    """
    guard = retrying(isolate=None)

    def caller() -> None:
        for _ in range(50):
            assert "a picture" == guard.call(Provider(StatusError(500), "a picture").ask)

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(caller) for _ in range(8)]:
            future.result()

    assert (400, 400) == (guard.snapshot().counts["success"], guard.snapshot().counts["5xx"])
    check_quiet(guard)


# -- streams --------------------------------------------------------------------------


@on_each_backend
def test_stream_before_its_first_item(backend: Backend) -> None:
    """
    The second attempt brings the items; each failed generator was closed.
    """

    async def main() -> None:
        sink, provider, closed = RecordingSink(), Provider(ConnectionResetError(), "a"), []
        guard = retrying(sinks=[sink])

        @guard
        async def stream() -> AsyncGenerator[str, None]:
            try:
                yield await provider.ask_async()
                yield "b"
            finally:
                closed.append(len(provider.asked_at))

        assert ["a", "b"] == [item async for item in stream()]
        assert [1, 2] == closed
        assert (1, 1) == (guard.snapshot().counts["success"], guard.snapshot().counts["connection"])
        check_quiet(guard, sink)

    run(main, backend)


@on_each_backend
def test_stream_after_its_first_item(backend: Backend) -> None:
    """
    What its consumer has cannot be taken back: the error goes on.
    """

    async def main() -> None:
        provider = Provider("a", StatusError(500), "a", "b")

        @retrying()
        async def stream() -> AsyncGenerator[str, None]:
            while True:
                yield await provider.ask_async()

        items: list[str] = []
        with pytest.raises(StatusError):
            async for item in stream():
                items.append(item)
        assert ["a"] == items
        assert 2 == len(provider.asked_at)

    run(main, backend)


def test_sync_stream() -> None:
    """
    Likewise, with what the generator returns.
    """
    guard, provider = retrying(), Provider(StatusError(500), StatusError(500), "a", StatusError(502))

    @guard
    def stream() -> Generator[Any, None, str]:
        yield provider.ask()
        return "the end"

    def all_of() -> Generator[Any, None, None]:
        yield (yield from stream())

    assert ["a", "the end"] == list(all_of())
    check_quiet(guard)
    last = StatusError(503)
    provider = Provider(StatusError(500), StatusError(502), last)
    with pytest.raises(StatusError) as raised:
        next(stream())
    assert last is raised.value
    check_quiet(guard)


def test_stream_whose_retry_is_refused() -> None:
    """
    The provider's own error, here as well.
    """
    error = StatusError(500)

    @retrying(budget=TokenBucket(1))
    def stream() -> Generator[Any, None, None]:
        yield raises(error)

    with pytest.raises(StatusError) as raised:
        next(stream())
    assert error is raised.value

    @retrying(budget=TokenBucket(1))
    async def stream_async() -> AsyncGenerator[Any, None]:
        yield raises(error)

    async def main() -> None:
        with pytest.raises(StatusError) as raised:
            await stream_async().__anext__()
        assert error is raised.value

    run(main, "asyncio")


@on_each_backend
def test_stream_cancelled_while_it_waits(backend: Backend) -> None:
    """
    Before its second attempt: nothing is left, and it can be closed.
    """

    async def main() -> None:
        sink = RecordingSink()
        guard = retrying(sinks=[sink], total_timeout=1000)
        provider = Provider(_asking(503, "40", by="headers"), "a")

        @guard
        async def stream() -> AsyncGenerator[Any, None]:
            yield await provider.ask_async()

        items = stream()
        with anyio.move_on_after(10) as scope:
            await items.__anext__()
        assert scope.cancelled_caught
        await items.aclose()
        assert 1 == len(provider.asked_at)
        check_quiet(guard, sink)

    run(main, backend)
