"""
The whole guard in a client: asked before a request is sent, told how its response ended.

The body belongs to the call: its total, first-item and between-items deadlines
hold to the last byte, and the call is settled when the body ends, fails or is
closed.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from hungframe._core.retry_after import retry_after
from hungframe.errors import CallRejectedError, CallTimeoutError
from hungframe.guard import Guard
from hungframe.streams import StreamCall
from hungframe.transport import _refusal
from hungframe.transport._timeouts import DeadlineTimeout

_TOO_MANY_REQUESTS = 429


class Timeouts:
    """
    Turns the guard's timeouts into those that the client's library knows.
    """

    __slots__ = ("_classes",)

    def __init__(self, classes: dict[str | None, type[DeadlineTimeout]]) -> None:
        self._classes = classes

    def of(self, error: CallTimeoutError) -> DeadlineTimeout:
        """
        The same facts, as an error of the library's, too.
        """
        # Where no request was under way, a part of the body was waited for.
        phase = "body" if error.wire is None else error.phase
        return self._classes[phase].of(error)


def opened(guard: Guard, request: Any) -> StreamCall | CallRejectedError:
    """
    Ask *guard* for one request; return its refusal where that must reach the caller as an answer.

    Raises:
        CallRejectedError: If it refuses, and the caller's SDK lets that through.
    """
    try:
        return guard.open_stream(request)
    except CallRejectedError as refusal:
        if not _refusal.must_be_an_answer(request.headers):
            raise
        return refusal


def answered(guard: Guard, response: Any, stream: StreamCall) -> bool:
    """
    Tell *guard* what the headers of a response ask for.

    Returns:
        Whether it is over, since its body is in memory already (a mock's, a cache's).
    """
    if response.status_code == _TOO_MANY_REQUESTS:
        seconds = retry_after(response.headers, time.time())
        if seconds is not None:
            guard.pause(seconds)
    if response.is_closed:
        stream.done(response)
    return bool(response.is_closed)


def _left(stream: StreamCall, response: Any) -> None:
    """
    The body was closed before its end.
    """
    if response.status_code >= 400:
        # What it was is known without the rest of it.
        stream.done(response)
    else:
        stream.leave()


class GuardedSyncBody:
    """
    The body of a guarded response; each client's own class of streams is put beside it.
    """

    def __init__(self, response: Any, stream: StreamCall, timeouts: Timeouts) -> None:
        self._body = response.stream
        self._response = response
        self._stream = stream
        self._timeouts = timeouts

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._body)
        while True:
            timed_out: CallTimeoutError | None = None
            chunk: bytes | None = None
            try:
                chunk = self._stream.step_sync(functools.partial(next, chunks, None))
            except CallTimeoutError as error:
                timed_out = self._timeouts.of(error)
            if timed_out is not None:
                try:
                    raise timed_out
                finally:
                    del timed_out
            if chunk is None:
                self._stream.done(self._response)
                return
            yield chunk

    def close(self) -> None:
        """
        Give the connection back to its pool, or close it where the body has not come to its end.
        """
        try:
            self._body.close()
        finally:
            _left(self._stream, self._response)


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    # Not `anext(chunks, None)`, into which nobody can look to tell where it hangs.
    try:
        return await chunks.__anext__()
    except StopAsyncIteration:
        return None


class GuardedAsyncBody:
    """
    The same for an async client.
    """

    def __init__(self, response: Any, stream: StreamCall, timeouts: Timeouts) -> None:
        self._body = response.stream
        self._response = response
        self._stream = stream
        self._timeouts = timeouts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._body.__aiter__()
        while True:
            timed_out: CallTimeoutError | None = None
            chunk: bytes | None = None
            try:
                chunk = await self._stream.step(_next(chunks))
            except CallTimeoutError as error:
                timed_out = self._timeouts.of(error)
            if timed_out is not None:
                try:
                    raise timed_out
                finally:
                    del timed_out
            if chunk is None:
                self._stream.done(self._response)
                return
            yield chunk

    async def aclose(self) -> None:
        """
        Give the connection back to its pool, or close it where the body has not come to its end.
        """
        try:
            await self._body.aclose()
        finally:
            _left(self._stream, self._response)
