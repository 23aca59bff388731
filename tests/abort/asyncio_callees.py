"""
Callees on asyncio that do not want to end.

`HANG` are those whose caller must be told of a timeout; all of their work is
counted on the leash, so that a test knows what still runs.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread

from tests.abort.measure import LONG, AsyncCallee, Leash


async def swallows_forever(leash: Leash) -> str:
    with leash.busy():
        until = time.monotonic() + LONG
        while not leash.let_go.is_set() and time.monotonic() < until:
            try:
                await leash.wait()
            except asyncio.CancelledError:
                pass
    return "done"


async def swallows_once(leash: Leash) -> str:
    with leash.busy():
        try:
            await leash.wait()
        except asyncio.CancelledError:
            pass
    return "a value, too late"


async def swallows_once_and_goes_on(leash: Leash) -> str:
    with leash.busy():
        try:
            await leash.wait()
        except asyncio.CancelledError:
            await leash.wait()
    return "done"


async def loops_in_small_steps(leash: Leash) -> str:
    with leash.busy():
        while not leash.let_go.is_set():
            try:
                await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                pass
    return "done"


async def ignores_close(leash: Leash) -> str:
    with leash.busy():
        while not leash.let_go.is_set():
            try:
                await leash.wait()
            except BaseException:
                pass
    return "done"


async def ignores_close_in_small_steps(leash: Leash) -> str:
    with leash.busy():
        while not leash.let_go.is_set():
            try:
                await asyncio.sleep(0.005)
            except BaseException:
                pass
    return "done"


async def ignores_close_in_small_steps_of_anyio(leash: Leash) -> str:
    # anyio asks for the current task at each step.
    with leash.busy():
        until = time.monotonic() + LONG
        while not leash.let_go.is_set() and time.monotonic() < until:
            try:
                await anyio.sleep(0.005)
            except BaseException:
                pass
    return "done"


async def shields_with_anyio(leash: Leash) -> None:
    with leash.busy(), anyio.CancelScope(shield=True):
        await leash.wait()


async def awaits_a_task_that_swallows(leash: Leash) -> None:
    await asyncio.create_task(swallows_forever(leash))


async def gathers_what_swallows(leash: Leash) -> None:
    await asyncio.gather(swallows_forever(leash), swallows_forever(leash))


async def waits_for_what_swallows(leash: Leash) -> None:
    await asyncio.wait_for(swallows_forever(leash), LONG)


async def anyio_group_with_a_child_that_swallows(leash: Leash) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(swallows_forever, leash)


async def anyio_group_with_a_child_that_shields(leash: Leash) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_shielded_twice, leash)


async def _shielded_twice(leash: Leash) -> None:
    with anyio.CancelScope(shield=True):
        await swallows_forever(leash)


async def group_with_a_child_that_swallows(leash: Leash) -> None:
    async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined, unused-ignore]  # Since 3.11.
        group.create_task(swallows_forever(leash))


async def nested_groups_with_a_shielded_child(leash: Leash) -> None:
    async with asyncio.TaskGroup() as outer:  # type: ignore[attr-defined, unused-ignore]  # Since 3.11.
        outer.create_task(group_with_a_child_that_swallows(leash))
        await asyncio.sleep(LONG)


async def timeout_inside(leash: Leash) -> None:
    async with asyncio.timeout(LONG):  # type: ignore[attr-defined, unused-ignore]  # Since 3.11.
        await swallows_forever(leash)


@asynccontextmanager
async def _hangs_at_its_end(leash: Leash) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await swallows_forever(leash)


async def exit_of_a_context_manager_hangs(leash: Leash) -> None:
    async with _hangs_at_its_end(leash):
        await asyncio.sleep(LONG)


async def cleans_up_for_longer_than_its_grace(leash: Leash) -> None:
    with leash.busy():
        try:
            await asyncio.sleep(LONG)
        finally:
            await leash.wait()


async def cleans_up_within_its_grace(leash: Leash) -> None:
    with leash.busy():
        try:
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(0.005)


async def cleans_up_in_an_async_generator(leash: Leash) -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                await asyncio.sleep(LONG)
                yield 1
        finally:
            await leash.wait()

    async for _ in numbers():
        pass


async def in_the_executor(leash: Leash) -> None:
    await asyncio.get_running_loop().run_in_executor(None, leash.block)


async def to_thread(leash: Leash) -> None:
    await asyncio.to_thread(leash.block)


async def to_thread_of_anyio(leash: Leash) -> None:
    await anyio.to_thread.run_sync(leash.block)


async def to_thread_of_anyio_abandoned(leash: Leash) -> None:
    await anyio.to_thread.run_sync(leash.block, abandon_on_cancel=True)


async def to_thread_in_a_task(leash: Leash) -> None:
    await asyncio.create_task(to_thread(leash))


async def two_threads(leash: Leash) -> None:
    await asyncio.gather(to_thread(leash), to_thread(leash))


async def to_thread_again_when_cancelled(leash: Leash) -> None:
    try:
        await asyncio.to_thread(time.sleep, 0.07)
    except asyncio.CancelledError:
        await asyncio.to_thread(leash.block)


async def raises_something_else(leash: Leash) -> None:
    with leash.busy():
        try:
            await leash.wait()
        except asyncio.CancelledError:
            raise ValueError("the callee's own mess") from None


async def spins(leash: Leash) -> None:
    with leash.busy():
        while not leash.let_go.is_set():
            await asyncio.sleep(0)


async def spins_and_swallows(leash: Leash) -> None:
    with leash.busy():
        while not leash.let_go.is_set():
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass


async def waits_for_a_lock_that_is_held(leash: Leash) -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    with leash.busy():
        await lock.acquire()


async def uncancels_itself(leash: Leash) -> None:
    # What a structured-concurrency library of one's own might do.
    with leash.busy():
        try:
            await leash.wait()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and sys.version_info >= (3, 11):
                task.uncancel()
            await leash.wait()


HANG: list[AsyncCallee] = [
    swallows_forever,
    swallows_once,
    swallows_once_and_goes_on,
    loops_in_small_steps,
    ignores_close,
    ignores_close_in_small_steps,
    ignores_close_in_small_steps_of_anyio,
    shields_with_anyio,
    awaits_a_task_that_swallows,
    gathers_what_swallows,
    waits_for_what_swallows,
    anyio_group_with_a_child_that_swallows,
    anyio_group_with_a_child_that_shields,
    exit_of_a_context_manager_hangs,
    cleans_up_for_longer_than_its_grace,
    cleans_up_within_its_grace,
    cleans_up_in_an_async_generator,
    in_the_executor,
    to_thread,
    to_thread_of_anyio,
    to_thread_of_anyio_abandoned,
    to_thread_in_a_task,
    two_threads,
    to_thread_again_when_cancelled,
    raises_something_else,
    spins,
    spins_and_swallows,
    waits_for_a_lock_that_is_held,
    uncancels_itself,
]
if sys.version_info >= (3, 11):
    HANG += [group_with_a_child_that_swallows, nested_groups_with_a_shielded_child, timeout_inside]
