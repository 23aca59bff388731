"""
HTTP/2: many requests on one connection, of which one that is cut takes nothing from the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from hungframe import CallTimeoutError, Guard
from tests.transport import h2_server
from tests.transport.certificates import client_context, server_context
from tests.transport.faces import (
    BACK_BY,
    DEADLINE,
    Face,
    Kind,
    Library,
    both,
    each_async_kind,
    each_kind,
    each_library,
    facts,
    make,
    run_with,
)
from tests.transport.raw_server import OK, RawServer, says, serving


@pytest.fixture
def server() -> Iterator[RawServer]:
    with serving(h2_server.answer, tls=server_context(alpn=("h2",))) as server:
        yield server


@each_kind
@each_library
def test_same_answers(server: RawServer, library: Library, kind: Kind) -> None:
    """
    One after the other, small and large, up and down, over one connection.
    """

    async def scenario(face: Face) -> list[Any]:
        before = len(server.connections)
        seen = [facts(await face.get(f"{server.url}/"))]
        seen.append(facts(await face.post(f"{server.url}/", content=b"x" * 300_000)))
        seen.append(facts(await face.get(f"{server.url}/large")))
        seen.append(facts(await face.get(f"{server.url}/")))
        return [*seen, len(server.connections) - before]

    seen = both(kind, library, scenario, http2=True, verify=client_context())
    assert ("HTTP/2", b"300000", h2_server.LARGE) == (seen[0][2], seen[1][4], len(seen[2][4]))
    assert 1 == seen[-1]


@each_kind
@each_library
def test_falls_back(library: Library, kind: Kind) -> None:
    """
    A server that speaks HTTP/1.1 only gets that.
    """

    async def scenario(face: Face) -> Any:
        return facts(await face.get(alone.url))

    with serving(says(OK), tls=server_context(alpn=("http/1.1",))) as alone:
        assert "HTTP/1.1" == both(kind, library, scenario, http2=True, verify=client_context())[2]


@each_kind
@each_library
def test_prior_knowledge(library: Library, kind: Kind) -> None:
    """
    `http1=False` speaks HTTP/2 without TLS.
    """

    async def scenario(face: Face) -> Any:
        return [facts(await face.post(alone.url, content=b"x" * size)) for size in (0, 100_000)]

    with serving(h2_server.answer) as alone:
        seen = both(kind, library, scenario, http1=False, http2=True)
        assert 2 == len(alone.connections)
    assert b"100000" == seen[1][4]


@each_async_kind
@each_library
@pytest.mark.parametrize("tls", [True, False])
def test_one_that_is_cut_leaves_the_others(library: Library, kind: Kind, tls: bool) -> None:
    """
    Of requests that share a connection some hang until their deadline; the others are answered, then and later.
    """
    guard = Guard("images", timeout=DEADLINE)

    async def scenario(face: Face) -> list[str]:
        ended: list[str] = []
        async with face.stream("GET", f"{alone.url}/large") as large:

            async def hangs() -> None:
                with pytest.raises(CallTimeoutError) as caught:
                    await face.guarded(guard, face.get, f"{alone.url}/silent")
                ended.append(str(caught.value.phase))

            async def answered() -> None:
                for _ in range(5):
                    await anyio.sleep(DEADLINE / 4)
                    assert b"1000" == (await face.post(f"{alone.url}/", content=b"x" * 1000)).content

            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(hangs)
                    group.start_soon(answered)
            assert h2_server.LARGE == len(await face.read(large))
        assert b"0" == (await face.get(f"{alone.url}/")).content
        return ended

    with serving(h2_server.answer, tls=server_context(alpn=("h2",)) if tls else None) as alone:
        options = {"verify": client_context()} if tls else {"http1": False}
        assert ["headers"] * 5 == run_with(kind, library.ours, scenario, http2=True, **options)
        assert 1 == len(alone.connections)


@each_library
def test_one_of_several_threads_is_cut(server: RawServer, library: Library) -> None:
    """
    A sync client is back at the deadline, and those that shared the connection can go on at once with another.

    httpcore takes a read that failed for the end of the connection, so that the others see an error.
    """
    guard = Guard("images", timeout=DEADLINE, isolate=None)
    face = make("sync", library.ours, http2=True, verify=client_context())
    late: list[float] = []

    def hangs() -> None:
        began = time.monotonic()
        with pytest.raises((CallTimeoutError, library.stock.TransportError)):
            guard.call(face.client.get, f"{server.url}/silent")
        late.append(time.monotonic() - began)

    assert b"0" == face.client.get(f"{server.url}/").content
    threads = [threading.Thread(target=hangs) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert 4 == len(late)
    assert max(late) < BACK_BY
    assert b"0" == face.client.get(f"{server.url}/").content
    face.client.close()


@each_library
def test_threads_share_a_connection(server: RawServer, library: Library) -> None:
    """
    Eight threads, one sync client.
    """
    face = make("sync", library.ours, http2=True, verify=client_context(), timeout=20)
    seen: list[bytes] = []

    def ask(size: int) -> None:
        for _ in range(5):
            seen.append(face.client.post(f"{server.url}/", content=b"x" * size).content)

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    face.client.close()
    assert sorted(b"%d" % size for size in range(8) for _ in range(5)) == sorted(seen)
