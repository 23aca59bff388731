"""
A result that comes up in the same turn of the loop as the deadline is the caller's, and counts once.
"""

from __future__ import annotations

import asyncio
import time

import pytest
import trio

from hungframe import CallTimeoutError
from hungframe.abort.asyncio_driver import deadline_passed
from hungframe.abort.call import Call, running_call
from tests.abort.measure import hostile_guard

STALL = 0.09


async def _sleeps(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "in time"


async def _in_a_task(seconds: float) -> str:
    return await asyncio.create_task(_sleeps(seconds))


async def _waits_for(seconds: float) -> str:
    return await asyncio.wait_for(_sleeps(seconds), 5.0)


async def _gathers(seconds: float) -> str:
    return (await asyncio.gather(_sleeps(seconds), _sleeps(seconds)))[0]


@pytest.mark.parametrize("callee", [_sleeps, _in_a_task, _waits_for, _gathers])
@pytest.mark.parametrize("seconds", [0.03, 0.045, 0.07], ids=["well before", "just before", "just after"])
def test_a_result_in_the_deadlines_tick_on_asyncio(callee: object, seconds: float) -> None:
    """
    The loop was held up, not the callee: what has come meanwhile is returned.
    """
    guard = hostile_guard()

    async def main() -> str:
        asyncio.get_running_loop().call_later(0.01, time.sleep, STALL)
        result: str = await guard.acall(callee, seconds)  # type: ignore[arg-type]  # A callee of any shape.
        return result

    assert "in time" == asyncio.run(main())
    assert 1 == guard.snapshot().counts["success"] == sum(guard.snapshot().counts.values())


def test_a_result_from_a_socket_in_the_deadlines_tick() -> None:
    """
    Bytes that had arrived when the loop was held up are read.
    """
    guard = hostile_guard()

    async def main() -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b"pong\n")
            # The answer is on its way when the loop stops turning.
            time.sleep(STALL)
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())

            async def ask() -> bytes:
                writer.write(b"ping\n")
                return await reader.readline()

            try:
                return await guard.acall(ask)
            finally:
                writer.close()

    assert b"pong\n" == asyncio.run(main())
    assert 1 == guard.snapshot().counts["success"]


def test_an_error_in_the_deadlines_tick() -> None:
    """
    The provider's own error, come up in the deadline's tick, is the caller's.
    """
    guard = hostile_guard()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        loop.call_later(0.04, future.set_exception, ConnectionResetError("by the peer"))
        loop.call_later(0.01, time.sleep, STALL)

        async def waits() -> None:
            await future

        with pytest.raises(ConnectionResetError):
            await guard.acall(waits)

    asyncio.run(main())

    assert 1 == guard.snapshot().counts["connection"] == sum(guard.snapshot().counts.values())


def test_one_that_goes_on_after_its_answer_is_cancelled() -> None:
    """
    What came in the deadline's tick was not the end: then its time is up.
    """
    guard = hostile_guard()

    async def reads_twice() -> None:
        await asyncio.sleep(0.04)
        await asyncio.sleep(5.0)

    async def main() -> float:
        asyncio.get_running_loop().call_later(0.01, time.sleep, STALL)
        began = time.monotonic()
        with pytest.raises(CallTimeoutError) as caught:
            await guard.acall(reads_twice)
        assert "clean" == caught.value.receipt
        return time.monotonic() - began

    assert asyncio.run(main()) < 0.01 + STALL + 0.05
    assert 1 == guard.snapshot().counts["timeout"]


def test_a_timer_that_comes_upon_a_call_twice_cancels_it_once() -> None:
    """
    While an answer is waited for, the lane's timer may find the call due again: it is leaving, and is left to.

    On 3.10 the first cancellation, not delivered yet, was taken for one of the caller's, and came up instead of
    `CallTimeoutError`; elsewhere the second one cut the callee's cleaning up.
    """
    guard = hostile_guard()
    steps: list[str] = []

    async def cleans_up() -> None:
        call = running_call()
        assert call is not None
        try:
            # Both in one turn of the loop, before the task is told of the first.
            asyncio.get_running_loop().call_at(call.deadline + 0.001, _twice, call)
            await asyncio.sleep(5.0)
        except asyncio.CancelledError:
            steps.append("told")
            await asyncio.sleep(0)
            deadline_passed(call)
            await asyncio.sleep(0)
            steps.append("cleaned up")
            raise

    async def main() -> None:
        with pytest.raises(CallTimeoutError) as caught:
            await guard.acall(cleans_up)
        assert "clean" == caught.value.receipt

    asyncio.run(main())

    assert ["told", "cleaned up"] == steps
    assert 1 == guard.snapshot().counts["timeout"] == sum(guard.snapshot().counts.values())


def _twice(call: Call) -> None:
    deadline_passed(call)
    deadline_passed(call)


@pytest.mark.parametrize("seconds", [0.03, 0.045, 0.07], ids=["well before", "just before", "just after"])
def test_a_result_in_the_deadlines_tick_on_trio(seconds: float) -> None:
    """
    The loop was held up, not the callee: what has come meanwhile is returned.
    """
    guard = hostile_guard()

    async def sleeps() -> str:
        await trio.sleep(seconds)
        return "in time"

    async def stalls() -> None:
        await trio.sleep(0.01)
        time.sleep(STALL)

    async def main() -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stalls)
            return await guard.acall(sleeps)
        raise AssertionError

    assert "in time" == trio.run(main)
    assert 1 == guard.snapshot().counts["success"] == sum(guard.snapshot().counts.values())


def test_a_callee_that_stalls_the_loop_itself_and_returns() -> None:
    """
    One that blocks the loop past its deadline, and then has a result, loses nothing.
    """
    guard = hostile_guard()

    async def computes() -> str:
        await asyncio.sleep(0)
        time.sleep(STALL)
        return "in time"

    async def main() -> str:
        return await guard.acall(computes)

    assert "in time" == asyncio.run(main())
    assert 1 == guard.snapshot().counts["success"]
