"""
What the network streams of sync and async clients share: the channel, the upgrade to TLS, the record of the request.
"""

from __future__ import annotations

import socket
import ssl
import time
from types import ModuleType
from typing import Any

from hungframe.abort.wire import Wire
from hungframe.transport import _channel
from hungframe.transport._channel import Plain, TlsInTls
from hungframe.transport._operation import Errors, current_wire


class CoreErrors:
    """
    The exceptions of one httpcore, by operation.
    """

    __slots__ = ("connect", "read", "write")

    def __init__(self, core: ModuleType) -> None:
        self.connect = Errors(core.ConnectTimeout, core.ConnectError)
        self.read = Errors(core.ReadTimeout, core.ReadError)
        self.write = Errors(core.WriteTimeout, core.WriteError)


class Stream:
    """
    One connection; under a client's stream of either kind.
    """

    __slots__ = ("_ahead", "channel", "errors", "failed", "opened_at", "shared", "ssl_object", "uses", "wire")

    def __init__(self, sock: socket.socket, errors: CoreErrors, only_http2: bool) -> None:
        self.channel: Plain | TlsInTls = Plain(sock)
        self.errors = errors
        self.ssl_object: ssl.SSLObject | ssl.SSLSocket | None = None
        self.opened_at = time.monotonic()
        self.uses = 0
        # Whether other requests may be on this connection at the same time.
        self.shared = only_http2
        # The request that it carries; of one that is shared, the latest.
        self.wire: Wire | None = None
        # A read has failed, or was cancelled.
        self.failed = False
        # Read, and not handed out, since the reader was cancelled then.
        self._ahead = b""

    def used(self, wire: Wire | None) -> None:
        """
        Tell the request's record of the connection that it is on.
        """
        if wire is not None and wire.stream is not self:
            wire.stream = self
            self.wire = wire
            self.uses += 1
            wire.opened_at, wire.uses = self.opened_at, self.uses

    def agreed(self) -> None:
        """
        The handshake is over: tell whether other requests may be on this connection at the same time (HTTP/2).
        """
        assert self.ssl_object is not None
        self.shared = self.shared or self.ssl_object.selected_alpn_protocol() == "h2"

    def must_reset(self) -> bool:
        """
        Tell whether this is closed in the middle of a request: then nothing of it is to be left.

        httpcore closes what has failed before the transport hears of it; a plain close would leave what the kernel
        has taken, and the server not read, for minutes.
        """
        if self.shared:
            return False
        wire = current_wire.get()
        if self.failed or (wire is not None and wire.stream is self):
            return True
        # While its body is read; a healthy end is a plain one.
        return self.wire is not None and _channel.has_unsent(self.channel.sock)

    def under_tls(self, context: ssl.SSLContext, server_hostname: str | None) -> Any:
        """
        Put TLS upon the channel; return what does the handshake, a step an attempt.
        """
        if self.ssl_object is not None:
            assert isinstance(self.channel, Plain)
            inner = TlsInTls(self.channel, context, server_hostname)
            self.channel, self.ssl_object = inner, inner.ssl_object
            return inner.do_handshake
        plain = self.channel.sock
        try:
            # Lost already? What the ssl module would make of it says less.
            plain.getpeername()
            sock = context.wrap_socket(
                plain,
                server_hostname=server_hostname,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
        except OSError as error:
            _close_what_ssl_left(error)
            raise self.errors.connect.failed(str(error)) from error
        self.channel, self.ssl_object = Plain(sock), sock
        return sock.do_handshake

    def began(self, phase: Any) -> Wire | None:
        """
        Tell the request's record what begins now.
        """
        # There while a request is sent; its body is read later.
        wire = current_wire.get()
        if wire is None:
            wire = None if self.shared else self.wire
        elif wire.stream is not self:
            self.used(wire)
        if wire is not None:
            phase = phase or wire.waits
            if wire.phase != phase:
                wire.phase = phase
                wire.last_at = time.monotonic()
        return wire

    def wrote(self, wire: Wire | None) -> None:
        """
        Tell the request's record that what was to be written is.
        """
        # Over HTTP/2 another request may be reading for this one, which then
        # does nothing itself that would tell what it waits for.
        if wire is not None and self.shared:
            wire.phase = wire.waits

    def info(self, name: str) -> Any:
        """
        What httpcore, and those who look at `network_stream`, ask a stream for.
        """
        sock = self.channel.sock
        if name == "ssl_object":
            return self.ssl_object
        if name == "client_addr":
            return sock.getsockname()
        if name == "server_addr":
            return sock.getpeername()
        if name == "socket":
            return sock
        if name == "is_readable":
            return bool(self._ahead) or _channel.is_readable(sock)
        return None


class Sending:
    """
    The parts of one write, until all of it is with the kernel.

    Each part is an operation, so that the client's own timeout is for each: who reads slowly, but reads, is not cut
    off. So it is in the stock clients, sync and on asyncio.
    """

    __slots__ = ("_send", "_wire", "left")

    def __init__(self, channel: Plain | TlsInTls, data: bytes, wire: Wire | None) -> None:
        self._send = channel.send
        self.left = memoryview(data)
        self._wire = wire

    def attempt(self, _: object) -> None:
        """
        Hand over what the kernel takes now, at once.
        """
        sent = self._send(self.left)
        self.left = self.left[sent:]
        if self._wire is not None:
            self._wire.sent += sent
            self._wire.last_at = time.monotonic()


def _close_what_ssl_left(error: OSError) -> None:
    """
    Close the socket that `wrap_socket()` had made when it found that the peer has reset.

    It leaves that to the garbage collector, and the only way to it is the frame in which it is held.
    """
    traceback = error.__traceback__
    while traceback is not None:
        made = traceback.tb_frame.f_locals.get("self")
        if isinstance(made, ssl.SSLSocket):
            made.close()
        traceback = traceback.tb_next


def begin_connecting() -> None:
    """
    Tell the request's record that it now waits for a connection.
    """
    wire = current_wire.get()
    if wire is not None:
        wire.phase, wire.last_at = "connect", time.monotonic()
