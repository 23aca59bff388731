"""
Proxies for tests: forward and CONNECT over HTTP, the same under TLS, and SOCKS5.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from urllib.parse import urlsplit

from tests.transport.raw_server import Connection

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def http_proxy(connection: Connection) -> None:
    """
    Forward one request, or open a tunnel.
    """
    head = connection.head()
    if not head:
        return
    method, target, _ = head.split(b"\r\n")[0].split()
    if method == b"CONNECT":
        host, _, port = target.decode().rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            connection.say(ESTABLISHED)
            relay(connection, server)
        return
    url = urlsplit(target.decode())
    with socket.create_connection((url.hostname, url.port or 80)) as server:
        server.sendall(head.replace(target, (url.path or "/").encode(), 1))
        relay(connection, server)


def refusing_proxy(connection: Connection) -> None:
    """
    Ask for a password, whatever is wanted.
    """
    connection.head()
    connection.say(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")


def silent_proxy(connection: Connection) -> None:
    """
    Never answer.
    """
    while connection.more():
        pass


def socks5_proxy(connection: Connection) -> None:
    """
    RFC 1928 with a user's name and password, RFC 1929, where offered.
    """
    _, methods = connection.exactly(2)
    if 2 in connection.exactly(methods):
        connection.say(b"\x05\x02")
        _, length = connection.exactly(2)
        connection.exactly(length)
        connection.exactly(connection.exactly(1)[0])
        connection.say(b"\x01\x00")
    else:
        connection.say(b"\x05\x00")
    *_, kind = connection.exactly(4)
    if kind == 1:
        host = socket.inet_ntoa(connection.exactly(4))
    else:
        host = connection.exactly(connection.exactly(1)[0]).decode()
    (port,) = struct.unpack("!H", connection.exactly(2))
    with socket.create_connection((host, port)) as server:
        connection.say(b"\x05\x00\x00\x01" + socket.inet_aton("127.0.0.1") + struct.pack("!H", port))
        relay(connection, server)


def relay(connection: Connection, server: socket.socket) -> None:
    """
    Carry bytes both ways until either side ends.
    """

    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def back() -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                connection.say(data)
        with contextlib.suppress(OSError):
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    thread = threading.Thread(target=back)
    thread.start()
    try:
        with contextlib.suppress(OSError):
            while data := connection.more():
                server.sendall(data)
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join()
