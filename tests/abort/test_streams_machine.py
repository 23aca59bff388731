"""
Whatever the consumer does with a stream, and whatever the callee answers, one outcome is counted and nothing stays.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import Any, Literal

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hungframe import CallTimeoutError, Guard, TokenBucket
from hungframe.testing import RecordingSink, VirtualClock, run_virtual
from tests.guard.fakes import on_each_backend

FINAL = {"gen.success", "gen.fail", "gen.cancelled"}

# What the consumer does next, and what the callee does when it is asked: seconds that it takes, then an item, an
# error or its end; or whatever is thrown in, swallowed.
does = st.lists(
    st.sampled_from(["next", "next", "next", "send", "throw", "work", "work for long", "cancel", "close", "drop"]),
    max_size=8,
)
answers = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.5, 3.0, 20.0]), st.sampled_from(["item", "item", "item", "error", "end"])),
    max_size=8,
)


class Mine(Exception):
    """
    The consumer's.
    """


class Theirs(Exception):
    """
    The callee's.
    """


def new_guard(sink: RecordingSink, **settings: Any) -> Guard:
    """
    A guard with every limit that a stream may miss.
    """
    return Guard(
        "stream",
        timeout=10,
        first_item=2,
        between_items=1,
        grace=0.5,
        breaker=None,
        budget=TokenBucket(capacity=50, refill_every=1e6),
        sinks=[sink],
        **settings,
    )


def check(guard: Guard, sink: RecordingSink, begun: bool) -> None:
    """
    Check what holds in the end.
    """
    snapshot = guard.snapshot()
    names = sink.names()
    assert (0, 0, 0) == (snapshot.in_flight, snapshot.orphans, snapshot.suspects)
    assert int(begun) == sum(snapshot.counts.values())
    assert int(begun) == names.count("gen.request") == sum(name in FINAL for name in names)
    assert 50 - int(begun) == snapshot.budget


async def callee(script: list[tuple[float, str]], swallow: bool) -> AsyncGenerator[str, str]:
    for seconds, then in script:
        try:
            await anyio.sleep(seconds)
        except BaseException:
            if not swallow:
                raise
        if then == "error":
            raise Theirs
        if then == "end":
            return
        try:
            yield then
        except Mine:
            if not swallow:
                raise


@on_each_backend
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # trio's own, of one that is dropped
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(does=does, answers=answers, swallow=st.booleans())
def test_one_outcome_and_nothing_left(
    backend: Literal["asyncio", "trio"], does: list[str], answers: list[tuple[float, str]], swallow: bool
) -> None:
    """
    On asyncio and trio.
    """
    sink = RecordingSink()
    guard = new_guard(sink)

    async def consume() -> bool:
        begun = over = False
        items = guard(callee)(answers, swallow)
        for deed in does:
            try:
                if deed in ("next", "send", "throw", "cancel"):
                    if deed == "throw":
                        over = True
                        await items.athrow(Mine())
                        continue
                    word: Any = "a word" if deed == "send" and begun else None
                    # What is closed before its first item never begins.
                    begun = begun or not over
                    asked = items.asend(word)
                    if deed == "cancel":
                        with anyio.move_on_after(0.25):
                            await asked
                    else:
                        await asked
                elif deed == "close":
                    over = True
                    await items.aclose()
                elif deed == "drop":
                    return begun
                else:
                    await anyio.sleep(1 if deed == "work" else 20)
            except (Mine, Theirs, CallTimeoutError, StopAsyncIteration):
                continue
        async with aclosing(items):
            return begun

    async def main() -> None:
        begun = await consume()
        gc.collect(0)
        # A clean-up, and what was left, have their time.
        await anyio.sleep(30)
        check(guard, sink, begun)

    run_virtual(main, backend=backend)


def callee_sync(script: list[tuple[float, str]], clock: VirtualClock) -> Generator[str, str, str]:
    for seconds, then in script:
        clock.advance(seconds)
        if then == "error":
            raise Theirs
        if then == "end":
            return "the end"
        yield then
    return "the end"


@settings(max_examples=150, deadline=None)
@given(does=does, answers=answers, isolate=st.sampled_from(["auto", None]))
def test_one_outcome_and_nothing_left_in_threads(
    does: list[str], answers: list[tuple[float, str]], isolate: Any
) -> None:
    """
    In threads, and in the consumer's own.
    """
    sink, clock = RecordingSink(), VirtualClock()
    guard = new_guard(sink, clock=clock, isolate=isolate)

    def consume() -> bool:
        begun = over = False
        items = guard(callee_sync)(answers, clock)
        for deed in does:
            try:
                if deed in ("next", "cancel"):
                    begun = begun or not over
                    next(items)
                elif deed == "send" and begun:
                    items.send("a word")
                elif deed == "throw":
                    over = True
                    items.throw(Mine())
                elif deed == "close":
                    over = True
                    items.close()
                elif deed == "drop":
                    return begun
                else:
                    clock.advance(1 if deed == "work" else 20)
            except (Mine, Theirs, CallTimeoutError, StopIteration):
                continue
        items.close()
        return begun

    begun = consume()
    clock.advance(60 * 60)
    snapshot = guard.snapshot()
    assert (0, 0) == (snapshot.in_flight, snapshot.orphans)
    assert int(begun) == sum(snapshot.counts.values())
    assert int(begun) == sum(name in FINAL for name in sink.names())


def test_two_tasks_that_ask_at_once() -> None:
    """
    One is asked at a time: the second is told so, and the first has its item.
    """
    sink = RecordingSink()
    guard = new_guard(sink)

    async def main() -> None:
        async with aclosing(guard(callee)([(0.5, "item"), (0.5, "item")], False)) as items:
            first = asyncio.ensure_future(anext(items))
            await asyncio.sleep(0.1)
            with pytest.raises(RuntimeError, match="already running"):
                await anext(items)
            assert "item" == await first
        check(guard, sink, True)

    run_virtual(main)
