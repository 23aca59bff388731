"""
What the provider does to a call, and what a guard should make of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Situation:
    """
    Hold one way in which a call goes wrong.

    Args:
        name: As tables have it.

        mode: What :class:`hungframe.testing.HostileProvider` plays.

        outcome: What a guard should count.

        phase: How far the call should say that it had come, where the deadline ends it.

        tls: Whether it is HTTPS.

        upload: Whether the request is too large for the buffers on its way.

        stream: Whether the answer is asked for as a stream.

        keeps_open: Whether the connection is good for another request afterwards.
    """

    name: str
    mode: str
    outcome: str
    phase: str | None = None
    tls: bool = False
    upload: bool = False
    stream: bool = False
    keeps_open: bool = False

    @property
    def at_connection(self) -> bool:
        """Whether only a new connection meets it."""
        return self.mode.startswith(("tls-stall", "slow-accept", "never-read"))

    @property
    def hangs(self) -> bool:
        """Whether it is the deadline that ends the call."""
        return self.outcome == "timeout"


_ALL: Final = (
    Situation("ok", "ok", "success", keeps_open=True),
    # What hangs, from the first byte to the last.
    Situation("tls-stall", "tls-stall", "timeout", "tls", tls=True),
    Situation("slow-accept, TLS", "slow-accept:9", "timeout", "tls", tls=True),
    Situation("slow-accept", "slow-accept:9", "timeout", "headers"),
    Situation("never-read, 6 MB up", "never-read", "timeout", "write", upload=True),
    Situation("never-read, 6 MB up, TLS", "never-read", "timeout", "write", tls=True, upload=True),
    Situation("silent", "silent", "timeout", "headers"),
    Situation("silent, TLS", "silent", "timeout", "headers", tls=True),
    Situation("sleep", "sleep:9", "timeout", "headers"),
    Situation("trickle-headers", "trickle-headers", "timeout", "headers"),
    Situation("trickle-body", "trickle-body", "timeout", "body"),
    Situation("trickle-body, TLS", "trickle-body", "timeout", "body", tls=True),
    Situation("stall-body", "stall-body", "timeout", "body"),
    Situation("stream-stall", "stream-stall", "timeout", "body", stream=True),
    Situation("stream without end", "stream:999", "timeout", "body", stream=True),
    Situation("endless-body", "endless-body", "timeout", "body"),
    # What fails at once.
    Situation("reset-before-headers", "reset-before-headers", "connection"),
    Situation("reset-in-body", "reset-in-body", "connection"),
    Situation("close-early", "close-early", "connection"),
    Situation("malformed", "malformed", "connection"),
    Situation("wrong-length", "wrong-length", "connection"),
    Situation("429", "429:2", "quota", keeps_open=True),
    Situation("503", "503", "5xx", keeps_open=True),
)

SITUATIONS: Final = {situation.name: situation for situation in _ALL}
"""By name, in the order of tables."""
