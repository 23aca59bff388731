"""
Cancelled by its user in the middle of each phase: no socket and no task is left, and the next request works.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
import trio

from hungframe import Guard
from hungframe.testing import HostileProvider, RecordingSink
from tests.transport.abort_helpers import (
    Side,
    body_generators,
    check_clean,
    each_library,
    each_loop,
    nothing_left,
    plain_and_tls,
    post,
)

pytestmark = body_generators

AFTER = 0.05

# What the request meets, and so what it is doing AFTER seconds later.
PHASES = [
    "tls-stall",
    "never-read",
    "silent",
    "trickle-headers:0.02",
    "stall-body",
    "trickle-body:0.02",
    "endless-body",
]


async def cancelled(side: Side, request: Callable[[], Any], times: int = 1) -> float:
    """
    Run a request in a task, cancel that AFTER seconds later, as often as told; seconds until it had ended.
    """
    if side.kind == "asyncio":
        task = asyncio.ensure_future(request())
        await asyncio.sleep(AFTER)
        began = time.monotonic()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task], timeout=1.0)
        assert task.cancelled()
        return time.monotonic() - began
    began = 0.0
    with trio.CancelScope() as outer:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                nonlocal began
                await trio.sleep(AFTER)
                began = time.monotonic()
                outer.cancel()

            nursery.start_soon(cancel)
            try:
                await request()
            finally:
                for _ in range(times - 1):
                    # Whatever is awaited now is cancelled as well.
                    with pytest.raises(trio.Cancelled):
                        await trio.sleep(0)
    assert outer.cancelled_caught
    return time.monotonic() - began


@plain_and_tls
@each_loop
@each_library
@pytest.mark.parametrize("is_guarded", [True, False], ids=["guarded", "bare"])
def test_in_the_middle_of_a_phase(library: str, kind: str, tls: bool, is_guarded: bool) -> None:
    """
    All phases one after the other, on one client.
    """
    side = Side(library, kind)
    sink = RecordingSink()
    guard = Guard("hostile", timeout=30.0, sinks=[sink])

    async def main() -> None:
        client = side.client(max_response_bytes=None)
        for mode in PHASES:
            provider.play(mode)
            if mode in ("tls-stall", "never-read"):
                # It closes what it kept alive, and the client is to have heard of that.
                assert provider.wait_closed(1.0)
            content = bytes(20_000_000 if mode == "never-read" else 2)

            def request(content: bytes = content) -> Any:
                if is_guarded:
                    return guard.acall(client.post, f"{provider.url}/x", content=content)
                return client.post(f"{provider.url}/x", content=content)

            assert await cancelled(side, request) < 0.1, mode
            assert provider.wait_closed(1.0), mode
            check_clean(client)
            provider.play("ok")
            assert 200 == (await post(client, provider, "ok")).status_code, mode
            check_clean(client)
        assert 1 == len(asyncio.all_tasks()) if kind == "asyncio" else True
        await client.aclose()

    with nothing_left(), HostileProvider(tls=tls) as provider:
        side.run(main)
    if is_guarded:
        assert ["gen.request", "gen.cancelled"] * len(PHASES) == sink.names()
        assert 0 == guard.snapshot().in_flight
        assert 0 == guard.snapshot().weight


@each_loop
@each_library
@pytest.mark.parametrize("times", [1, 2, 5])
def test_while_it_connects(times: int, library: str, kind: str) -> None:
    """
    Cancelled while the kernel waits for an answer, also more than once.
    """
    side = Side(library, kind)

    async def main() -> None:
        client = side.client()
        assert await cancelled(side, lambda: client.get(f"http://127.0.0.1:{port}/"), times) < 0.1
        check_clean(client)
        assert 200 == (await post(client, provider, "ok")).status_code
        await client.aclose()

    with nothing_left(), HostileProvider() as provider, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        side.run(main)
        for filler in fillers:
            filler.close()


@plain_and_tls
@each_loop
@each_library
def test_cancelled_again_while_it_ends(library: str, kind: str, tls: bool) -> None:
    """
    A second cancellation, in the tick after, finds nothing that it could interrupt.
    """
    side = Side(library, kind)

    async def main() -> None:
        client = side.client()
        for mode in ("silent", "stall-body", "never-read"):
            content = bytes(20_000_000 if mode == "never-read" else 2)
            assert await cancelled(side, lambda: post(client, provider, mode, content=content), times=3) < 0.1  # noqa: B023
            assert provider.wait_closed(1.0)
            check_clean(client)
        assert 200 == (await post(client, provider, "ok")).status_code
        await client.aclose()

    with nothing_left(), HostileProvider(tls=tls) as provider:
        side.run(main)


@plain_and_tls
@each_loop
@each_library
@pytest.mark.parametrize("how", ["leaves the block", "closes the response", "closes the client"])
def test_left_in_the_middle_of_a_body(how: str, library: str, kind: str, tls: bool) -> None:
    """
    A stream that nobody reads on with: its connection is closed, and never used again.
    """
    side = Side(library, kind)

    async def main() -> None:
        client = side.client()
        request = client.build_request("POST", f"{provider.url}/x", headers={"X-Hostile-Mode": "endless-body"})
        with anyio.CancelScope() as scope:
            response = await client.send(request, stream=True)
            chunks: AsyncIterator[bytes] = response.aiter_raw()
            await chunks.__anext__()
            if how == "leaves the block":
                scope.cancel()
            if how != "closes the client":
                await response.aclose()
            else:
                await client.aclose()
        await chunks.aclose()  # type: ignore[attr-defined]
        await response.aclose()
        assert provider.wait_closed(1.0)
        check_clean(client)
        if how != "closes the client":
            assert 200 == (await post(client, provider, "ok")).status_code
        await client.aclose()

    with nothing_left(), HostileProvider(tls=tls) as provider:
        side.run(main)


@each_loop
@each_library
def test_the_client_is_closed_while_a_task_waits(library: str, kind: str) -> None:
    """
    Who waits on a socket that is closed under it is woken, with the client's own error.
    """
    side = Side(library, kind)
    ended: list[BaseException] = []

    async def main() -> None:
        client = side.client()

        async def waits() -> None:
            try:
                await post(client, provider, "silent")
            except Exception as error:
                ended.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(waits)
            await anyio.sleep(AFTER)
            await client.aclose()
        assert provider.wait_closed(1.0)

    with nothing_left(), HostileProvider() as provider:
        side.run(main)
    assert isinstance(ended[0], side.stock.TransportError), ended
