"""
One request on its way through a guarded transport, whatever carries it.
"""

from __future__ import annotations

import time
from typing import Any

from hungframe.abort.call import Call, running_call, time_left
from hungframe.abort.cut import cut
from hungframe.abort.wire import Wire, attach, detach
from hungframe.errors import ResponseTooLargeError
from hungframe.transport import _pool

# Bytes. Larger than what an API answers, and than what a process can lose.
MAX_RESPONSE_BYTES = 256 * 1024 * 1024

# Looking at each name in full would cost more than all else that is done here.
_LENGTH_OF_NAME = len(b"content-length")


class Timeouts(dict[str, Any]):
    """
    A request's own timeouts, of which the one for a free connection ends at the deadline of the guarded call around it.

    The pool asks for that one itself, and in a sync client nothing else would end its wait.
    """

    def get(self, key: str, default: Any = None) -> Any:
        """
        The seconds for an operation; None: no limit.
        """
        seconds = super().get(key, default)
        if key != "pool":
            return seconds
        left = time_left()
        if left is None:
            return seconds
        return left if seconds is None else min(seconds, left)


class Request:
    """
    The record of a request, its connection, and how much of its response has come.
    """

    __slots__ = (
        "call",
        "extensions",
        "is_broken",
        "is_head",
        "max_response_bytes",
        "name",
        "pool",
        "received",
        "too_late",
        "wire",
    )

    def __init__(self, pool: Any, request: Any, max_response_bytes: int | None, name: str) -> None:
        self.pool = pool
        # Its answer may announce a length, and has no body.
        self.is_head = request.method == "HEAD"
        self.max_response_bytes = max_response_bytes
        # Of the guard in the client.
        self.name = name
        self.received = 0
        self.is_broken = False
        self.wire = Wire()
        call = self.call = running_call()
        # One that is made too late is not what the call's time went to.
        self.too_late = call is not None and (call.aborting or call.deadline <= call.limits.clock.now())
        if call is not None and not self.too_late:
            attach(call, self.wire)
        # The pool knows the request by its extensions: a user may send one
        # object twice at the same time, and when one of the two fails, it must
        # not be the other that is taken out of the pool. A copy of the request
        # would do, too, and costs three times as much.
        self.extensions = request.extensions
        if pool is not None:
            self.extensions = request.extensions = {**request.extensions}
            # An async wait is cancelled by the guard.
            if call is not None and hasattr(pool, "handle_request"):
                self.extensions["timeout"] = Timeouts(self.extensions.get("timeout", ()))

    def is_too_late(self) -> Call | None:
        """
        The call whose deadline has passed already, told so; None where there still is time.
        """
        call = self.call
        if call is None or not self.too_late:
            return None
        cut(call)
        return call

    def no_connection(self) -> None:
        """
        The pool had none for it; tell the call where that was its deadline.
        """
        call = self.call
        if call is not None and call.deadline <= call.limits.clock.now():
            cut(call)

    def answered(self, response: Any) -> ResponseTooLargeError | None:
        """
        The headers are there.

        Returns:
            What to raise if they announce too large a body.
        """
        self.wire.waits = self.wire.phase = "body"
        limit = self.max_response_bytes
        # Neither does that to HEAD have a body, nor does 304: they tell the length of what a GET would bring.
        if limit is None or self.is_head or response.status_code == 304:
            return None
        for name, value in response.headers.raw:
            if len(name) == _LENGTH_OF_NAME and name.lower() == b"content-length" and value.isdigit():
                announced = int(value)
                if announced > limit:
                    return ResponseTooLargeError(self.name, limit, announced)
        return None

    def came(self, chunk: bytes) -> ResponseTooLargeError | None:
        """
        A part of the body is there.

        Returns:
            What to raise if it is one too much.
        """
        size = len(chunk)
        self.received += size
        wire = self.wire
        if wire.stream is not None and wire.stream.shared:
            # Of what is read from a shared connection nobody knows whose it is.
            wire.received += size
            wire.last_at = time.monotonic()
        if self.max_response_bytes is not None and self.received > self.max_response_bytes:
            return ResponseTooLargeError(self.name, self.max_response_bytes)
        return None

    def ended(self) -> None:
        """
        It is over.
        """
        self._let_go()

    def break_off(self) -> None:
        """
        It is over before its end: leave nothing of its connection, on either side.
        """
        self.is_broken = True
        if self.wire.phase is None:
            self.no_connection()
        stream = self.wire.stream
        self._let_go()
        if stream is not None and not stream.shared:
            stream.destroy()

    def _let_go(self) -> None:
        wire = self.wire
        detach(self.call, wire)
        stream = wire.stream
        if stream is not None and stream.wire is wire:
            # The two would keep each other alive.
            stream.wire = None

    def heal(self) -> list[Any]:
        """
        Once the client has let go of it: leave nothing of it in the pool.

        Returns:
            Connections of the pool that are to be closed.
        """
        return [] if self.pool is None else _pool.heal(self.pool, self.extensions)
