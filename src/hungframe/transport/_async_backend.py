"""
A network backend for async httpcore, on asyncio and trio: what a cancellation meets is closed, and nothing outlasts the
deadline of the guarded call around it.
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import anyio

from hungframe.transport import _channel
from hungframe.transport._addresses import AGAIN, Address, BacklogFullError, Connecting, in_turns, is_numeric
from hungframe.transport._operation import BEHIND, arun, current_wire, operation
from hungframe.transport._stream import CoreErrors, Sending, Stream, begin_connecting
from hungframe.transport._waiting import READ, WRITE, Waiters, checkpoint

# RFC 8305, 5: the next address is tried when the one before has not answered for so many seconds.
_HEAD_START = 0.25


class AsyncDeadlineStream(Stream):
    """
    A connection of an async client: what httpcore calls a network stream.
    """

    __slots__ = ("_waiters",)

    def __init__(self, sock: socket.socket, errors: CoreErrors, only_http2: bool) -> None:
        super().__init__(sock, errors, only_http2)
        self._waiters = Waiters()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """
        Read what comes, at most *max_bytes*; `b""` at the end. Being cancelled loses nothing of it.
        """
        wire = self.began(None)
        data, self._ahead = self._ahead[:max_bytes], self._ahead[max_bytes:]
        if data:
            return data
        channel = self.channel
        reading = operation(channel.recv, max_bytes, channel.sock, READ, timeout, self.errors.read, BEHIND)
        waits = self._waiters.count
        try:
            data = await arun(reading, self._waiters)
        except BaseException:
            self.failed = True
            raise
        if wire is not None:
            wire.received += len(data)
            wire.last_at = time.monotonic()
        if self._waiters.count == waits:
            # It was there already. A provider that sends faster than we read
            # would never let anybody else run.
            self._ahead = data
            try:
                await checkpoint()
            except BaseException:
                self.failed = True
                raise
            self._ahead = b""
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """
        Write all of *buffer*.
        """
        if not buffer:
            return
        wire = self.began("write")
        channel = self.channel
        sending = Sending(channel, buffer, wire)
        errors = self.errors.write
        try:
            while sending.left:
                part = operation(sending.attempt, None, channel.sock, WRITE, timeout, errors, BEHIND)
                await arun(part, self._waiters)
        except errors.failed:
            # The server took no more: it may have said why, so that is read.
            raise
        except BaseException:
            # Half a request, or half a frame, was sent.
            self.destroy()
            raise
        self.wrote(wire)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncDeadlineStream:
        """
        Go on under TLS; a handshake that fails or is cancelled closes the connection.
        """
        self.began("tls")
        try:
            handshake = self.under_tls(ssl_context, server_hostname)
            shaking = operation(
                lambda _: handshake(), None, self.channel.sock, READ, timeout, self.errors.connect, BEHIND
            )
            await arun(shaking, self._waiters)
            self.agreed()
        except BaseException:
            self.destroy()
            raise
        return self

    async def aclose(self) -> None:
        """
        Close the connection; in the middle of a request so that nothing is left of it. Never waits.
        """
        if self.must_reset():
            self.destroy()
        else:
            self._waiters.closing(self.channel.sock)
            self.channel.sock.close()

    def destroy(self) -> None:
        """
        Close it so that nothing is left on either side.
        """
        self._waiters.closing(self.channel.sock)
        _channel.reset(self.channel.sock)

    def get_extra_info(self, info: str) -> Any:
        """
        What httpcore asks a stream for.
        """
        return self.info(info)


class AsyncDeadlineBackend:
    """
    Makes the connections of an async client: what httpcore calls a network backend.
    """

    def __init__(self, core: ModuleType, only_http2: bool = False) -> None:
        self._errors = CoreErrors(core)
        self._only_http2 = only_http2

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncDeadlineStream:
        """
        Connect to the address of *host* that answers first (RFC 8305), all within *timeout*.
        """
        begin_connecting()
        options = tuple(socket_options or ())
        try:
            with anyio.fail_after(timeout):
                addresses = await self._look_up(host, port)
                if len(addresses) == 1:
                    return await self._connect(addresses[0], local_address, options)
                return await self._race(addresses, local_address, options)
        except TimeoutError as error:
            raise self._errors.connect.timed_out(str(error)) from error

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> AsyncDeadlineStream:
        """
        Connect to a Unix socket.
        """
        begin_connecting()
        address = Address(socket.AF_UNIX, socket.SOCK_STREAM, 0, path)
        until = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return await self._connect(address, None, tuple(socket_options or ()), timeout)
            except self._errors.connect.failed as error:
                if not isinstance(error.__cause__, BacklogFullError):
                    raise
            if time.monotonic() >= until:
                raise self._errors.connect.timed_out(f"the backlog of {path!r} was full for {timeout:g} s")
            await self.sleep(AGAIN)

    async def sleep(self, seconds: float) -> None:
        """
        Wait before another attempt to connect; httpcore's `retries` ask for it.
        """
        await anyio.sleep(seconds)

    async def _look_up(self, host: str, port: int) -> list[Address]:
        flags = socket.AI_NUMERICHOST if is_numeric(host) else 0
        try:
            if flags:
                # No thread is needed for that.
                return Address.all_of(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))
            found: Any = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise self._errors.connect.failed(str(error)) from error
        return in_turns(Address.all_of(found))

    async def _connect(
        self, address: Address, local_address: str | None, options: tuple[Any, ...], timeout: float | None = None
    ) -> AsyncDeadlineStream:
        errors = self._errors.connect
        try:
            connecting = Connecting(address, local_address, options)
        except OSError as error:
            raise errors.failed(str(error)) from error
        waiters = Waiters()
        try:
            attempts = operation(connecting.attempt, None, connecting.sock, WRITE, timeout, errors, BEHIND)
            stream = AsyncDeadlineStream(await arun(attempts, waiters), self._errors, self._only_http2)
        except BaseException:
            waiters.closing(connecting.sock)
            connecting.give_up()
            raise
        stream.used(current_wire.get())
        return stream

    async def _race(
        self, addresses: list[Address], local_address: str | None, options: tuple[Any, ...]
    ) -> AsyncDeadlineStream:
        """
        Try one address after the other, each with a head start, until one answers; the others are given up.
        """
        winner: AsyncDeadlineStream | None = None
        failures: list[Exception] = []

        async def run(address: Address, has_failed: anyio.Event) -> None:
            nonlocal winner
            try:
                stream = await self._connect(address, local_address, options)
            except tuple(self._errors.connect) as error:
                failures.append(error)
                has_failed.set()
                return
            if winner is None:
                winner = stream
                group.cancel_scope.cancel()
            else:
                stream.destroy()

        try:
            async with anyio.create_task_group() as group:
                for address in addresses:
                    has_failed = anyio.Event()
                    group.start_soon(run, address, has_failed)
                    with anyio.move_on_after(_HEAD_START):
                        await has_failed.wait()
        except BaseException:
            if winner is not None:
                winner.destroy()
            raise
        if winner is not None:
            return winner
        try:
            raise failures[0]
        finally:
            # A frame that holds the exception which holds the frame is a cycle.
            failures.clear()
