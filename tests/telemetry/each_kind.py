"""
Events of each kind, told by real guards wherever a guard tells them.
"""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

import anyio
import pytest

from hungframe import CallTimeoutError, CircuitOpenError, Guard, Hedge, Retry, TokenBucket
from hungframe.events import Event, OperatorActed, QueueDeadletter
from hungframe.recovery import Prober
from hungframe.testing import RecordingSink, VirtualClock, hostile, run_virtual
from tests.guard.fakes import StatusError, fail, open_by_timeouts, sleeps


@functools.cache
def all_kinds() -> tuple[Event, ...]:
    """
    Have guards tell an event of each kind.
    """
    sink = RecordingSink()
    _alone(sink)
    run_virtual(_around, sink)
    asyncio.run(_blocked(sink))
    sink(QueueDeadletter(1_760_000_000.0, "images", "job-7", "no-image-url"))
    sink(OperatorActed(1_760_000_000.0, "images", "force_open"))
    return tuple(sink.events)


def _alone(sink: RecordingSink) -> None:
    guard = Guard("images", sinks=[sink], budget=TokenBucket(capacity=50), isolate=None)
    guard.call(str.upper, "done")
    fail(guard, ConnectionResetError(), StatusError(429))
    guard.force_open()
    with pytest.raises(CircuitOpenError):
        guard.call(str)
    with pytest.raises(CallTimeoutError):
        Guard("blocking", timeout=0.02, grace=0.01, sinks=[sink]).call(hostile.blocks, 0.1)
    opened = Guard("opened", sinks=[sink], clock=VirtualClock(wall=1_760_000_000.0))
    open_by_timeouts(opened)
    with pytest.raises(CircuitOpenError):
        opened.call(str)


async def _around(sink: RecordingSink) -> None:
    around: dict[str, Any] = {"retry": Retry(2, base=0.1, budget=None), "hedge": Hedge(after=1.0), "fallback": "else"}
    guard = Guard("around", sinks=[sink], timeout=5, **around)

    async def fails_late() -> None:
        await anyio.sleep(2)
        raise StatusError(500)

    await guard.acall(fails_late)
    with anyio.move_on_after(1):
        await guard.using(hedge=None).acall(sleeps, 2)

    prober = Prober(functools.partial(sleeps, 0.1), every=60.0)
    probed = Guard("probed", sinks=[sink], recovery=prober)
    async with prober:
        open_by_timeouts(probed)
        await anyio.sleep(200)


async def _blocked(sink: RecordingSink) -> None:
    async with Guard("loop", sinks=[sink]).watch_loop(blocked_after=0.02):
        await asyncio.sleep(0.01)
        time.sleep(0.1)
