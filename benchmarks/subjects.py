"""
What is timed: rows, the callees they guard, and one subject per library.

A subject is a callable without arguments. What it adds to a call is its time
minus that of its bare callee, taken in the same rounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

BARE: Final = "bare"

TIMEOUT: Final = 60.0
"""Seconds that every timeout under test allows: far more than a call takes."""

OPEN_FOR: Final = 3600.0
"""Seconds that an opened breaker stays open: longer than a run."""

PLENTY: Final = 1e9
"""Tokens that a limiter under test holds: more than a run takes."""


class Callee(Enum):
    """Name what the guarded function does."""

    INSTANT = "async, never suspends"
    ONCE = "async, suspends once: sleep(0)"
    FUTURE = "async, awaits a future that call_soon resolves"
    SYNC = "sync"


class Row(Enum):
    """Name what is measured, and the callee it is measured with."""

    BARE_INSTANT = ("bare call, never suspends", Callee.INSTANT)
    BARE_ONCE = ("bare call, suspends once", Callee.ONCE)
    BARE_FUTURE = ("bare call, awaits a future", Callee.FUTURE)
    BARE_SYNC = ("bare call, sync", Callee.SYNC)
    BREAKER_ASYNC = ("breaker, async", Callee.INSTANT)
    BREAKER_SYNC = ("breaker, sync", Callee.SYNC)
    LIMITER_ASYNC = ("limiter, async", Callee.INSTANT)
    LIMITER_SYNC = ("limiter, sync", Callee.SYNC)
    TIMEOUT_INSTANT = ("timeout, never suspends", Callee.INSTANT)
    TIMEOUT_ONCE = ("timeout, suspends once", Callee.ONCE)
    TIMEOUT_FUTURE = ("timeout, awaits a future", Callee.FUTURE)
    FULL_INSTANT = ("full, never suspends", Callee.INSTANT)
    FULL_ONCE = ("full, suspends once", Callee.ONCE)
    FULL_FUTURE = ("full, awaits a future", Callee.FUTURE)
    AROUND_ONCE = ("full with retry and bulkhead, suspends once", Callee.ONCE)
    FULL_OWN_THREAD = ("full, sync, caller's own thread", Callee.SYNC)
    FULL_WORKER = ("full, sync, worker thread", Callee.SYNC)
    REFUSED_ASYNC = ("refusal raised and caught, async", Callee.INSTANT)
    REFUSED_SYNC = ("refusal raised and caught, sync", Callee.SYNC)
    ASKED_HEALTH = ("refusal not raised, health port", Callee.SYNC)
    ASKED_CORE = ("refusal not raised, breaker alone", Callee.SYNC)

    def __init__(self, title: str, callee: Callee) -> None:
        self.title = title
        self.callee = callee


BARE_ROW: Final[Mapping[Callee, Row]] = {
    Callee.INSTANT: Row.BARE_INSTANT,
    Callee.ONCE: Row.BARE_ONCE,
    Callee.FUTURE: Row.BARE_FUTURE,
    Callee.SYNC: Row.BARE_SYNC,
}

YARDSTICK: Final[Mapping[Callee, Row]] = {
    Callee.INSTANT: Row.TIMEOUT_INSTANT,
    Callee.ONCE: Row.TIMEOUT_ONCE,
    Callee.FUTURE: Row.TIMEOUT_FUTURE,
    # asyncio.timeout has no sync form: its cheapest async one stands in.
    Callee.SYNC: Row.TIMEOUT_INSTANT,
}


@dataclass(frozen=True, eq=False)
class Subject:
    """
    Hold one thing to time.

    Args:
        row: The row it stands in.

        who: The library, with a variant after a comma.

        call: The guarded callee; called without arguments.

        note: What differs from the other subjects of the row.

        refused: The exception that each call must raise, where refusing is
            what is measured.

        tidy: Called after each sample, untimed, to drop what would pile up.
    """

    row: Row
    who: str
    call: Callable[[], Any]
    note: str = ""
    refused: type[BaseException] | None = None
    tidy: Callable[[], object] | None = None

    @property
    def is_async(self) -> bool:
        """Tell whether the call must be awaited."""
        return self.row.callee is not Callee.SYNC

    @property
    def key(self) -> str:
        """Name the subject as ``--only`` sees it."""
        return f"{self.row.title} / {self.who}"


@dataclass(frozen=True)
class Missing:
    """Tell what was not measured, and why."""

    who: str
    what: str
    why: str


async def instant() -> int:
    """Return without suspending."""
    return 1


async def suspends_once() -> int:
    """Give the loop one turn, then return."""
    await asyncio.sleep(0)
    return 1


async def awaits_future() -> int:
    """Wait for a real future, resolved in the loop's next turn."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    loop.call_soon(future.set_result, 1)
    return await future


def plain() -> int:
    """Return at once."""
    return 1


async def fails() -> int:
    """Fail as a provider would, to open a breaker."""
    raise ConnectionError("refused")


def fails_sync() -> int:
    """Fail as a provider would, to open a breaker."""
    raise ConnectionError("refused")


CALLEES: Final[Mapping[Callee, Callable[[], Any]]] = {
    Callee.INSTANT: instant,
    Callee.ONCE: suspends_once,
    Callee.FUTURE: awaits_future,
    Callee.SYNC: plain,
}


async def open_async(guarded: Callable[[], Any]) -> None:
    """Fail ten times, which opens any breaker here; refusals are swallowed too."""
    for _ in range(10):
        with suppress(Exception):
            await guarded()


def open_sync(guarded: Callable[[], Any]) -> None:
    """Fail ten times, which opens any breaker here; refusals are swallowed too."""
    for _ in range(10):
        with suppress(Exception):
            guarded()
