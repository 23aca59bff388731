"""
What `run_virtual` says where it cannot run.
"""

from __future__ import annotations

import asyncio
import warnings

import anyio
import pytest
import trio

from hungframe.testing import run_virtual


async def nap() -> str:
    await anyio.sleep(3600)
    return "rested"


def test_within_asyncio_it_says_what_would_do() -> None:
    """
    Typed into `python -m asyncio`, it names the call that does, and leaves no coroutine behind.
    """

    async def typed_in() -> str:
        with pytest.raises(RuntimeError, match=r"await asyncio\.to_thread\(run_virtual, async_fn\)"):
            run_virtual(nap)
        return await asyncio.to_thread(run_virtual, nap)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "rested" == asyncio.run(typed_in())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_within_trio_it_says_what_would_do(backend: str) -> None:
    """
    Called in a task of trio, either backend names the call that does.
    """

    async def called_in() -> str:
        with pytest.raises(RuntimeError, match=r"await trio\.to_thread\.run_sync\(run_virtual, async_fn\)"):
            run_virtual(nap, backend=backend)  # type: ignore[arg-type]  # a parameter of pytest is any word
        return await trio.to_thread.run_sync(run_virtual, nap)

    assert "rested" == trio.run(called_in)
