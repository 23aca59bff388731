"""
A breaker that opens lets nobody stand in line in vain.
"""

from __future__ import annotations

import anyio
import pytest

from hungframe import Bulkhead, CircuitOpenError, Guard, TokenBucket
from hungframe.testing import run_virtual
from tests.guard.fakes import Backend, on_each_backend


@on_each_backend
def test_nobody_waits_behind_an_open_breaker(backend: Backend) -> None:
    """
    Who stands in line when the breaker opens is refused at once, and who comes later does not join.
    """

    async def main() -> None:
        guard = Guard("images", bulkhead=Bulkhead(2, queue=10))
        refused: list[float] = []

        async def call() -> None:
            try:
                await guard.acall(anyio.sleep, 50)
            except CircuitOpenError:
                refused.append(anyio.current_time())

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(call)
            await anyio.sleep(3)
            began_at = anyio.current_time() - 3
            guard.force_open()
            await anyio.sleep(1)
            await call()
            assert [3.0] * 4 + [4.0] == [pytest.approx(at - began_at) for at in refused]
        assert 0 == guard.snapshot().in_flight

    run_virtual(main, backend=backend)


@on_each_backend
def test_nobody_waits_for_a_token_behind_an_open_breaker(backend: Backend) -> None:
    """
    The same for the budget's line, whoever is first in it.
    """

    async def main() -> None:
        guard = Guard("images", budget=TokenBucket(1, 60.0), on_empty="wait", max_wait=1000)
        await guard.acall(anyio.sleep, 0)
        refused: list[str] = []

        async def call() -> None:
            try:
                await guard.acall(anyio.sleep, 1)
            except CircuitOpenError as error:
                refused.append(type(error).__name__)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(call)
            await anyio.sleep(3)
            for _ in range(3):
                guard.health.record_failure("timeout")
            await anyio.sleep(0.5)
            assert 3 == len(refused)

    run_virtual(main, backend=backend)
