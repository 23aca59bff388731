"""
A server that says exactly what a test tells it, and keeps exactly what it was told: bytes on sockets, a thread each.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

Answer = Callable[["Connection"], None]


class Connection:
    """
    One accepted connection; ends with the function that was given it.
    """

    def __init__(self, sock: Any, number: int) -> None:
        self.sock = sock
        self.number = number
        self.is_over = threading.Event()
        self.seen = b""
        self._ahead = b""

    def more(self, most: int = 65_536) -> bytes:
        """
        Read what comes; `b""` at the end.
        """
        data: bytes = self._ahead or self.sock.recv(most)
        self._ahead = b""
        self.seen += data
        return data

    def until(self, end: bytes) -> bytes:
        """
        Read through *end*, or all there is.
        """
        got = b""
        while end not in got:
            data = self.sock.recv(65_536) if not self._ahead else self._ahead
            self._ahead = b""
            if not data:
                break
            got += data
        taken, found, self._ahead = got.partition(end)
        self.seen += taken + found
        return taken + found

    def exactly(self, length: int) -> bytes:
        got = b""
        while len(got) < length:
            data = self._ahead or self.sock.recv(65_536)
            self._ahead = b""
            if not data:
                break
            got += data
        self._ahead = got[length:]
        self.seen += got[:length]
        return got[:length]

    def head(self) -> bytes:
        """
        Read a request up to its body; `b""` when the client has gone.
        """
        return self.until(b"\r\n\r\n")

    def request(self) -> bytes:
        """
        Read a whole request; `b""` when the client has gone.
        """
        head = self.head()
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            return head + self.until(b"0\r\n\r\n")
        if b"content-length: " in lower:
            length = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
            return head + self.exactly(length)
        return head

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)


class RawServer:
    """
    Hands each connection to *answer*, in a thread of its own.
    """

    def __init__(
        self, answer: Answer, *, family: int = socket.AF_INET, at: Any = None, tls: Any = None, buffer: int = 0
    ) -> None:
        self._answer = answer
        self._tls: ssl.SSLContext | None = tls
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        if buffer:
            # Inherited by what is accepted: a client that is ahead of the server notices it soon.
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.listener.bind(at or ("127.0.0.1", 0))
        self.listener.listen(256)
        self.connections: list[Connection] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def seen(self) -> list[bytes]:
        """
        All that was read, by connection.
        """
        return [each.seen for each in self.connections]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if sock.family != getattr(socket, "AF_UNIX", None):
                # What a test says in pieces goes out in pieces.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, len(self.connections))
            self.connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: Connection) -> None:
        # Clients leave when they like, and the server at the end of a test.
        with contextlib.suppress(OSError, ssl.SSLError):
            try:
                if self._tls is not None:
                    connection.sock = self._tls.wrap_socket(connection.sock, server_side=True)
                self._answer(connection)
            finally:
                connection.sock.close()

    def close(self) -> None:
        for connection in self.connections:
            connection.is_over.set()
        for sock in [self.listener, *(each.sock for each in self.connections)]:
            # That wakes the threads, which close does not.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        self.listener.close()
        for thread in self._threads:
            thread.join(5.0)
            assert not thread.is_alive()


@contextlib.contextmanager
def serving(answer: Answer, **options: Any) -> Iterator[RawServer]:
    server = RawServer(answer, **options)
    try:
        yield server
    finally:
        server.close()


def says(*answers: bytes) -> Answer:
    """
    Answers the requests of a connection one after the other, the last answer again and again.
    """

    def answer(connection: Connection) -> None:
        left = list(answers)
        while connection.request():
            connection.say(left.pop(0) if len(left) > 1 else left[0])

    return answer


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\nok"
