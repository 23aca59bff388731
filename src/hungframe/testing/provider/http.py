"""
As much of HTTP/1.1 as a client needs to believe us.

A request is read strictly enough to stay in step with the client; an answer
is a value that the modes take apart and send in their own ways.
"""

from __future__ import annotations

import http
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

from .wire import Wire

_HEAD_LIMIT = 65_536
_PIECE = 65_536
# What an API call says fits in here. The rest of an upload is read and
# dropped, so that a client can send gigabytes and our memory stays flat.
_KEPT_BODY = 1_048_576


class BadRequest(Exception):
    """
    Say why a request cannot be answered, in words for its sender.
    """


@dataclass(frozen=True, slots=True)
class Request:
    """
    Hold what a request's headers said.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    keep_alive: bool

    @property
    def mode(self) -> str | None:
        """
        Find the mode that the client asks for, by header or by query.
        """
        by_query = parse_qs(self.query).get("mode")
        asked = by_query[0] if by_query else None
        return self.headers.get("x-hostile-mode", asked)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    Hold what an honest provider would answer.

    Attributes:
        parts: The body; each part a chunk of its own where *chunked*.
    """

    status: int
    content_type: str
    parts: tuple[bytes, ...]
    headers: tuple[tuple[str, str], ...] = ()
    chunked: bool = False

    def head(self, *, keep_alive: bool, extra_length: int = 0) -> bytes:
        """
        Write status line and headers.

        Args:
            keep_alive: Whether the connection serves another request.

            extra_length: How many bytes to promise that will not come.
        """
        lines = [f"HTTP/1.1 {self.status} {_reason(self.status)}"]
        fields = [("Content-Type", self.content_type), *self.headers]
        if self.chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        else:
            length = len(self.body()) + extra_length
            fields.append(("Content-Length", str(length)))
        if not keep_alive:
            fields.append(("Connection", "close"))
        lines += [f"{name}: {value}" for name, value in fields]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def body(self) -> bytes:
        """
        Write the body as it goes over the wire.
        """
        if self.chunked:
            return b"".join(map(chunk, self.parts)) + chunk(b"")
        return b"".join(self.parts)


def chunk(data: bytes) -> bytes:
    """
    Frame one chunk of a chunked body; an empty one ends it.
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


async def read_head(wire: Wire) -> Request:
    """
    Read a request up to the blank line.
    """
    head = await wire.read_until(b"\r\n\r\n", _HEAD_LIMIT)
    if head is None:
        raise BadRequest(f"headers are longer than {_HEAD_LIMIT} bytes")
    line, *rest = head.decode("latin-1").strip("\r\n").split("\r\n")
    words = line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest(f"not an HTTP/1.1 request: {line[:80]!r}")
    headers = _fields(rest)
    hold = headers.get("connection", "").lower()
    old = words[2] == "HTTP/1.0"
    target = urlsplit(words[1])
    return Request(
        method=words[0],
        path=target.path,
        query=target.query,
        headers=headers,
        keep_alive=hold == "keep-alive" if old else hold != "close",
    )


async def read_body(wire: Wire, request: Request) -> bytes:
    """
    Read all of a body and keep its first megabyte.
    """
    kept = bytearray()
    if request.headers.get("expect", "").lower() == "100-continue":
        await wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" in request.headers.get("transfer-encoding", "").lower():
        while size := _size(await _line(wire), 16):
            await _drain(wire, size, kept)
            await _line(wire)
        while await _line(wire):
            pass  # trailers
    else:
        length = request.headers.get("content-length", "0")
        await _drain(wire, _size(length, 10), kept)
    return bytes(kept)


async def _drain(wire: Wire, size: int, kept: bytearray) -> None:
    while size:
        piece = await wire.read_some(min(size, _PIECE))
        size -= len(piece)
        kept += piece[: _KEPT_BODY - len(kept)]


async def _line(wire: Wire) -> str:
    line = await wire.read_until(b"\r\n", _HEAD_LIMIT)
    if line is None:
        raise BadRequest("a chunk does not end where it says")
    return line[:-2].decode("latin-1")


def _size(text: str, base: int) -> int:
    try:
        size = int(text.partition(";")[0], base)
    except ValueError:
        size = -1
    if size < 0:
        raise BadRequest(f"not a length: {text[:80]!r}")
    return size


def _fields(lines: list[str]) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest(f"not a header: {line[:80]!r}")
        name, value = name.strip().lower(), value.strip()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return MappingProxyType(fields)


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
