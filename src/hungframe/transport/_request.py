"""
One request on its way through a guarded transport, whatever carries it.
"""

from __future__ import annotations

import math
import time
from typing import Any

from hungframe.abort.call import Call, running_call
from hungframe.abort.cut import cut
from hungframe.abort.wire import Wire, attach, detach
from hungframe.errors import ResponseTooLargeError
from hungframe.transport import _pool

# Bytes. Larger than what an API answers, and than what a process can lose.
MAX_RESPONSE_BYTES = 256 * 1024 * 1024

# Looking at each name in full would cost more than all else that is done here.
_LENGTH_OF_NAME = len(b"content-length")


class Request:
    """
    The record of a request, its connection, and how much of its response has come.
    """

    __slots__ = (
        "call",
        "is_broken",
        "is_head",
        "max_response_bytes",
        "name",
        "pool",
        "received",
        "sent",
        "too_late",
        "wire",
    )

    def __init__(self, pool: Any, request: Any, max_response_bytes: int | None, name: str, behind: float) -> None:
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
        # What is handed on. The pool knows it by its extensions: a user may
        # send one request object twice at the same time, and when one of the
        # two fails, it must not be the other that is taken out of the pool.
        self.sent = request if pool is None else _copy(request)
        if pool is not None:
            self._wait_no_longer(behind)

    def _wait_no_longer(self, behind: float) -> None:
        """
        Let the pool's own timeout end a wait for a connection at the deadline: in a sync client nothing else would.
        """
        call = self.call
        if call is None or call.deadline == math.inf:
            return
        left = max(call.deadline + behind - call.limits.clock.now(), 0.0)
        extensions = self.sent.extensions
        timeouts: dict[str, float | None] = extensions.get("timeout", {})
        own = timeouts.get("pool")
        if own is None or own > left:
            extensions["timeout"] = {**timeouts, "pool": left}

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
        return [] if self.pool is None else _pool.heal(self.pool, self.sent.extensions)


def _copy(request: Any) -> Any:
    """
    The same request, with extensions of its own.
    """
    # Its __copy__ would leave out the body.
    copy: Any = object.__new__(type(request))
    copy.__dict__.update(request.__dict__)
    copy.extensions = {**request.extensions}
    return copy
