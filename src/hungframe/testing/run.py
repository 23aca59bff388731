"""
Run async code on virtual time: whenever nothing is left to do but wait, the time comes.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

from typing_extensions import TypeVarTuple, Unpack

from hungframe.abort.backend import in_trio
from hungframe.testing import virtual_time

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# How long to look for what a thread or a socket may have to say before the
# time jumps; real seconds.
_LOOK_FOR = 0.0


def run_virtual(
    async_fn: Callable[[Unpack[Ts]], Awaitable[T]],
    *args: Unpack[Ts],
    backend: Literal["asyncio", "trio"] = "asyncio",
) -> T:
    """
    Run an async function to its end, with sleeping free of cost.

    Guards without a clock of their own live on the same time, and so do
    `VirtualClock` objects. Whatever waits for a thread or a socket still
    waits for real, while the virtual time may run ahead of it.

    Args:
        async_fn: Called with *args*.

        backend: "asyncio" or "trio".

    Returns:
        What it returns.

    Raises:
        RuntimeError: If another virtual run is under way in this process,
            or if the code that calls this runs on an event loop itself and
            keeps that from another one. A thread of its own helps then:
            ``await asyncio.to_thread(run_virtual, async_fn)``.

        ValueError: If *backend* is neither.

    >>> import anyio
    >>> async def nap() -> str:
    ...     await anyio.sleep(3600)
    ...     return "rested"
    >>> run_virtual(nap)
    'rested'
    """
    if backend not in ("asyncio", "trio"):
        raise ValueError(f"backend must be 'asyncio' or 'trio', got {backend!r}")
    _refuse_within_a_loop(backend)
    if backend == "asyncio":
        return _run_asyncio(async_fn, args)
    return _run_trio(async_fn, args)


def _refuse_within_a_loop(backend: str) -> None:
    """
    Say what would do, before anything is made: asyncio says only that a loop runs, and leaves coroutines behind; within
    trio it would ask trio for what only asyncio understands.
    """
    # trio does run in a callback of asyncio, and blocks it meanwhile.
    if in_trio():
        thread = "trio.to_thread.run_sync"
    elif backend == "asyncio" and asyncio._get_running_loop() is not None:
        thread = "asyncio.to_thread"
    else:
        return
    raise RuntimeError(
        "run_virtual() runs a loop of its own, which cannot be done in a thread where one is running: give it another "
        f"thread, such as by await {thread}(run_virtual, async_fn)"
    )


class _JumpingSelector(selectors.DefaultSelector):
    """
    A selector that lets the time pass instead of waiting for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(timeout if timeout is None else _LOOK_FOR)
        if not ready and timeout is not None and timeout > 0:
            self.seconds += timeout
        return ready


def _run_asyncio(async_fn: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> T:
    selector = _JumpingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    # Each loop asks itself for the time, so that this is where it is turned.
    loop.time = lambda: selector.seconds  # type: ignore[method-assign]  # Of this one loop only.

    async def main() -> T:
        return await async_fn(*args)

    with virtual_time.turned_by(lambda: selector.seconds):
        try:
            return loop.run_until_complete(main())
        finally:
            _close(loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """
    What `asyncio.run` does at its end.
    """
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def _run_trio(async_fn: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> T:
    import trio
    import trio.testing

    clock = trio.testing.MockClock(autojump_threshold=0)
    began_at = clock.current_time()

    async def main() -> T:
        return await async_fn(*args)

    with virtual_time.turned_by(lambda: clock.current_time() - began_at):
        return trio.run(main, clock=clock)
