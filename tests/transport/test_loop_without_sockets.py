"""
An event loop that watches no sockets, as Windows' default one: anyio watches them in a thread of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from hungframe import CallTimeoutError, Guard
from hungframe.testing import HostileProvider
from tests.transport.faces import BACK_BY, DEADLINE, Face, Library, each_library, error_of, make
from tests.transport.raw_server import OK, says, serving

pytestmark = pytest.mark.skipif(not hasattr(anyio, "wait_readable"), reason="such loops need anyio 4.7")


class Loop(asyncio.SelectorEventLoop):
    """
    asyncio's own, without add_reader() and add_writer() and what goes with them.
    """

    def add_reader(self, *_: object) -> Any:
        raise NotImplementedError

    def add_writer(self, *_: object) -> Any:
        raise NotImplementedError

    def remove_reader(self, fd: Any) -> Any:
        raise NotImplementedError

    def remove_writer(self, fd: Any) -> Any:
        raise NotImplementedError


def run_on_it(library: Library, scenario: Callable[[Face], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        face = make("asyncio", library.ours, **options)
        try:
            await scenario(face)
        finally:
            await face.close()

    loop = Loop()
    try:
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


@each_library
def test_requests(library: Library) -> None:
    """
    Small and large, one after the other and at once.
    """

    async def scenario(face: Face) -> None:
        for body in (b"", b"x" * 3_000_000):
            assert "ok" == (await face.post(server.url, content=body)).text
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(face.get, server.url)

    with serving(says(OK)) as server:
        run_on_it(library, scenario)


@each_library
def test_timeouts(library: Library) -> None:
    """
    The client's own, the deadline's, and a cancellation.
    """
    guard = Guard("images", timeout=DEADLINE)

    async def scenario(face: Face) -> None:
        assert (await error_of(face.get(provider.url, timeout=0.1))).endswith("ReadTimeout")
        began = time.monotonic()
        with pytest.raises(CallTimeoutError):
            await face.guarded(guard, face.get, provider.url)
        with anyio.move_on_after(DEADLINE) as scope:
            await face.get(provider.url)
        assert scope.cancelled_caught
        assert time.monotonic() - began < BACK_BY
        assert 200 == (await face.get(provider.url, headers={"X-Hostile-Mode": "ok"})).status_code

    with HostileProvider("silent") as provider:
        run_on_it(library, scenario, timeout=30)
        assert provider.wait_closed(2)


@each_library
def test_closed_with_a_request_in_flight(library: Library) -> None:
    """
    Who waits for an answer when the client is closed is told so.
    """

    async def scenario(face: Face) -> None:
        async def close() -> None:
            await anyio.sleep(0.1)
            await face.close()

        async with anyio.create_task_group() as group:
            group.start_soon(close)
            with anyio.fail_after(BACK_BY):
                raised = await error_of(face.get(provider.url))
        assert raised.endswith(("ReadError", "RemoteProtocolError"))

    with HostileProvider("silent") as provider:
        run_on_it(library, scenario, timeout=None)
