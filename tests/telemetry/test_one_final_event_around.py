"""
Each gen.request has exactly one end, whatever is put around the attempts, however they end, and whoever listens.

The history is drawn: each call has its kind (plain, retried, hedged, with a fallback, a stream, a permit), what its
attempts do, and when its caller gives up. A sink that crashes, and a queue that may be full, listen beside the one that
counts.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hungframe import Bulkhead, CallRejectedError, CallTimeoutError, Guard, Hedge, Retry, TokenBucket
from hungframe.events import Event
from hungframe.telemetry import QueuedSink
from hungframe.testing import RecordingSink, run_virtual
from tests.guard.fakes import Backend, StatusError

ENDS = {"gen.success", "gen.fail", "gen.reject", "gen.cancelled"}
BEHAVIOURS = ["answers", "answers late", "fails", "fails late", "hangs", "swallows"]
KINDS = ["plain", "retried", "hedged", "all around", "stream", "stream left", "permit", "permit dropped out", "block"]


@dataclass(frozen=True)
class Drawn:
    """
    One call: of what kind, what its attempts do one after the other, and after how long its caller gives up.
    """

    kind: str
    attempts: list[str]
    patience: float | None


CALLS = st.builds(
    Drawn,
    st.sampled_from(KINDS),
    st.lists(st.sampled_from(BEHAVIOURS), min_size=4, max_size=4),
    st.none() | st.sampled_from([0.0, 0.3, 1.0, 1.2, 2.5]),
)


class Crashes:
    """
    A sink that raises at every other event.
    """

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, event: Event) -> None:
        self.count += 1
        if self.count % 2:
            raise OSError("disk full")


def check_ends(events: list[Event]) -> int:
    """
    Match requests and ends by their ids, and see that an end comes after its request; return how many there are.
    """
    open_calls: Counter[str] = Counter()
    begun: list[str] = []
    for event in events:
        told = json.loads(event.to_json())
        if event.evt == "gen.request":
            assert told["id"] not in begun
            begun.append(told["id"])
            open_calls[told["id"]] += 1
        elif event.evt in ENDS:
            open_calls[told["id"]] -= 1
            assert 0 == open_calls[told["id"]]
    assert {0} >= set(open_calls.values())
    return len(begun)


def callee_of(drawn: Drawn) -> Callable[[], Any]:
    """
    A coroutine function whose attempts do what was drawn.
    """
    left = list(drawn.attempts)

    async def callee() -> str:
        how = left.pop(0) if left else "answers"
        if how.endswith("late"):
            await anyio.sleep(0.7)
        if how == "hangs":
            await anyio.sleep(60)
        if how == "swallows":
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1.5)
        if how.startswith("fails"):
            raise StatusError(500)
        return "done"

    return callee


async def act(guard: Guard, drawn: Drawn) -> None:
    """
    Make the call that was drawn.
    """
    callee = callee_of(drawn)
    if drawn.kind == "plain":
        await guard.acall(callee)
    elif drawn.kind == "retried":
        await guard.using(retry=Retry(3, base=0.2, budget=None)).acall(callee)
    elif drawn.kind == "hedged":
        await guard.using(hedge=Hedge(after=0.4, max=2)).acall(callee)
    elif drawn.kind == "all around":
        around: dict[str, Any] = {
            "hedge": Hedge(after=0.4),
            "retry": Retry(3, base=0.2, budget=None),
            "fallback": "else",
        }
        await guard.using(total_timeout=3.0, **around).acall(callee)
    elif drawn.kind.startswith("stream"):
        await stream(guard, callee, leaves="left" in drawn.kind)
    elif drawn.kind == "permit":
        await guard.acquire().acall(callee)
    elif drawn.kind == "permit dropped out":
        with guard.acquire():
            await callee()
    else:
        async with guard.attempt():
            await callee()


async def stream(guard: Guard, callee: Callable[[], Any], *, leaves: bool) -> None:
    """
    Ask a stream for three items, each of which is an attempt of what was drawn.
    """

    @guard.using(retry=Retry(2, base=0.1, budget=None))
    async def items() -> AsyncGenerator[str, None]:
        for _ in range(3):
            yield await callee()

    asked = items()
    try:
        async for _ in asked:
            if leaves:
                break
    finally:
        with anyio.CancelScope(shield=True):
            await asked.aclose()


async def history(guard: Guard, calls: list[Drawn], *, at_once: bool) -> None:
    """
    Make all calls, one after the other or at once.
    """

    async def one(drawn: Drawn) -> None:
        try:
            with anyio.move_on_after(float("inf") if drawn.patience is None else drawn.patience):
                await act(guard, drawn)
        except (StatusError, CallTimeoutError, CallRejectedError):
            pass
        except asyncio.CancelledError:
            # On 3.10 a cancellation does not say whose it is, and anyio does not know its own again where the callee
            # had shielded itself from it until the deadline.
            if sys.version_info >= (3, 11) or drawn.patience is None:
                raise

    if at_once:
        async with anyio.create_task_group() as group:
            for drawn in calls:
                group.start_soon(one, drawn)
    else:
        for drawn in calls:
            await one(drawn)
    # Until what was left behind has ended.
    await anyio.sleep(120)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(
    calls=st.lists(CALLS, max_size=6),
    at_once=st.booleans(),
    slots=st.sampled_from([None, 2]),
    capacity=st.sampled_from([None, 5]),
    full=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_exactly_one_end_around(
    backend: Backend, calls: list[Drawn], at_once: bool, slots: int | None, capacity: int | None, full: bool
) -> None:
    """
    Ends match requests at the sink that counts, before and after one that crashes; and behind a queue that is not full.
    """
    first, last, queued = RecordingSink(), RecordingSink(), RecordingSink()
    go = threading.Event()

    def slow(event: Event) -> None:
        if full:
            go.wait(5)
        queued(event)

    sink = QueuedSink(slow, 2 if full else 10_000)
    try:
        guard = Guard(
            "images",
            timeout=1.0,
            grace=0.1,
            bulkhead=None if slots is None else Bulkhead(slots, queue=2),
            budget=None if capacity is None else TokenBucket(capacity=capacity, refill_every=1.0),
            sinks=[first, Crashes(), sink, last],
        )
        run_virtual(lambda: history(guard, calls, at_once=at_once), backend=backend)
        snapshot = guard.snapshot()
    finally:
        go.set()
        assert sink.close(5)

    told = check_ends(first.events)
    assert first.events == last.events
    assert len(first.events) == len(queued.events) + sink.dropped
    if not full:
        assert first.events == queued.events
    assert told == sum(snapshot.counts.values())
    assert (0, 0) == (snapshot.in_flight, snapshot.orphans)


def items_of(callee: Callable[[], str]) -> Callable[[], Generator[str, None, None]]:
    """
    A generator function, each of whose two items is asked of *callee*.
    """

    def items() -> Generator[str, None, None]:
        yield callee()
        yield callee()

    return items


SYNC = ["answers", "fails", "fails late", "answers late"]


@given(
    calls=st.lists(
        st.tuples(
            st.sampled_from(["plain", "retried", "all around", "stream", "permit"]),
            st.lists(st.sampled_from(SYNC), min_size=3, max_size=3),
        ),
        max_size=4,
    )
)
@example(calls=[("all around", ["answers late", "answers", "answers"])])
@settings(max_examples=25, deadline=None)
def test_exactly_one_end_around_in_threads(calls: list[tuple[str, list[str]]]) -> None:
    """
    The same for sync callees, in worker threads, some of which are left behind.
    """
    sink = RecordingSink()
    guard = Guard("images", timeout=0.01, grace=0.002, isolate="thread", max_orphans=100, sinks=[Crashes(), sink])
    around: dict[str, Any] = {"retry": Retry(2, base=0.0, budget=None), "fallback": "else", "hedge": Hedge(after=0.004)}

    for kind, attempts in calls:
        left = list(attempts)
        gone = threading.Event()

        def callee(left: list[str] = left, gone: threading.Event = gone) -> str:
            how = left.pop(0) if left else "answers"
            if how.endswith("late"):
                gone.wait(0.02)
            if how.startswith("fails"):
                raise StatusError(500)
            return "done"

        try:
            if kind == "plain":
                guard.call(callee)
            elif kind == "retried":
                guard.using(retry=Retry(3, base=0.0, budget=None)).call(callee)
            elif kind == "all around":
                guard.using(**around).call(callee)
            elif kind == "permit":
                guard.acquire().call(callee)
            else:
                list(guard(items_of(callee))())
        except (StatusError, CallTimeoutError, CallRejectedError):
            pass

    assert check_ends(sink.events) == sum(guard.snapshot().counts.values())
