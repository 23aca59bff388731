"""What the end of a call says of the next attempt, by hand-made shapes and by the errors of real libraries."""

import email.message
import errno
import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import httpx
import httpx2
import openai
import pytest

from hungframe._core.hint import hint_of, not_begun
from hungframe.errors import (
    BudgetExhaustedError,
    CallTimeoutError,
    CircuitOpenError,
    HungframeError,
    WorkerDiedError,
)
from hungframe.testing import HostileProvider
from hungframe.wire import WireReport

WALL = 1_767_225_600.0


class Error(Exception):
    """
    An exception with attributes.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.__dict__.update(attributes)


class Thing:
    """
    A result with attributes.
    """

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def caused(error: BaseException, *causes: BaseException) -> BaseException:
    """
    Chain exceptions as `raise ... from` does.
    """
    last = error
    for cause in causes:
        last.__cause__ = cause
        last = cause
    return error


def message(**headers: str) -> email.message.Message:
    """
    Headers as http.client keeps them.
    """
    found = http.client.HTTPMessage()
    for name, value in headers.items():
        found[name.replace("_", "-")] = value
    return found


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def gone() -> str:
    """
    The address of a server that is no more.
    """
    with HostileProvider() as provider:
        return provider.url


# -- when to ask again ---------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "2"},
        {"Retry-After": "2"},
        {"RETRY-AFTER": b"2"},
        {b"Retry-After": b"2"},
        {"Retry-After": 2},
        {"Retry-After": 2.0},
        {"Retry-After": ["2", "3"]},
        {"Retry-After": "2", 7: "x", "x": None, "y": object(), (): ()},
        {"retry-after-ms": 2000},
        {"X-RateLimit-Reset-Requests": "2s"},
        message(Retry_After="2"),
        httpx.Headers({"Retry-After": "2"}),
        httpx2.Headers({"Retry-After": "2"}),
    ],
)
def test_headers_of_any_kind(headers: Any) -> None:
    """
    In any case, of any mapping, of the object itself or of its response.
    """
    assert 2.0 == hint_of(Error(response=Thing(headers=headers)), WALL)
    assert 2.0 == hint_of(Error(headers=headers), WALL)
    assert 2.0 == hint_of(Thing(headers=headers), WALL)


def test_headers_of_botocore() -> None:
    """
    A ClientError keeps a dict of dicts.
    """
    error = Error(response={"Error": {}, "ResponseMetadata": {"HTTPHeaders": {"retry-after": "2"}}})

    assert 2.0 == hint_of(error, WALL)
    for response in ({}, {"ResponseMetadata": None}, {"ResponseMetadata": {"HTTPHeaders": "retry-after: 2"}}):
        assert hint_of(Error(response=response), WALL) is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (4, 4.0),
        (0.5, 0.5),
        (10**400, 3600.0),
        (float("inf"), 3600.0),
        (float("nan"), None),
        (0, None),
        (-1, None),
        (True, None),
        ("4", None),
        (None, None),
    ],
)
def test_a_number_as_an_attribute(said: object, seconds: float | None) -> None:
    """
    Seconds above 0 count, an hour at most; what is no number does not.
    """
    assert seconds == hint_of(Error(retry_after=said), WALL)


def test_a_number_comes_before_the_headers() -> None:
    """
    Who wrote the exception has read the headers.
    """
    response = Thing(headers={"retry-after": "2"})

    assert 4.0 == hint_of(Error(retry_after=4, response=response), WALL)
    assert 2.0 == hint_of(Error(retry_after=None, response=response), WALL)


def test_refusals_of_a_guard() -> None:
    """
    They know when to ask again, where there is such a time.
    """
    assert 4.0 == hint_of(CircuitOpenError("images", 4.0), WALL)
    assert 4.0 == hint_of(BudgetExhaustedError("images", 4.0, paused=True), WALL)
    assert hint_of(CircuitOpenError("images", None), WALL) is None


def test_causes_are_followed() -> None:
    """
    The nearest that says something counts; a chain that is a ring ends.
    """
    assert 2.0 == hint_of(caused(Error(), Error(), Error(retry_after=2), Error(retry_after=9)), WALL)
    ring = Error()
    assert hint_of(caused(ring, Error(), ring), WALL) is None


def test_the_longest_wait_of_a_group() -> None:
    """
    Of several that failed, all want to be left alone for so long.
    """
    inner = Error(exceptions=(Error(retry_after=3), Error()))
    group = Error(exceptions=(Error(retry_after=2), inner, ValueError()))

    assert 3.0 == hint_of(group, WALL)
    assert 3.0 == hint_of(caused(RuntimeError(), group), WALL)


def test_a_group_of_itself() -> None:
    """
    It ends.
    """
    group = Error()
    group.exceptions = (group,)  # type: ignore[attr-defined]

    assert hint_of(group, WALL) is None
    assert not not_begun(group)


class Raises:
    """
    An object of which no attribute can be read.
    """

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class RaisesError(Exception):
    """
    An exception of which no attribute can be read.
    """

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Endless(dict[str, str]):
    """
    Headers without end.
    """

    def items(self) -> Any:
        while True:
            yield "x", "y"


class Falls(dict[str, str]):
    """
    Headers that cannot be read.
    """

    def items(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "ended",
    [
        None,
        "retry after 2 s",
        {"retry_after": 2},
        object(),
        Error,
        mock.Mock(),
        mock.MagicMock(),
        mock.MagicMock(spec=dict),
        Error(response=mock.MagicMock()),
        Error(headers=Endless()),
        Error(headers=Falls(), response=Thing(headers=Falls())),
        Error(headers=[("retry-after", "2")]),
        Error(headers="retry-after: 2"),
        Error(headers={"retry-after": 10**5000}),
        Error(headers={"retry-after": [["2"]]}),
        Error(headers={"retry-after": "soon"}),
        Error(headers=dict),
    ],
)
def test_nothing_does_harm(ended: object) -> None:
    """
    What answers to every name, or to none, says nothing.
    """
    assert hint_of(ended, WALL) is None
    if isinstance(ended, BaseException):
        assert not not_begun(ended)


def test_an_object_that_not_even_tells_its_class() -> None:
    """
    It says nothing, as the result or as an attribute.
    """
    assert hint_of(Raises(), WALL) is None
    assert hint_of(RaisesError(), WALL) is None
    assert not not_begun(RaisesError())
    assert hint_of(Error(response=Raises(), headers=Raises()), WALL) is None
    assert not not_begun(Error(exceptions=(Raises(),)))


def test_an_interrupt_is_let_through() -> None:
    """
    Only what an attribute raises as an Exception is its own matter.
    """

    class Interrupts(Exception):
        @property
        def response(self) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hint_of(Interrupts(), WALL)


# -- of real libraries ---------------------------------------------------------


@pytest.mark.parametrize("mode", ["429:2", "503:2"])
@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_response_and_its_error(provider: HostileProvider, library: Any, mode: str) -> None:
    """
    Whether or not somebody raised for it.
    """
    response = library.get(f"{provider.url}?mode={mode}", trust_env=False)
    assert 2.0 == hint_of(response, WALL)

    with pytest.raises(library.HTTPStatusError) as raised:
        response.raise_for_status()

    assert 2.0 == hint_of(raised.value, WALL)
    assert not not_begun(raised.value)


def test_requests(provider: HostileProvider, gone: str) -> None:
    """
    A case-insensitive dict; and a refused connection that is no cause, but an argument's reason.
    """
    requests: Any = pytest.importorskip("requests")
    response = requests.get(f"{provider.url}?mode=429:2", timeout=5)
    assert 2.0 == hint_of(response, WALL)

    with pytest.raises(requests.HTTPError) as raised:
        response.raise_for_status()
    assert 2.0 == hint_of(raised.value, WALL)
    assert not not_begun(raised.value)

    with pytest.raises(requests.ConnectionError) as refused:
        requests.get(gone, timeout=5)
    assert not_begun(refused.value)

    with pytest.raises(requests.ConnectionError) as reset:
        requests.get(f"{provider.url}?mode=reset-before-headers", timeout=5)
    assert not not_begun(reset.value)

    with pytest.raises(requests.ReadTimeout) as silent:
        requests.get(f"{provider.url}?mode=silent", timeout=0.1)
    assert not not_begun(silent.value)


def test_urllib(provider: HostileProvider, gone: str) -> None:
    """
    An error that is a response, and one with a reason.
    """
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{provider.url}?mode=429:2", timeout=5)
    with raised.value:
        assert 2.0 == hint_of(raised.value, WALL)
        assert not not_begun(raised.value)

    with pytest.raises(urllib.error.URLError) as refused:
        urllib.request.urlopen(gone, timeout=5)
    assert not_begun(refused.value)


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_connections_that_were_never_made(library: Any, gone: str, provider: HostileProvider) -> None:
    """
    Refused, or no such name; but not one that broke.
    """
    with pytest.raises(library.ConnectError) as refused:
        library.get(gone, trust_env=False)
    assert not_begun(refused.value)

    with pytest.raises(library.TransportError) as reset:
        library.get(f"{provider.url}?mode=reset-before-headers", trust_env=False)
    assert not not_begun(reset.value)

    for name, right in [
        ("ConnectTimeout", True),
        ("PoolTimeout", True),
        ("ReadTimeout", False),
        ("WriteTimeout", False),
        ("ReadError", False),
        ("RemoteProtocolError", False),
    ]:
        assert right is not_begun(getattr(library, name)("x"))


def sdks() -> list[Any]:
    """
    Clients of SDKs, made of an address.
    """
    return [
        pytest.param("openai", lambda sdk, url: sdk.OpenAI(base_url=url, api_key="none", max_retries=0), id="openai"),
        pytest.param(
            "anthropic", lambda sdk, url: sdk.Anthropic(base_url=url, api_key="none", max_retries=0), id="anthropic"
        ),
        pytest.param("groq", lambda sdk, url: sdk.Groq(base_url=url, api_key="none", max_retries=0), id="groq"),
    ]


@pytest.mark.parametrize(("name", "client"), sdks())
def test_errors_of_sdks(provider: HostileProvider, gone: str, name: str, client: Any) -> None:
    """
    A rate limit says when; a connection that was refused is found below what the SDK made of it.
    """
    sdk: Any = pytest.importorskip(name, reason=f"{name} is not installed; it is in the dependency group sdks")
    with client(sdk, provider.base_url) as asked, pytest.raises(sdk.RateLimitError) as raised:
        asked.models.list(extra_headers={"X-Hostile-Mode": "429:2"})
    assert 2.0 == hint_of(raised.value, WALL)
    assert not not_begun(raised.value)

    with client(sdk, gone) as asked, pytest.raises(sdk.APIConnectionError) as refused:
        asked.models.list()
    assert hint_of(refused.value, WALL) is None
    assert not_begun(refused.value)

    with client(sdk, provider.base_url) as asked, pytest.raises(sdk.APIConnectionError) as reset:
        asked.models.list(extra_headers={"X-Hostile-Mode": "reset-before-headers"})
    assert not not_begun(reset.value)


def test_a_date_of_a_real_answer(provider: HostileProvider) -> None:
    """
    A date without the answer's own is held against this machine's clock.
    """
    response = httpx.get(f"{provider.url}?mode=429-date:20", trust_env=False)

    assert hint_of(response, time.time()) == pytest.approx(20.0, abs=1.5)


def test_openai_says_it_in_milliseconds() -> None:
    """
    As OpenAI does beside the seconds.
    """
    response = httpx2.Response(
        429, headers={"retry-after-ms": "1500", "retry-after": "2"}, request=httpx2.Request("POST", "http://x")
    )

    assert 1.5 == hint_of(openai.RateLimitError("slow down", response=response, body=None), WALL)


# -- whether it was begun ------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "right"),
    [
        (ConnectionRefusedError(), True),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), True),
        (socket.gaierror(-2, "no such name"), True),
        (ssl.SSLCertVerificationError(), True),
        (ConnectionResetError(), False),
        (BrokenPipeError(), False),
        (ssl.SSLError(), False),
        (TimeoutError(), False),
        (OSError(errno.EHOSTUNREACH, "unreachable"), False),
        (ValueError(), False),
        (KeyboardInterrupt(), False),
        (RuntimeError(ConnectionRefusedError()), True),
        (caused(RuntimeError(), ValueError(), ConnectionRefusedError()), True),
        # The nearest decides: a request was sent after an earlier attempt was refused.
        (caused(RuntimeError(), ConnectionResetError(), ConnectionRefusedError()), False),
        (Error(exceptions=(ConnectionRefusedError(), socket.gaierror())), True),
        (Error(exceptions=(ConnectionRefusedError(), ConnectionResetError())), False),
        (Error(exceptions=(ConnectionRefusedError(), ValueError())), False),
    ],
)
def test_not_begun(error: BaseException, right: bool) -> None:
    """
    Only where it is certain; of a group, only where it is of each.
    """
    assert right is not_begun(error)


def report(phase: Any) -> WireReport:
    return WireReport(phase, 1.0, 0, 0, None, 0)


@pytest.mark.parametrize(
    ("facts", "right"),
    [
        ({"phase": "connect"}, True),
        ({"phase": "tls"}, True),
        ({"phase": "write"}, False),
        ({"phase": "headers"}, False),
        ({"phase": "body"}, False),
        ({"phase": None}, False),
        ({"wire": report("connect")}, True),
        ({"wire": report("headers")}, False),
        # It waited for a connection of its pool.
        ({"wire": report(None)}, True),
    ],
)
def test_timeouts_by_their_phase(facts: Mapping[str, Any], right: bool) -> None:
    """
    A call that was cut while it connected had sent nothing.
    """
    error: HungframeError = CallTimeoutError(guard="images", timeout=1.0, elapsed=1.0, **facts)

    assert right is not_begun(error)
    assert right is not_begun(caused(RuntimeError(), error))
    # What it was raised from changes nothing.
    assert right is not_begun(caused(error, ConnectionRefusedError()))


@pytest.mark.parametrize("began", [True, False])
def test_a_worker_that_died(began: bool) -> None:
    """
    It knows whether it had begun.
    """
    error = WorkerDiedError("images", "draw", -9, "SIGKILL", began=began)

    assert began is not not_begun(error)
