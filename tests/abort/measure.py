"""
Call something hostile, and tell when its caller was back, with what, and what was left.

Times are real and tiny. A busy machine makes a caller late that the guard has
brought back in time, so a call that is late is tried again, `TRIES` times in
all: a guard that is late is late every time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from hungframe import CallTimeoutError, Guard
from hungframe.snapshot import Snapshot

DEADLINE = 0.05
GRACE = 0.04
SLACK = 0.05
TRIES = 3

# What nobody lets go ends by itself, so that a test that fails does not hang.
LONG = 1.0


class Leash:
    """
    What a hostile callee hangs on: it runs until it is let go, and counts itself while it runs.
    """

    def __init__(self) -> None:
        self.running = 0
        self.let_go = threading.Event()
        self._events: list[asyncio.Event | trio.Event] = []
        self._lock = threading.Lock()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """
        Count what runs in the block.
        """
        with self._lock:
            self.running += 1
        try:
            yield
        finally:
            with self._lock:
                self.running -= 1

    async def wait(self) -> None:
        """
        Wait on asyncio, in one long await.
        """
        event = asyncio.Event()
        self._events.append(event)
        if self.let_go.is_set():
            return
        await event.wait()

    async def wait_trio(self) -> None:
        """
        Wait on trio, in one long await.
        """
        event = trio.Event()
        self._events.append(event)
        if self.let_go.is_set():
            return
        await event.wait()

    def block(self) -> None:
        """
        Block the thread.
        """
        with self.busy():
            self.let_go.wait(LONG)

    def release(self) -> None:
        """
        Let everything go that hangs here; called in the thread of the loop.
        """
        self.let_go.set()
        for event in self._events:
            event.set()


AsyncCallee = Callable[[Leash], Awaitable[Any]]
SyncCallee = Callable[[Leash], Any]


@dataclass
class Ended:
    """
    How a guarded call ended, as its caller saw it.
    """

    seconds: float
    result: Any
    error: BaseException | None
    still_running: bool
    """Whether any part of the callee ran on when the caller was back."""
    receipt: str | None
    """As it was then."""
    then: Snapshot
    """The guard when the caller was back."""
    after: Snapshot
    """The guard when the callee had ended."""
    heard: list[str] = field(default_factory=list)
    """What the event loop complained of."""
    held_up: float = 0.0
    """The longest time, in seconds, that the event loop did not turn."""

    @property
    def late(self) -> float:
        """
        Seconds behind deadline and grace.
        """
        return self.seconds - DEADLINE - GRACE

    def truth(self) -> str:
        """
        The receipt that would be right.
        """
        if self.still_running:
            return "orphan"
        return "late" if self.seconds > DEADLINE + GRACE / 2 else "clean"


def hostile_guard(**settings: Any) -> Guard:
    """
    A guard with a tiny deadline.
    """
    return Guard("hostile", **{"timeout": DEADLINE, "grace": GRACE, **settings})


def best(measure: Callable[[], Ended]) -> Ended:
    """
    Measure again where the caller was late, at most `TRIES` times.
    """
    ended = measure()
    for _ in range(TRIES - 1):
        if max(ended.late, ended.held_up) <= SLACK:
            break
        ended = measure()
    return ended


def _receipt(error: BaseException | None) -> str | None:
    return getattr(error, "receipt", None)


async def call_on_asyncio(callee: AsyncCallee, **settings: Any) -> Ended:
    """
    Call *callee* in the running loop of asyncio.
    """
    return await _call_async(callee, asyncio.sleep, settings)


async def call_on_trio(callee: AsyncCallee, **settings: Any) -> Ended:
    """
    Call *callee* in the running loop of trio.
    """
    return await _call_async(callee, trio.sleep, settings)


async def _call_async(
    callee: AsyncCallee, sleep: Callable[[float], Awaitable[None]], settings: dict[str, Any]
) -> Ended:
    guard, leash = hostile_guard(**settings), Leash()
    result, error = None, None
    began = time.monotonic()
    try:
        result = await guard.acall(callee, leash)
    except BaseException as raised:
        error = raised
    seconds = time.monotonic() - began
    running, receipt, then = leash.running > 0, _receipt(error), guard.snapshot()
    leash.release()
    until = time.monotonic() + LONG
    while (leash.running or guard.snapshot().orphans) and time.monotonic() < until:
        await sleep(0.002)
    return Ended(seconds, result, error, running, receipt, then, guard.snapshot())


def call_sync(callee: SyncCallee, **settings: Any) -> Ended:
    """
    Call *callee* from this thread.
    """
    guard, leash = hostile_guard(**settings), Leash()
    result, error = None, None
    began = time.monotonic()
    try:
        result = guard.call(callee, leash)
    except BaseException as raised:
        error = raised
    seconds = time.monotonic() - began
    running, receipt, then = leash.running > 0, _receipt(error), guard.snapshot()
    leash.release()
    until = time.monotonic() + LONG
    while (leash.running or guard.snapshot().orphans) and time.monotonic() < until:
        time.sleep(0.002)
    return Ended(seconds, result, error, running, receipt, then, guard.snapshot())


def check_timed_out(ended: Ended) -> None:
    """
    Check all that holds for every call that its deadline has ended.
    """
    assert type(ended.error) is CallTimeoutError
    assert ended.late <= SLACK
    assert ended.truth() == ended.receipt
    assert (1 if ended.still_running else 0) == ended.then.orphans
    assert 0 == ended.then.in_flight
    assert 1 == ended.then.counts["timeout"] == sum(ended.then.counts.values())
    assert 2.0 == ended.then.weight
    # The callee has ended.
    assert 0 == ended.after.orphans
    assert ended.error.receipt == ("late" if ended.receipt == "orphan" else ended.receipt)
    assert 1 == sum(ended.after.counts.values())
