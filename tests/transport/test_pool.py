"""
Connections are kept, reused, waited for and given up as by the stock client, and a wait for one ends at the deadline.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import anyio
import pytest

from hungframe import CallTimeoutError, Guard
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
    error_of,
    make,
    run_with,
    unsuspended,
)
from tests.transport.raw_server import OK, Connection, says, serving


@each_kind
@each_library
@pytest.mark.parametrize("options", [{}, {"max_keepalive_connections": 0}, {"keepalive_expiry": 0.02}])
def test_kept_alive(library: Library, kind: Kind, options: dict[str, Any]) -> None:
    """
    As many connections as the stock client makes.
    """

    async def scenario(face: Face) -> int:
        before = len(server.connections)
        for _ in range(3):
            await face.get(server.url)
            if options.get("keepalive_expiry"):
                time.sleep(0.04)
        return len(server.connections) - before

    with serving(says(OK)) as server:
        made = both(kind, library, scenario, limits=library.stock.Limits(**options))
    assert (3 if options else 1) == made


@each_kind
@each_library
def test_server_closes_an_idle_connection(library: Library, kind: Kind) -> None:
    """
    It is noticed before the next request, which takes another.
    """

    def once(connection: Connection) -> None:
        connection.request()
        connection.say(OK)

    async def scenario(face: Face) -> list[str]:
        answers = []
        for _ in range(3):
            answers.append((await face.get(server.url)).text)
            # The end of it is on its way.
            time.sleep(0.03)
        return answers

    with serving(once) as server:
        assert ["ok"] * 3 == both(kind, library, scenario)


@each_kind
@each_library
def test_pool_timeout(library: Library, kind: Kind) -> None:
    """
    No free connection: the library's PoolTimeout, and the pool is as good as before once one is free.
    """

    async def scenario(face: Face) -> list[str]:
        async with face.stream("GET", server.url) as response:
            raised = await error_of(face.get(server.url))
            await face.read(response)
        return [raised, (await face.get(server.url)).text]

    with serving(says(OK)) as server:
        raised, text = both(
            kind,
            library,
            scenario,
            limits=library.stock.Limits(max_connections=1),
            timeout=library.stock.Timeout(5, pool=0.05),
        )
    assert (f"{library.stock.__name__}.PoolTimeout", "ok") == (raised, text)


@each_kind
@each_library
def test_wait_for_a_connection_ends_at_the_deadline(library: Library, kind: Kind) -> None:
    """
    The pool is full, and its own timeout far away: the guarded call is back at its deadline.
    """
    guard = Guard("images", timeout=DEADLINE)

    async def scenario(face: Face) -> str:
        async with face.stream("GET", server.url) as response:
            began = time.monotonic()
            with pytest.raises(CallTimeoutError):
                await face.guarded(guard, face.get, server.url)
            assert time.monotonic() - began < BACK_BY
            await face.read(response)
        return str((await face.guarded(guard, face.get, server.url)).text)

    with serving(says(OK)) as server:
        limits = library.stock.Limits(max_connections=1)
        assert "ok" == run_with(kind, library.ours, scenario, limits=limits, timeout=library.stock.Timeout(5, pool=3))


@each_library
def test_threads_wait_for_their_turn(library: Library) -> None:
    """
    Sixteen threads share one sync client: each gets its own answer.
    """
    # httpcore 1, with fewer connections than threads, now and then closes one that it has just given to a request:
    # 15 of 6,400 such requests failed over the stock client, and as many over ours.
    limit = 20 if library.stock.__name__ == "httpx" else 4

    def echoes(connection: Connection) -> None:
        while head := connection.request():
            path = head.split()[1]
            connection.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(path), path))

    wrong: list[Any] = []

    def ask(number: int) -> None:
        for turn in range(10):
            text = face.client.get(f"{server.url}/{number}/{turn}").text
            if text != f"/{number}/{turn}":
                wrong.append(text)

    with serving(echoes) as server:
        face = make("sync", library.ours, limits=library.stock.Limits(max_connections=limit), timeout=30)
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        face.client.close()
        assert not wrong
        assert not face.client._transport._inner._pool._connections


@each_async_kind
@each_library
def test_tasks_wait_for_their_turn(library: Library, kind: Kind) -> None:
    """
    So do fifty tasks with four connections.
    """

    async def scenario(face: Face) -> None:
        async def ask() -> None:
            assert "ok" == (await face.get(server.url)).text

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(ask)

    with serving(says(OK)) as server:
        run_with(kind, library.ours, scenario, limits=library.stock.Limits(max_connections=4))
        assert 4 == len(server.connections)


@each_kind
@each_library
def test_one_request_object_sent_twice_at_once(library: Library, kind: Kind) -> None:
    """
    A request object may be sent by many at the same time: that one of them fails takes nothing from the other.
    """
    slow = threading.Event()

    def answers_the_second(connection: Connection) -> None:
        connection.request()
        if 0 == connection.number % 2:
            # Answers when the other has failed.
            slow.wait(5)
            connection.say(OK)

    async def scenario(face: Face) -> list[str]:
        request = face.client.build_request("GET", server.url)
        answers: list[str] = []

        async def first() -> None:
            answers.append((await face.send(request)).text)

        async def second() -> None:
            answers.append((await error_of(face.send(request))).rpartition(".")[2])
            slow.set()

        if kind == "sync":
            thread = threading.Thread(target=lambda: answers.append(face.client.send(request).text))
            thread.start()
            while not server.connections:
                time.sleep(0.005)
            answers.append((await error_of(face.send(request))).rpartition(".")[2])
            slow.set()
            thread.join()
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(first)
                while not server.connections:
                    await anyio.sleep(0.005)
                group.start_soon(second)
        return answers

    with serving(answers_the_second) as server:
        assert ["RemoteProtocolError", "ok"] == run_with(kind, library.ours, scenario)


@each_kind
@each_library
def test_closed_client(library: Library, kind: Kind) -> None:
    """
    A closed client says that it is closed.
    """

    async def scenario(face: Face) -> str:
        await face.get(server.url)
        await face.close()
        return await error_of(face.get(server.url))

    with serving(says(OK)) as server:
        assert "builtins.RuntimeError" == both(kind, library, scenario)


@each_kind
@each_library
def test_closed_with_a_request_in_flight(library: Library, kind: Kind) -> None:
    """
    Who waits for an answer when the client is closed is told so at once, and nobody hangs.
    """

    def silent(connection: Connection) -> None:
        while connection.more():
            pass

    async def scenario(face: Face) -> str:
        raised: list[str] = []

        async def ask() -> None:
            raised.append(await error_of(face.get(server.url)))

        async def close() -> None:
            while not server.connections or not server.connections[0].seen:
                await anyio.sleep(0.01)
            await face.close()

        if kind == "sync":
            thread = threading.Thread(target=lambda: unsuspended(ask()))
            thread.start()
            while not server.connections or not server.connections[0].seen:
                time.sleep(0.01)
            await face.close()
            thread.join(5.0)
            assert not thread.is_alive()
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                group.start_soon(close)
        return raised[0]

    with serving(silent) as server:
        began = time.monotonic()
        raised = run_with(kind, library.ours, scenario, timeout=None)
    assert raised.rpartition(".")[2] in ("ReadError", "RemoteProtocolError")
    assert time.monotonic() - began < BACK_BY
