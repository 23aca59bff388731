"""
Context variables: the callee sees its caller's, and the caller those that the callee has set.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest
import trio

from hungframe import CallTimeoutError, Guard, current_deadline
from tests.abort.measure import hostile_guard

TRACE: ContextVar[str] = ContextVar("trace", default="none")
UNTOUCHED: ContextVar[str] = ContextVar("untouched", default="none")


async def sets() -> str:
    seen = TRACE.get()
    TRACE.set("the callee's")
    return seen


async def sets_after_a_while() -> str:
    seen = TRACE.get()
    await (trio.sleep(0.001) if _on_trio() else asyncio.sleep(0.001))
    TRACE.set("the callee's")
    return seen


async def sets_and_fails() -> str:
    TRACE.set("the callee's")
    raise ValueError(TRACE.get())


def _on_trio() -> bool:
    return trio.lowlevel.in_trio_task()


async def _carried(guard: Guard, callee: Any) -> None:
    TRACE.set("the caller's")
    assert "the caller's" == await guard.acall(callee)
    assert "the callee's" == TRACE.get()
    assert "none" == UNTOUCHED.get()
    assert current_deadline() is None


@pytest.mark.parametrize("callee", [sets, sets_after_a_while])
def test_carried_both_ways_on_asyncio(callee: Any) -> None:
    """
    As with a plain await.
    """
    asyncio.run(_carried(hostile_guard(), callee))


@pytest.mark.parametrize("callee", [sets, sets_after_a_while])
def test_carried_both_ways_on_trio(callee: Any) -> None:
    """
    As with a plain await, although the callee has a task of its own.
    """
    trio.run(_carried, hostile_guard(), callee)


def test_carried_both_ways_with_a_thread() -> None:
    """
    A worker thread runs in the caller's variables, and gives back its own.
    """
    TRACE.set("the caller's")

    def callee() -> str:
        seen = TRACE.get()
        TRACE.set("the callee's")
        return seen

    assert "the caller's" == hostile_guard(timeout=5.0).call(callee)
    assert "the callee's" == TRACE.get()
    assert current_deadline() is None


def test_carried_both_ways_with_an_async_callee_in_a_thread() -> None:
    """
    So does one with an event loop of its own.
    """
    asyncio.run(_carried(hostile_guard(timeout=5.0, isolate="thread"), sets))


def test_carried_when_the_callee_fails() -> None:
    """
    Variables that were set before an exception are seen, as with a plain call.
    """

    async def main() -> None:
        with pytest.raises(ValueError, match="the callee's"):
            await hostile_guard(timeout=5.0).acall(sets_and_fails)
        assert "the callee's" == TRACE.get()

    asyncio.run(main())
    trio.run(main)

    def fails() -> None:
        TRACE.set("the thread's")
        raise KeyError

    with pytest.raises(KeyError):
        hostile_guard(timeout=5.0).call(fails)
    assert "the thread's" == TRACE.get()


def test_a_token_is_reset_by_the_callee() -> None:
    """
    A callee may reset what its caller has set: they share one context.
    """

    async def main() -> None:
        token = TRACE.set("for a while")

        async def resets() -> None:
            TRACE.reset(token)

        await hostile_guard().acall(resets)
        assert "for a while" != TRACE.get()

    asyncio.run(main())
    trio.run(main)


def test_what_an_orphan_sets_is_its_own() -> None:
    """
    A callee that was left behind changes nothing for its caller any more.
    """

    async def orphan() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.12)
        TRACE.set("the orphan's")

    async def main() -> None:
        TRACE.set("the caller's")
        with pytest.raises(CallTimeoutError):
            await hostile_guard().acall(orphan)
        await trio.sleep(0.08)
        assert "the caller's" == TRACE.get()

    trio.run(main)
