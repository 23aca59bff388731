"""
The time of a stream: how long its callee was asked so far, and by when it must answer next.

Between two steps the consumer works, and that time is not the callee's: the
call then has not begun (it began at infinity), so that nobody suspects it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hungframe.errors import CallTimeoutError

if TYPE_CHECKING:
    from hungframe.abort.call import Call
    from hungframe.limits import Limits


class StreamTime:
    """
    The account of one stream's time, kept in its *call*.
    """

    __slots__ = (
        "_began_at",
        "_busy",
        "_busy_at_item",
        "_call",
        "_ends_at",
        "_items",
        "_limits",
        "_missing",
        "_timeout",
    )

    def __init__(self, call: Call, limits: Limits) -> None:
        self._call = call
        self._limits = limits
        self._began_at = call.started_at
        self._timeout = call.timeout
        self._ends_at = call.deadline
        # Seconds that the callee was asked for, and as they were at its last item.
        self._busy = self._busy_at_item = 0.0
        self._items = False
        # What the step is to bring, within how many seconds, and since when.
        self._missing = ("answer", self._timeout, self._began_at)
        call.started_at = math.inf

    def limit(self, outer: Call | None, now: float) -> bool:
        """
        Set the deadline of the step that begins now: the stream's own, that of the call around, or that of an item.

        Returns:
            Whether there is any time left.
        """
        ends_at, self._missing = self._ends_at, ("answer", self._timeout, self._began_at)
        if outer is not None and outer.deadline < math.inf:
            outer_at = now + outer.deadline - outer.limits.clock.now()
            if outer_at < ends_at:
                ends_at, self._missing = outer_at, ("answer", outer_at - self._began_at, self._began_at)
        self._call.deadline = ends_at
        if ends_at <= now:
            return False
        seconds = self._limits.between_items if self._items else self._limits.first_item
        if seconds is not None:
            since = now - (self._busy - self._busy_at_item)
            if since + seconds < ends_at:
                self._call.deadline = since + seconds
                self._missing = ("next item" if self._items else "first item", seconds, since)
        return True

    def start(self, now: float) -> None:
        """
        The callee is asked.
        """
        self._call.started_at = now - self._busy

    def stop(self, now: float, *, item: bool) -> None:
        """
        The callee has answered, with an item or with something else.
        """
        call = self._call
        self._busy = now - call.started_at
        call.started_at = math.inf
        call.deadline = self._ends_at
        if item:
            self._items = True
            self._busy_at_item = self._busy

    def was_the_callees(self, now: float) -> bool:
        """
        Tell whether the callee has used up the stream's own time, more of it than the consumer.
        """
        return self._ends_at <= now and self._busy > (now - self._began_at) / 2

    def named(self, error: BaseException | None, now: float) -> BaseException | None:
        """
        The error, which says what was missed if it is a timeout.
        """
        if isinstance(error, CallTimeoutError):
            error.missing, error.timeout, since = self._missing
            error.elapsed = now - since
        return error
