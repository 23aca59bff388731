"""
A socket that never blocks: plain, under TLS, or under TLS within TLS.

Each method tries once. What would block raises `ssl.SSLWantReadError`,
`ssl.SSLWantWriteError` or `BlockingIOError`, as the standard library's sockets
do, and may be tried again when the socket is ready. Nothing here waits.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import select
import socket
import ssl
import struct
import sys
from typing import Any, Protocol

# On, with no time: close() drops what is not sent yet and resets.
_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

# Linux: bytes in the send queue, tcp(7).
_SIOCOUTQ = 0x5411
_IOCTL: Any = importlib.import_module("fcntl").ioctl if sys.platform == "linux" else None

# So much is offered to the socket in one attempt; the deadline is looked at in between.
_SLICE = 262_144

# RFC 8446, 5.2: no TLS record is longer than this.
_RECORD = 16_384 + 256


class Channel(Protocol):
    """
    What the streams of a backend stand on.
    """

    sock: socket.socket

    def recv(self, max_bytes: int) -> bytes:
        """Read what is there; `b""` when the peer has finished."""
        ...

    def send(self, data: memoryview) -> int:
        """Hand over a part of *data*, and tell how much."""
        ...


class Plain:
    """
    A socket, or the socket that the `ssl` module has made of one.
    """

    __slots__ = ("sock",)

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    def recv(self, max_bytes: int) -> bytes:
        """
        Read what is there; `b""` when the peer has finished.
        """
        try:
            return self.sock.recv(max_bytes)
        except ssl.SSLEOFError as error:
            # Many servers close without a goodbye. Before 3.13 the ssl module
            # says the same of a reset, which must not pass for the end of a
            # body that has no other. OpenSSL 3 gives a reason for a FIN, and
            # none for a reset; the one before gives none for either.
            if not error.reason and _is_disconnected(self.sock):
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from None
            return b""

    def send(self, data: memoryview) -> int:
        """
        Hand over a part of *data*, and tell how much.
        """
        return self.sock.send(data[:_SLICE])


class TlsInTls:
    """
    TLS to the provider within the TLS to an HTTPS proxy, which the `ssl` module does not do over a socket.
    """

    __slots__ = ("_incoming", "_outer", "_outgoing", "_unsent", "sock", "ssl_object")

    def __init__(self, outer: Plain, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._outer = outer
        self.sock = outer.sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent = memoryview(b"")
        self.ssl_object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    def do_handshake(self) -> None:
        """
        Go on with the handshake.
        """
        while True:
            try:
                self.ssl_object.do_handshake()
            except ssl.SSLWantReadError:
                self._fetch()
            else:
                self._flush()
                return

    def recv(self, max_bytes: int) -> bytes:
        """
        Read what is there; `b""` when the peer has finished.
        """
        while True:
            try:
                data = self.ssl_object.read(max_bytes)
            except ssl.SSLWantReadError:
                self._fetch()
            except ssl.SSLEOFError:
                # As a socket of the ssl module takes it: many servers close without a goodbye.
                return b""
            else:
                # What is left to be sent must not cost what was read; the
                # next attempt tells why it cannot be.
                with contextlib.suppress(OSError):
                    self._flush()
                return data

    def send(self, data: memoryview) -> int:
        """
        Hand over a part of *data*, and tell how much.
        """
        # Before anything new is encrypted, so that what may be tried again
        # is not encrypted twice.
        self._flush()
        sent = self.ssl_object.write(data[:_SLICE])
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
            self._flush()
        return sent

    def _fetch(self) -> None:
        """
        Get more of what the peer says. A server may answer before it has taken all that we say, so that comes second.
        """
        unsent: OSError | None = None
        try:
            self._flush()
        except OSError as error:
            unsent = error
        try:
            received = self._outer.recv(_RECORD)
        except (BlockingIOError, ssl.SSLWantReadError):
            if unsent is not None:
                raise unsent from None
            raise
        finally:
            # A frame that holds the exception which holds the frame is a cycle.
            del unsent
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        while self._unsent or self._outgoing.pending:
            if not self._unsent:
                self._unsent = memoryview(self._outgoing.read())
            self._unsent = self._unsent[self._outer.send(self._unsent) :]


def is_readable(sock: socket.socket) -> bool:
    """
    Tell whether a read would return at once: for an idle connection, that its server has closed it.
    """
    fd = sock.fileno()
    if fd < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([fd], [], [], 0)[0])
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _is_disconnected(sock: socket.socket) -> bool:
    """
    Tell whether the peer has reset; one that has only finished is still known.
    """
    try:
        sock.getpeername()
    except OSError:
        return True
    return False


def wake(sock: socket.socket) -> None:
    """
    End what other threads wait for on a socket that is about to be closed; closing it would not wake them.
    """
    # Not the ssl module's own, which would also forget that there is TLS.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def has_unsent(sock: socket.socket) -> bool:
    """
    Tell whether the kernel still holds data that the peer has not taken; False where that cannot be asked.
    """
    if _IOCTL is None or sock.fileno() < 0:
        return False
    try:
        return bool(int.from_bytes(_IOCTL(sock, _SIOCOUTQ, bytes(4)), sys.byteorder))
    except OSError:
        return False


def reset(sock: socket.socket) -> None:
    """
    Close a socket so that nothing of it is left on either side, whatever was still to be sent.

    A plain close leaves data that the peer does not read with the kernel, which
    keeps trying for minutes (FIN-WAIT-1), and a peer that does not read never
    learns of it. This sends a reset.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    except OSError:
        # Closed already, or of a kind that does not linger.
        pass
    sock.close()
