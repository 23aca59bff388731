"""
Callees on trio that do not want to end.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import trio

from tests.abort.measure import LONG, AsyncCallee, Leash


async def swallows_forever(leash: Leash) -> str:
    # trio delivers a cancellation at every checkpoint, so that one who only
    # catches it spins; this one hides between two of them.
    with leash.busy():
        until = time.monotonic() + LONG
        while not leash.let_go.is_set() and time.monotonic() < until:
            try:
                await leash.wait_trio()
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.005)
    return "done"


async def swallows_once(leash: Leash) -> str:
    with leash.busy():
        try:
            await leash.wait_trio()
        except trio.Cancelled:
            pass
    return "a value, too late"


async def catches_everything(leash: Leash) -> str:
    with leash.busy():
        while not leash.let_go.is_set():
            try:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.005)
                await trio.lowlevel.checkpoint()
            except BaseException:
                pass
    return "done"


async def shields(leash: Leash) -> None:
    with leash.busy(), trio.CancelScope(shield=True):
        await leash.wait_trio()


async def shields_with_anyio(leash: Leash) -> None:
    with leash.busy(), anyio.CancelScope(shield=True):
        await leash.wait_trio()


async def nested_nurseries_with_a_shielded_child(leash: Leash) -> None:
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as inner:
            inner.start_soon(shields, leash)
        outer.start_soon(trio.sleep, LONG)


async def nursery_that_swallows(leash: Leash) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(swallows_forever, leash)
        nursery.start_soon(swallows_forever, leash)


async def anyio_group_with_a_shielded_child(leash: Leash) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(shields_with_anyio, leash)


@asynccontextmanager
async def _hangs_at_its_end(leash: Leash) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await shields(leash)


async def exit_of_a_context_manager_hangs(leash: Leash) -> None:
    async with _hangs_at_its_end(leash):
        await trio.sleep(LONG)


async def cleans_up_for_longer_than_its_grace(leash: Leash) -> None:
    with leash.busy():
        try:
            await trio.sleep(LONG)
        finally:
            with trio.CancelScope(shield=True):
                await leash.wait_trio()


async def cleans_up_within_its_grace(leash: Leash) -> None:
    with leash.busy():
        try:
            await trio.sleep(LONG)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.005)


async def to_thread(leash: Leash) -> None:
    await trio.to_thread.run_sync(leash.block)


async def to_thread_abandoned(leash: Leash) -> None:
    await trio.to_thread.run_sync(leash.block, abandon_on_cancel=True)


async def to_thread_of_anyio(leash: Leash) -> None:
    await anyio.to_thread.run_sync(leash.block)


async def raises_something_else(leash: Leash) -> None:
    with leash.busy():
        try:
            await leash.wait_trio()
        except trio.Cancelled:
            raise ValueError("the callee's own mess") from None


async def raises_a_group(leash: Leash) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises_something_else, leash)
        nursery.start_soon(raises_something_else, leash)


async def spins(leash: Leash) -> None:
    with leash.busy():
        while not leash.let_go.is_set():
            await trio.lowlevel.checkpoint()


async def timeout_inside(leash: Leash) -> None:
    with trio.fail_after(LONG):
        await shields(leash)


HANG: list[AsyncCallee] = [
    swallows_forever,
    swallows_once,
    catches_everything,
    shields,
    shields_with_anyio,
    nested_nurseries_with_a_shielded_child,
    nursery_that_swallows,
    anyio_group_with_a_shielded_child,
    exit_of_a_context_manager_hangs,
    cleans_up_for_longer_than_its_grace,
    cleans_up_within_its_grace,
    to_thread,
    to_thread_abandoned,
    to_thread_of_anyio,
    raises_something_else,
    raises_a_group,
    spins,
    timeout_inside,
]
