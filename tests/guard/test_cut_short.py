"""
A call that is cut short by the deadline of the call around it proves nothing of its provider.
"""

from __future__ import annotations

import anyio
import pytest

from hungframe import CallTimeoutError, Guard
from hungframe.testing import run_virtual
from tests.guard.fakes import Backend, on_each_backend


@on_each_backend
def test_an_impatient_caller_does_not_open_the_breaker_within(backend: Backend) -> None:
    """
    Five calls of which the caller gave up after 1 s are no timeouts of a provider that was allowed 60 s.
    """
    outer, inner = Guard("request", timeout=1, breaker=None), Guard("images", timeout=60)

    async def main() -> None:
        for _ in range(5):
            with pytest.raises(CallTimeoutError):
                await outer.acall(inner.acall, anyio.sleep, 100)

    run_virtual(main, backend=backend)

    assert 5 == outer.snapshot().counts["timeout"]
    assert (0, 5) == (inner.snapshot().counts["timeout"], inner.snapshot().counts["cancelled"])
    assert "closed" == inner.snapshot().state


@on_each_backend
def test_a_timeout_of_its_own_within_a_longer_call_counts(backend: Backend) -> None:
    """
    Where the outer call has time left, the inner deadline was the provider's.
    """
    outer, inner = Guard("request", timeout=100), Guard("images", timeout=1)

    async def main() -> None:
        async def around() -> None:
            for _ in range(3):
                with pytest.raises(CallTimeoutError):
                    await inner.acall(anyio.sleep, 50)

        await outer.acall(around)

    run_virtual(main, backend=backend)

    assert ("open", "closed") == (inner.snapshot().state, outer.snapshot().state)
