"""
The errors of real libraries, made by real calls to a hostile provider, counted by Guard without an adapter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import openai
import pytest

from hungframe import Guard
from hungframe.testing import HostileProvider

# What the provider does, and what that is.
MODES = [
    ("ok", "success"),
    ("429:2", "quota"),
    ("500", "5xx"),
    ("503", "5xx"),
    ("400", "4xx"),
    ("401", "4xx"),
    ("404", "4xx"),
    ("silent", "timeout"),
    ("stall-body", "timeout"),
    ("reset-before-headers", "connection"),
    ("reset-in-body", "connection"),
    ("close-early", "connection"),
    ("malformed", "connection"),
    ("wrong-length", "connection"),
]

Ask = Callable[[HostileProvider], Any]


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


def ask_httpx(library: Any, mode: str, provider: HostileProvider) -> Any:
    """
    One request, with the error that a status stands for raised.
    """
    with library.Client(timeout=0.15, trust_env=False) as client:
        return client.get(provider.url, headers={"X-Hostile-Mode": mode}).raise_for_status()


def ask_openai(mode: str, provider: HostileProvider) -> Any:
    """
    One image.
    """
    with openai.OpenAI(base_url=provider.base_url, api_key="none", max_retries=0, timeout=0.15) as client:
        return client.images.generate(prompt="a cat", extra_headers={"X-Hostile-Mode": mode})


@pytest.mark.parametrize(("mode", "outcome"), MODES)
@pytest.mark.parametrize(
    "ask",
    [functools.partial(ask_httpx, httpx), functools.partial(ask_httpx, httpx2), ask_openai],
    ids=["httpx", "httpx2", "openai"],
)
def test_outcome_of_a_real_call(
    provider: HostileProvider, ask: Callable[[str, HostileProvider], Any], mode: str, outcome: str
) -> None:
    """
    Whatever the library makes of it, the outcome is that of the wire.
    """
    guard = Guard("images")

    try:
        guard.call(ask, mode, provider)
    except (httpx.HTTPError, httpx2.HTTPError, openai.OpenAIError):
        assert "ok" != mode

    assert {outcome: 1} == {name: count for name, count in guard.snapshot().counts.items() if count}


@pytest.mark.parametrize(("status", "outcome"), [("ok", "success"), ("429", "quota"), ("503", "5xx"), ("404", "4xx")])
@pytest.mark.parametrize("library", [httpx, httpx2])
def test_response_that_nobody_raised_for(provider: HostileProvider, library: Any, status: str, outcome: str) -> None:
    """
    A response with a bad status is counted as what it says, and returned.
    """
    guard = Guard("images")

    response = guard.call(library.get, f"{provider.url}?mode={status}", trust_env=False)

    assert ("ok" == status) is response.is_success
    assert 1 == guard.snapshot().counts[outcome]


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_refused_connection(library: Any) -> None:
    """
    Nobody listens: a connection failure, also through the SDK's wrapping.
    """
    with HostileProvider() as gone:
        url = gone.url
    guard = Guard("images")

    for ask in (
        lambda: library.get(url, trust_env=False),
        lambda: openai.OpenAI(base_url=url, api_key="none", max_retries=0).models.list(),
    ):
        with pytest.raises((library.ConnectError, openai.APIConnectionError)):
            guard.call(ask)

    assert 2 == guard.snapshot().counts["connection"]


CONSTRUCTED = [
    (httpx.PoolTimeout("x"), "timeout"),
    (httpx.ConnectTimeout("x"), "timeout"),
    (httpx.WriteTimeout("x"), "timeout"),
    (httpx.WriteError("x"), "connection"),
    (httpx.RemoteProtocolError("x"), "connection"),
    (httpx2.PoolTimeout("x"), "timeout"),
    (httpx2.WriteTimeout("x"), "timeout"),
    (httpx2.ReadError("x"), "connection"),
    (httpx2.LocalProtocolError("x"), "connection"),
]


@pytest.mark.parametrize(("error", "outcome"), CONSTRUCTED)
def test_constructed_error(error: Exception, outcome: str) -> None:
    """
    Errors that are hard to provoke are read just so.
    """
    guard = Guard("images")

    def ask() -> None:
        raise error

    with pytest.raises(type(error)):
        guard.call(ask)

    assert 1 == guard.snapshot().counts[outcome]
