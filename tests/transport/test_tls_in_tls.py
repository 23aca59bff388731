"""
TLS within TLS, a step at a time: nothing is lost or said twice, whatever the outer connection takes when.
"""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from hungframe.transport._channel import TlsInTls
from tests.transport.certificates import client_context, server_context


class Outer:
    """
    The connection to the proxy: takes so many bytes, and hands out what it was given.
    """

    sock: Any = None

    def __init__(self) -> None:
        self.room = 1_000_000
        self.taken = b""
        self.coming = b""

    def send(self, data: memoryview) -> int:
        if not self.room:
            raise BlockingIOError
        part = bytes(data[: self.room])
        self.room -= len(part)
        self.taken += part
        return len(part)

    def recv(self, max_bytes: int) -> bytes:
        if not self.coming:
            raise BlockingIOError
        data, self.coming = self.coming[:max_bytes], self.coming[max_bytes:]
        return data


class Server:
    """
    The other end of it.
    """

    def __init__(self, outer: Outer) -> None:
        self.outer = outer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = server_context().wrap_bio(self.incoming, self.outgoing, server_side=True)

    def shake(self, channel: TlsInTls) -> None:
        for _ in range(10):
            for attempt in (channel.do_handshake, self.tls.do_handshake):
                try:
                    attempt()
                except (ssl.SSLWantReadError, BlockingIOError):
                    pass
                self.carry()

    def carry(self) -> None:
        self.incoming.write(self.outer.taken)
        self.outer.taken = b""
        self.outer.coming += self.outgoing.read()

    def say(self, data: bytes) -> None:
        self.tls.write(data)
        self.carry()

    def heard(self) -> bytes:
        self.carry()
        heard = b""
        try:
            while data := self.tls.read(65_536):
                heard += data
        except ssl.SSLWantReadError:
            pass
        return heard


@pytest.fixture
def pair() -> tuple[TlsInTls, Server]:
    outer = Outer()
    channel = TlsInTls(outer, client_context(), "localhost")  # type: ignore[arg-type]
    server = Server(outer)
    server.shake(channel)
    return channel, server


def test_what_is_read_is_not_lost_while_nothing_can_be_sent(pair: tuple[TlsInTls, Server]) -> None:
    """
    The server answers before it has taken the request: the answer is read all the same.
    """
    channel, server = pair
    server.outer.room = 100
    assert 50_000 >= channel.send(memoryview(b"x" * 50_000)) > 0

    server.say(b"413")

    assert b"413" == channel.recv(100)


def test_nothing_is_said_twice(pair: tuple[TlsInTls, Server]) -> None:
    """
    An outer connection that takes a little at a time gets each byte once, in order.
    """
    channel, server = pair
    data = bytes(range(256)) * 500
    left = memoryview(data)
    heard = b""
    server.outer.room = 0
    while left:
        try:
            left = left[channel.send(left) :]
        except BlockingIOError:
            server.outer.room = 1_000
        heard += server.heard()

    server.outer.room = 1_000_000
    with pytest.raises(BlockingIOError):
        # A read sends what is left over.
        channel.recv(1)
    assert data == heard + server.heard()
