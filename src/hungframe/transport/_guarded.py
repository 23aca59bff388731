"""
The whole guard in a client: asked before a request is sent, told how its response ended.

Each time that a request is sent is a call of its own. The body belongs to it:
its total, first-item and between-items deadlines hold to the last byte, and it
is settled when the body ends, fails or is closed.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

from hungframe.admission import let_in, let_in_sync
from hungframe.attempts import Attempts
from hungframe.errors import CallTimeoutError
from hungframe.guard import Guard
from hungframe.limits import DEFAULT, Limits
from hungframe.streams import StreamCall
from hungframe.transport import _repeating
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


class Asked:
    """
    A guard as a client asks it, for one request after the other.

    Raises:
        ValueError: If it would do around a call what a client cannot.
    """

    __slots__ = ("engine", "limits", "retries")

    def __init__(self, guard: Guard) -> None:
        around = guard._limits.around  # pyright: ignore[reportPrivateUsage]
        _repeating.check_around(around, guard)
        unsaid = around is not None and around.idempotent is None
        # The deadline is on the wire: a sync request needs no thread.
        guard = guard.using(isolate=None, idempotent=_repeating.may_be_repeated if unsaid else DEFAULT)
        self.engine = guard._engine  # pyright: ignore[reportPrivateUsage]
        self.limits = guard._limits  # pyright: ignore[reportPrivateUsage]
        # Whether a request may be sent again, if it can.
        self.retries = around is not None and around.retry is not None

    def _limits_of(self, request: Any) -> Limits:
        limits = self.limits
        return limits if limits.amounts is not None else limits.costing(limits.cost.of((request,), {}))

    def open(self, request: Any) -> StreamCall:
        """
        Ask for one request; wait for it where the guard's settings say so.

        Raises:
            CallRejectedError: If it is refused.
        """
        engine, limits = self.engine, self._limits_of(request)
        return StreamCall(engine, let_in_sync(engine, limits) if limits.waits else engine.begin(limits))

    async def aopen(self, request: Any) -> StreamCall:
        """
        Ask for one request, on asyncio or trio; likewise.
        """
        engine, limits = self.engine, self._limits_of(request)
        return StreamCall(engine, await let_in(engine, limits) if limits.waits else engine.begin(limits))

    def sent(self) -> tuple[float, str | None]:
        """
        Count a request of which only a share may be sent again; return when it was begun, and its name in events.
        """
        began_at, around = self.limits.clock.now(), self.limits.around
        return began_at, None if around is None else around.called(self.engine, began_at)

    def attempts(self, began_at: float, request: Any, name: str | None) -> Attempts:
        """
        What is known of *request* once it has failed.
        """
        return Attempts(self.engine, self.limits, began_at, (request,), {}, name)


def answered(response: Any, stream: StreamCall) -> None:
    """
    Tell the guard what the headers of a response ask for, and its end where its body is in memory already.
    """
    if response.status_code == _TOO_MANY_REQUESTS:
        stream.rest(response)
    if response.is_closed:
        # A mock's, a cache's.
        stream.done(response)


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
