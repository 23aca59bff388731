"""
A network backend for sync httpcore: no operation outlasts the deadline of the guarded call around it, and no thread is
needed for that but one to look up a name.
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from hungframe.abort import threads
from hungframe.abort.call import running_call, time_left
from hungframe.abort.cut import cut
from hungframe.abort.leftovers import both
from hungframe.abort.threads import Job
from hungframe.transport import _channel
from hungframe.transport._addresses import AGAIN, Address, BacklogFullError, Connecting, is_numeric
from hungframe.transport._operation import current_wire, operation, run
from hungframe.transport._stream import CoreErrors, Sending, Stream, begin_connecting
from hungframe.transport._waiting import READ, WRITE


class DeadlineStream(Stream):
    """
    A connection of a sync client: what httpcore calls a network stream.
    """

    __slots__ = ()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """
        Read what comes, at most *max_bytes*; `b""` at the end.
        """
        wire = self.began(None)
        channel = self.channel
        try:
            data = run(operation(channel.recv, max_bytes, channel.sock, READ, timeout, self.errors.read))
        except BaseException:
            self.failed = True
            raise
        if wire is not None:
            wire.received += len(data)
            wire.last_at = time.monotonic()
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """
        Write all of *buffer*.
        """
        if not buffer:
            return
        wire = self.began("write")
        channel = self.channel
        sending = Sending(channel, buffer, wire)
        try:
            while sending.left:
                run(operation(sending.attempt, None, channel.sock, WRITE, timeout, self.errors.write))
        except self.errors.write.failed:
            # The server took no more: it may have said why, so that is read.
            raise
        except BaseException:
            # Half a request, or half a frame, was sent.
            self.destroy()
            raise
        self.wrote(wire)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> DeadlineStream:
        """
        Go on under TLS; a handshake that fails in whatever way closes the connection.
        """
        self.began("tls")
        try:
            handshake = self.under_tls(ssl_context, server_hostname)
            run(operation(lambda _: handshake(), None, self.channel.sock, READ, timeout, self.errors.connect))
            self.agreed()
        except BaseException:
            self.destroy()
            raise
        return self

    def close(self) -> None:
        """
        Close the connection; in the middle of a request so that nothing is left of it. Who waits for it in another
        thread is woken.
        """
        if self.must_reset():
            self.destroy()
        else:
            _channel.wake(self.channel.sock)
            self.channel.sock.close()

    def destroy(self) -> None:
        """
        Close it so that nothing is left on either side.
        """
        if self.shared:
            _channel.wake(self.channel.sock)
        _channel.reset(self.channel.sock)

    def get_extra_info(self, info: str) -> Any:
        """
        What httpcore asks a stream for.
        """
        return self.info(info)


class DeadlineBackend:
    """
    Makes the connections of a sync client: what httpcore calls a network backend.
    """

    def __init__(self, core: ModuleType, only_http2: bool = False) -> None:
        self._errors = CoreErrors(core)
        self._only_http2 = only_http2

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> DeadlineStream:
        """
        Connect to the first address of *host* that answers; each gets *timeout*, all together what the call has left.
        """
        begin_connecting()
        addresses = self._look_up(host, port)
        failed: Exception | None = None
        for address in addresses:
            try:
                return self._connect(address, timeout, local_address, tuple(socket_options or ()))
            except tuple(self._errors.connect) as error:
                failed = error
                call = running_call()
                if call is not None and call.aborting:
                    break
        assert failed is not None
        try:
            raise failed
        finally:
            # A frame that holds the exception which holds the frame is a cycle.
            del failed

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> DeadlineStream:
        """
        Connect to a Unix socket.
        """
        begin_connecting()
        address = Address(socket.AF_UNIX, socket.SOCK_STREAM, 0, path)
        until = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return self._connect(address, timeout, None, tuple(socket_options or ()))
            except self._errors.connect.failed as error:
                if not isinstance(error.__cause__, BacklogFullError):
                    raise
            if time.monotonic() >= until:
                raise self._errors.connect.timed_out(f"the backlog of {path!r} was full for {timeout:g} s")
            self.sleep(AGAIN)

    def sleep(self, seconds: float) -> None:
        """
        Wait before another attempt to connect; httpcore's `retries` ask for it.
        """
        left = time_left()
        time.sleep(seconds if left is None else min(seconds, left))

    def _connect(
        self, address: Address, timeout: float | None, local_address: str | None, options: tuple[Any, ...]
    ) -> DeadlineStream:
        errors = self._errors.connect
        try:
            connecting = Connecting(address, local_address, options)
        except OSError as error:
            raise errors.failed(str(error)) from error
        try:
            sock = run(operation(connecting.attempt, None, connecting.sock, WRITE, timeout, errors))
            stream = DeadlineStream(sock, self._errors, self._only_http2)
        except BaseException:
            connecting.give_up()
            raise
        stream.used(current_wire.get())
        return stream

    def _look_up(self, host: str, port: int) -> list[Address]:
        def look_up() -> list[Address]:
            return Address.all_of(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

        call = running_call()
        try:
            if call is None or call.deadline == math.inf or is_numeric(host):
                return look_up()
            # The resolver takes no timeout, and nothing ends it from outside:
            # so it has a thread of its own, which is left at the deadline and
            # ends when the resolver gives up.
            job = Job(look_up)
            threads.start(job)
            try:
                ended = job.wait(max(call.deadline - call.limits.clock.now(), 0.0))
            finally:
                job.left = job.running
            if ended:
                found: list[Address] = job.take()
                return found
        except OSError as error:
            raise self._errors.connect.failed(str(error)) from error
        call.leftover = both(call.leftover, job)
        cut(call)
        raise self._errors.connect.timed_out(f"the name {host!r} was not found before the deadline of the guarded call")
