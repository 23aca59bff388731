"""
Where a body has no length, its end is that of the connection; a reset is none.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hungframe.testing.provider.tls import server_context
from tests.transport.abort_helpers import Side, check_clean, each_kind, each_library, plain_and_tls

HALF = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it"


@contextmanager
def half_an_answer(tls: bool, end: str) -> Iterator[str]:
    """
    A server whose one answer ends with a reset, a FIN alone, or a FIN after TLS's own goodbye.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            plain, _ = listener.accept()
            sock = server_context().wrap_socket(plain, server_side=True) if tls else plain
            sock.recv(65_536)
            sock.sendall(HALF)
            # So that the client has read it.
            time.sleep(0.05)
            if end == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif end == "goodbye" and isinstance(sock, ssl.SSLSocket):
                sock.settimeout(0.05)
                try:
                    sock.unwrap()
                except (OSError, ValueError):
                    # The client need not answer.
                    pass
            sock.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join()


@plain_and_tls
@each_kind
@each_library
@pytest.mark.parametrize("end", ["fin", "goodbye"])
def test_a_connection_that_ends(end: str, library: str, kind: str, tls: bool) -> None:
    """
    Many servers close without a goodbye; it counts as the end.
    """
    side = Side(library, kind)

    async def main() -> None:
        client = side.client()
        response = await side.do(client.get, url)
        assert b"half of it" == response.content
        check_clean(client)
        await side.close(client)

    with half_an_answer(tls, end) as url:
        side.run(main)


@plain_and_tls
@each_kind
@each_library
def test_a_connection_that_is_reset(library: str, kind: str, tls: bool) -> None:
    """
    Half a body is not a body.
    """
    side = Side(library, kind)

    async def main() -> None:
        client = side.client()
        with pytest.raises(side.stock.ReadError):
            await side.do(client.get, url)
        check_clean(client)
        await side.close(client)

    with half_an_answer(tls, "reset") as url:
        side.run(main)
