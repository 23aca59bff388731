"""
Wait until a socket is ready, or until the time is up: in a thread, on asyncio, on trio.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Any

from hungframe.abort.backend import in_trio

READ, WRITE = "read", "write"


def wait(sock: socket.socket, want: str, seconds: float | None) -> bool:
    """
    Wait in this thread; tell whether the socket is ready.
    """
    fd = sock.fileno()
    if fd < 0:
        # Closed in another thread: the next attempt says so.
        return True
    if not hasattr(select, "poll"):
        readers, writers = ([fd], []) if want is READ else ([], [fd])
        # A failed connect shows among the third on Windows.
        return any(select.select(readers, writers, writers, seconds))
    poll = select.poll()
    poll.register(fd, select.POLLIN if want is READ else select.POLLOUT)
    # In milliseconds; -1 is for ever, and a fraction is rounded up.
    return bool(poll.poll(-1 if seconds is None else seconds * 1000))


class Waiters:
    """
    The tasks that wait for one socket: one that reads and one that writes, at most.

    Closing a socket wakes nobody who waits for it, so whoever closes it says so here, before.
    """

    __slots__ = ("_by_anyio", "_futures", "count")

    def __init__(self) -> None:
        self._futures: dict[str, tuple[asyncio.Future[bool], int]] = {}
        # Waits that go on in anyio's thread.
        self._by_anyio = 0
        self.count = 0
        """Waits so far."""

    async def wait(self, sock: socket.socket, want: str, seconds: float | None) -> bool:
        """
        Wait in this task; tell whether the socket is ready.
        """
        self.count += 1
        if in_trio():
            return await _wait_trio(sock, want, seconds)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        fd = sock.fileno()
        if fd < 0:
            return True
        try:
            (loop.add_reader if want is READ else loop.add_writer)(fd, _ready, future, True)
        except NotImplementedError:
            self._by_anyio += 1
            try:
                return await _wait_anyio(sock, want, seconds)
            finally:
                self._by_anyio -= 1
        timer = None if seconds is None else loop.call_later(seconds, _ready, future, False)
        self._futures[want] = future, fd
        try:
            return await future
        finally:
            if timer is not None:
                timer.cancel()
            # Not when the socket was closed: its number may be another's now.
            if self._futures.get(want, (None,))[0] is future:
                del self._futures[want]
                (loop.remove_reader if want is READ else loop.remove_writer)(fd)

    def closing(self, sock: socket.socket) -> None:
        """
        Wake whoever waits for *sock*, which is about to be closed.
        """
        if sock.fileno() < 0:
            return
        for want, (future, fd) in list(self._futures.items()):
            del self._futures[want]
            loop = future.get_loop()
            if loop.is_closed():
                continue
            (loop.remove_reader if want is READ else loop.remove_writer)(fd)
            _ready(future, True)
        if self._by_anyio:
            _notify_anyio(sock)
        elif in_trio():
            import trio

            trio.lowlevel.notify_closing(sock)


def _ready(future: asyncio.Future[bool], is_ready: bool) -> None:
    if not future.done():
        future.set_result(is_ready)


async def _wait_trio(sock: socket.socket, want: str, seconds: float | None) -> bool:
    import trio

    until = trio.current_time() + seconds if seconds is not None else float("inf")
    with trio.CancelScope(deadline=until):
        try:
            await (trio.lowlevel.wait_readable if want is READ else trio.lowlevel.wait_writable)(sock)
        except trio.ClosedResourceError:
            # The next attempt on it says so, in the words of the client.
            pass
        return True
    return False


async def _wait_anyio(sock: socket.socket, want: str, seconds: float | None) -> bool:
    """
    Wait on an event loop that watches no sockets: Windows' default one. anyio, from 4.7 on, has a thread for that.
    """
    import anyio

    with anyio.move_on_after(seconds):
        try:
            await (anyio.wait_readable if want is READ else anyio.wait_writable)(sock)
        except anyio.ClosedResourceError:
            # As on trio.
            pass
        return True
    return False


def _notify_anyio(sock: socket.socket) -> None:
    import anyio

    # It came with 4.10: before, whoever waits does so until the time is up.
    notify: Any = getattr(anyio, "notify_closing", None)
    if notify is not None:
        notify(sock)


async def checkpoint() -> None:
    """
    Let others run, and see a cancellation: a provider that never lets a read wait must not hold up the loop.
    """
    if in_trio():
        import trio

        await trio.lowlevel.checkpoint()
    else:
        await asyncio.sleep(0)
