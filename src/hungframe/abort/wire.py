"""
What a guarded transport tells of the request that it carries.

The call holds the record of its latest request, so that whoever aborts the call
can say how far that had come.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hungframe.wire import Phase, WireReport

if TYPE_CHECKING:
    from hungframe.abort.call import Call


class Wire:
    """
    One request on its way; plain counters that the transport keeps.
    """

    # One object a request, on the hot path: no constructor arguments.
    __slots__ = (
        "ended",
        "frozen",
        "last_at",
        "opened_at",
        "outer",
        "phase",
        "received",
        "sent",
        "stream",
        "uses",
        "waits",
    )

    def __init__(self) -> None:
        self.phase: Phase | None = None
        # What a read waits for: the headers first, then the body.
        self.waits: Phase = "headers"
        self.sent = 0
        self.received = 0
        self.last_at = time.monotonic()
        self.opened_at: float | None = None
        self.uses = 0
        # What the transport holds of the connection that carries it.
        self.stream: Any = None
        self.outer: Wire | None = None
        self.ended = False
        self.frozen: WireReport | None = None

    def report(self) -> WireReport:
        """
        How far it has come.
        """
        now = time.monotonic()
        age = None if self.opened_at is None else now - self.opened_at
        return WireReport(self.phase, now - self.last_at, self.sent, self.received, age, self.uses)


def attach(call: Call, wire: Wire) -> None:
    """
    Make *wire* what the call says of itself, until it has ended; and the calls around it, where they have no request
    of their own: it may be their deadline that ends it.
    """
    outer: Wire | None = call.wire
    while outer is not None and outer.ended:
        outer = outer.outer
    wire.outer = outer
    call.wire = wire
    around = call.outer
    while around is not None:
        if not around.aborting and (around.wire is None or around.wire.ended):
            around.wire = wire
        around = around.outer


def detach(call: Call | None, wire: Wire) -> None:
    """
    The request has ended. One that the call's deadline has ended stays, to be told.
    """
    if call is None or not call.aborting:
        wire.ended = True
        return
    around = call.outer
    while around is not None:
        # That one goes on, and hangs elsewhere if it does.
        if around.wire is wire and not around.aborting:
            around.wire = None
        around = around.outer


def report_of(call: Call) -> WireReport | None:
    """
    How far the call's latest request had come at the deadline; None where no guarded transport carries one.
    """
    wire: Wire | None = call.wire
    while wire is not None and wire.ended:
        wire = wire.outer
    return None if wire is None else wire.frozen or wire.report()


def freeze(call: Call) -> None:
    """
    Keep what is told of the call's requests as it is now, at the deadline.
    """
    wire: Wire | None = call.wire
    while wire is not None:
        if not wire.ended and wire.frozen is None:
            wire.frozen = wire.report()
        wire = wire.outer
