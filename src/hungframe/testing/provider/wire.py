"""
One connection: what came in, what goes out, and whether the client is there.

One task uses a wire at a time. Every wait ends at once, with PeerGone, when
the client closes or resets: a wire reads while it waits, because a close can
only be seen by reading.
"""

from __future__ import annotations

import asyncio
import errno
import math
import select
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from typing import Any, cast

from .stats import Ending, Ledger
from .tls import TlsLayer

# Enough for any request's headers; past it the client waits until it is read.
_BUFFER = 262_144
_TINY_RECEIVE_BUFFER = 4_096
# How often a connection that is not being read is looked at for a hang-up.
_LOOK_EVERY = 0.02


class PeerGone(Exception):
    """
    Say that the client has left, or that the provider hung up on it.
    """


class Wire(asyncio.Protocol):
    """
    Read from, write to and end one accepted connection.
    """

    def __init__(
        self,
        ledger: Ledger,
        on_open: Callable[[Wire], None],
        on_end: Callable[[Wire], None],
    ) -> None:
        self._ledger = ledger
        self._on_open = on_open
        self._on_end = on_end
        self._buffer = bytearray()
        self._stirred = asyncio.Event()
        self._tls: TlsLayer | None = None
        self._ending: Ending | None = None
        self._gone = self._blocked = self._deaf = False
        #: Set while the connection is kept for a next request.
        self.idle = False

    # What asyncio tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # With nothing kept back, what was written is with the kernel, and a
        # peer that does not read costs us one write and no more.
        self._transport.set_write_buffer_limits(high=0)
        self._ledger.connection_opened()
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        self._ledger.received(len(data))
        if self._tls:
            data = self._decrypt(self._tls, data)
        if not self._deaf:
            self._buffer += data
        if len(self._buffer) > _BUFFER:
            self._transport.pause_reading()
        self._stirred.set()

    def eof_received(self) -> None:
        self._peer_left("peer")

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._stirred.set()

    def connection_lost(self, exc: Exception | None) -> None:
        # Windows says "aborted" where it has given up on a reset connection.
        if isinstance(exc, (ConnectionResetError, ConnectionAbortedError)):
            self._ending = "reset"
        self._gone = True
        self._stirred.set()
        # The transport closes its socket after it has told us. What counts
        # as closed shall be closed.
        asyncio.get_running_loop().call_soon(self._count_end)

    # What a conversation asks for.

    @property
    def ended(self) -> bool:
        return self._gone

    async def secure(self, context: ssl.SSLContext) -> None:
        """
        Shake hands as a TLS server.
        """
        self._tls = tls = TlsLayer(context)
        early = bytes(self._buffer)
        self._buffer.clear()
        self._buffer += self._decrypt(tls, early)
        await self._until(lambda: tls.established)

    async def read_until(self, end: bytes, limit: int) -> bytes | None:
        """
        Read up to and with *end*, or return None if it does not come within
        *limit* bytes.
        """
        await self._until(lambda: end in self._buffer or len(self._buffer) > limit)
        at = self._buffer.find(end)
        if at < 0 or at + len(end) > limit:
            return None
        return self._take(at + len(end))

    async def read_some(self, limit: int) -> bytes:
        """
        Read what is there, at least one byte and at most *limit*.
        """
        await self._until(lambda: bool(self._buffer))
        return self._take(limit)

    async def write(self, data: bytes) -> None:
        """
        Send, and wait until the kernel has all of it.
        """
        if self._gone:
            raise PeerGone
        self._send(self._tls.wrap(data) if self._tls else data)
        await self._until(lambda: not self._blocked)

    async def pause(self, seconds: float = math.inf) -> None:
        """
        Say nothing for a while, or until the client leaves.
        """
        if seconds == math.inf:
            # Nothing will be answered any more, so what comes need not be
            # kept; but it must be read, or the FIN behind it is not seen.
            self._deaf = True
            self._buffer.clear()
            self._transport.resume_reading()
            await self._until(lambda: False)
        over = False

        def wake() -> None:
            nonlocal over
            over = True
            self._stirred.set()

        timer = asyncio.get_running_loop().call_later(seconds, wake)
        try:
            await self._until(lambda: over)
        finally:
            timer.cancel()

    async def ignore(self, seconds: float = math.inf) -> None:
        """
        Read nothing for a while, so that the client's writes fill up.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        self._transport.pause_reading()
        if seconds == math.inf:
            self._set_option(socket.SO_RCVBUF, _TINY_RECEIVE_BUFFER)
        while (left := until - loop.time()) > 0:
            if ending := _hung_up(self._socket()):
                self._peer_left(ending)
            if self._gone:
                raise PeerGone
            await asyncio.sleep(min(left, _LOOK_EVERY))
        self._transport.resume_reading()

    def finish(self) -> None:
        """
        Close cleanly: all that was written arrives, then a FIN.
        """
        if self._gone:
            return
        if self._tls and self._tls.established:
            self._send(self._tls.farewell())
        self._hang_up()
        self._transport.close()

    def finish_if_idle(self) -> None:
        """
        Close a connection that waits for its next request.
        """
        if self.idle and not self._buffer:
            self.finish()

    def reset(self) -> None:
        """
        Close with a RST instead of a FIN.
        """
        # To linger for no time at all is how a socket is told to reset.
        # Windows has two shorts there, all others two ints.
        layout = "hh" if sys.platform == "win32" else "ii"
        self._set_option(socket.SO_LINGER, struct.pack(layout, 1, 0))
        self.cut()

    def cut(self) -> None:
        """
        Close now, whatever was still to be sent.
        """
        self._hang_up()
        self._transport.abort()

    # How.

    def _count_end(self) -> None:
        self._on_end(self)
        self._ledger.connection_ended(self._ending or "peer")

    async def _until(self, met: Callable[[], bool]) -> None:
        while not met():
            if self._gone:
                raise PeerGone
            self._stirred.clear()
            await self._stirred.wait()

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        if len(self._buffer) <= _BUFFER and not self._gone:
            self._transport.resume_reading()
        return taken

    def _send(self, data: bytes) -> None:
        if data:
            self._ledger.sent(len(data))
            self._transport.write(data)

    def _decrypt(self, tls: TlsLayer, data: bytes) -> bytes:
        try:
            said = tls.feed(data)
        except ssl.SSLError:
            # The alert that says why is worth sending; then we are done.
            self._send(tls.pending())
            self._hang_up()
            self._transport.close()
            return b""
        self._send(tls.pending())
        if tls.peer_closed:
            self._peer_left("peer")
        return said

    def _peer_left(self, ending: Ending) -> None:
        if not self._gone:
            self._ending = ending
        self._gone = True
        self._stirred.set()
        # Not close(): that waits until a peer that has left has read all.
        self._transport.abort()

    def _hang_up(self) -> None:
        if not self._gone:
            self._ending = "provider"
        self._gone = True
        self._stirred.set()

    def _socket(self) -> Any:
        return self._transport.get_extra_info("socket")

    def _set_option(self, option: int, value: int | bytes) -> None:
        try:
            self._socket().setsockopt(socket.SOL_SOCKET, option, value)
        except OSError:
            # The client was faster: its reset has taken the socket apart.
            pass


def _hung_up(sock: Any) -> Ending | None:
    """
    Look for a client's close without reading what it sent before.

    A reset is seen everywhere; a FIN where the system has POLLRDHUP (Linux)
    or reports it as POLLHUP (macOS), and only once all that was sent before
    it fits into our buffer. Else it is found when reading goes on.
    """
    left = False
    if sys.platform != "win32":
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLHUP | getattr(select, "POLLRDHUP", 0))
        left = bool(poll.poll(0))
    # Asked last: a reset that comes in between is told as one.
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error == errno.ECONNRESET:
        return "reset"
    return "peer" if error or left else None
