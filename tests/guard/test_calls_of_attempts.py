"""
All attempts of one call, and what is told around them, have one `call` in their events; nothing else has it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from typing import Any

import anyio
import pytest

from hungframe import Guard, Hedge, Retry
from hungframe.testing import HostileProvider, RecordingSink, run_virtual
from hungframe.transport.httpx import Client
from tests.guard.fakes import Backend, StatusError, on_each_backend

AROUND = ("gen.request", "gen.retry", "gen.hedge", "gen.fallback")
RETRY = Retry(3, base=0.0, budget=None)


def calls(sink: RecordingSink) -> list[tuple[str, Any]]:
    """
    What was told of calls and around them, with a number for each call; None where it has none.
    """
    told = [json.loads(event.to_json()) for event in sink.events]
    seen: dict[str, int] = {}
    return [
        (event["evt"], seen.setdefault(event["call"], len(seen)) if "call" in event else None)
        for event in told
        if event["evt"] in AROUND
    ]


class FailsUntil:
    """
    A callee that raises a 500 until it is called for the *n*-th time.
    """

    def __init__(self, n: int) -> None:
        self.left = n - 1

    def __call__(self) -> str:
        self.left -= 1
        if self.left >= 0:
            raise StatusError(500)
        return "done"

    async def later(self) -> str:
        await anyio.sleep(0)
        return self()


@on_each_backend
def test_attempts_of_a_retried_call(backend: Backend) -> None:
    """
    Two calls one after the other, each tried twice: two names.
    """
    sink = RecordingSink()
    guard = Guard("images", retry=RETRY, sinks=[sink])

    async def main() -> None:
        await guard.acall(FailsUntil(2).later)
        await guard.acall(FailsUntil(2).later)

    run_virtual(main, backend=backend)

    one = ["gen.request", "gen.retry", "gen.request"]
    assert [(evt, 0) for evt in one] + [(evt, 1) for evt in one] == calls(sink)


@pytest.mark.parametrize("isolate", [None, "thread"])
def test_attempts_of_a_retried_sync_call_that_falls_back(isolate: Any) -> None:
    """
    The fallback is of the same call; what it calls in turn is of none.
    """
    sink = RecordingSink()
    plain = Guard("images", sinks=[sink], isolate=None)
    guard = plain.using(
        retry=RETRY, isolate=isolate, fallback=lambda error: plain.using(fallback=None, retry=None).call(str)
    )

    guard.call(FailsUntil(9))
    plain.call(str)

    evts = ["gen.request", "gen.retry"] * 2 + ["gen.request", "gen.fallback"]
    assert [*((evt, 0) for evt in evts), ("gen.request", None), ("gen.request", None)] == calls(sink)


@on_each_backend
def test_hedged_attempts(backend: Backend) -> None:
    """
    Those that run side by side are of one call, and so is the retry after both have failed.
    """
    sink = RecordingSink()
    guard = Guard("images", hedge=Hedge(after=1.0), retry=RETRY, timeout=10, sinks=[sink])
    count = 0

    async def slow() -> None:
        nonlocal count
        count += 1
        if count < 3:
            await anyio.sleep(3)
            raise StatusError(500)

    async def main() -> None:
        await guard.acall(slow)

    run_virtual(main, backend=backend)

    evts = ["gen.request", "gen.hedge", "gen.request", "gen.retry", "gen.request"]
    assert [(evt, 0) for evt in evts] == calls(sink)


@on_each_backend
def test_a_fallback_after_hedged_attempts_is_none_of_them(backend: Backend) -> None:
    """
    What it calls under the same guard is of no call.
    """
    sink = RecordingSink()
    plain = Guard("images", sinks=[sink])

    async def instead(error: Exception) -> None:
        await plain.acall(anyio.sleep, 0)

    async def main() -> None:
        await plain.using(hedge=Hedge(after=1.0), fallback=instead).acall(FailsUntil(9).later)

    run_virtual(main, backend=backend)

    assert [("gen.request", 0), ("gen.fallback", 0), ("gen.request", None)] == calls(sink)


def test_hedged_attempts_in_threads() -> None:
    """
    Sync attempts side by side are of one call as well.
    """
    sink = RecordingSink()
    guard = Guard("images", hedge=Hedge(after=0.02), timeout=10, sinks=[sink])

    def slow() -> None:
        with anyio.from_thread.start_blocking_portal() as portal:
            portal.call(anyio.sleep, 0.1)

    guard.call(slow)

    assert [("gen.request", 0), ("gen.hedge", 0), ("gen.request", 0)] == calls(sink)


@on_each_backend
def test_a_guarded_call_further_in_is_no_attempt(backend: Backend) -> None:
    """
    Neither one of another guard nor one of the same guard's, from within an attempt.
    """
    sink = RecordingSink()
    guard = Guard("images", retry=RETRY, sinks=[sink])
    inner = Guard("inner", sinks=[sink])
    callee = FailsUntil(2)

    async def outer() -> None:
        await inner.acall(anyio.sleep, 0)
        await guard.using(retry=None).acall(anyio.sleep, 0)
        callee()

    async def main() -> None:
        await guard.acall(outer)
        await inner.acall(anyio.sleep, 0)

    run_virtual(main, backend=backend)

    within = [("gen.request", 0), ("gen.request", None), ("gen.request", None)]
    assert [*within, ("gen.retry", 0), *within, ("gen.request", None)] == calls(sink)


def test_streams_that_are_asked_for_again() -> None:
    """
    A stream whose first item fails is asked for again: one call, async and sync.
    """
    sink = RecordingSink()
    guard = Guard("images", retry=RETRY, sinks=[sink], isolate=None)
    callee, later = FailsUntil(2), FailsUntil(2)

    @guard
    def items() -> Generator[str, None, None]:
        yield callee()

    @guard.using(isolate="auto")
    async def items_async() -> AsyncGenerator[str, None]:
        yield later()

    async def main() -> list[str]:
        return [item async for item in items_async()]

    assert ["done"] == list(items())
    assert ["done"] == run_virtual(main)
    one = ["gen.request", "gen.retry", "gen.request"]
    assert [(evt, 0) for evt in one] + [(evt, 1) for evt in one] == calls(sink)


def test_requests_that_a_client_sends_again() -> None:
    """
    A guarded client's requests are told likewise.
    """
    sink = RecordingSink()
    guard = Guard("images", retry=RETRY, sinks=[sink])
    with HostileProvider(["503", "ok", "ok"]) as provider, Client(guard=guard, trust_env=False) as client:
        assert 200 == client.get(provider.url).status_code
        assert 200 == client.get(provider.url).status_code

    assert [("gen.request", 0), ("gen.retry", 0), ("gen.request", 0), ("gen.request", 1)] == calls(sink)


def test_nothing_is_named_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without a sink no call gets a name.
    """
    monkeypatch.setattr("hungframe.telling.new_id", None)

    assert "done" == Guard("images", retry=RETRY, isolate=None).call(FailsUntil(2))
