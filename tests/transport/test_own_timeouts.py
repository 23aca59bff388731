"""
The client's own timeouts hold as they do in the stock client, with a guard around and without.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from hungframe import Guard
from tests.transport.faces import (
    BACK_BY,
    Face,
    Kind,
    Library,
    both,
    each_kind,
    each_library,
    error_of,
    run_with,
)
from tests.transport.raw_server import OK, Connection, says, serving

OWN = 0.06
UPLOAD = b"x" * 8_000_000


def silent(connection: Connection) -> None:
    while connection.more():
        pass


def deaf(connection: Connection) -> None:
    connection.head()
    connection.sock.settimeout(None)
    # Waits for the test to end; reads nothing.
    while not connection.is_over.wait(0.05):
        pass


def halfway(connection: Connection) -> None:
    connection.request()
    connection.say(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    connection.more()


CASES = {
    "read": (silent, {"read": OWN}, b""),
    "read in body": (halfway, {"read": OWN}, b""),
    "write": (deaf, {"write": OWN}, UPLOAD),
}


def timeout_of(library: Library, seconds: dict[str, float]) -> Any:
    return library.stock.Timeout(**{"timeout": 5.0, **seconds})


@each_kind
@each_library
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("within", ["nothing", "a guarded call"])
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
def test_shorter_than_the_deadline(library: Library, kind: Kind, case: str, within: str) -> None:
    """
    The library's own exception, in time; where a guard is around, it counts a timeout and ends nothing itself.
    """
    answer, seconds, content = CASES[case]
    guard = Guard("images", timeout=30)

    async def alone(face: Face) -> str:
        return await error_of(face.post(server.url, content=content))

    async def guarded(face: Face) -> str:
        return await error_of(face.guarded(guard, face.post, server.url, content=content))

    own = timeout_of(library, seconds)
    with serving(answer) as server:
        began = time.monotonic()
        if within == "nothing":
            raised = both(kind, library, alone, timeout=own)
        else:
            raised = run_with(kind, library.ours, guarded, timeout=own)
            assert {"timeout": 1} == {name: count for name, count in guard.snapshot().counts.items() if count}

    assert f"{library.stock.__name__}.{'WriteTimeout' if case == 'write' else 'ReadTimeout'}" == raised
    assert time.monotonic() - began < 2 * OWN + BACK_BY


@each_kind
@each_library
def test_slow_upload(library: Library, kind: Kind) -> None:
    """
    The write timeout is for as long as the server takes nothing: one that reads slowly, but reads, ends no upload.
    """

    def reads_slowly(connection: Connection) -> None:
        head = connection.head()
        left = len(content)
        assert head
        while left:
            got = len(connection.exactly(min(left, 50_000)))
            if not got:
                return
            left -= got
            time.sleep(0.02)
        connection.say(OK)

    async def scenario(face: Face) -> str:
        return await error_of(face.post(server.url, content=content))

    content = b"x" * 1_200_000
    with serving(reads_slowly, buffer=20_000) as server:
        # The stock client does the same but on trio, where the timeout is for a whole piece of the body.
        raised = run_with(kind, library.ours, scenario, timeout=timeout_of(library, {"write": 0.2}))
    assert "nothing" == raised


@each_kind
@each_library
@pytest.mark.parametrize("seconds", [1e7, 1e8, None])
def test_very_long(library: Library, kind: Kind, seconds: float | None) -> None:
    """
    Months are as good as none.
    """

    async def scenario(face: Face) -> str:
        return str((await face.get(server.url)).text)

    def answers_late(connection: Connection) -> None:
        connection.request()
        time.sleep(0.02)
        connection.say(OK)

    with serving(answers_late) as server:
        assert "ok" == run_with(kind, library.ours, scenario, timeout=seconds)


@each_kind
@each_library
def test_trickle_is_no_timeout(library: Library, kind: Kind) -> None:
    """
    A read timeout is for each read: a body that comes slower than it, piece by piece, comes to its end.
    """

    def trickles(connection: Connection) -> None:
        connection.request()
        connection.say(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n")
        for _ in range(6):
            time.sleep(0.05)
            connection.say(b"x")

    async def scenario(face: Face) -> Any:
        return (await face.get(server.url)).content

    with serving(trickles) as server:
        assert b"xxxxxx" == run_with(kind, library.ours, scenario, timeout=timeout_of(library, {"read": 0.2}))


@each_kind
@each_library
def test_per_request(library: Library, kind: Kind) -> None:
    """
    A request's own timeout wins over the client's.
    """

    async def scenario(face: Face) -> str:
        return await error_of(face.get(server.url, timeout=OWN))

    with serving(silent) as server:
        assert both(kind, library, scenario, timeout=30).endswith("ReadTimeout")


@each_kind
@each_library
def test_of_a_proxyless_retry(library: Library, kind: Kind) -> None:
    """
    `retries=` connects again as it does in the stock client.
    """
    with serving(says(OK)) as gone:
        url = gone.url

    async def scenario(face: Face) -> str:
        return await error_of(face.get(url))

    waited = []
    for transport in (
        [library.stock.HTTPTransport(retries=1), library.ours.GuardTransport(retries=1)]
        if kind == "sync"
        else [library.stock.AsyncHTTPTransport(retries=1), library.ours.AsyncGuardTransport(retries=1)]
    ):
        began = time.monotonic()
        assert run_with(kind, library.stock, scenario, transport=transport).endswith("ConnectError")
        waited.append(time.monotonic() - began)
    assert all(each < BACK_BY for each in waited)
