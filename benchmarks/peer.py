"""Name a peer, and make the subjects that all peers have alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.subjects import (
    CALLEES,
    YARDSTICK,
    Callee,
    Row,
    Subject,
    fails,
    fails_sync,
    instant,
    open_async,
    open_sync,
    plain,
)

Decorator = Callable[[Any], Any]

FULL: Final[Mapping[Callee, Row]] = {
    Callee.INSTANT: Row.FULL_INSTANT,
    Callee.ONCE: Row.FULL_ONCE,
    Callee.FUTURE: Row.FULL_FUTURE,
}

IN_A_ROW: Final = "counts failures in a row; no window, no rate"


@dataclass(frozen=True)
class Peer:
    """Name a peer, its distribution, and how its subjects are made."""

    name: str
    distribution: str
    build: Callable[[], Awaitable[list[Subject]]]


def timeout_subjects(who: str, decorate: Decorator, note: str = "") -> list[Subject]:
    """Put one timeout around each async callee."""
    return [Subject(YARDSTICK[callee], who, decorate(CALLEES[callee]), note) for callee in FULL]


def full_subjects(who: str, make: Callable[[], Decorator], note: str = "") -> list[Subject]:
    """Put a fresh full guard around each async callee."""
    return [Subject(row, who, make()(CALLEES[callee]), note) for callee, row in FULL.items()]


async def refusal_subjects(who: str, make: Callable[[], Decorator], error: type[BaseException]) -> list[Subject]:
    """Open two fresh breakers, one by async failures and one by sync ones."""
    asynchronous, synchronous = make(), make()
    await open_async(asynchronous(fails))
    open_sync(synchronous(fails_sync))
    return [
        Subject(Row.REFUSED_ASYNC, who, asynchronous(instant), refused=error),
        Subject(Row.REFUSED_SYNC, who, synchronous(plain), refused=error),
    ]
