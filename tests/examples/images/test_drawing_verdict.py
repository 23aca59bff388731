"""
What an error of the provider means for the job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.images.drawing.download import ImageHostError
from examples.images.drawing.verdict import DEFAULT_SECONDS, LONGEST_SECONDS, OUR_FAULT_SECONDS, verdict
from examples.images.ports import NoImageError, Verdict
from hungframe import BudgetExhaustedError, BulkheadFullError, CallTimeoutError, CircuitOpenError, Guard
from hungframe.testing import HostileProvider
from hungframe.transport.httpx2 import Client

PROMPT = "a secret cat"
KEY = "sk-secret"


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


def error_of(provider: HostileProvider, mode: str, guard: Guard | None = None) -> Exception:
    """
    What the SDK raises when the provider plays this mode.
    """
    provider.play(mode)
    with Client(verify=False) as http:
        client = openai.OpenAI(base_url=provider.base_url, api_key=KEY, http_client=http, max_retries=0, timeout=0.1)
        guard = (guard or Guard("images")).using(isolate=None)
        with pytest.raises((openai.OpenAIError, CallTimeoutError)) as caught:
            guard.call(client.images.generate, prompt=PROMPT)
    return caught.value


def of_status(status: int, headers: dict[str, str] | None = None, code: str | None = None) -> openai.APIStatusError:
    """
    An error as the SDK makes it, whose text quotes what it should not.
    """
    response = httpx2.Response(status, headers=headers, request=httpx2.Request("POST", "https://provider.example"))
    return openai.APIStatusError(f"{PROMPT} {KEY}", response=response, body={"code": code, "message": PROMPT})


@pytest.mark.parametrize(
    "mode, kind, reason, retry_after",
    [
        ("400", "bury", "refused-by-provider", None),
        ("401", "snooze", "provider-refuses-us", OUR_FAULT_SECONDS),
        ("402", "snooze", "provider-refuses-us", OUR_FAULT_SECONDS),
        ("403", "snooze", "provider-refuses-us", OUR_FAULT_SECONDS),
        ("404", "bury", "refused-by-provider", None),
        ("408", "retry", "timeout", None),
        ("409", "retry", "4xx", None),
        ("413", "bury", "refused-by-provider", None),
        ("422", "bury", "refused-by-provider", None),
        ("425", "retry", "4xx", None),
        ("429", "snooze", "quota", DEFAULT_SECONDS),
        ("429:7.5", "snooze", "quota", 7.5),
        ("429:90000", "snooze", "quota", LONGEST_SECONDS),
        ("500", "retry", "5xx", None),
        ("503:2", "retry", "5xx", None),
        ("silent", "retry", "timeout", None),
        ("close-early", "retry", "connection", None),
        ("reset-before-headers", "retry", "connection", None),
        ("malformed", "retry", "connection", None),
    ],
)
def test_errors_of_the_sdk(
    provider: HostileProvider, mode: str, kind: str, reason: str, retry_after: float | None
) -> None:
    """
    Each failure of the provider, as the SDK tells it.
    """
    told = verdict(error_of(provider, mode))

    assert (kind, reason, retry_after) == (told.kind, told.reason, told.retry_after)
    assert mode[:3] in told.detail or not mode[:3].isdecimal()
    assert PROMPT not in told.detail and KEY not in told.detail


def test_no_image_is_the_end() -> None:
    """
    To ask again is no cure: the job is a dead letter.
    """
    assert Verdict("bury", "no-image-url", "url is empty") == verdict(NoImageError("url is empty"))


@pytest.mark.parametrize(
    "error, seconds",
    [
        (CircuitOpenError("images", 41.5), 41.5),
        (BudgetExhaustedError("images", 0.0), 0.0),
        (BudgetExhaustedError("images", 7200.0, paused=True), LONGEST_SECONDS),
        (BudgetExhaustedError("images", float("inf")), DEFAULT_SECONDS),
        (BulkheadFullError("images"), DEFAULT_SECONDS),
    ],
)
def test_a_refused_call_was_no_attempt(error: Exception, seconds: float) -> None:
    """
    The provider was not asked: the job waits for as long as the guard says, and no attempt is counted.
    """
    assert Verdict("snooze", "rejected", str(error), seconds) == verdict(error)


def test_a_deadline_is_tried_again(provider: HostileProvider) -> None:
    """
    The detail tells what the guard knows: where it hung.
    """
    error = error_of(provider, "silent", Guard("images", timeout=0.05))
    told = verdict(error)

    assert isinstance(error, CallTimeoutError)
    assert ("retry", "timeout") == (told.kind, told.reason)
    assert "no answer within 0.05 s (no response headers" in told.detail
    assert PROMPT not in told.detail and KEY not in told.detail


@pytest.mark.parametrize(
    "error, reason",
    [
        (asyncio.TimeoutError(), "timeout"),
        (httpx2.ReadTimeout("slow"), "timeout"),
        (httpx2.ConnectError("refused"), "connection"),
        (httpx2.RemoteProtocolError("cut"), "connection"),
        (ConnectionResetError(), "connection"),
        (ImageHostError("images.example", 503, {}), "5xx"),
        (ValueError(PROMPT), "unknown"),
    ],
)
def test_other_errors_are_tried_again(error: Exception, reason: str) -> None:
    """
    What nobody knows may pass; the attempts of a job are counted, so that it ends.
    """
    told = verdict(error)

    assert ("retry", reason, None) == (told.kind, told.reason, told.retry_after)
    assert PROMPT not in told.detail


def test_an_account_without_credit_waits() -> None:
    """
    OpenAI says 429 for it, and no wait of seconds helps.
    """
    told = verdict(of_status(429, {"retry-after": "1"}, code="insufficient_quota"))

    assert ("snooze", "provider-refuses-us", OUR_FAULT_SECONDS) == (told.kind, told.reason, told.retry_after)


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({}, DEFAULT_SECONDS),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:09 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 9.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:09 GMT"}, DEFAULT_SECONDS),
        ({"retry-after": "soon"}, DEFAULT_SECONDS),
        ({"retry-after": "nan"}, DEFAULT_SECONDS),
        ({"retry-after": "inf"}, DEFAULT_SECONDS),
        ({"retry-after": "-3"}, DEFAULT_SECONDS),
        ({"retry-after": "1e9"}, LONGEST_SECONDS),
    ],
)
def test_when_to_ask_again(headers: dict[str, str], seconds: float) -> None:
    """
    As the provider says, where it makes sense; of the SDK's error, and of the host of a url.
    """
    assert seconds == verdict(of_status(429, headers)).retry_after
    assert seconds == verdict(ImageHostError("images.example", 429, headers)).retry_after


def test_the_status_may_lie_behind() -> None:
    """
    An error that was raised from one with a status is told by that.
    """
    wrapped = RuntimeError(PROMPT)
    wrapped.__cause__ = of_status(400)
    looped = RuntimeError(PROMPT)
    looped.__cause__ = looped

    assert "bury" == verdict(wrapped).kind
    assert "unknown" == verdict(looped).reason


@settings(deadline=None)
@given(
    st.integers(400, 599),
    st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text("0123456789.-+eEnaif: GMT")),
)
def test_every_status_has_a_verdict(status: int, headers: dict[str, str]) -> None:
    """
    A verdict is one that a queue can act on, and nothing of the error's text is in it.
    """
    told = verdict(of_status(status, headers))

    assert (told.retry_after is None) == (told.kind != "snooze")
    assert told.retry_after is None or 0 <= told.retry_after <= LONGEST_SECONDS
    assert str(status) in told.detail
    assert PROMPT not in told.detail and KEY not in told.detail
