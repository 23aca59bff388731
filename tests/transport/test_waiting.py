"""
A client with a guard waits to be let in where its settings say so, and whoever is cancelled leaves nothing behind.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import anyio
import pytest

from hungframe import BudgetExhaustedError, Bulkhead, BulkheadFullError, Guard, Retry, TokenBucket
from hungframe.testing import HostileProvider
from tests.transport.faces import Face, Kind, Library, each_async_kind, each_kind, each_library, run_with


@each_kind
@each_library
def test_it_waits_for_its_token(library: Library, kind: Kind) -> None:
    """
    And does not longer than it may.
    """
    bucket = TokenBucket(1, refill_every=0.5)
    guard = Guard("images", budget=bucket, on_empty="wait", timeout=5.0)
    impatient = guard.using(max_wait=0.05)

    async def scenario(face: Face) -> None:
        began = time.monotonic()
        assert [200, 200] == [(await face.get(provider.url)).status_code for _ in range(2)]
        assert 0.45 < time.monotonic() - began < 2.0

    async def refused(face: Face) -> None:
        with pytest.raises(BudgetExhaustedError):
            await face.get(provider.url)
        # An SDK that would retry it gets an answer, here as well.
        assert 503 == (await face.get(provider.url, headers={"x-stainless-lang": "python"})).status_code

    with HostileProvider("ok") as provider:
        run_with(kind, library.ours, scenario, guard=guard)
        run_with(kind, library.ours, refused, guard=impatient)
        assert 2 == provider.stats.requests


@each_library
def test_threads_take_turns(library: Library) -> None:
    """
    Ten threads share one slot, which each holds to the end of its body.
    """
    guard = Guard("images", bulkhead=Bulkhead(1, queue=10), timeout=5.0)
    statuses: list[int] = []

    with HostileProvider("sleep:0.02") as provider, library.ours.Client(guard=guard) as client:
        threads = [
            threading.Thread(target=lambda: statuses.append(client.get(provider.url).status_code)) for _ in "x" * 10
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [200] * 10 == statuses
        assert 10 == guard.snapshot().counts["success"]


@each_async_kind
@each_library
def test_cancelled_while_it_waits_for_a_slot(library: Library, kind: Kind) -> None:
    """
    The slot goes to the next, and nothing is sent for who was cancelled.
    """
    guard = Guard("images", bulkhead=Bulkhead(1, queue=1), timeout=5.0, max_wait=5.0)

    async def scenario(face: Face) -> None:
        async with face.stream("GET", provider.url):
            with anyio.move_on_after(0.05) as scope:
                await face.get(provider.url)
            assert scope.cancelled_caught
        assert 200 == (await face.get(provider.url)).status_code

    with HostileProvider("ok") as provider:
        run_with(kind, library.ours, scenario, guard=guard)
        assert 2 == provider.stats.requests
    assert 0 == guard.snapshot().in_flight


@each_async_kind
@each_library
@pytest.mark.parametrize("modes", [["503", "ok"], ["reset-before-headers", "ok"], ["503", "silent"]])
def test_cancelled_between_attempts(library: Library, kind: Kind, modes: Any) -> None:
    """
    While it backs off, or in its second attempt: slot and permit are given back.
    """
    base = 0.0 if "silent" in modes else 1000.0
    guard = Guard("images", bulkhead=1, timeout=5.0, retry=Retry(3, base=base, cap=1000.0))

    async def scenario(face: Face) -> None:
        with anyio.move_on_after(0.3) as scope:
            await face.get(provider.url)
        assert scope.cancelled_caught
        assert 0 == guard.snapshot().in_flight
        provider.play("ok")
        assert 200 == (await face.get(provider.url)).status_code

    with HostileProvider(modes) as provider:
        run_with(kind, library.ours, scenario, guard=guard)
    assert 0 == guard.snapshot().in_flight


@each_kind
@each_library
def test_refused_where_it_is_full(library: Library, kind: Kind) -> None:
    """
    Without a queue, at once.
    """
    guard = Guard("images", bulkhead=1, timeout=5.0)

    async def scenario(face: Face) -> None:
        async with face.stream("GET", provider.url):
            with pytest.raises(BulkheadFullError):
                await face.get(provider.url)
        assert 200 == (await face.get(provider.url)).status_code

    with HostileProvider("stream:3") as provider:
        run_with(kind, library.ours, scenario, guard=guard)
