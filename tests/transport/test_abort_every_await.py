"""
Cancel a whole request and response at its k-th await, for all k: whatever it was doing, nothing is left.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

import pytest
import trio

from hungframe import Guard
from hungframe.testing import HostileProvider
from tests.transport.abort_helpers import (
    Side,
    body_generators,
    check_clean,
    each_library,
    nothing_left,
    plain_and_tls,
    post,
)

pytestmark = body_generators

MOST = 200


class Steps:
    """
    An awaitable that runs a coroutine, and calls *cancel* when that has suspended for the *at*-th time.
    """

    def __init__(self, coro: Coroutine[Any, Any, Any], at: int, cancel: Callable[[], Any], again: bool = False) -> None:
        self._coro = coro
        self._at = at
        self._cancel = cancel
        self._again = again
        self.done = False

    async def __call__(self) -> Any:
        return await self.run()

    @coroutine
    def run(self) -> Generator[Any, Any, Any]:
        """
        Hand on what the coroutine waits for, both ways.
        """
        send: Callable[[Any], Any] = self._coro.send
        value: Any = None
        for step in itertools.count():
            try:
                waits_for = send(value)
            except StopIteration as stop:
                return stop.value
            if step == self._at or (self._again and step == self._at + 1):
                self._cancel()
                self.done = True
            try:
                value = yield waits_for
                send = self._coro.send
            except BaseException as error:
                value, send = error, self._coro.throw
        return None


async def exchange(client: Any, provider: HostileProvider) -> None:
    """
    A request that is written in parts, its response read in parts, and closed.
    """

    async def parts() -> Any:
        for _ in range(2):
            yield b"x" * 100

    headers = {"X-Hostile-Mode": "stream:2:0.001"}
    async with client.stream("POST", f"{provider.url}/x", content=parts(), headers=headers) as response:
        async for _ in response.aiter_raw():
            pass


async def cancelled_at(side: Side, guard: Guard | None, coro: Coroutine[Any, Any, Any], at: int, again: bool) -> bool:
    """
    Run *coro*, cancelled at its *at*-th await; whether it came so far.
    """
    if side.kind == "trio":
        with trio.CancelScope() as scope:
            steps = Steps(coro, at, scope.cancel)
            await (steps() if guard is None else guard.acall(steps))
        return steps.done
    box: list[asyncio.Task[Any]] = []
    steps = Steps(coro, at, lambda: box[0].cancel(), again)

    async def run() -> None:
        await (steps() if guard is None else guard.acall(steps))

    box.append(asyncio.ensure_future(run()))
    await asyncio.wait(box)
    if not box[0].cancelled():
        box[0].result()
    return steps.done


@pytest.mark.parametrize(
    ("kind", "shape"),
    # A scope of trio stays cancelled, so there is no second time.
    [("asyncio", "bare"), ("asyncio", "guarded"), ("asyncio", "twice"), ("trio", "bare"), ("trio", "guarded")],
)
@plain_and_tls
@each_library
def test_at_every_await(library: str, kind: str, tls: bool, shape: str) -> None:
    """
    On a new connection each time, and on one that was used before: then check client, server, tasks and sockets.
    """
    side = Side(library, kind)
    guard = Guard("hostile", timeout=30.0) if shape == "guarded" else None

    async def main() -> int:
        for at in range(MOST):
            # A client for two: what the first one breaks, the second meets.
            client = side.client()
            came_so_far = False
            for _ in range(2):
                coro = exchange(client, provider)
                came_so_far |= await cancelled_at(side, guard, coro, at, again=shape == "twice")
                check_clean(client)
            assert 200 == (await post(client, provider, "ok")).status_code
            check_clean(client)
            await client.aclose()
            assert provider.wait_closed(1.0), at
            if kind == "asyncio":
                assert 1 == len(asyncio.all_tasks())
            if not came_so_far:
                return at
        raise AssertionError("it never ended by itself")

    with nothing_left(), HostileProvider(tls=tls) as provider:
        awaits = side.run(main)
    assert awaits > 3
    if guard is not None:
        assert 0 == guard.snapshot().in_flight
