"""
Whatever is asked and whatever is cancelled, in whatever order: one client, and at the end nothing in use.
"""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hungframe import CallTimeoutError, Guard
from hungframe.testing import HostileProvider
from tests.transport.abort_helpers import (
    Side,
    body_generators,
    check_clean,
    each_library,
    each_loop,
    nothing_left,
    pool_of,
    post,
)

pytestmark = body_generators

MODES = [
    "ok",
    "sleep:0.01",
    "silent",
    "trickle-headers:0.002",
    "trickle-body:0.002",
    "stall-body",
    "reset-before-headers",
    "reset-in-body",
    "close-early",
    "endless-body",
    "never-read",
    "malformed",
    "wrong-length",
    "stream-stall",
    "stream:2:0.005",
    "429",
    "503",
]

# The mode, how large the upload, when it begins, and after how many seconds
# its user cancels it and its guard ends it.
requests = st.tuples(
    st.sampled_from(MODES),
    st.sampled_from([0, 100, 3_000_000]),
    st.sampled_from([0.0, 0.0, 0.005, 0.02]),
    st.one_of(st.none(), st.floats(0.0, 0.05)),
    st.sampled_from([0.02, 0.05, 0.1]),
)


@each_loop
@each_library
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_any_script_of_requests(library: str, kind: str, tls: bool) -> None:
    """
    Up to twelve at once through a pool of three.
    """
    side = Side(library, kind)

    @settings(
        max_examples=12,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(script=st.lists(requests, min_size=1, max_size=12))
    def check(script: list[tuple[str, int, float, float | None, float]]) -> None:
        async def one(client: Any, mode: str, size: int, begins: float, gone: float | None, timeout: float) -> None:
            await anyio.sleep(begins)
            guard = Guard("hostile", timeout=timeout, breaker=None)
            with anyio.move_on_after(gone):
                try:
                    await guard.acall(post, client, provider, mode, content=bytes(size))
                except (CallTimeoutError, side.stock.TransportError):
                    pass
            assert 0 == guard.snapshot().in_flight
            assert 1 >= sum(guard.snapshot().counts.values())

        async def main() -> None:
            client = side.client(limits=side.stock.Limits(max_connections=3), max_response_bytes=None)
            async with anyio.create_task_group() as group:
                for each in script:
                    group.start_soon(one, client, *each)
            check_clean(client)
            assert 200 == (await post(client, provider, "ok")).status_code
            check_clean(client)
            # The server hears of it a moment later.
            with anyio.move_on_after(1.0):
                while provider.stats.open > len(pool_of(client).connections):
                    await anyio.sleep(0.005)
            assert len(pool_of(client).connections) >= provider.stats.open
            await client.aclose()
            assert provider.wait_closed(1.0)
            if kind == "asyncio":
                assert 1 == len(asyncio.all_tasks())
            else:
                assert trio.lowlevel.current_statistics().tasks_living < 6

        side.run(main)

    with nothing_left(), HostileProvider(tls=tls) as provider:
        check()
