"""
A sync caller is back at deadline and grace, and so is an async one whose callee was moved to a thread.
"""

from __future__ import annotations

import asyncio
import select
import socket
import subprocess
import sys
import threading
import time

import anyio
import pytest
import trio

from hungframe import CallTimeoutError
from hungframe.testing import hostile
from tests.abort.measure import (
    LONG,
    SLACK,
    Leash,
    SyncCallee,
    best,
    call_on_asyncio,
    call_on_trio,
    call_sync,
    check_timed_out,
    hostile_guard,
)


def blocks(leash: Leash) -> None:
    leash.block()


def naps(leash: Leash) -> None:
    with leash.busy():
        while not leash.let_go.is_set():
            time.sleep(0.005)


def spins(leash: Leash) -> None:
    with leash.busy():
        while not leash.let_go.is_set():
            pass


def holds_a_lock(leash: Leash) -> None:
    with threading.Lock():
        leash.block()


def waits_for_a_lock_that_is_held(leash: Leash) -> None:
    lock = threading.Lock()
    lock.acquire()
    with leash.busy():
        while not lock.acquire(timeout=0.01) and not leash.let_go.is_set():
            pass


def waits_for_a_thread_of_its_own(leash: Leash) -> None:
    thread = threading.Thread(target=leash.block, daemon=True)
    thread.start()
    with leash.busy():
        thread.join()


def waits_for_a_socket(leash: Leash) -> None:
    ours, theirs = socket.socketpair()
    with leash.busy(), ours, theirs:
        while not leash.let_go.is_set():
            select.select([ours], [], [], 0.01)


def waits_for_a_process(leash: Leash) -> None:
    with leash.busy():
        subprocess.run([sys.executable, "-S", "-c", "import time; time.sleep(0.3)"], check=True)


def swallows_everything(leash: Leash) -> None:
    with leash.busy():
        while not leash.let_go.is_set():
            try:
                time.sleep(0.005)
                raise KeyboardInterrupt
            except BaseException:
                pass


def raises_at_its_end(leash: Leash) -> None:
    leash.block()
    raise RuntimeError("nobody is there to hear it")


def exits_at_its_end(leash: Leash) -> None:
    leash.block()
    raise SystemExit(3)


def runs_a_loop_of_its_own(leash: Leash) -> None:
    async def forever() -> None:
        while not leash.let_go.is_set():
            await asyncio.sleep(0.005)

    with leash.busy():
        asyncio.run(forever())


HANG: list[SyncCallee] = [
    blocks,
    naps,
    spins,
    holds_a_lock,
    waits_for_a_lock_that_is_held,
    waits_for_a_thread_of_its_own,
    waits_for_a_socket,
    waits_for_a_process,
    swallows_everything,
    raises_at_its_end,
    exits_at_its_end,
    runs_a_loop_of_its_own,
]


def ends_within_its_grace(leash: Leash) -> str:
    with leash.busy():
        time.sleep(0.065)
    return "a value, too late"


@pytest.mark.parametrize("callee", HANG, ids=lambda callee: callee.__name__)
def test_back_in_time(callee: SyncCallee) -> None:
    """
    Back by deadline and grace with an orphan, which is gone when the callee is.
    """
    ended = best(lambda: call_sync(callee))

    check_timed_out(ended)
    assert "orphan" == ended.receipt


@pytest.mark.parametrize("callee", hostile.SYNC, ids=lambda callee: callee.__name__)
def test_back_from_the_callees_of_the_kit(callee: SyncCallee) -> None:
    """
    Back in time from the hostile callees that users are given.
    """
    ended = best(lambda: call_sync(lambda _: callee(0.2)))  # type: ignore[arg-type]  # A callee of any shape.

    assert type(ended.error) is CallTimeoutError
    assert ended.late <= SLACK
    assert "orphan" == ended.receipt
    assert 0 == ended.after.orphans


def test_one_that_ends_in_its_grace_was_left_by_nobody() -> None:
    """
    A callee that is past its deadline and within its grace leaves a clean receipt, and no orphan.
    """
    ended = best(lambda: call_sync(ends_within_its_grace))

    assert type(ended.error) is CallTimeoutError
    assert "clean" == ended.receipt
    assert 0 == ended.then.orphans


async def blocks_the_loop(leash: Leash) -> None:
    leash.block()


async def swallows_in_its_loop(leash: Leash) -> None:
    with leash.busy():
        while not leash.let_go.is_set():
            try:
                await anyio.sleep(0.005)
            except BaseException:
                pass


async def hangs_in_its_loop(leash: Leash) -> None:
    with leash.busy():
        until = time.monotonic() + LONG
        while not leash.let_go.is_set() and time.monotonic() < until:
            await anyio.sleep(0.005)


IN_A_THREAD = [blocks_the_loop, swallows_in_its_loop, hangs_in_its_loop]


@pytest.mark.parametrize("callee", IN_A_THREAD, ids=lambda callee: callee.__name__)
def test_an_async_callee_in_a_thread_on_asyncio(callee: SyncCallee) -> None:
    """
    With isolate="thread" even one that blocks its event loop is left behind.
    """
    ended = best(lambda: asyncio.run(call_on_asyncio(callee, isolate="thread")))

    check_timed_out(ended)
    assert "orphan" == ended.receipt


@pytest.mark.parametrize("callee", IN_A_THREAD, ids=lambda callee: callee.__name__)
def test_an_async_callee_in_a_thread_on_trio(callee: SyncCallee) -> None:
    """
    With isolate="thread" even one that blocks its event loop is left behind.
    """
    ended = best(lambda: trio.run(lambda: call_on_trio(callee, isolate="thread")))

    check_timed_out(ended)
    assert "orphan" == ended.receipt


def test_a_callee_of_trio_in_a_thread() -> None:
    """
    With isolate="thread" a callee runs on the library that its caller runs on.
    """

    async def naps() -> str:
        await trio.sleep(0.001)
        return "rested"

    async def main() -> str:
        return await hostile_guard(timeout=5.0, isolate="thread").acall(naps)

    assert "rested" == trio.run(main)


def test_a_sync_callee_within_an_async_call() -> None:
    """
    A guarded sync call inside a guarded async one is back in time, too.
    """

    async def calls(leash: Leash) -> None:
        hostile_guard().call(blocks, leash)

    ended = best(lambda: asyncio.run(call_on_asyncio(calls, timeout=0.3)))

    assert type(ended.error) is CallTimeoutError
    assert ended.late <= SLACK
    assert 1 == ended.then.counts["timeout"]
