"""
The health page of a service that has no ASGI server: a thread with the standard library's.
"""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hungframe.health.feed import EVERY, Feed
from hungframe.health.messages import MOST_BODY, Reply, Request
from hungframe.health.routes import BEAT, BEAT_EVERY, STREAM_BEGINS, Routes


class HealthServer:
    """
    A server that runs in a daemon thread until it is closed; made by `hungframe.health.serve`.
    """

    def __init__(self, feed: Feed, routes: Routes, host: str, port: int) -> None:
        self._feed = feed
        try:
            self._server = _Server((host, port), routes)
        except OSError as error:
            # "Address already in use" does not say which; the type and the number stay.
            said = f"the health page cannot listen at {host}, port {port}: {error.strerror}"
            raise type(error)(error.errno, said) from error
        self.host, self.port = self._server.server_address[:2]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="hungframe health")
        self._thread.daemon = True
        self._thread.start()

    @property
    def url(self) -> str:
        """
        Where the page is.
        """
        host = f"[{self.host!s}]" if ":" in str(self.host) else self.host
        return f"http://{host!s}:{self.port}/"

    @property
    def viewers(self) -> int:
        """
        Streams that are open now.
        """
        return len(self._server.viewers)

    def close(self) -> None:
        """
        End all streams, give the port back, and listen to the guards no more.
        """
        # In a forked child it does not run, and would be waited for without end.
        if self._thread.is_alive():
            self._server.stopping.set()
            self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._feed.close()

    def __enter__(self) -> HealthServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], routes: Routes) -> None:
        self.routes = routes
        self.stopping = threading.Event()
        self.viewers: set[object] = set()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The parent class asks the DNS for the host's name, which may take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        Be silent of viewers that have gone.
        """


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Seconds for which it waits for a viewer, to read or to write.
    timeout = 20.0

    @property
    def _ours(self) -> _Server:
        server = self.server
        assert isinstance(server, _Server)
        return server

    def log_message(self, format: str, *args: object) -> None:
        """
        Keep no log: a page that is left open would fill it.
        """

    def version_string(self) -> str:
        return "hungframe"

    def _answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        is_length = length.isascii() and length.isdigit()
        size = int(length) if is_length else 0
        request = Request(
            method=self.command,
            path=self.path.partition("?")[0],
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(min(size, MOST_BODY + 1)),
            client=str(self.client_address[0]),
        )
        # What was not read would be taken for the next request.
        is_left = not is_length or size > MOST_BODY or "Transfer-Encoding" in self.headers
        self.close_connection = self.close_connection or is_left
        reply = self._ours.routes.answer(request)
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if reply.is_stream or self.close_connection:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        self._write(request, reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _answer

    def _write(self, request: Request, reply: Reply) -> None:
        if not reply.is_stream:
            if request.method != "HEAD":
                self.wfile.write(reply.body)
            return
        viewer = object()
        self._ours.viewers.add(viewer)
        try:
            self._stream()
        finally:
            self._ours.viewers.discard(viewer)

    def _stream(self) -> None:
        feed, stopping = self._ours.routes.feed, self._ours.stopping
        self.wfile.write(STREAM_BEGINS)
        version, sent_at = -1, time.monotonic()
        while not self._has_gone():
            view = feed.look()
            if view.version != version:
                self.wfile.write(view.message)
                version, sent_at = view.version, time.monotonic()
            elif time.monotonic() - sent_at >= BEAT_EVERY:
                self.wfile.write(BEAT)
                sent_at = time.monotonic()
            if stopping.wait(EVERY):
                return

    def _has_gone(self) -> bool:
        """
        Tell whether the viewer has closed the connection; who streams sends nothing more.
        """
        self.connection.setblocking(False)
        try:
            return not self.connection.recv(1024)
        except BlockingIOError:
            return False
        finally:
            self.connection.settimeout(self.timeout)
