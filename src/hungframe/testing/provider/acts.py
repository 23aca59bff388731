"""
What each mode does on the wire once a request has been read.

One function a mode. An act that returns has answered; one that never does
ends by PeerGone when the client has left, or with its task when the provider
closes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from email.utils import formatdate

from . import openai_api, openai_images
from .apis import api_of
from .http import Answer, Request, chunk
from .modes import ANY_STATUS, Mode
from .script import Script
from .wire import Wire

_ENDLESS_CHUNK = chunk(bytes(65_536))
_STALLED_AFTER_EVENTS = 3
# Some systems drop what has arrived but was not yet read when a reset comes:
# the client gets a moment to read its half.
_BEFORE_RESET = 0.05
_MISSING_BYTES = 100


@dataclass(slots=True)
class Exchange:
    """
    Hold one request and the way its answer goes.
    """

    wire: Wire
    script: Script
    mode: Mode
    request: Request
    body: bytes
    answer: Answer
    keeps_open: bool = True

    def head(self, extra_length: int = 0) -> bytes:
        # Where the next mode is met at the connection, the client must make
        # a new one: a script then means the same with and without keep-alive.
        self.keeps_open = self.request.keep_alive and not self.script.begins_at_connection
        return self.answer.head(keep_alive=self.keeps_open, extra_length=extra_length)

    def content(self) -> bytes:
        return b"" if self.request.method == "HEAD" else self.answer.body()


async def ok(exchange: Exchange) -> None:
    await exchange.wire.write(exchange.head() + exchange.content())


async def sleep(exchange: Exchange) -> None:
    await exchange.wire.pause(exchange.mode.number(0))
    await ok(exchange)


async def silent(exchange: Exchange) -> None:
    await exchange.wire.pause()


async def trickle_headers(exchange: Exchange) -> None:
    await _trickle(exchange, exchange.head())
    await exchange.wire.write(exchange.content())


async def trickle_body(exchange: Exchange) -> None:
    await exchange.wire.write(exchange.head())
    await _trickle(exchange, exchange.content())


async def stall_body(exchange: Exchange) -> None:
    await _send_half(exchange)
    await exchange.wire.pause()


async def reset_before_headers(exchange: Exchange) -> None:
    exchange.wire.reset()


async def reset_in_body(exchange: Exchange) -> None:
    await _send_half(exchange)
    await exchange.wire.pause(_BEFORE_RESET)
    exchange.wire.reset()


async def close_early(exchange: Exchange) -> None:
    exchange.wire.finish()


async def endless_body(exchange: Exchange) -> None:
    exchange.answer = replace(exchange.answer, chunked=True)
    await exchange.wire.write(exchange.head())
    while True:
        await exchange.wire.write(_ENDLESS_CHUNK)
        # A client that keeps up would never let the write wait, and so
        # nothing else run.
        await asyncio.sleep(0)


async def never_read(exchange: Exchange) -> None:
    await exchange.wire.ignore()


async def status(exchange: Exchange) -> None:
    numbers = exchange.mode.numbers
    headers = tuple(("Retry-After", f"{seconds:g}") for seconds in numbers)
    exchange.answer = openai_api.failure(exchange.mode.status, headers)
    await ok(exchange)


async def status_date(exchange: Exchange) -> None:
    # A date has whole seconds; rounded up, it never names too early a time.
    at = math.ceil(time.time() + exchange.mode.number(0))
    headers = (("Retry-After", formatdate(at, usegmt=True)),)
    exchange.answer = openai_api.failure(exchange.mode.status, headers)
    await ok(exchange)


async def malformed(exchange: Exchange) -> None:
    await exchange.wire.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
    exchange.wire.finish()


async def wrong_length(exchange: Exchange) -> None:
    exchange.answer = replace(exchange.answer, chunked=False)
    head = exchange.head(extra_length=_MISSING_BYTES)
    await exchange.wire.write(head + exchange.content())
    exchange.wire.finish()


async def bad_image(exchange: Exchange) -> None:
    # Streams and other APIs hold no image that could be missed.
    if exchange.answer.status == 200 and not exchange.answer.chunked:
        exchange.answer = openai_images.spoiled(exchange.mode.act, exchange.answer)
    await ok(exchange)


async def stream_stall(exchange: Exchange) -> None:
    exchange.answer = _stream(exchange, _STALLED_AFTER_EVENTS + 1)
    await exchange.wire.write(exchange.head())
    for part in exchange.answer.parts[:_STALLED_AFTER_EVENTS]:
        await exchange.wire.write(chunk(part))
    await exchange.wire.pause()


async def stream(exchange: Exchange) -> None:
    exchange.answer = _stream(exchange, int(exchange.mode.number(0)))
    await exchange.wire.write(exchange.head())
    for index, part in enumerate(exchange.answer.parts):
        if index:
            await exchange.wire.pause(exchange.mode.number(1))
        await exchange.wire.write(chunk(part))
    await exchange.wire.write(chunk(b""))


ACTS: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "ok": ok,
    "sleep": sleep,
    "silent": silent,
    "trickle-headers": trickle_headers,
    "trickle-body": trickle_body,
    "stall-body": stall_body,
    "reset-before-headers": reset_before_headers,
    "reset-in-body": reset_in_body,
    "close-early": close_early,
    "endless-body": endless_body,
    ANY_STATUS: status,
    f"{ANY_STATUS}-date": status_date,
    "malformed": malformed,
    "wrong-length": wrong_length,
    "image-empty-url": bad_image,
    "image-null-url": bad_image,
    "image-broken-bytes": bad_image,
    "image-truncated": bad_image,
    "image-error-body": bad_image,
    "image-no-data": bad_image,
    "stream-stall": stream_stall,
    "stream": stream,
    # These three belong to the connection. Met on one that is open already,
    # they come as near to themselves as they still can.
    "never-read": never_read,
    "tls-stall": silent,
    "slow-accept": sleep,
}


def _stream(exchange: Exchange, count: int) -> Answer:
    return api_of(exchange.request).stream(exchange.request, exchange.body, count)


async def _trickle(exchange: Exchange, data: bytes) -> None:
    interval = exchange.mode.number(0)
    for index in range(len(data)):
        await exchange.wire.write(data[index : index + 1])
        await exchange.wire.pause(interval)


async def _send_half(exchange: Exchange) -> None:
    content = exchange.content()
    half = content[: len(content) // 2]
    await exchange.wire.write(exchange.head() + half)
