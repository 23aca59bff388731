"""What became of a call: the table of outcomes, by shape, one sentence a test."""

import asyncio
import concurrent.futures
import errno
import http
import http.client
import pickle
import socket
import ssl
import urllib.error
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from hungframe import Outcome
from hungframe._core.outcome import classify
from hungframe.errors import CircuitOpenError

NAMES = {
    Outcome.SUCCESS: "success",
    Outcome.TIMEOUT: "timeout",
    Outcome.QUOTA: "quota",
    Outcome.SERVER_ERROR: "5xx",
    Outcome.CONNECTION: "connection",
    Outcome.CLIENT_ERROR: "4xx",
    Outcome.UNKNOWN: "unknown",
    Outcome.CANCELLED: "cancelled",
    Outcome.REJECTED: "rejected",
}


class StatusError(Exception):
    """
    An SDK's error: it carries its status itself.
    """

    def __init__(self, status_code: object) -> None:
        self.status_code = status_code


class ResponseError(Exception):
    """
    An httpx or requests error: it carries the response.
    """

    def __init__(self, status_code: object) -> None:
        self.response = SimpleNamespace(status_code=status_code)


class ClientResponseError(Exception):
    """
    An error of aiohttp or urllib: its status is `status`.
    """

    def __init__(self, status: object) -> None:
        self.status = status


class TimeoutException(Exception):
    """
    Base of timeouts that does not know `TimeoutError`, as that of httpx.
    """


class ReadTimeout(TimeoutException):
    """
    A timeout by its base.
    """


class NetworkError(Exception):
    """
    Base of connection errors, as that of httpx.
    """


class ReadError(NetworkError):
    """
    A connection error by its base.
    """


class APIConnectionError(Exception):
    """
    What an SDK makes of any error of its transport.
    """


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """
    Raise *error* from *cause*.
    """
    error.__cause__ = cause
    return error


# -- the names -------------------------------------------------------------


def test_values_are_the_names_of_the_table() -> None:
    """
    Nine outcomes, each equal to its name.
    """
    assert NAMES == {outcome: outcome.value for outcome in Outcome}
    for outcome, name in NAMES.items():
        assert Outcome(name) is outcome
        assert name == outcome
        assert hash(name) == hash(outcome)
        assert name == str(outcome)


@pytest.mark.parametrize("name", ["nope", "", "TIMEOUT", None, 5])
def test_a_name_of_no_outcome_is_refused(name: object) -> None:
    """
    The message names the outcomes there are.
    """
    with pytest.raises(ValueError, match="success.*timeout"):
        Outcome(name)


def test_an_outcome_survives_pickling() -> None:
    """
    It comes back as the same member.
    """
    assert Outcome.QUOTA is pickle.loads(pickle.dumps(Outcome.QUOTA))


# -- results ---------------------------------------------------------------


@pytest.mark.parametrize("result", [None, "", "timeout", b"", 0, 503, [], {}, {"status_code": 503}, object()])
def test_a_result_is_a_success(result: object) -> None:
    """
    The callee returned, and nothing about what it returned objects.
    """
    assert Outcome.SUCCESS is classify(result)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.SUCCESS),
        (204, Outcome.SUCCESS),
        (302, Outcome.SUCCESS),
        (399, Outcome.SUCCESS),
        (400, Outcome.CLIENT_ERROR),
        (404, Outcome.CLIENT_ERROR),
        (408, Outcome.CLIENT_ERROR),
        (428, Outcome.CLIENT_ERROR),
        (429, Outcome.QUOTA),
        (430, Outcome.CLIENT_ERROR),
        (499, Outcome.CLIENT_ERROR),
        (500, Outcome.SERVER_ERROR),
        (503, Outcome.SERVER_ERROR),
        (599, Outcome.SERVER_ERROR),
    ],
)
def test_a_result_with_a_status_is_read_by_it(status: int, outcome: Outcome) -> None:
    """
    A response is returned, not raised, and still says how the call ended.
    """
    response = SimpleNamespace(status_code=status)

    assert outcome is classify(response)
    assert outcome is classify(SimpleNamespace(response=response))


@pytest.mark.parametrize("status", [None, "503", 503.5, True, -1, 0, 99, 600, 10**9])
def test_what_is_no_status_says_nothing(status: object) -> None:
    """
    A status_code that is no HTTP status is somebody's own attribute.
    """
    assert Outcome.SUCCESS is classify(SimpleNamespace(status_code=status))
    assert Outcome.UNKNOWN is classify(StatusError(status))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (404, Outcome.CLIENT_ERROR),
        (429, Outcome.QUOTA),
        (503, Outcome.SERVER_ERROR),
        # Somebody's own: the exit of a program, a word, a flag.
        (127, Outcome.UNKNOWN),
        ("failed", Outcome.UNKNOWN),
        (True, Outcome.UNKNOWN),
        (600, Outcome.UNKNOWN),
    ],
)
def test_an_exception_may_call_it_status(status: object, outcome: Outcome) -> None:
    """
    aiohttp and urllib say `status`; of a result it is not read, as it may be anything's.
    """
    assert outcome is classify(ClientResponseError(status))
    assert Outcome.SUCCESS is classify(SimpleNamespace(status=status))


def test_the_standard_library_has_a_status() -> None:
    """
    A page that urllib.request does not find is the caller's fault, and no sign of a provider that is ill.
    """
    assert Outcome.CLIENT_ERROR is classify(
        urllib.error.HTTPError("http://x", 404, "", http.client.HTTPMessage(), None)
    )


def test_a_mock_is_a_success() -> None:
    """
    An object that answers to every name has no status.
    """
    assert Outcome.SUCCESS is classify(MagicMock())


def test_a_result_that_cannot_be_asked_is_a_success() -> None:
    """
    Reading a result must not raise into the caller.
    """

    class Shy:
        @property
        def status_code(self) -> int:
            raise RuntimeError("no status yet")

    assert Outcome.SUCCESS is classify(Shy())


# -- errors that carry a status --------------------------------------------


@pytest.mark.parametrize("error", [StatusError, ResponseError])
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Outcome.CLIENT_ERROR),
        (401, Outcome.CLIENT_ERROR),
        (429, Outcome.QUOTA),
        (499, Outcome.CLIENT_ERROR),
        (500, Outcome.SERVER_ERROR),
        (502, Outcome.SERVER_ERROR),
        (599, Outcome.SERVER_ERROR),
        (200, Outcome.UNKNOWN),
        (302, Outcome.UNKNOWN),
        (http.HTTPStatus.SERVICE_UNAVAILABLE, Outcome.SERVER_ERROR),
        (http.HTTPStatus.TOO_MANY_REQUESTS, Outcome.QUOTA),
    ],
)
def test_an_error_with_a_status_is_read_by_it(error: type[StatusError], status: int, outcome: Outcome) -> None:
    """
    An error that carries status_code, or response.status_code, needs no adapter.
    """
    assert outcome is classify(error(status))


def test_a_status_says_more_than_a_name() -> None:
    """
    A connection error by name that carries a 429 is a 429.
    """

    class ConnectError(StatusError):
        pass

    assert Outcome.QUOTA is classify(ConnectError(429))


# -- errors without a status -----------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        asyncio.TimeoutError(),
        concurrent.futures.TimeoutError(),
        TimeoutException(),
        ReadTimeout(),
        OSError(errno.ETIMEDOUT, "timed out"),
    ],
)
def test_a_timeout_of_the_callee_is_a_timeout(error: Exception) -> None:
    """
    Of Python, of a library's own family, of the operating system.
    """
    assert Outcome.TIMEOUT is classify(error)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError(),
        ConnectionRefusedError(),
        ConnectionResetError(),
        ConnectionAbortedError(),
        BrokenPipeError(),
        socket.gaierror(socket.EAI_NONAME, "no such host"),
        ssl.SSLError(1, "handshake failed"),
        ssl.SSLCertVerificationError(1, "expired"),
        http.client.RemoteDisconnected("no answer"),
        http.client.IncompleteRead(b""),
        OSError(errno.EHOSTUNREACH, "no route"),
        OSError(errno.ENETUNREACH, "no network"),
        asyncio.IncompleteReadError(b"", 5),
        NetworkError(),
        ReadError(),
        APIConnectionError(),
    ],
)
def test_where_no_complete_answer_came_is_a_connection_error(error: Exception) -> None:
    """
    Refused, reset, DNS, TLS, protocol error.
    """
    assert Outcome.CONNECTION is classify(error)


@pytest.mark.parametrize(
    "error",
    [ValueError(), RuntimeError(), KeyError("status_code"), FileNotFoundError(), OSError()],
)
def test_any_other_exception_is_unknown(error: Exception) -> None:
    """
    What says nothing of the provider is counted all the same.
    """
    assert Outcome.UNKNOWN is classify(error)


@pytest.mark.parametrize(
    "error",
    [asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()],
)
def test_the_callers_own_end_is_a_cancellation(error: BaseException) -> None:
    """
    A cancelled scope or task, Ctrl-C, a generator that is closed.
    """
    assert Outcome.CANCELLED is classify(error)


def test_a_refusal_of_a_guard_further_in_is_a_rejection() -> None:
    """
    The guard refused before the call began: nothing was learned of the provider.
    """
    assert Outcome.REJECTED is classify(CircuitOpenError("inner", 4.2))


def test_a_rate_limit_error_is_quota_without_a_status() -> None:
    """
    An SDK's rate-limit error is known by its name.
    """

    class RateLimitError(Exception):
        pass

    assert Outcome.QUOTA is classify(RateLimitError())


# -- causes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "outcome"),
    [
        (TimeoutError(), Outcome.TIMEOUT),
        (ReadTimeout(), Outcome.TIMEOUT),
        (ConnectionResetError(), Outcome.CONNECTION),
        (ResponseError(429), Outcome.QUOTA),
        (ResponseError(503), Outcome.SERVER_ERROR),
        (ResponseError(404), Outcome.CLIENT_ERROR),
        (ValueError(), Outcome.UNKNOWN),
    ],
)
def test_the_cause_is_followed(cause: Exception, outcome: Outcome) -> None:
    """
    An SDK's own error says what the error that it wraps says, also two deep.
    """
    once = caused(RuntimeError("it did not work"), cause)

    assert outcome is classify(once)
    assert outcome is classify(caused(RuntimeError("really"), once))


def test_what_an_error_says_itself_goes_before_its_cause() -> None:
    """
    A 503 caused by a timeout further in is a 503.
    """
    assert Outcome.SERVER_ERROR is classify(caused(StatusError(503), TimeoutError()))


def test_what_happened_before_is_no_cause() -> None:
    """
    Only `raise ... from` is followed, not what was being handled.
    """
    error = ValueError("a bug in the handler")
    error.__context__ = TimeoutError()

    assert Outcome.UNKNOWN is classify(error)


def test_causes_in_a_circle_end() -> None:
    """
    A chain of causes that bites its tail is unknown, not endless.
    """
    first, second = RuntimeError("first"), RuntimeError("second")
    caused(first, caused(second, first))

    assert Outcome.UNKNOWN is classify(first)


def test_classifying_leaves_the_error_alone() -> None:
    """
    Cause, context and traceback stay what they were.
    """
    cause = TimeoutError()
    error = caused(RuntimeError(), cause)
    classify(error)

    assert error.__cause__ is cause
    assert error.__context__ is None
    assert error.__traceback__ is None


# -- libraries as they are -------------------------------------------------


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_httpx_as_it_is(library: str) -> None:
    """
    Every error of httpx and httpx2 that says something is understood.
    """
    httpx = pytest.importorskip(library)
    request = httpx.Request("GET", "http://test.invalid/")
    for name, outcome in {
        "ConnectTimeout": Outcome.TIMEOUT,
        "ReadTimeout": Outcome.TIMEOUT,
        "WriteTimeout": Outcome.TIMEOUT,
        "PoolTimeout": Outcome.TIMEOUT,
        "ConnectError": Outcome.CONNECTION,
        "ReadError": Outcome.CONNECTION,
        "WriteError": Outcome.CONNECTION,
        "CloseError": Outcome.CONNECTION,
        "RemoteProtocolError": Outcome.CONNECTION,
        "ProxyError": Outcome.CONNECTION,
    }.items():
        assert outcome is classify(getattr(httpx, name)("it failed")), name
    for status, outcome in {
        429: Outcome.QUOTA,
        503: Outcome.SERVER_ERROR,
        404: Outcome.CLIENT_ERROR,
    }.items():
        response = httpx.Response(status, request=request)
        assert outcome is classify(response)
        with pytest.raises(httpx.HTTPStatusError) as caught:
            response.raise_for_status()
        assert outcome is classify(caught.value)


def test_openai_as_it_is() -> None:
    """
    The errors of an SDK that wraps httpx2 are understood.
    """
    openai, httpx = pytest.importorskip("openai"), pytest.importorskip("httpx2")
    request = httpx.Request("POST", "http://test.invalid/")

    def status_error(name: str, status: int) -> Exception:
        response = httpx.Response(status, request=request)
        error = getattr(openai, name)("it failed", response=response, body=None)
        assert isinstance(error, Exception)
        return error

    assert Outcome.TIMEOUT is classify(openai.APITimeoutError(request=request))
    assert Outcome.CONNECTION is classify(openai.APIConnectionError(request=request))
    assert Outcome.QUOTA is classify(status_error("RateLimitError", 429))
    assert Outcome.SERVER_ERROR is classify(status_error("InternalServerError", 500))
    assert Outcome.CLIENT_ERROR is classify(status_error("BadRequestError", 400))


def test_trio_as_it_is() -> None:
    """
    A cancelled scope of trio is a cancellation.
    """
    trio = pytest.importorskip("trio")
    seen: list[Outcome] = []

    async def sleep() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep(1)
            except BaseException as error:
                seen.append(classify(error))
                raise

    trio.run(sleep)

    assert [Outcome.CANCELLED] == seen
