"""
Streams on asyncio and trio that do not want to end: at an item, or when they are closed.

All of their work is counted on the leash, so that a test knows what still runs.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator

import anyio
import anyio.lowlevel
import anyio.to_thread
import trio

from hungframe.abort.backend import in_trio
from tests.abort.measure import LONG, Leash

Stream = Callable[[Leash], AsyncGenerator[int, None]]
SyncStream = Callable[[Leash], Generator[int, None, None]]


async def _hang(leash: Leash) -> None:
    """
    Wait in small steps until the leash is let go, or for long.
    """
    until = time.monotonic() + LONG
    while not leash.let_go.is_set() and time.monotonic() < until:
        await anyio.sleep(0.003)


async def _swallow(leash: Leash) -> None:
    """
    The same, whatever is thrown in.
    """
    until = time.monotonic() + LONG
    with leash.busy():
        while not leash.let_go.is_set() and time.monotonic() < until:
            try:
                await _hang(leash)
            except BaseException:
                if in_trio():
                    # Which delivers a cancellation at every checkpoint that is open to it.
                    with trio.CancelScope(shield=True):
                        await _hang(leash)


# -- that hang at an item ---------------------------------------------------------------------------------------------


async def stalls(leash: Leash) -> AsyncGenerator[int, None]:
    yield 1
    with leash.busy():
        await _hang(leash)
    yield 2


async def stalls_before_the_first(leash: Leash) -> AsyncGenerator[int, None]:
    with leash.busy():
        await _hang(leash)
    yield 1


async def swallows(leash: Leash) -> AsyncGenerator[int, None]:
    yield 1
    await _swallow(leash)
    yield 2


async def swallows_and_yields(leash: Leash) -> AsyncGenerator[int, None]:
    yield 1
    try:
        await _hang(leash)
    except BaseException:
        pass
    yield 2
    yield 3


async def swallows_and_yields_for_ever(leash: Leash) -> AsyncGenerator[int, None]:
    yield 1
    with leash.busy():
        while not leash.let_go.is_set():
            try:
                await _hang(leash)
                yield 2
            except GeneratorExit:
                return
            except BaseException:
                continue


async def shields(leash: Leash) -> AsyncGenerator[int, None]:
    yield 1
    with leash.busy(), anyio.CancelScope(shield=True):
        await _hang(leash)
    yield 2


async def shields_its_clean_up(leash: Leash) -> AsyncGenerator[int, None]:
    try:
        yield 1
        await _hang(leash)
        yield 2
    finally:
        with leash.busy(), anyio.CancelScope(shield=True):
            await _hang(leash)


async def waits_for_a_thread(leash: Leash) -> AsyncGenerator[int, None]:
    yield 1
    await anyio.to_thread.run_sync(leash.block)
    yield 2


async def swallows_in_a_group(leash: Leash) -> AsyncGenerator[int, None]:
    async with anyio.create_task_group() as group:
        yield 1
        group.start_soon(_swallow, leash)
        await _hang(leash)
        yield 2


async def stalls_in_a_generator_below(leash: Leash) -> AsyncGenerator[int, None]:
    async for item in shields_its_clean_up(leash):
        yield item


async def spins(leash: Leash) -> AsyncGenerator[int, None]:
    yield 1
    with leash.busy():
        while not leash.let_go.is_set():
            await anyio.lowlevel.checkpoint()
    yield 2


async def raises_something_else(leash: Leash) -> AsyncGenerator[int, None]:
    yield 1
    try:
        await _hang(leash)
    finally:
        raise ValueError("the callee's own mess")


async def ends_when_cancelled(leash: Leash) -> AsyncGenerator[int, None]:
    yield 1
    try:
        await _hang(leash)
    except BaseException:
        return


HANG: list[Stream] = [
    stalls,
    stalls_before_the_first,
    swallows,
    swallows_and_yields,
    swallows_and_yields_for_ever,
    shields,
    shields_its_clean_up,
    waits_for_a_thread,
    swallows_in_a_group,
    stalls_in_a_generator_below,
    spins,
    raises_something_else,
    ends_when_cancelled,
]


# -- that hang when they are closed -----------------------------------------------------------------------------------


async def closes_for_long(leash: Leash) -> AsyncGenerator[int, None]:
    try:
        yield 1
        yield 2
    finally:
        with leash.busy():
            await _hang(leash)


async def closes_and_swallows(leash: Leash) -> AsyncGenerator[int, None]:
    try:
        yield 1
        yield 2
    finally:
        await _swallow(leash)


async def closes_in_a_shield(leash: Leash) -> AsyncGenerator[int, None]:
    try:
        yield 1
        yield 2
    finally:
        with leash.busy(), anyio.CancelScope(shield=True):
            await _hang(leash)


async def closes_in_a_thread(leash: Leash) -> AsyncGenerator[int, None]:
    try:
        yield 1
        yield 2
    finally:
        await anyio.to_thread.run_sync(leash.block)


async def closes_quickly(leash: Leash) -> AsyncGenerator[int, None]:
    with leash.busy():
        try:
            yield 1
            yield 2
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.002)


async def closes_at_once(leash: Leash) -> AsyncGenerator[int, None]:
    with leash.busy():
        yield 1
        yield 2


HANG_WHEN_CLOSED: list[Stream] = [closes_for_long, closes_and_swallows, closes_in_a_shield, closes_in_a_thread]
CLOSE: list[Stream] = [*HANG_WHEN_CLOSED, closes_quickly, closes_at_once]


# -- in threads -----------------------------------------------------------------------------------------------------


def blocks(leash: Leash) -> Generator[int, None, None]:
    yield 1
    leash.block()
    yield 2


def blocks_before_the_first(leash: Leash) -> Generator[int, None, None]:
    leash.block()
    yield 1


def blocks_and_then_when_closed(leash: Leash) -> Generator[int, None, None]:
    try:
        yield 1
        leash.block()
        yield 2
    finally:
        leash.block()


def catches_and_yields_for_ever(leash: Leash) -> Generator[int, None, None]:
    while not leash.let_go.is_set():
        try:
            yield 1
            leash.block()
        except GeneratorExit:
            return
        except BaseException:
            continue


BLOCK: list[SyncStream] = [
    blocks,
    blocks_before_the_first,
    blocks_and_then_when_closed,
    catches_and_yields_for_ever,
]


def blocks_when_closed(leash: Leash) -> Generator[int, None, None]:
    try:
        yield 1
        yield 2
    finally:
        leash.block()


def sleeps_when_closed(leash: Leash) -> Generator[int, None, None]:
    with leash.busy():
        try:
            yield 1
            yield 2
        finally:
            time.sleep(0.002)


CLOSE_SYNC: list[SyncStream] = [blocks_when_closed, sleeps_when_closed]
