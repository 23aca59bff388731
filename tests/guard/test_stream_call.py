"""
`StreamCall` by hand, as a transport uses it: headers first, then pieces, then an end; settled once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from hungframe import CallTimeoutError, CircuitOpenError, Guard, TokenBucket, current_deadline, time_left
from hungframe.streams import StreamCall
from hungframe.testing import RecordingSink, VirtualClock, run_virtual
from tests.guard.fakes import Backend, StatusError, about, on_each_backend


def opened(guard: Guard) -> StreamCall:
    """
    A stream under *guard*, as those open it that live inside of hungframe.
    """
    return guard.open_stream()


def counted(guard: Guard) -> dict[str, int]:
    """
    The outcomes that there were.
    """
    return {outcome: count for outcome, count in guard.snapshot().counts.items() if count}


async def after(seconds: float, answer: Any = "an answer") -> Any:
    """
    Answer, or raise, after *seconds*.
    """
    await anyio.sleep(seconds)
    if isinstance(answer, BaseException):
        raise answer
    return answer


@dataclass
class Ends:
    """
    One way to end a stream, and what it counts as.
    """

    end: Callable[[StreamCall], None]
    outcome: str


ENDS = [
    Ends(lambda stream: stream.done(), "success"),
    Ends(lambda stream: stream.done(SimpleNamespace(status_code=200)), "success"),
    Ends(lambda stream: stream.done(SimpleNamespace(status_code=429)), "quota"),
    Ends(lambda stream: stream.done(SimpleNamespace(status_code=503)), "5xx"),
    Ends(lambda stream: stream.fail(StatusError(404)), "4xx"),
    Ends(lambda stream: stream.fail(ConnectionResetError()), "connection"),
    Ends(lambda stream: stream.fail(KeyboardInterrupt()), "cancelled"),
    Ends(lambda stream: stream.leave(), "cancelled"),
]


@on_each_backend
@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("second", ENDS)
def test_ended_twice_is_settled_once(first: Ends, second: Ends, backend: Backend) -> None:
    """
    The first end counts.
    """
    sink = RecordingSink()
    guard = Guard("images", sinks=[sink], budget=TokenBucket())

    async def main() -> None:
        stream = opened(guard)
        assert (1, False) == (guard.snapshot().in_flight, stream.settled())
        assert "an answer" == await stream.step(after(1), item=False)
        first.end(stream)
        assert (0, True) == (guard.snapshot().in_flight, stream.settled())
        second.end(stream)
        await stream.close(after(0))
        del stream

    run_virtual(main, backend=backend)
    assert {first.outcome: 1} == counted(guard)
    assert 2 == len([event for event in sink.events if event.evt != "budget.paused"])


@on_each_backend
def test_headers_are_no_item(backend: Backend) -> None:
    """
    `first_item` holds until the first item, whatever came before; then `between_items` does.
    """
    guard = Guard("images", first_item=5, between_items=2)

    async def main() -> None:
        stream = opened(guard)
        await stream.step(after(3), item=False)
        await anyio.sleep(100 / 3)
        with pytest.raises(CallTimeoutError, match="no first item within 5 s") as aborted:
            await stream.step(after(3))
        assert 5 == about(aborted.value.elapsed)

        stream = opened(guard)
        await stream.step(after(3), item=False)
        await stream.step(after(1.5))
        await stream.step(after(1.5), item=False)
        with pytest.raises(CallTimeoutError, match="no next item within 2 s"):
            await stream.step(after(1))

    run_virtual(main, backend=backend)
    assert {"timeout": 2} == counted(guard)


@on_each_backend
def test_end_of_a_step_ends_the_stream(backend: Backend) -> None:
    """
    StopAsyncIteration is a success, an exception is what it is, and the stream is over then.
    """
    guard, reset = Guard("images"), ConnectionResetError()

    async def main() -> None:
        stream = opened(guard)
        with pytest.raises(StopAsyncIteration):
            await stream.step(after(1, StopAsyncIteration()))
        stream = opened(guard)
        with pytest.raises(ConnectionResetError) as raised:
            await stream.step(after(1, reset))
        assert reset is raised.value
        with pytest.raises(RuntimeError, match="this stream is over; open another"):
            await stream.step(after(1))

    run_virtual(main, backend=backend)
    assert {"success": 1, "connection": 1} == counted(guard)


@on_each_backend
def test_ended_while_it_is_asked(backend: Backend) -> None:
    """
    Another task may end it: the step has its answer first, or its deadline.
    """
    guard = Guard("images", timeout=10)

    async def main() -> None:
        for seconds, expected in ((2.0, "cancelled"), (20.0, "timeout")):
            stream = opened(guard)
            async with anyio.create_task_group() as group:

                async def ask(stream: StreamCall = stream, seconds: float = seconds) -> None:
                    try:
                        assert "an answer" == await stream.step(after(seconds))
                    except CallTimeoutError:
                        assert seconds > 10

                group.start_soon(ask)
                await anyio.sleep(1)
                with pytest.raises(RuntimeError, match="asked already; one consumer at a time"):
                    await stream.step(after(1))
                stream.leave()
                assert not stream.settled()
            assert stream.settled()
            assert 1 == counted(guard)[expected]

    run_virtual(main, backend=backend)


def test_sync_steps() -> None:
    """
    The same for sync code.
    """
    guard = Guard("images", budget=TokenBucket())
    stream = opened(guard)
    assert "HEADERS" == stream.step_sync("headers".upper, item=False)
    assert 1 == stream.step_sync(iter([1]).__next__)
    with pytest.raises(StopIteration):
        stream.step_sync(iter([]).__next__)
    with pytest.raises(RuntimeError, match="over"):
        stream.step_sync(str)
    stream.close_sync(str)
    assert {"success": 1} == counted(guard)


def test_stream_that_was_never_asked() -> None:
    """
    Nothing was sent: the token goes back, too.
    """
    guard = Guard("images", budget=TokenBucket())
    opened(guard).leave()
    stream: Any = opened(guard)
    assert 4 == guard.snapshot().budget
    del stream

    assert (5, {"cancelled": 2}) == (guard.snapshot().budget, counted(guard))


def test_refused_stream() -> None:
    """
    The guard refuses as it refuses a call, and nothing is in flight.
    """
    guard = Guard("images", clock=VirtualClock())
    guard.force_open()

    with pytest.raises(CircuitOpenError):
        opened(guard)

    assert ({"rejected": 1}, 0) == (counted(guard), guard.snapshot().in_flight)


@on_each_backend
def test_deadline_of_a_step(backend: Backend) -> None:
    """
    Seen within the step, and within the clean-up; not outside.
    """
    guard = Guard("images", timeout=60, first_item=5, grace=0.5)

    async def left() -> float | None:
        return time_left()

    async def main() -> None:
        stream = opened(guard)
        assert current_deadline() is None
        assert 5 == about(await stream.step(left()))
        assert current_deadline() is None
        assert 60 == about(await stream.step(left()))
        seen: list[float | None] = []

        async def clean_up() -> None:
            seen.append(time_left())
            await anyio.sleep(10)

        began_at = anyio.current_time()
        await stream.close(clean_up())
        assert 0.5 >= round(anyio.current_time() - began_at, 3)
        assert 0 < (seen[0] or 0) <= 0.5
        assert current_deadline() is None

    run_virtual(main, backend=backend)
    assert ({"cancelled": 1}, 0) == (counted(guard), guard.snapshot().in_flight)
