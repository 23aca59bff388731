"""
How far a request had come on the wire when its call was cut: a frozen fact, and its sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["connect", "tls", "write", "headers", "body"]


# Seconds; who has sent a byte so lately is slow, and does not hang.
_STILL = 0.5


@dataclass(frozen=True, slots=True)
class WireReport:
    """
    What a guarded transport knew of its request at the deadline.

    Args:
        phase: What it was doing: `connect` (name lookup included), `tls`,
            `write`, `headers`, `body`; None while it waited for a free
            connection of its pool.

        silent_for: Seconds since the last byte went either way, or since the
            phase began where that is later.

        bytes_sent: Handed to the kernel for this request, before TLS.

        bytes_received: Read for this request, after TLS.

        connection_age: Seconds since the connection was opened; None where there is none yet.

        connection_uses: Requests that were sent on it, this one included.

    >>> print(WireReport("headers", 59.8, bytes_sent=1204, bytes_received=0, connection_age=0.2, connection_uses=1))
    no response headers for 59.8 s after 1,204 bytes were sent
    """

    phase: Phase | None
    silent_for: float
    bytes_sent: int
    bytes_received: int
    connection_age: float | None
    connection_uses: int

    def __str__(self) -> str:
        silent = f"{self.silent_for:.1f} s"
        if self.phase is None:
            return f"no free connection in the client's pool for {silent}"
        if self.phase == "connect":
            return f"no connection for {silent}"
        if self.phase == "tls":
            return f"no TLS handshake for {silent}"
        if self.phase == "write":
            told = f"no byte was taken for {silent} after {self.bytes_sent:,} bytes were sent"
        elif self.phase == "headers" and not self.bytes_received:
            told = f"no response headers for {silent} after {self.bytes_sent:,} bytes were sent"
        else:
            part = "response headers" if self.phase == "headers" else "response body"
            told = f"{part} not complete after {self.bytes_received:,} bytes"
            if self.phase == "body":
                told += " with the headers"
            told += ", and more still came" if self.silent_for < _STILL else f", the last of them {silent} ago"
        if self.connection_uses > 1 and self.connection_age is not None:
            told += f", as request {self.connection_uses} on a connection {self.connection_age:.1f} s old"
        return told
