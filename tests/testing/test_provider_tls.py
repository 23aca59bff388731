"""
The same provider behind TLS.
"""

import socket
import ssl
from typing import Any

import httpx
import pytest

from hungframe.testing.provider import HostileProvider

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def plain(provider: HostileProvider) -> socket.socket:
    url = httpx.URL(provider.url)
    return socket.create_connection((url.host, url.port or 0), timeout=2.0)


def connect(provider: HostileProvider, name: str = "127.0.0.1", **options: Any) -> ssl.SSLSocket:
    return provider.ssl_context().wrap_socket(plain(provider), server_hostname=name, **options)


def client(provider: HostileProvider, timeout: float = 2.0) -> httpx.Client:
    return httpx.Client(base_url=provider.url, verify=provider.ssl_context(), timeout=timeout)


def test_https_answers() -> None:
    """
    A client that trusts the certificate is served, kept alive, and sends
    more than one record.
    """
    with HostileProvider(tls=True) as provider, client(provider) as http:
        assert provider.url.startswith("https://127.0.0.1:")
        for _ in range(3):
            response = http.post("/", content=bytes(500_000))
            assert {"ok": True} == response.json()

        assert 1 == provider.stats.opened
    assert 3 == provider.stats.requests


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_https_answers_both_libraries(library: str) -> None:
    """
    httpx and its successor take the context as it is.
    """
    http = pytest.importorskip(library)
    with HostileProvider(tls=True) as provider:
        response = http.get(provider.url, verify=provider.ssl_context())

    assert {"ok": True} == response.json()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_certificate_names_the_loopback(name: str) -> None:
    """
    Both names of the loopback verify.
    """
    with HostileProvider(tls=True) as provider:
        with connect(provider, name) as sock:
            sock.sendall(REQUEST)
            assert sock.recv(65_536).startswith(b"HTTP/1.1 200 OK")


def test_nobody_else_trusts_it() -> None:
    """
    A client with the system's certificates refuses, and the provider lives.
    """
    with HostileProvider(tls=True) as provider:
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(plain(provider), server_hostname="localhost")
        assert provider.wait_closed()
        with client(provider) as http:
            assert 200 == http.get("/").status_code


def test_plain_http_is_turned_away() -> None:
    """
    What is not TLS gets its connection closed.
    """
    with HostileProvider(tls=True) as provider:
        with plain(provider) as sock:
            sock.sendall(REQUEST)
            while sock.recv(65_536):
                pass  # the alert
        assert provider.wait_closed()
        assert 0 == provider.stats.requests


def test_tls_stall_hangs_in_the_handshake() -> None:
    """
    httpx waits for the handshake until its connect timeout.
    """
    with HostileProvider("tls-stall", tls=True) as provider:
        with client(provider, timeout=0.2) as http:
            with pytest.raises(httpx.ConnectTimeout):
                http.get("/")

        assert provider.stats.bytes_in > 100
        assert 0 == provider.stats.bytes_out
        assert provider.wait_closed()


def test_slow_accept_delays_the_handshake() -> None:
    """
    The handshake comes late, the answer then at once.
    """
    with HostileProvider("slow-accept:0.05", tls=True) as provider:
        with client(provider) as http:
            assert 200 == http.get("/").status_code


def test_never_read_begins_after_the_handshake() -> None:
    """
    The handshake goes through, the upload does not.
    """
    with HostileProvider("never-read", tls=True) as provider:
        with client(provider, timeout=0.2) as http:
            with pytest.raises(httpx.WriteTimeout):
                http.post("/", content=bytes(16_000_000))

        assert 0 == provider.stats.requests


@pytest.mark.parametrize(
    "mode, error",
    [
        ("silent", httpx.ReadTimeout),
        ("stall-body", httpx.ReadTimeout),
        # Before 3.12 or so, Python's ssl takes a reset for an end of file.
        ("reset-before-headers", (httpx.ReadError, httpx.RemoteProtocolError)),
        ("reset-in-body", (httpx.ReadError, httpx.RemoteProtocolError)),
        ("close-early", httpx.RemoteProtocolError),
        ("malformed", httpx.RemoteProtocolError),
        ("wrong-length", httpx.RemoteProtocolError),
    ],
)
def test_modes_are_the_same_behind_tls(mode: str, error: type[Exception] | tuple[type[Exception], ...]) -> None:
    """
    Clients see what they see without TLS.
    """
    with HostileProvider(mode, tls=True) as provider:
        with client(provider, timeout=0.2) as http, pytest.raises(error):
            http.get("/")
        assert provider.wait_closed()


@pytest.mark.parametrize("mode", ["reset-before-headers", "reset-in-body"])
def test_a_reset_behind_tls_is_real(mode: str) -> None:
    """
    Below TLS, the client's kernel sees a RST.
    """
    with HostileProvider(mode, tls=True) as provider:
        with connect(provider) as secured:
            secured.sendall(REQUEST)
            assert provider.wait_closed()
            with socket.socket(fileno=secured.detach()) as sock:
                sock.settimeout(2.0)
                with pytest.raises(ConnectionResetError):
                    while sock.recv(65_536):
                        pass


def test_close_early_says_goodbye() -> None:
    """
    A clean end is clean in TLS, too: no unexpected end of file.
    """
    with HostileProvider("close-early", tls=True) as provider:
        with connect(provider, suppress_ragged_eofs=False) as sock:
            sock.sendall(REQUEST)
            assert b"" == sock.recv(1)


def test_endless_body_behind_tls() -> None:
    """
    Megabytes come through, and the end of the client is noticed.
    """
    got = 0
    with HostileProvider("endless-body", tls=True) as provider:
        with client(provider) as http, http.stream("GET", "/") as response:
            for piece in response.iter_raw():
                got += len(piece)
                if got > 4_000_000:
                    break
        assert provider.wait_closed()


@pytest.mark.parametrize("goodbye", [False, True])
@pytest.mark.parametrize("mode", ["silent", "trickle-body:60"])
def test_a_client_that_leaves_is_noticed(mode: str, goodbye: bool) -> None:
    """
    With or without a word, a client that closes is gone.
    """
    with HostileProvider(mode, tls=True) as provider:
        with connect(provider) as sock:
            sock.sendall(REQUEST)
            while not provider.stats.requests:
                pass
            if goodbye:
                # It raises where the provider, by then, sent no answer to it.
                try:
                    sock.unwrap()
                except (ssl.SSLError, OSError):
                    pass
        assert provider.wait_closed()
        assert 0 == provider.stats.closed_by_provider
