"""
`call` and `acall`: guarding what is not decorated, in the thread and the context that a caller expects.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from hungframe import CallTimeoutError, CircuitOpenError, Guard
from hungframe.settings import Isolate
from hungframe.testing import hostile, run_virtual
from tests.guard.fakes import Backend, on_each_backend, sleeps

mood: ContextVar[str] = ContextVar("mood", default="calm")


def add(left: int, right: int = 0) -> int:
    """
    A callee.
    """
    return left + right


async def add_async(left: int, right: int = 0) -> int:
    """
    A callee that suspends.
    """
    await anyio.sleep(0)
    return left + right


# -- call ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolate", ["auto", "thread", None])
def test_call(isolate: Isolate) -> None:
    """
    Arguments go in, the result comes out, wherever the callee runs.
    """
    guard = Guard("images", isolate=isolate)

    assert 3 == guard.call(add, 1, right=2)
    assert 1 == guard.snapshot().counts["success"]


def test_call_returns_the_very_object() -> None:
    """
    A result is neither copied nor wrapped.
    """
    result = object()

    assert result is Guard("images").call(lambda: result)


@pytest.mark.parametrize(
    ("isolate", "same"), [("auto", False), ("thread", False), (None, True)], ids=["auto", "thread", "none"]
)
def test_thread_of_a_sync_callee(isolate: Isolate, same: bool) -> None:
    """
    Without isolation a callee runs in its caller's thread, else in one that can be left.
    """
    guard = Guard("images", isolate=isolate)

    assert same is (threading.get_ident() == guard.call(threading.get_ident))


def test_call_without_a_deadline_needs_no_thread() -> None:
    """
    Where nothing would ever call it back, a callee may as well run here.
    """
    assert threading.get_ident() == Guard("images", timeout=None).call(threading.get_ident)


@pytest.mark.parametrize("isolate", ["auto", None])
def test_context_goes_with_a_sync_callee_and_comes_back(isolate: Isolate) -> None:
    """
    A callee sees its caller's context variables, and the caller sees those that it sets.
    """
    mood.set("glad")

    def callee() -> str:
        seen = mood.get()
        mood.set("tired")
        return seen

    assert "glad" == Guard("images", isolate=isolate).call(callee)
    assert "tired" == mood.get()


def test_sync_callee_is_aborted() -> None:
    """
    A blocked callee is left at its deadline and grace, and known as an orphan until it ends. This one blocks for real.
    """
    guard = Guard("images", timeout=0.02, grace=0.01)

    with pytest.raises(CallTimeoutError) as aborted:
        guard.call(hostile.blocks, 0.15)

    assert ("orphan", 1) == (aborted.value.receipt, guard.snapshot().orphans)
    assert "in blocks" in aborted.value.where


@pytest.mark.parametrize("callee", [add_async, functools.partial(add_async, 1)])
def test_call_refuses_a_coroutine_function(callee: Callable[..., object]) -> None:
    """
    `call` of async code is a mistake, and says which method would do.
    """
    guard = Guard("images")

    with pytest.raises(TypeError, match="acall"):
        guard.call(callee)

    assert 0 == sum(guard.snapshot().counts.values())


# -- acall -----------------------------------------------------------------------------------------------------------


@on_each_backend
def test_acall(backend: Backend) -> None:
    """
    Arguments go in, the result comes out.
    """
    guard = Guard("images")

    async def main() -> None:
        assert 3 == await guard.acall(add_async, 1, right=2)

    run_virtual(main, backend=backend)

    assert 1 == guard.snapshot().counts["success"]


class Awaits:
    """
    An awaitable that is no coroutine.
    """

    def __await__(self) -> Generator[Any, None, str]:
        yield from sleeps(1).__await__()
        return "awaited"


@on_each_backend
def test_acall_of_what_returns_an_awaitable(backend: Backend) -> None:
    """
    Whatever can be awaited will do; its deadline holds, too.
    """
    guard = Guard("images", timeout=0.5)

    async def main() -> None:
        assert "awaited" == await guard.using(timeout=2).acall(Awaits)
        assert "done" == await guard.acall(lambda: sleeps(0.1))
        with pytest.raises(CallTimeoutError):
            await guard.acall(Awaits)

    run_virtual(main, backend=backend)


def test_acall_of_a_future() -> None:
    """
    A future of asyncio can be awaited, and is cancelled at the deadline.
    """

    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()

        def ask() -> asyncio.Future[str]:
            return future

        loop.call_later(1, future.set_result, "done")
        assert "done" == await Guard("images").acall(ask)
        future = loop.create_future()
        with pytest.raises(CallTimeoutError):
            await Guard("images").acall(ask)
        assert future.cancelled()

    run_virtual(main)


@on_each_backend
def test_acall_of_a_sync_function_is_refused(backend: Backend) -> None:
    """
    What returns nothing to await is a mistake; the error says which method would do.
    """

    async def main() -> None:
        sync: Any = add
        with pytest.raises(TypeError, match="`call`"):
            await Guard("images").acall(sync, 1)

    run_virtual(main, backend=backend)


@on_each_backend
def test_acall_returns_a_coroutine(backend: Backend) -> None:
    """
    So that a task can be made of it.
    """
    coroutine = Guard("images").acall(add_async, 1)
    assert isinstance(coroutine, Coroutine)

    async def main() -> int:
        return await coroutine

    assert 1 == run_virtual(main, backend=backend)


@on_each_backend
def test_context_of_an_async_callee_is_its_callers(backend: Backend) -> None:
    """
    As with a plain await, the caller sees the variables that the callee sets.
    """

    async def callee() -> str:
        seen = mood.get()
        await anyio.sleep(1)
        mood.set("tired")
        return seen

    async def main() -> None:
        mood.set("glad")
        assert "glad" == await Guard("images").acall(callee)
        assert "tired" == mood.get()

    run_virtual(main, backend=backend)


@on_each_backend
def test_async_callee_in_a_thread(backend: Backend) -> None:
    """
    `isolate="thread"` moves an async callee out of the caller's loop, and returns its result.
    """

    async def callee() -> int:
        return threading.get_ident()

    # In real time: what waits for a thread does.
    ident = anyio.run(Guard("images", isolate="thread").acall, callee, backend=backend)

    assert threading.get_ident() != ident


@on_each_backend
def test_one_guard_for_sync_and_async_code(backend: Backend) -> None:
    """
    What sync calls have found out, async calls are spared.
    """
    guard = Guard("images", isolate=None)

    def times_out() -> None:
        raise TimeoutError

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                guard.call(times_out)
        with pytest.raises(CircuitOpenError):
            await guard.acall(sleeps, 1)

    run_virtual(main, backend=backend)


def test_one_guard_for_many_loops() -> None:
    """
    One event loop after the other, of both kinds, on one guard.
    """
    guard = Guard("images", timeout=5)
    for backend in ("asyncio", "trio", "asyncio", "trio"):
        assert "done" == run_virtual(lambda: guard.acall(sleeps, 1), backend=backend)

    assert (4, 0) == (guard.snapshot().counts["success"], guard.snapshot().in_flight)
