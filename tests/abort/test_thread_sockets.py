"""
At the deadline a sync callee's socket is shut down, so that its thread ends and the provider is let go.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import http.client
import socket
import ssl
import sys
import threading
import time
import urllib.request
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
import requests
import trio

from hungframe import CallTimeoutError, Guard
from hungframe.testing import HostileProvider
from tests.abort.measure import TRIES

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="whether shutdown wakes a thread is not known there"),
    pytest.mark.skipif(
        not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="another thread's frame must not be read"
    ),
    # What is cut leaves its socket to the garbage collector, in the clients too.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

UPLOAD = b"x" * 16_000_000
# Enough for a thread to be woken on a machine that is busy.
GRACE = 0.2

Client = Callable[[HostileProvider, bytes | None], Any]


def by_requests(provider: HostileProvider, body: bytes | None) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = False
        method = session.get if body is None else functools.partial(session.post, data=body)
        return method(provider.url).content


def by_urllib(provider: HostileProvider, body: bytes | None) -> Any:
    context = provider.ssl_context() if provider.url.startswith("https") else None
    with urllib.request.urlopen(provider.url, body, context=context) as response:
        return response.read()


def by_http_client(provider: HostileProvider, body: bytes | None) -> Any:
    scheme, _, address = provider.url.partition("://")
    connection = (
        http.client.HTTPSConnection(address, context=provider.ssl_context())
        if scheme == "https"
        else http.client.HTTPConnection(address)
    )
    try:
        connection.request("GET" if body is None else "POST", "/", body)
        return connection.getresponse().read()
    finally:
        connection.close()


def by_hand(provider: HostileProvider, body: bytes | None) -> Any:
    scheme, _, address = provider.url.partition("://")
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port))) as plain:
        sock = provider.ssl_context().wrap_socket(plain, server_hostname=host) if scheme == "https" else plain
        with sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body or b""))
            sock.sendall(body or b"")
            while sock.recv(1000):
                pass
    return "what a raw socket has seen is the end"


CLIENTS: list[Client] = [by_requests, by_urllib, by_http_client, by_hand]
EACH_CLIENT = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)


def guard_of(**settings: Any) -> Guard:
    return Guard("hostile", **{"timeout": 0.15, "grace": 0.15, "breaker": None, **settings})


def cut(provider: HostileProvider, callee: Callable[[], Any]) -> CallTimeoutError:
    """
    Call it, and check that it ended as it should; a busy machine may make it late, so it may try again.
    """
    for _ in range(TRIES):
        guard = guard_of(grace=0.15)
        began = time.monotonic()
        with pytest.raises(CallTimeoutError) as caught:
            guard.call(callee)
        seconds = time.monotonic() - began
        if "clean" == caught.value.receipt and seconds < 0.35:
            break
    assert "clean" == caught.value.receipt
    assert seconds < 0.35
    assert 0 == guard.snapshot().orphans
    assert provider.wait_closed(1.0)
    return caught.value


@EACH_CLIENT
@pytest.mark.parametrize("mode", ["silent", "trickle-headers", "trickle-body", "stall-body", "stream-stall", "sleep:5"])
def test_a_provider_that_hangs(client: Client, mode: str) -> None:
    """
    The callee ends in its grace, and the provider sees the connection end.
    """
    with HostileProvider(mode) as provider:
        cut(provider, lambda: client(provider, None))


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@EACH_CLIENT
@pytest.mark.parametrize("mode", ["silent", "trickle-body", "tls-stall"])
def test_a_provider_that_hangs_behind_tls(client: Client, mode: str) -> None:
    """
    The same where the thread is within a TLS socket, in its handshake too.
    """
    with HostileProvider(mode, tls=True) as provider:
        cut(provider, lambda: client(provider, None))


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@EACH_CLIENT
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_provider_that_reads_nothing(client: Client, tls: bool) -> None:
    """
    An upload that is stuck is reset, so that the kernel does not go on offering it.
    """
    with HostileProvider("never-read", tls=tls) as provider:
        cut(provider, lambda: client(provider, UPLOAD))
        assert 1 <= provider.stats.reset


@EACH_CLIENT
def test_a_provider_that_never_stops(client: Client) -> None:
    """
    A body without end ends; a client that has to put it together first may need its time for that.
    """
    with HostileProvider("endless-body") as provider:
        with pytest.raises(CallTimeoutError):
            guard_of(timeout=0.05, grace=0.05).call(client, provider, None)
        assert provider.wait_closed(1.0)


def test_the_worker_is_used_again() -> None:
    """
    A thread that was interrupted and has ended in its grace takes the next call.
    """
    guard = guard_of()
    idents = []

    def callee() -> Any:
        idents.append(threading.get_ident())
        return by_hand(provider, None)

    with HostileProvider("silent") as provider:
        for _ in range(3):
            with pytest.raises(CallTimeoutError):
                guard.call(callee)
            # It is put back a moment after its caller is free.
            time.sleep(0.02)

    assert 1 == len(set(idents))


@pytest.mark.parametrize("tries", [3, 1000])
def test_one_that_tries_again(tries: int) -> None:
    """
    A callee that opens the next connection meets the same there, for as long as its grace lasts.
    """

    def callee() -> None:
        for _ in range(tries):
            try:
                by_http_client(provider, None)
            except OSError:
                time.sleep(0.005)

    with HostileProvider("silent") as provider:
        guard = guard_of(grace=0.15)
        with pytest.raises(CallTimeoutError) as caught:
            guard.call(callee)
        assert ("clean" if tries == 3 else "orphan") == caught.value.receipt
        assert provider.stats.opened >= 3
        tries = 0
    until = time.monotonic() + 1.0
    while guard.snapshot().orphans and time.monotonic() < until:
        time.sleep(0.005)


# -- whose socket it is ----------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def is_open(ours: socket.socket, theirs: socket.socket) -> bool:
    """
    Tell whether a pair still carries a byte, both ways.
    """
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        receiver.settimeout(0.5)
        try:
            sender.sendall(b"x")
            if receiver.recv(1) != b"x":
                return False
        except OSError:
            return False
    return True


class Raises:
    """
    Raises whatever is asked of it.
    """

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("do not look at me")


class Connection:
    """
    Has a socket, as most clients do.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.lock = threading.Lock()


class Slotted:
    """
    Has one without a dict.
    """

    __slots__ = ("connection",)

    def __init__(self, sock: socket.socket) -> None:
        self.connection = Connection(sock)


def waits_on_a_variable(sock: socket.socket) -> None:
    sock.recv(1)


def waits_on_an_attribute(sock: socket.socket) -> None:
    connection = Connection(sock)
    connection.sock.recv_into(bytearray(1))


def waits_further_below(sock: socket.socket) -> None:
    client = Slotted(sock)
    client.connection.sock.recv(1)


def waits_on_a_file_of_it(sock: socket.socket) -> None:
    with sock.makefile("rb") as file:
        file.readline()


def waits_with_a_timeout(sock: socket.socket) -> None:
    sock.settimeout(5.0)
    sock.recv(1)


def waits_in_select(sock: socket.socket) -> None:
    import select

    select.select([sock], [], [], 5.0)


def waits_in_a_method_of_it(sock: socket.socket) -> None:
    read = sock.recv
    read(1)


def waits_beside_one_that_raises(sock: socket.socket) -> None:
    odd = Raises()
    [odd, sock.recv(1)]


def sleeps_beside_it(sock: socket.socket) -> None:
    connection = Connection(sock)
    connection.sock.setblocking(True)
    time.sleep(0.4)


def waits_for_a_lock_beside_it(sock: socket.socket) -> None:
    connection = Connection(sock)
    with connection.lock:
        connection.lock.acquire(timeout=0.4)
    connection.sock.fileno()


def calls_one_that_sleeps(sock: socket.socket) -> None:
    connection = Connection(sock)

    def recv() -> None:
        time.sleep(0.4)

    recv()
    connection.sock.fileno()


@pytest.mark.parametrize(
    "callee",
    [
        waits_on_a_variable,
        waits_on_an_attribute,
        waits_further_below,
        waits_on_a_file_of_it,
        waits_with_a_timeout,
        waits_in_select,
        waits_in_a_method_of_it,
        waits_beside_one_that_raises,
    ],
    ids=lambda callee: callee.__name__,
)
def test_a_socket_that_is_waited_on(
    callee: Callable[[socket.socket], None], pair: tuple[socket.socket, socket.socket]
) -> None:
    """
    It is found wherever the line that waits names it.
    """
    with pytest.raises(CallTimeoutError) as caught:
        guard_of(timeout=GRACE, grace=GRACE).call(callee, pair[0])

    assert "clean" == caught.value.receipt
    assert not is_open(*pair)


@pytest.mark.parametrize(
    "callee",
    [sleeps_beside_it, waits_for_a_lock_beside_it, calls_one_that_sleeps],
    ids=lambda callee: callee.__name__,
)
def test_a_socket_that_is_only_there(
    callee: Callable[[socket.socket], None], pair: tuple[socket.socket, socket.socket]
) -> None:
    """
    What hangs elsewhere loses no socket.
    """
    with pytest.raises(CallTimeoutError):
        guard_of(timeout=0.05, grace=0.05).call(callee, pair[0])

    assert is_open(*pair)


def test_a_method_of_it_is_the_callee(pair: tuple[socket.socket, socket.socket]) -> None:
    """
    It is found where no Python code of the callee's own is in between.
    """
    with pytest.raises(CallTimeoutError) as caught:
        guard_of(timeout=GRACE, grace=GRACE).call(pair[0].recv, 1)

    assert "clean" == caught.value.receipt


def test_a_listener_is_left_alone() -> None:
    """
    It is shared by all who accept.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.3)

        guard = guard_of(timeout=0.05, grace=0.05)
        with pytest.raises(CallTimeoutError):
            guard.call(listener.accept)
        until = time.monotonic() + 1.0
        while guard.snapshot().orphans and time.monotonic() < until:
            time.sleep(0.005)
        with socket.create_connection(listener.getsockname(), timeout=1.0):
            listener.accept()[0].close()


def test_one_that_ends_in_time_keeps_its_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    """
    Nobody looks at a callee that is not late.
    """
    ours, theirs = pair
    theirs.sendall(b"x")

    assert b"x" == guard_of(timeout=5.0).call(ours.recv, 1)
    assert is_open(ours, theirs)


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog swallows a connection there")
def test_a_connection_that_is_not_made() -> None:
    """
    A connect that nobody answers is ended, too.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        full = [socket.socket() for _ in range(8)]
        try:
            for sock in full:
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
            time.sleep(0.02)
            with pytest.raises(CallTimeoutError) as caught:
                guard_of(timeout=GRACE, grace=GRACE).call(socket.create_connection, listener.getsockname())
            assert "clean" == caught.value.receipt
        finally:
            for sock in full:
                sock.close()


def test_nothing_is_kept(pair: tuple[socket.socket, socket.socket]) -> None:
    """
    What the callee had in its hands goes with it, although another thread has looked at it.
    """

    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    def callee() -> None:
        value = Held()
        held.append(weakref.ref(value))
        sock = pair[0]
        while sock.recv(1):
            pass

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(CallTimeoutError) as caught:
            guard_of(timeout=GRACE, grace=GRACE).call(callee)
        assert "clean" == caught.value.receipt
        until = time.monotonic() + 1.0
        while held[0]() is not None and time.monotonic() < until:
            time.sleep(0.002)
        assert held[0]() is None
    finally:
        gc.enable()


# -- async callers ---------------------------------------------------------------


@EACH_CLIENT
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_caller(client: Client, backend: str) -> None:
    """
    With isolate="thread" the same holds for who awaits it.
    """
    guard = guard_of(isolate="thread", timeout=GRACE, grace=GRACE)

    async def main() -> CallTimeoutError:
        with pytest.raises(CallTimeoutError) as caught:
            await guard.acall(client, provider, None)
        return caught.value

    with HostileProvider("trickle-body") as provider:
        assert "clean" == anyio.run(main, backend=backend).receipt
        assert provider.wait_closed(1.0)
    assert 0 == guard.snapshot().orphans


def _cancelled_by_its_task(guard: Guard, callee: Callable[[], Any]) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(guard.acall(callee))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def _cancelled_by_a_scope_of_anyio(guard: Guard, callee: Callable[[], Any]) -> None:
    async def main() -> None:
        with anyio.move_on_after(0.05) as scope:
            await guard.acall(callee)
        assert scope.cancelled_caught

    anyio.run(main)


def _cancelled_by_a_scope_of_trio(guard: Guard, callee: Callable[[], Any]) -> None:
    async def main() -> None:
        with trio.move_on_after(0.05) as scope:
            await guard.acall(callee)
        assert scope.cancelled_caught

    trio.run(main)


@pytest.mark.parametrize(
    "cancelled",
    [_cancelled_by_its_task, _cancelled_by_a_scope_of_anyio, _cancelled_by_a_scope_of_trio],
    ids=lambda cancelled: cancelled.__name__,
)
def test_a_caller_that_is_cancelled(cancelled: Callable[[Guard, Callable[[], Any]], None]) -> None:
    """
    Its callee's socket is shut down as at the deadline; the cancellation is the caller's own.
    """
    guard = guard_of(isolate="thread", timeout=5.0, grace=GRACE)
    with HostileProvider("silent") as provider:
        began = time.monotonic()
        cancelled(guard, lambda: by_http_client(provider, None))
        assert time.monotonic() - began < 0.05 + GRACE
        assert provider.wait_closed(1.0)

    snapshot = guard.snapshot()
    assert 1 == snapshot.counts["cancelled"] == sum(snapshot.counts.values())
    assert (0, 0) == (snapshot.in_flight, snapshot.orphans)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_caller_of_one_that_tries_again(backend: str) -> None:
    """
    A callee that does not end in its grace is an orphan, until it ends.
    """
    guard = guard_of(isolate="thread", timeout=0.1, grace=0.1)
    let_go = threading.Event()

    def callee() -> None:
        while not let_go.is_set():
            try:
                by_http_client(provider, None)
            except OSError:
                time.sleep(0.002)

    async def main() -> None:
        with pytest.raises(CallTimeoutError) as caught:
            await guard.acall(callee)  # type: ignore[arg-type]  # A callee of any shape.
        assert "orphan" == caught.value.receipt
        assert 1 == guard.snapshot().orphans
        let_go.set()

    with HostileProvider("silent") as provider:
        anyio.run(main, backend=backend)
    until = time.monotonic() + 2.0
    while guard.snapshot().orphans and time.monotonic() < until:
        time.sleep(0.005)
    assert 0 == guard.snapshot().orphans


def test_an_abort_of_tls_leaves_its_object() -> None:
    """
    A TLS socket is shut down below its TLS, which its thread is in.
    """
    seen: list[object] = []

    def callee() -> None:
        host, _, port = provider.url.partition("://")[2].partition(":")
        with (
            socket.create_connection((host, int(port))) as plain,
            provider.ssl_context().wrap_socket(plain, server_hostname=host) as sock,
        ):
            try:
                sock.recv(1)
            finally:
                seen.append(sock._sslobj)  # type: ignore[attr-defined]
                seen.append(isinstance(sock, ssl.SSLSocket))

    with HostileProvider("silent", tls=True) as provider:
        cut(provider, callee)
    assert seen[0] is not None
