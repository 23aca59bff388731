"""
An outage of ten minutes on virtual time, with a prober and without: what it costs users, and when it is over.

The figures are those of docs/explanation/recovery.md.
"""

from __future__ import annotations

import random

import anyio
import pytest

from hungframe import CallRejectedError, CallTimeoutError, Guard
from hungframe.recovery import Prober
from hungframe.testing import run_virtual
from tests.guard.fakes import Backend, on_each_backend

OUTAGE = 600.0
CALLS_EVERY = 5.0
TAKES = 20.0


async def simulate(probe_every: float | None, until: float = OUTAGE + 400.0) -> tuple[int, float]:
    """
    Let users call every 5 s a provider that answers in 20 s, and hangs for the first ten minutes.

    Returns:
        User calls let through while it was half-open, and the seconds from the
        end of the outage until the breaker closed.
    """
    began_at = anyio.current_time()
    spent = 0

    async def answer() -> None:
        if anyio.current_time() - began_at < OUTAGE:
            await anyio.sleep(1e6)
        await anyio.sleep(TAKES)

    prober = None if probe_every is None else Prober(answer, probe_every, random=random.Random(14).random)
    guard = Guard("images", recovery=prober)

    async def call() -> None:
        nonlocal spent
        half_open = guard.snapshot().state == "half_open"

        async def callee() -> None:
            nonlocal spent
            spent += half_open
            await answer()

        try:
            await guard.acall(callee)
        except (CallRejectedError, CallTimeoutError):
            pass

    closed_at = until

    async def users() -> None:
        nonlocal closed_at
        was_open = False
        async with anyio.create_task_group() as group:
            while anyio.current_time() - began_at < until:
                group.start_soon(call)
                for _ in range(10):
                    await anyio.sleep(CALLS_EVERY / 10)
                    state = guard.snapshot().state
                    was_open = was_open or state != "closed"
                    if was_open and state == "closed":
                        closed_at = anyio.current_time() - began_at
                        group.cancel_scope.cancel()

    if prober is None:
        await users()
    else:
        async with prober:
            await users()
    return spent, closed_at - OUTAGE


@on_each_backend
@pytest.mark.parametrize(
    ("probe_every", "spent", "recovered_after"),
    [(None, 7, 270.0), (60.0, 0, 289.0), (10.0, 0, 192.5)],
)
def test_an_outage_of_ten_minutes(
    backend: Backend, probe_every: float | None, spent: int, recovered_after: float
) -> None:
    """
    With a prober no user's call is spent, and a shorter distance between probes ends it sooner.
    """
    found = run_virtual(simulate, probe_every, backend=backend)

    assert spent == found[0]
    assert recovered_after == pytest.approx(found[1], abs=1.0)
