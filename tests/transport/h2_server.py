"""
A small HTTP/2 server for tests: a thread a connection, answers by path.

/            200 and the body it was sent
/silent      nothing, ever
/large       200 and 3 MB, as the flow control lets it
"""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events

from tests.transport.raw_server import Connection

LARGE = 3_000_000


def answer(connection: Connection) -> None:
    """
    Serve one connection.
    """
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    server.initiate_connection()
    connection.say(server.data_to_send())
    paths: dict[int, str] = {}
    bodies: dict[int, bytes] = {}
    left: dict[int, int] = {}
    while data := connection.more():
        for event in server.receive_data(data):
            _take(server, event, paths, bodies, left)
        for stream, length in list(left.items()):
            while length and (most := min(server.local_flow_control_window(stream), 16_384, length)):
                length -= most
                server.send_data(stream, b"x" * most, end_stream=not length)
            left[stream] = length
            if not length:
                del left[stream]
        connection.say(server.data_to_send())


def _take(server: Any, event: Any, paths: dict[int, str], bodies: dict[int, bytes], left: dict[int, int]) -> None:
    if isinstance(event, h2.events.RequestReceived):
        headers: dict[Any, Any] = dict(event.headers)
        paths[event.stream_id] = headers[":path"]
        bodies[event.stream_id] = b""
    elif isinstance(event, h2.events.DataReceived):
        bodies[event.stream_id] += event.data
        server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    elif isinstance(event, h2.events.StreamReset):
        left.pop(event.stream_id, None)
    elif isinstance(event, h2.events.StreamEnded):
        path = paths[event.stream_id]
        if path == "/silent":
            return
        server.send_headers(event.stream_id, [(":status", "200"), ("x-path", path)])
        if path == "/large":
            left[event.stream_id] = LARGE
            return
        body = bodies[event.stream_id]
        told = b"%d" % len(body)
        server.send_data(event.stream_id, told, end_stream=True)
