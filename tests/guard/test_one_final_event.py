"""
Each gen.request is followed by exactly one end: success, fail, reject or cancelled (semantics 7).
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hungframe import BudgetExhaustedError, CallRejectedError, CallTimeoutError, Guard, TokenBucket
from hungframe.events import Event
from hungframe.testing import RecordingSink, VirtualClock, hostile, run_virtual
from tests.guard.fakes import Backend, StatusError, fail, on_each_backend, raises, raises_async, sleeps

ENDS = {"gen.success", "gen.fail", "gen.reject", "gen.cancelled"}


def check_one_end_each(sink: RecordingSink, requests: int) -> None:
    """
    Match requests and ends by their ids.
    """
    begun = [json.loads(event.to_json())["id"] for event in sink.of("gen.request")]
    ended = [json.loads(event.to_json())["id"] for event in sink.events if event.evt in ENDS]
    assert requests == len(begun) == len(set(begun))
    assert Counter(begun) == Counter(ended)


# -- one kind of call after the other --------------------------------------------------------------------------------


def answers(guard: Guard) -> None:
    """
    A call that succeeds.
    """
    guard.call(str)


def by_hand(guard: Guard) -> None:
    """
    A permit that is settled, one that is cancelled, and one in a block.
    """
    guard.acquire().settle("5xx")
    guard.acquire().cancel()
    with guard.acquire():
        pass


def in_blocks(guard: Guard) -> None:
    """
    A block that ends well, and one that raises.
    """
    with guard.attempt():
        pass
    with pytest.raises(ValueError, match="x"), guard.attempt():
        raise ValueError("x")


def interrupted(guard: Guard) -> None:
    """
    A call that the keyboard interrupts.
    """
    with pytest.raises(KeyboardInterrupt):
        guard.using(isolate=None).call(raises, KeyboardInterrupt())


def refused(guard: Guard) -> None:
    """
    A call that the breaker refuses.
    """
    guard.force_open()
    with pytest.raises(CallRejectedError):
        guard.call(str)
    guard.reset()


def abandoned(guard: Guard) -> None:
    """
    A call that is left behind.
    """
    with pytest.raises(CallTimeoutError):
        guard.using(timeout=0.02, grace=0.01).call(hostile.blocks, 0.1)


@pytest.mark.parametrize(
    ("act", "requests"),
    [(answers, 1), (by_hand, 3), (in_blocks, 2), (interrupted, 1), (refused, 1), (abandoned, 1)],
)
def test_every_way_to_end(act: Callable[[Guard], None], requests: int) -> None:
    """
    However a call is made and ends, it has one end.
    """
    sink = RecordingSink()

    act(Guard("images", sinks=[sink]))

    check_one_end_each(sink, requests)


def test_permit_that_is_dropped_has_an_end() -> None:
    """
    A permit that nobody settles is cancelled when it is collected, with a warning.
    """
    sink = RecordingSink()
    permit = Guard("images", sinks=[sink]).acquire()

    with pytest.warns(ResourceWarning, match="guard 'images': a permit was dropped"):
        del permit

    check_one_end_each(sink, 1)


@on_each_backend
def test_every_way_to_end_async(backend: Backend) -> None:
    """
    Success, failure, timeout, cancellation, refusal, and blocks.
    """
    sink = RecordingSink()

    async def main() -> None:
        guard = Guard("images", timeout=5, sinks=[sink], budget=TokenBucket(capacity=6))
        await guard.acall(sleeps, 1)
        with pytest.raises(StatusError):
            await guard.acall(raises_async, StatusError(404))
        with pytest.raises(CallTimeoutError):
            await guard.acall(sleeps, 10)
        with anyio.move_on_after(1):
            await guard.acall(sleeps, 10)
        async with guard.attempt():
            await anyio.sleep(1)
        with anyio.move_on_after(1):
            async with guard.attempt():
                await anyio.sleep(10)
        with pytest.raises(BudgetExhaustedError):
            await guard.acall(sleeps, 1)

    run_virtual(main, backend=backend)

    check_one_end_each(sink, 7)


# -- sinks that crash ------------------------------------------------------------------------------------------------


class CrashesOn:
    """
    A sink that raises at one event, every time.
    """

    def __init__(self, evt: str, error: Exception) -> None:
        self.evt = evt
        self.error = error

    def __call__(self, event: Event) -> None:
        if event.evt == self.evt:
            raise self.error


@pytest.mark.parametrize("evt", ["gen.request", "gen.success", "gen.fail", "gen.reject", "breaker.state"])
@pytest.mark.parametrize("first", [True, False])
def test_crash_of_a_sink_robs_no_other_of_its_events(evt: str, first: bool) -> None:
    """
    A sink that crashes, before another in the list or after it, changes nothing of what that one is told.
    """
    sink = RecordingSink()
    sinks: list[Any] = [CrashesOn(evt, OSError("disk full")), sink]
    guard = Guard("images", sinks=sinks if first else sinks[::-1])

    guard.call(str)
    fail(guard, TimeoutError(), TimeoutError())
    with pytest.raises(CallRejectedError):
        guard.call(str)

    check_one_end_each(sink, 4)
    assert 1 == len(sink.of("breaker.state"))


# -- any history, any number of threads ------------------------------------------------------------------------------

HOW = st.sampled_from(["answer", "fail", "time out", "cancel", "drop out", "force open", "reset", "wait", "by flag"])


@given(st.lists(HOW, max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_history(history: list[str]) -> None:
    """
    Whatever happens in whatever order, ends match requests, counts match ends, and nothing is left in flight.
    """
    clock, sink = VirtualClock(), RecordingSink()
    enabled = [True]
    guard = Guard(
        "images",
        clock=clock,
        isolate=None,
        budget=TokenBucket(capacity=3, refill_every=10.0),
        sinks=[sink],
        enabled=lambda: enabled[0],
    )
    asked = 0
    for how in history:
        if how == "wait":
            clock.advance(30)
        elif how == "force open":
            guard.force_open()
        elif how == "reset":
            guard.reset()
        elif how == "by flag":
            enabled[0] = not enabled[0]
        else:
            asked += 1
            act_one(guard, how)

    check_one_end_each(sink, asked)
    snapshot = guard.snapshot()
    ends = Counter(event.evt for event in sink.events if event.evt in ENDS)
    assert 0 == snapshot.in_flight
    assert asked == sum(snapshot.counts.values())
    assert (ends["gen.success"], ends["gen.cancelled"], ends["gen.reject"]) == (
        snapshot.counts["success"],
        snapshot.counts["cancelled"],
        snapshot.counts["rejected"],
    )


def act_one(guard: Guard, how: str) -> None:
    """
    Make one call that ends in this way, if it is let through.
    """
    try:
        if how == "drop out":
            guard.acquire().cancel()
        elif how == "answer":
            guard.call(str)
        else:
            error = {"fail": StatusError(500), "time out": TimeoutError(), "cancel": KeyboardInterrupt()}[how]
            guard.call(raises, error)
    except (CallRejectedError, StatusError, TimeoutError, KeyboardInterrupt):
        pass


def test_many_threads() -> None:
    """
    Fifty threads with twenty calls each: a thousand requests, a thousand ends, counted exactly.
    """
    sink = RecordingSink()
    guard = Guard("images", isolate=None, sinks=[sink])

    def work() -> None:
        for _ in range(10):
            guard.call(str)
            fail(guard, StatusError(404))

    threads = [threading.Thread(target=work) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    check_one_end_each(sink, 1000)
    assert (500, 500) == (guard.snapshot().counts["success"], guard.snapshot().counts["4xx"])
