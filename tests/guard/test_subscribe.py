"""
Who subscribes to a guard that exists is told its events like a sink, and costs nothing once it has left.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from hungframe import CallTimeoutError, Guard, GuardSet
from hungframe.events import Event
from hungframe.testing import RecordingSink, hostile


def test_from_now_on_and_no_longer() -> None:
    """
    It is told what happens between subscribing and unsubscribing.
    """
    first, second = RecordingSink(), RecordingSink()
    guard = Guard("images", sinks=[first])

    guard.call(str)
    unsubscribe = guard.subscribe(second)
    guard.call(str)
    unsubscribe()
    unsubscribe()
    guard.call(str)

    assert ["gen.request", "gen.success"] == second.names()
    assert 6 == len(first.events)


def test_views_share_it() -> None:
    """
    A view is the same guard.
    """
    sink = RecordingSink()
    guard = Guard("images")
    view = guard.using(timeout=5)

    unsubscribe = view.subscribe(sink)
    guard.call(str)
    unsubscribe()

    assert ["gen.request", "gen.success"] == sink.names()


def test_twice_is_told_twice() -> None:
    """
    Each subscription ends its own.
    """
    sink = RecordingSink()
    guard = Guard("images")

    first, second = guard.subscribe(sink), guard.subscribe(sink)
    first()
    first()
    guard.call(str)
    second()
    guard.call(str)

    assert ["gen.request", "gen.success"] == sink.names()


def begun_before(guard: Guard, sink: RecordingSink, callee: Any) -> Any:
    """
    Make a call that is in flight when *sink* subscribes.
    """

    def subscribing() -> Any:
        guard.subscribe(sink)
        return callee()

    return guard.call(subscribing)


def fails() -> None:
    raise ConnectionResetError


def test_call_that_began_before() -> None:
    """
    Of a call whose request was not told its end is not told either, however it ends.
    """
    for callee, raised in (
        (str, None),
        (fails, ConnectionResetError),
        (lambda: hostile.blocks(0.15), CallTimeoutError),
    ):
        sink = RecordingSink()
        guard = Guard("images", timeout=0.05, grace=0.02)
        if raised is None:
            begun_before(guard, sink, callee)
        else:
            with pytest.raises(raised):
                begun_before(guard, sink, callee)

        assert [] == sink.names()


def test_async_call_that_began_before() -> None:
    """
    The same for a coroutine, cancelled by its caller; and the next call is told whole.
    """
    sink = RecordingSink()
    guard = Guard("images")

    async def main() -> None:
        task = asyncio.create_task(guard.acall(asyncio.sleep, 5))
        await asyncio.sleep(0)
        guard.subscribe(sink)
        task.cancel()
        await asyncio.wait([task])
        await guard.acall(asyncio.sleep, 0)

    asyncio.run(main())

    assert ["gen.request", "gen.success"] == sink.names()


def test_stream_that_began_before() -> None:
    """
    The same for a stream.
    """
    sink = RecordingSink()
    guard = Guard("images")

    @guard
    def numbers() -> Any:
        yield 1
        guard.subscribe(sink)
        yield 2

    assert [1, 2] == list(numbers())
    assert [] == sink.names()


def test_a_sink_that_raises_harms_nobody() -> None:
    """
    As with any other sink, it is counted.
    """

    def breaks(event: Event) -> None:
        raise RuntimeError(event.evt)

    guard = Guard("images")
    guard.subscribe(breaks)

    assert "" == guard.call(str)
    assert 2 == guard.snapshot().faults


def test_refused() -> None:
    """
    What cannot be called is no sink.
    """
    sink: Any = "stdout"

    with pytest.raises(TypeError, match="sink must be a callable that takes an event, got 'stdout'"):
        Guard("images").subscribe(sink)
    with pytest.raises(TypeError, match="sink must be a callable that takes an event, got 'stdout'"):
        GuardSet("images").subscribe(sink)


def test_guard_set() -> None:
    """
    The guards that a set has, those that it makes later, and those that it has dropped while somebody has them.
    """
    sink = RecordingSink()
    guards = GuardSet("images", max_guards=1)
    dropped = guards["eu"]
    assert guards["us"] is not dropped and "eu" not in guards

    unsubscribe = guards.subscribe(sink)
    for guard in (dropped, guards["us"], guards["asia"]):
        guard.call(str)
    told = [event.guard for event in sink.of("gen.success")]
    unsubscribe()
    unsubscribe()
    for key in ("eu", "us", "asia", "new"):
        guards[key].call(str)

    assert ["images[eu]", "images[us]", "images[asia]"] == told
    assert 6 == len(sink.events)


def test_from_many_threads() -> None:
    """
    Subscriptions that come and go beside each other and beside calls leave nobody behind.
    """
    guard = Guard("images")

    def comes_and_goes() -> None:
        for _ in range(100):
            unsubscribe = guard.subscribe(RecordingSink())
            guard.call(str)
            unsubscribe()

    threads = [threading.Thread(target=comes_and_goes) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink = RecordingSink()
    unsubscribe = guard.subscribe(sink)
    guard.call(str)
    unsubscribe()

    assert ["gen.request", "gen.success"] == sink.names()
    assert (401, 0) == (guard.snapshot().counts["success"], guard.snapshot().faults)
