"""
Hundreds of guarded requests at once over one client, every third to a provider that does not behave.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import uvloop

from hungframe import CallTimeoutError, Guard
from hungframe.testing import HostileProvider
from tests.transport.faces import Face, Kind, Library, each_async_kind, each_library, make, run_with

MODES = ("ok", "ok", "silent", "ok", "ok", "trickle-body:1", "ok", "ok", "stall-body")


@pytest.fixture
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


def guard_of(seconds: float) -> Guard:
    # As many may hang as there are.
    return Guard("images", timeout=seconds, breaker=None, max_orphans=1_000, isolate=None)


async def burst(face: Face, provider: HostileProvider, count: int, seconds: float) -> Counter[str]:
    """
    So many at once; what became of them.
    """
    guard = guard_of(seconds)
    ended: Counter[str] = Counter()

    async def ask(mode: str) -> None:
        try:
            response = await guard.acall(face.get, provider.url, headers={"X-Hostile-Mode": mode})
        except CallTimeoutError:
            ended[f"{mode} timed out"] += 1
        else:
            ended[f"{mode} {response.status_code}"] += 1

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(ask, MODES[number % len(MODES)])
    return ended


def expected(count: int) -> Counter[str]:
    return Counter(
        "ok 200" if mode == "ok" else f"{mode} timed out"
        for mode in (MODES[number % len(MODES)] for number in range(count))
    )


@each_async_kind
@each_library
def test_hundreds_of_tasks(provider: HostileProvider, library: Library, kind: Kind) -> None:
    """
    Every healthy one succeeds, every other one ends at its deadline, and nothing is left.
    """

    # httpcore 1 looks through all its requests and connections for each, stock as ours: 500 at once take it 10 to 20 s
    # of the processor on a busy machine, and a loop that has no time ends no call in time. httpcore2 takes 1 s.
    count = 99 if library.stock.__name__ == "httpx" else 495

    async def scenario(face: Face) -> Counter[str]:
        ended = await burst(face, provider, count, seconds=1.5 if count < 100 else 2.0)
        pool = face.client._transport._inner._pool
        assert not pool._requests
        assert all(each.is_idle() for each in pool._connections)
        assert 200 == (await face.get(provider.url)).status_code
        return ended

    limits = library.stock.Limits(max_connections=600, max_keepalive_connections=600)
    assert expected(count) == run_with(kind, library.ours, scenario, limits=limits, timeout=60)
    assert provider.wait_closed(5)


@each_library
def test_on_uvloop(provider: HostileProvider, library: Library) -> None:
    """
    So it is on uvloop.
    """

    async def main() -> Counter[str]:
        face = make("asyncio", library.ours, limits=library.stock.Limits(max_connections=100), timeout=60)
        try:
            return await burst(face, provider, 90, seconds=0.7)
        finally:
            await face.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) if hasattr(asyncio, "Runner") else _Runner() as runner:
        assert expected(90) == runner.run(main())
    assert provider.wait_closed(5)


class _Runner:
    """
    asyncio.Runner for Python 3.10.
    """

    def __enter__(self) -> _Runner:
        self.loop = uvloop.new_event_loop()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()

    def run(self, main: Any) -> Any:
        return self.loop.run_until_complete(main)


@each_library
def test_a_hundred_threads(provider: HostileProvider, library: Library) -> None:
    """
    So it is for a sync client and a hundred threads, each of which ends its own calls.
    """
    guard = guard_of(1.0)
    ended: Counter[str] = Counter()
    lock = threading.Lock()
    limits = library.stock.Limits(max_connections=200, max_keepalive_connections=200)
    face = make("sync", library.ours, limits=limits, timeout=60)

    def ask(mode: str) -> None:
        try:
            status = guard.call(face.client.get, provider.url, headers={"X-Hostile-Mode": mode}).status_code
            told = f"{mode} {status}"
        except CallTimeoutError:
            told = f"{mode} timed out"
        with lock:
            ended[told] += 1

    threads = [threading.Thread(target=ask, args=(MODES[number % len(MODES)],)) for number in range(99)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert expected(99) == ended
    pool = face.client._transport._inner._pool
    assert not pool._requests
    assert all(each.is_idle() for each in pool._connections)
    face.client.close()
    assert provider.wait_closed(5)


@each_library
def test_a_client_a_loop(provider: HostileProvider, library: Library) -> None:
    """
    Loops in several threads, each with a client of its own, do not meet.
    """
    ended: list[Counter[str]] = []

    async def scenario(face: Face) -> None:
        ended.append(await burst(face, provider, 18, seconds=0.5))

    def main(kind: Kind) -> None:
        run_with(kind, library.ours, scenario, timeout=60)

    kinds: list[Kind] = ["asyncio", "trio", "asyncio", "trio"]
    threads = [threading.Thread(target=main, args=(kind,)) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [expected(18)] * 4 == ended
