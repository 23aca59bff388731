"""
What the provider has seen, counted.

The ledger is written on the server's thread and read on any other, so every
touch of it is under one lock, and what it hands out is frozen.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Ending = Literal["peer", "provider", "reset"]

# A provider that serves for days must not grow with every request.
_KEPT_REQUESTS = 10_000


@dataclass(frozen=True, slots=True)
class ProviderStats:
    """
    Say what has happened on a provider's sockets up to one instant.

    A connection is in exactly one place, so ``opened == open + closed +
    reset`` always holds.

    Attributes:
        requests: Requests whose headers arrived whole and were understood.

        opened: Connections accepted, ever.

        open: Connections open now.

        closed_by_peer: Connections that the client ended with a FIN.

        closed_by_provider: Connections that the provider ended, its own
            resets included.

        reset: Connections that the client ended with a RST.

        bytes_in: Bytes read from sockets, TLS included.

        bytes_out: Bytes handed to sockets, TLS included. The last write of
            a connection that was cut counts in full.

        by_mode: How often each mode was played, by the mode as it was
            written ("sleep:2"). A connection-level mode counts when the
            connection is accepted, with or without a request.

    .. versionadded:: 0.1.0
    """

    requests: int = 0
    opened: int = 0
    open: int = 0
    closed_by_peer: int = 0
    closed_by_provider: int = 0
    reset: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    by_mode: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def closed(self) -> int:
        """
        Count the connections that were closed, by either side, without a
        reset by the client.
        """
        return self.closed_by_peer + self.closed_by_provider


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """
    Keep what one request said, from the moment its headers were whole.

    Attributes:
        method: In capitals, as sent.

        path: Without the query.

        query: What followed the question mark, or "".

        headers: By lower-case name; repeated ones joined by ", ".

        mode: The mode that answered, as it was written.

        received_at: Instant of :func:`time.monotonic`.

    .. versionadded:: 0.1.0
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    mode: str
    received_at: float


class Ledger:
    """
    Count what happens, on one thread, and tell it to others.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests = self._opened = self._open = 0
        self._endings: Counter[Ending] = Counter()
        self._bytes_in = self._bytes_out = 0
        self._by_mode: Counter[str] = Counter()
        self._records: deque[RequestRecord] = deque(maxlen=_KEPT_REQUESTS)

    def connection_opened(self) -> None:
        with self._changed:
            self._opened += 1
            self._open += 1

    def connection_ended(self, ending: Ending) -> None:
        with self._changed:
            self._open -= 1
            self._endings[ending] += 1
            self._changed.notify_all()

    def received(self, size: int) -> None:
        with self._changed:
            self._bytes_in += size

    def sent(self, size: int) -> None:
        with self._changed:
            self._bytes_out += size

    def played(self, mode: str) -> None:
        with self._changed:
            self._by_mode[mode] += 1

    def asked(self, record: RequestRecord) -> None:
        with self._changed:
            self._requests += 1
            self._records.append(record)

    def wait_until_none_open(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout)

    def stats(self) -> ProviderStats:
        with self._changed:
            return ProviderStats(
                requests=self._requests,
                opened=self._opened,
                open=self._open,
                closed_by_peer=self._endings["peer"],
                closed_by_provider=self._endings["provider"],
                reset=self._endings["reset"],
                bytes_in=self._bytes_in,
                bytes_out=self._bytes_out,
                by_mode=MappingProxyType(dict(self._by_mode)),
            )

    def records(self) -> list[RequestRecord]:
        with self._changed:
            return list(self._records)
