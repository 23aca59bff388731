"""
From a host's name to a socket that is about to be connected.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterable
from typing import Any, NamedTuple

from hungframe.transport import _channel

_IN_PROGRESS = frozenset({errno.EINPROGRESS, errno.EALREADY, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS)})


# Seconds until a Unix socket whose backlog was full is tried again; nothing tells when there is room.
AGAIN = 0.005


class BacklogFullError(OSError):
    """
    The server behind a Unix socket is too busy to be connected to now.
    """


class Address(NamedTuple):
    """
    Where to connect to.
    """

    family: int
    kind: int
    proto: int
    name: Any

    @classmethod
    def all_of(cls, found: Iterable[tuple[Any, Any, int, str, Any]]) -> list[Address]:
        """
        The answers of `getaddrinfo`, in its order.
        """
        return [cls(family, kind, proto, name) for family, kind, proto, _, name in found]


def is_numeric(host: str) -> bool:
    """
    Tell whether *host* is an address already, so that no name is looked up.
    """
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class Connecting:
    """
    A socket on its way to being connected; closed by whoever gives up.
    """

    __slots__ = ("_begun", "_name", "sock")

    def __init__(self, address: Address, local_address: str | None, options: tuple[Any, ...]) -> None:
        self.sock = socket.socket(address.family, address.kind, address.proto)
        self._begun = False
        self._name = address.name
        try:
            self.sock.setblocking(False)
            if address.family != getattr(socket, "AF_UNIX", None):
                # As each HTTP client does: a request is not held back to fill a packet.
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option in options:
                self.sock.setsockopt(*option)
            if local_address is not None:
                self.sock.bind((local_address, 0))
        except BaseException:
            self.sock.close()
            raise

    def attempt(self, _: object) -> socket.socket:
        """
        Begin, or ask how it went.
        """
        if self._begun:
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        else:
            self._begun = True
            code = self.sock.connect_ex(self._name)
            if code in _IN_PROGRESS:
                raise BlockingIOError(code, os.strerror(code))
            if code == errno.EAGAIN:
                # Not on its way: a Unix socket. What waits for it to be
                # writable would find it so at once, and not connected.
                raise BacklogFullError("the backlog of the Unix socket is full")
        if code:
            raise OSError(code, os.strerror(code))
        return self.sock

    def give_up(self) -> None:
        """
        Close the socket.
        """
        _channel.reset(self.sock)


def in_turns(addresses: list[Address]) -> list[Address]:
    """
    Order addresses so that the families take turns, the first one's first (RFC 8305, 4).
    """
    first = [each for each in addresses if each.family == addresses[0].family]
    others = [each for each in addresses if each.family != addresses[0].family]
    turns: list[Address] = []
    while first or others:
        turns += first[:1] + others[:1]
        first, others = first[1:], others[1:]
    return turns
