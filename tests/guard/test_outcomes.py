"""
One call, one outcome: what Guard counts for what came back, and that the caller gets it untouched.
"""

from __future__ import annotations

import asyncio
import errno
import http
import http.client
import socket
import ssl
from types import SimpleNamespace

import anyio
import pytest

from hungframe import Guard, Outcome, TokenBucket
from hungframe.testing import run_virtual
from tests.guard.fakes import Backend, StatusError, fail, on_each_backend, raises, raises_async, sleeps


class ResponseError(Exception):
    """
    An error that holds its response, as httpx, requests and openai have them.
    """

    def __init__(self, status_code: object) -> None:
        super().__init__()
        self.response = SimpleNamespace(status_code=status_code)


class ReadTimeout(Exception):  # so does httpx call it
    """
    A library's timeout that is no `TimeoutError`.
    """


def caused_by(cause: BaseException) -> Exception:
    """
    Wrap an error as SDKs do.
    """
    error = RuntimeError("the SDK gave up")
    error.__cause__ = cause
    return error


ERRORS: list[tuple[BaseException, str]] = [
    (TimeoutError(), "timeout"),
    (socket.timeout(), "timeout"),  # noqa: UP041  # on 3.10 and later the same
    (asyncio.TimeoutError(), "timeout"),  # on 3.10 a class of its own
    (ReadTimeout(), "timeout"),
    (OSError(errno.ETIMEDOUT, "timed out"), "timeout"),
    (StatusError(429), "quota"),
    (ResponseError(429), "quota"),
    (StatusError(http.HTTPStatus.TOO_MANY_REQUESTS), "quota"),
    (StatusError(500), "5xx"),
    (StatusError(599), "5xx"),
    (ResponseError(503), "5xx"),
    (StatusError(http.HTTPStatus.BAD_GATEWAY), "5xx"),
    (ConnectionRefusedError(), "connection"),
    (ConnectionResetError(), "connection"),
    (BrokenPipeError(), "connection"),
    (socket.gaierror(socket.EAI_NONAME, "no such host"), "connection"),
    (ssl.SSLError(1, "handshake failure"), "connection"),
    (OSError(errno.EHOSTUNREACH, "no route"), "connection"),
    (http.client.BadStatusLine("x"), "connection"),
    (StatusError(400), "4xx"),
    (StatusError(404), "4xx"),
    (StatusError(499), "4xx"),
    (ResponseError(401), "4xx"),
    (ValueError("no JSON"), "unknown"),
    (StatusError(200), "unknown"),
    (StatusError("500"), "unknown"),
    (StatusError(None), "unknown"),
    (FileNotFoundError(), "unknown"),
    (caused_by(TimeoutError()), "timeout"),
    (caused_by(caused_by(StatusError(429))), "quota"),
    (caused_by(ConnectionResetError()), "connection"),
    (caused_by(StatusError(404)), "4xx"),
    (KeyboardInterrupt(), "cancelled"),
    (GeneratorExit(), "cancelled"),
    (SystemExit(), "cancelled"),
]


@pytest.mark.parametrize(("error", "outcome"), ERRORS)
def test_error_is_counted_once_and_comes_out_as_it_is(error: BaseException, outcome: str) -> None:
    """
    What the callee raises is counted as one outcome and reaches the caller as the same object.
    """
    guard = Guard("images")

    with pytest.raises(type(error)) as raised:
        guard.call(raises, error)

    assert error is raised.value
    assert {outcome: 1} == counted(guard)


@pytest.mark.parametrize(("error", "outcome"), [pair for pair in ERRORS if isinstance(pair[0], Exception)])
@on_each_backend
def test_error_of_async_code(backend: Backend, error: BaseException, outcome: str) -> None:
    """
    So it is on asyncio and on trio.
    """
    guard = Guard("images")

    async def main() -> None:
        with pytest.raises(type(error)) as raised:
            await guard.acall(raises_async, error)
        assert error is raised.value

    run_virtual(main, backend=backend)

    assert {outcome: 1} == counted(guard)


@pytest.mark.parametrize("isolate", ["auto", None])
def test_error_keeps_its_cause_and_context(isolate: str | None) -> None:
    """
    Nothing is hung on the callee's error: its cause and context are those that the callee gave it.
    """
    cause = ConnectionResetError()
    error = caused_by(cause)

    with pytest.raises(RuntimeError) as raised:
        Guard("images", isolate=isolate).call(raises, error)  # type: ignore[arg-type]  # a literal, once known

    assert cause is raised.value.__cause__
    assert None is raised.value.__context__


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ("an answer", "success"),
        (None, "success"),
        (SimpleNamespace(status_code=200), "success"),
        (SimpleNamespace(status_code=302), "success"),
        (SimpleNamespace(status_code=429), "quota"),
        (SimpleNamespace(status_code=500), "5xx"),
        (SimpleNamespace(status_code=404), "4xx"),
        (SimpleNamespace(status_code=http.HTTPStatus.SERVICE_UNAVAILABLE), "5xx"),
        (SimpleNamespace(response=SimpleNamespace(status_code=503)), "5xx"),
        (SimpleNamespace(status_code="503"), "success"),
        (SimpleNamespace(status_code=True), "success"),
        ({"status_code": 500}, "success"),
    ],
)
@pytest.mark.parametrize("kind", ["sync", "asyncio", "trio"])
def test_result_with_a_status(kind: str, result: object, outcome: str) -> None:
    """
    A result that carries an HTTP status is counted by it, and returned all the same.
    """
    guard = Guard("images")

    async def answers() -> object:
        await anyio.sleep(0)
        return result

    if kind == "sync":
        assert result is guard.call(lambda: result)
    else:
        assert result is run_virtual(guard.acall, answers, backend="trio" if kind == "trio" else "asyncio")

    assert {outcome: 1} == counted(guard)


@pytest.mark.parametrize(
    ("outcome", "weighs"),
    [
        ("success", 1.0),
        ("timeout", 2.0),
        ("quota", 0.5),
        ("5xx", 1.0),
        ("connection", 1.0),
        ("unknown", 1.0),
        ("4xx", 0.0),
        ("cancelled", 0.0),
        ("rejected", 0.0),
    ],
)
def test_weight_of_each_outcome(outcome: str, weighs: float) -> None:
    """
    In the window a timeout weighs 2, a 429 a half, what is the caller's fault nothing, and the rest 1.
    """
    guard = Guard("images")

    guard.acquire().settle(outcome)

    assert (weighs, 0.0 if outcome == "success" or not weighs else 1.0) == (
        guard.snapshot().weight,
        guard.snapshot().failure_rate,
    )


def test_a_thousand_client_errors_do_not_open() -> None:
    """
    4xx is the caller's fault, however often.
    """
    guard = Guard("images")

    fail(guard, *[StatusError(404) for _ in range(1000)])

    assert ("closed", 0.0) == (guard.snapshot().state, guard.snapshot().weight)


def test_classifier_of_the_user() -> None:
    """
    A classifier sees results and exceptions; what it names counts, and None leaves it to the rules.
    """

    def classify(ended: object) -> Outcome | str | None:
        if ended == {"error": "overloaded"}:
            return "quota"
        if isinstance(ended, KeyError):
            return Outcome.CLIENT_ERROR
        return None

    guard = Guard("images", classify=classify)

    guard.call(lambda: {"data": []})
    fail(guard, KeyError(), StatusError(500))
    guard.call(lambda: {"error": "overloaded"})

    assert {"quota": 1, "success": 1, "4xx": 1, "5xx": 1} == counted(guard)


def test_classifier_is_not_asked_about_a_cancellation() -> None:
    """
    A cancelled call proves nothing, whatever a classifier would make of it.
    """
    asked: list[object] = []
    guard = Guard("images", classify=lambda ended: asked.append(ended))

    fail(guard, KeyboardInterrupt())

    assert [] == asked
    assert {"cancelled": 1} == counted(guard)


@on_each_backend
def test_cancellation_takes_nothing_and_proves_nothing(backend: Backend) -> None:
    """
    A cancelled call leaves window and estimator alone and gives its permit back; the cancellation goes on.
    """
    guard = Guard("images", budget=TokenBucket())

    async def main() -> None:
        with anyio.move_on_after(10) as scope:
            await guard.acall(sleeps, 30)
            pytest.fail("the cancellation was swallowed")
        assert scope.cancelled_caught

    run_virtual(main, backend=backend)

    snapshot = guard.snapshot()
    assert {"cancelled": 1} == counted(guard)
    assert (0.0, 0, "closed") == (snapshot.weight, snapshot.in_flight, snapshot.state)


def test_rejection_by_a_guard_within_says_nothing_of_the_outer_provider() -> None:
    """
    A guard within that refuses is no failure of what the guard around it protects.
    """
    inner = Guard("inner", budget=TokenBucket(capacity=1))
    outer = Guard("outer")
    inner.call(str)

    for _ in range(10):
        with pytest.raises(Exception, match="budget is exhausted"):
            outer.call(inner.call, str)

    assert {"rejected": 10} == counted(outer)
    assert ("closed", 0.0) == (outer.snapshot().state, outer.snapshot().weight)


def counted(guard: Guard) -> dict[str, int]:
    """
    The outcomes that were counted at all.
    """
    return {outcome: count for outcome, count in guard.snapshot().counts.items() if count}
