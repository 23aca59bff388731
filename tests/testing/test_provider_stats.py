"""
What the provider counts is what happened.
"""

import functools
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import httpx
import pytest

from hungframe.testing.provider import HostileProvider, ProviderStats

REQUEST = b"GET /some/path?q=1 HTTP/1.1\r\nHost: x\r\n\r\n"
# Without this, httpx reads the system's certificates for each call: 18 ms.
get = functools.partial(httpx.get, verify=False)
HANGING = [
    "sleep:60",
    "silent",
    "trickle-headers:60",
    "trickle-body:60",
    "stall-body",
    "never-read",
    "tls-stall",
    "slow-accept:60",
    "stream-stall",
    "stream:9:60",
]


def connect(provider: HostileProvider, send: bytes = b"") -> socket.socket:
    url = httpx.URL(provider.url)
    sock = socket.create_connection((url.host, url.port or 0), timeout=2.0)
    sock.sendall(send)
    return sock


def reset(sock: socket.socket) -> None:
    linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    sock.close()


def adds_up(stats: ProviderStats) -> bool:
    return stats.opened == stats.open + stats.closed + stats.reset


def test_nothing_has_happened_yet() -> None:
    """
    A new provider has seen nothing.
    """
    with HostileProvider() as provider:
        stats = provider.stats
        assert 0 == stats.requests == stats.opened == stats.bytes_in
        assert {} == stats.by_mode
        assert [] == provider.requests
        assert provider.wait_closed(timeout=0)


def test_open_follows_the_clients() -> None:
    """
    Connections count while they are open, with or without a request.
    """
    with HostileProvider() as provider:
        socks = [connect(provider) for _ in range(5)]
        assert 5 == provider.stats.open
        for sock in socks[:3]:
            sock.close()
        stats = provider.stats
        for sock in socks[3:]:
            sock.close()

    assert (5, 2, 3) == (stats.opened, stats.open, stats.closed_by_peer)
    assert adds_up(stats)


def test_who_ended_it() -> None:
    """
    A FIN and a RST of the client and an end by the provider are told apart.
    """
    with HostileProvider("silent") as provider:
        connect(provider, REQUEST).close()
        reset(connect(provider, REQUEST))
        with connect(provider, REQUEST + REQUEST):
            assert 1 == provider.stats.open
            provider.close()

        stats = provider.stats

    assert 1 == stats.closed_by_peer
    assert 1 == stats.reset
    assert 1 == stats.closed_by_provider
    assert 2 == stats.closed
    assert adds_up(stats)


@pytest.mark.parametrize(
    "mode",
    ["reset-before-headers", "reset-in-body", "close-early", "malformed"],
)
def test_an_end_by_mode_is_the_providers(mode: str) -> None:
    """
    What the provider ends, resets included, is its own.
    """
    with HostileProvider(mode) as provider:
        with connect(provider, REQUEST):
            assert provider.wait_closed()
            assert 1 == provider.stats.closed_by_provider
            assert 0 == provider.stats.reset


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
@pytest.mark.parametrize("mode", HANGING)
def test_a_client_that_leaves_is_noticed_at_once(mode: str, leave: Callable[[socket.socket], None]) -> None:
    """
    Whatever hangs, the connection ends with its client.
    """
    with HostileProvider(mode) as provider:
        sock = connect(provider, REQUEST)
        while not provider.stats.by_mode:
            pass
        leave(sock)
        left_at = time.monotonic()
        assert provider.wait_closed()
        seconds = time.monotonic() - left_at
        stats = provider.stats

    assert seconds < 0.5
    assert adds_up(stats)
    # A close with unread bytes of ours in its buffer is a reset, too.
    assert 1 == stats.reset + stats.closed_by_peer
    if leave is reset:
        assert 1 == stats.reset


def test_endless_body_ends_with_its_client() -> None:
    """
    A client that goes in the middle of a body ends it.
    """
    with HostileProvider("endless-body") as provider:
        sock = connect(provider, REQUEST)
        sock.recv(1_000)
        sock.close()
        assert provider.wait_closed()
        stats = provider.stats

    # A FIN or a RST, by what it had not read when it left.
    assert 1 == stats.closed_by_peer + stats.reset


def test_bytes_are_exact() -> None:
    """
    Every byte of a quiet exchange is counted, both ways.
    """
    with HostileProvider() as provider, connect(provider, REQUEST) as sock:
        answer = sock.recv(65_536)
        stats = provider.stats

    assert len(REQUEST) == stats.bytes_in
    assert len(answer) == stats.bytes_out


def test_stats_do_not_change_afterwards() -> None:
    """
    What was taken is a value.
    """
    with HostileProvider() as provider:
        before = provider.stats
        get(provider.url)
        after = provider.stats

    assert 0 == before.requests and {} == before.by_mode
    assert 1 == after.requests
    with pytest.raises(AttributeError):
        after.requests = 2  # type: ignore[misc]  # What is refused.
    with pytest.raises(TypeError):
        after.by_mode["ok"] = 2  # type: ignore[index]  # What is refused.


def test_stats_outlive_the_provider() -> None:
    """
    What was counted can be asked for after the with block.
    """
    with HostileProvider(["ok", "sleep:0"]) as provider:
        for _ in range(3):
            get(provider.url)

    assert {"ok": 1, "sleep:0": 2} == provider.stats.by_mode
    assert 3 == len(provider.requests)
    assert 0 == provider.stats.open


def test_requests_say_what_was_asked() -> None:
    """
    A record holds the request line, the headers, the mode and the instant.
    """
    with HostileProvider() as provider:
        before = time.monotonic()
        httpx.put(
            f"{provider.url}/a/b?mode=418&x=1",
            headers=[("X-One", "1"), ("X-ONE", "2")],
        )
        after = time.monotonic()
        (request,) = provider.requests

    assert ("PUT", "/a/b") == (request.method, request.path)
    assert "mode=418&x=1" == request.query
    assert "1, 2" == request.headers["x-one"]
    assert "418" == request.mode
    assert before <= request.received_at <= after


def test_a_request_counts_before_its_body_has_come() -> None:
    """
    An upload under way is a request already.
    """
    head = b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n"
    with HostileProvider() as provider, connect(provider, head):
        assert 1 == provider.stats.requests


def test_a_request_left_behind_by_its_client_counts() -> None:
    """
    Sent and closed in one go, it was a request all the same.
    """
    with HostileProvider() as provider:
        for _ in range(20):
            connect(provider, REQUEST).close()
        assert provider.wait_closed()
        assert 20 == provider.stats.requests


def test_wait_closed_says_no() -> None:
    """
    With a connection open it gives up at its timeout.
    """
    with HostileProvider() as provider, connect(provider):
        asked_at = time.monotonic()
        assert not provider.wait_closed(timeout=0.05)
        assert 0.04 < time.monotonic() - asked_at < 0.5


def test_any_thread_may_ask() -> None:
    """
    Readers on many threads see sums that add up while clients come and go.
    """
    wrong: list[ProviderStats] = []

    def read(provider: HostileProvider) -> None:
        for _ in range(50):
            if not adds_up(provider.stats):
                wrong.append(provider.stats)

    with HostileProvider() as provider, ExitStack() as stack:
        threads = [threading.Thread(target=read, args=[provider]) for _ in range(4)]
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        for _ in range(100):
            connect(provider, REQUEST).close()

    assert [] == wrong
    assert 100 == provider.stats.opened
