"""
The HTTP that the provider speaks when it means to.
"""

import functools
import re
import socket
from collections.abc import Iterator

import httpx
import pytest

from hungframe.testing.provider import HostileProvider

# Without this, httpx reads the system's certificates for each call: 18 ms.
Client = functools.partial(httpx.Client, verify=False)
ANSWER = re.compile(rb'HTTP/1\.1 200 OK\r\n.*?\r\n\r\n\{"ok": true\}', re.S)


@pytest.fixture
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture
def sock(provider: HostileProvider) -> Iterator[socket.socket]:
    url = httpx.URL(provider.url)
    with socket.create_connection((url.host, url.port or 0), timeout=2.0) as sock:
        yield sock


def read_answers(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(ANSWER.findall(data)) < count:
        piece = sock.recv(65_536)
        assert piece, f"the provider closed after {data!r}"
        data += piece
    return data


def test_keep_alive_uses_one_connection(provider: HostileProvider) -> None:
    """
    Requests one after the other share a connection.
    """
    with Client(base_url=provider.url) as client:
        for _ in range(20):
            client.post("/", content=b"hello")

    assert 1 == provider.stats.opened
    assert 20 == provider.stats.requests


def test_chunked_upload(provider: HostileProvider) -> None:
    """
    A body without a length is read to its end.
    """
    with Client(base_url=provider.url) as client:
        for _ in range(2):
            pieces = iter([b"a" * 70_000, b"b", b"c" * 10])
            assert {"ok": True} == client.post("/", content=pieces).json()

    assert 1 == provider.stats.opened


def test_chunk_extensions_and_trailers(provider: HostileProvider, sock: socket.socket) -> None:
    """
    Rare parts of chunked coding do not throw it out of step.
    """
    sock.sendall(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    read_answers(sock, 2)


def test_large_upload_is_read_whole(provider: HostileProvider) -> None:
    """
    More than any buffer holds goes through, and keep-alive holds.
    """
    with Client(base_url=provider.url) as client:
        client.post("/", content=bytes(20_000_000))
        client.get("/")

    assert 1 == provider.stats.opened
    assert provider.stats.bytes_in > 20_000_000


def test_expect_continue(provider: HostileProvider, sock: socket.socket) -> None:
    """
    A client that waits for leave to send gets it.
    """
    sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == sock.recv(65_536)
    sock.sendall(b"hello")
    read_answers(sock, 1)


def test_request_in_pieces(provider: HostileProvider, sock: socket.socket) -> None:
    """
    A request may arrive a byte at a time.
    """
    for byte in b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi":
        sock.sendall(bytes([byte]))
    read_answers(sock, 1)


def test_pipelined_requests(provider: HostileProvider, sock: socket.socket) -> None:
    """
    Two requests in one packet get two answers.
    """
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    read_answers(sock, 2)


def test_what_comes_too_early_waits(provider: HostileProvider, sock: socket.socket) -> None:
    """
    Requests that come while one is answered are not taken into memory without bound, and not lost.
    """
    provider.play(["sleep:0.2", "ok"])
    request = b"GET / HTTP/1.1\r\nX-Padding: " + b"x" * 2_000 + b"\r\n\r\n"
    sock.sendall(request * 500)

    assert provider.stats.bytes_in < len(request) * 400
    read_answers(sock, 500)
    assert 500 == provider.stats.requests


@pytest.mark.parametrize("head", [b"GET / HTTP/1.0\r\n", b"GET / HTTP/1.1\r\nConnection: close\r\n"])
def test_closes_where_the_client_wants_it(provider: HostileProvider, sock: socket.socket, head: bytes) -> None:
    """
    Without keep-alive the answer ends with the connection.
    """
    sock.sendall(head + b"\r\n")
    assert b"Connection: close\r\n" in read_answers(sock, 1)
    assert b"" == sock.recv(1)


def test_head_has_no_body(provider: HostileProvider) -> None:
    """
    HEAD gets the length and not the body, and stays in step.
    """
    with Client(base_url=provider.url) as client:
        assert "12" == client.head("/").headers["content-length"]
        assert {"ok": True} == client.get("/").json()

    assert 1 == provider.stats.opened


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hello\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"GET /" + b"a" * 70_000,
    ],
)
def test_bad_request_is_told_so(provider: HostileProvider, sock: socket.socket, request_bytes: bytes) -> None:
    """
    What is no request gets a 400 that says why, and the connection ends.
    """
    sock.sendall(request_bytes)
    data = b""
    while piece := sock.recv(65_536):
        data += piece

    assert data.startswith(b"HTTP/1.1 400 Bad Request\r\n")
