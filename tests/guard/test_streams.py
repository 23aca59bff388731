"""
A generator under a guard: what its consumer gets, what the guard learns, and whose time is whose.
"""

from __future__ import annotations

import functools
import gc
import inspect
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from hungframe import (
    AdaptiveTimeout,
    BudgetExhaustedError,
    CallTimeoutError,
    CircuitOpenError,
    Guard,
    TokenBucket,
    current_deadline,
    time_left,
)
from hungframe.testing import RecordingSink, VirtualClock, run_virtual
from tests.guard.fakes import Backend, StatusError, about, on_each_backend


async def chunks(count: int, every: float = 1.0) -> AsyncGenerator[int, None]:
    """
    Yield *count* numbers, one *every* so many seconds.
    """
    for number in range(count):
        await anyio.sleep(every)
        yield number


def lines(count: int) -> Generator[int, str | None, str]:
    """
    Yield *count* numbers, and return a word.
    """
    yield from range(count)
    return "the end"


def counted(guard: Guard) -> dict[str, int]:
    """
    The outcomes that there were.
    """
    return {outcome: count for outcome, count in guard.snapshot().counts.items() if count}


# -- the face --------------------------------------------------------------------------------------------------------


def test_kind_and_face_are_kept() -> None:
    """
    A generator function stays one, of its kind, with name, signature and `__wrapped__`.
    """
    guard = Guard("images")
    decorated_async: Any = guard(chunks)
    decorated: Any = guard(lines)

    assert inspect.isasyncgenfunction(decorated_async)
    assert not inspect.iscoroutinefunction(decorated_async)
    assert inspect.isgeneratorfunction(decorated)
    for wrapper, wrapped in ((decorated_async, chunks), (decorated, lines)):
        assert wrapped is wrapper.__wrapped__
        assert inspect.signature(wrapped) == inspect.signature(wrapper)
        assert (wrapped.__name__, wrapped.__doc__) == (wrapper.__name__, wrapper.__doc__)


class Streamer:
    """
    Generators in every place of a class.
    """

    guard = Guard("images")

    @guard
    async def method_async(self, count: int) -> AsyncGenerator[int, None]:
        for number in range(count):
            yield number

    @guard
    def method(self, count: int) -> Generator[int, None, None]:
        yield from range(count)

    @classmethod
    @guard
    def by_class(cls, count: int) -> Generator[int, None, None]:
        yield from range(count)

    @guard
    @staticmethod
    async def by_nobody(count: int) -> AsyncGenerator[int, None]:
        for number in range(count):
            yield number

    def __call__(self, count: int) -> Generator[int, None, None]:
        yield from range(count)


@on_each_backend
def test_methods_and_partials(backend: Backend) -> None:
    """
    Methods, partials and objects whose call is a generator function are guarded like functions.
    """
    guard, streamer = Guard("images"), Streamer()

    async def main() -> None:
        for stream in (
            streamer.method_async(3),
            Streamer.by_nobody(3),
            guard(functools.partial(chunks, every=0.5))(3),
            guard(functools.partial(streamer.method_async, 3))(),
        ):
            assert [0, 1, 2] == [number async for number in stream]

    run_virtual(main, backend=backend)
    assert [0, 1] == list(streamer.method(2)) == list(Streamer.by_class(2))
    assert [0, 1] == list(guard(streamer)(2)) == list(guard(functools.partial(lines, 2))())
    assert {"success": 4} == counted(guard)


@on_each_backend
def test_called_undecorated(backend: Backend) -> None:
    """
    `call` gives the guarded generator of a generator function of either kind; `acall` says so.
    """
    guard = Guard("images")

    async def main() -> None:
        assert [0, 1] == [number async for number in guard.call(chunks, 2)]
        wrong: Any = chunks
        with pytest.raises(TypeError, match=r"acall\(\) awaits one answer.* iterate over `call\(chunks, ...\)`"):
            await guard.acall(wrong, 2)

    run_virtual(main, backend=backend)
    assert [0, 1] == list(guard.call(lines, 2))
    assert {"success": 2} == counted(guard)


def test_wrong_arguments_are_the_callers_mistake() -> None:
    """
    They are told with the first item, and no call was made.
    """
    guard = Guard("images")
    wrong: Any = guard(lines)

    with pytest.raises(TypeError, match="unexpected keyword"):
        next(wrong(1, colour="red"))

    assert {} == counted(guard)


@pytest.mark.parametrize("isolate", ["thread"])
def test_async_generator_cannot_be_moved_to_threads(isolate: Any) -> None:
    """
    Each step would be on a loop of its own: refused where it is decorated.
    """
    with pytest.raises(TypeError, match="isolate='thread' takes no async generator function.*'auto'"):
        Guard("images", isolate=isolate)(chunks)


@pytest.mark.parametrize(("made", "advice"), [(lines, "yield from"), (chunks, "iterates over it and yields")])
def test_generator_that_a_function_returns(made: Any, advice: str) -> None:
    """
    What is no generator function and returns a generator has guarded nothing: the error says what to decorate.
    """
    guard = Guard("images")

    with pytest.raises(TypeError, match=advice):
        guard.call(lambda: made(1))

    assert {"cancelled": 1} == counted(guard)


# -- asking the policies ---------------------------------------------------------------------------------------------


def test_policies_are_asked_with_the_first_item() -> None:
    """
    Calling a generator function asks nobody; a stream that is never iterated over takes nothing and says nothing.
    """
    guard = Guard("images", budget=TokenBucket())

    stream, other = guard(lines)(3), guard(chunks)(3)
    del other
    stream.close()
    gc.collect()
    assert (5, {}) == (guard.snapshot().budget, counted(guard))

    assert 0 == next(guard(lines)(3))
    assert 4 == guard.snapshot().budget


@on_each_backend
def test_refused_stream_is_not_begun(backend: Backend) -> None:
    """
    The refusal comes with the first item, and the body does not run.
    """
    guard = Guard("images", budget=TokenBucket(capacity=1))
    begun: list[str] = []

    @guard
    async def stream() -> AsyncGenerator[int, None]:
        begun.append("async")
        yield 1

    @guard
    def stream_sync() -> Generator[int, None, None]:
        begun.append("sync")
        yield 1

    guard.call(str)

    async def main() -> None:
        with pytest.raises(BudgetExhaustedError):
            await anext(stream())
        with pytest.raises(BudgetExhaustedError):
            next(stream_sync())
        guard.force_open()
        with pytest.raises(CircuitOpenError):
            await anext(stream())

    run_virtual(main, backend=backend)
    assert [] == begun
    assert {"success": 1, "rejected": 3} == counted(guard)


@on_each_backend
def test_one_call_however_many_items(backend: Backend) -> None:
    """
    One token, one request, one success, with the seconds that the callee took; in flight as long as it is open.
    """
    sink = RecordingSink()
    guard = Guard("images", budget=TokenBucket(), sinks=[sink])

    async def main() -> None:
        async for _ in guard(chunks)(5):
            assert 1 == guard.snapshot().in_flight
            assert 4 == guard.snapshot().budget
            await anyio.sleep(7)
        assert 0 == guard.snapshot().in_flight

    run_virtual(main, backend=backend)
    assert ["gen.request", "gen.success"] == sink.names()
    assert 5000 == getattr(sink.events[1], "latency_ms")  # noqa: B009  # events are of many kinds
    assert {"success": 1} == counted(guard)


# -- what goes in and out --------------------------------------------------------------------------------------------


@on_each_backend
def test_send_and_throw_are_handed_on(backend: Backend) -> None:
    """
    What the consumer sends reaches the callee, and so does what it throws; the callee may answer both.
    """
    guard = Guard("images")

    @guard
    async def echo() -> AsyncGenerator[str, str]:
        said = "ready"
        while said != "stop":
            try:
                said = yield said
            except ValueError as error:
                await anyio.sleep(0)
                said = f"caught {error}"

    async def main() -> None:
        stream = echo()
        assert "ready" == await anext(stream)
        assert "hello" == await stream.asend("hello")
        assert "caught it" == await stream.athrow(ValueError("it"))
        with pytest.raises(StopAsyncIteration):
            await stream.asend("stop")

    run_virtual(main, backend=backend)
    assert {"success": 1} == counted(guard)


@pytest.mark.parametrize("isolate", ["auto", None])
def test_send_throw_and_return_of_a_sync_generator(isolate: Any) -> None:
    """
    The same for sync ones; and what they return is what `yield from` gets.
    """
    guard = Guard("images", isolate=isolate)

    @guard
    def echo() -> Generator[str, str, str]:
        said = "ready"
        while said != "stop":
            try:
                said = yield said
            except ValueError as error:
                said = f"caught {error}"
        return "stopped"

    stream = echo()
    assert "ready" == next(stream)
    assert "hello" == stream.send("hello")
    assert "caught it" == stream.throw(ValueError("it"))
    with pytest.raises(StopIteration) as stopped:
        stream.send("stop")
    assert "stopped" == stopped.value.value

    def delegates() -> Generator[int, None, str]:
        return (yield from guard(lines)(2))

    with pytest.raises(StopIteration, match="the end"):
        outer = delegates()
        while True:
            next(outer)
    assert {"success": 2} == counted(guard)


@on_each_backend
def test_callees_own_error_is_the_consumers(backend: Backend) -> None:
    """
    The same object, and settled as what it is.
    """
    guard, error = Guard("images"), StatusError(429)

    @guard
    async def fails() -> AsyncGenerator[int, None]:
        yield 1
        raise error

    async def main() -> None:
        stream = fails()
        await anext(stream)
        with pytest.raises(StatusError) as raised:
            await anext(stream)
        assert error is raised.value
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    run_virtual(main, backend=backend)
    assert {"quota": 1} == counted(guard)
    assert 0 == guard.snapshot().in_flight


def test_error_of_a_sync_callee() -> None:
    """
    So is a sync one's.
    """
    guard, error = Guard("images"), StatusError(503)

    @guard
    def fails() -> Generator[int, None, None]:
        yield 1
        raise error

    with pytest.raises(StatusError) as raised:
        list(fails())
    assert error is raised.value
    assert {"5xx": 1} == counted(guard)


@on_each_backend
def test_consumers_own_error_that_comes_back(backend: Backend) -> None:
    """
    What the consumer has thrown in and the callee lets out again is no failure of the provider's.
    """
    guard = Guard("images")

    @asynccontextmanager
    @guard
    async def session() -> AsyncGenerator[str, None]:
        await anyio.sleep(1)
        yield "session"
        await anyio.sleep(1)

    async def main() -> None:
        async with session() as opened:
            assert "session" == opened
        with pytest.raises(KeyError):
            async with session():
                raise KeyError("mine")

    run_virtual(main, backend=backend)
    with pytest.raises(KeyError):
        stream = guard(lines)(2)
        next(stream)
        stream.throw(KeyError("mine"))
    assert {"success": 1, "cancelled": 2} == counted(guard)


def test_classifier_is_asked_for_what_is_returned() -> None:
    """
    The value that a sync generator returns is a result like any other.
    """
    guard = Guard("images", classify=lambda ended: "quota" if ended == "the end" else None)

    list(guard(lines)(1))

    assert {"quota": 1} == counted(guard)


# -- deadlines -------------------------------------------------------------------------------------------------------


@on_each_backend
@pytest.mark.parametrize(
    ("settings", "every", "items", "missing", "timeout"),
    [
        ({"first_item": 5}, 10, 0, "first item", 5),
        ({"between_items": 2}, 3, 0, "next item", 2),
        ({"timeout": 10}, 3, 3, "answer", 10),
        ({"timeout": 4, "first_item": 5}, 10, 0, "answer", 4),
        ({"timeout": 10, "first_item": 5, "between_items": 4}, 3, 3, "answer", 10),
    ],
)
def test_what_was_missed_is_said(
    settings: dict[str, Any], every: float, items: int, missing: str, timeout: float, backend: Backend
) -> None:
    """
    The error names the limit that was missed, and came at it.
    """
    guard = Guard("images", **{"timeout": 60, **settings})

    async def main() -> None:
        began_at, got = anyio.current_time(), 0
        last_at = began_at
        with pytest.raises(CallTimeoutError, match=f"no {missing} within {timeout} s; it hung in") as aborted:
            async for _ in guard(chunks)(100, every):
                got += 1
                last_at = anyio.current_time()
        assert (missing, timeout, "clean") == (aborted.value.missing, aborted.value.timeout, aborted.value.receipt)
        assert timeout == about(aborted.value.elapsed)
        if missing == "next item":
            assert timeout == about(anyio.current_time() - last_at)
            assert 1 == got
        else:
            assert timeout == about(anyio.current_time() - began_at)
            assert items == got

    run_virtual(main, backend=backend)
    assert {"timeout": 1} == counted(guard)
    assert 0 == guard.snapshot().in_flight


@on_each_backend
def test_no_limit_of_its_own(backend: Backend) -> None:
    """
    Without limits a stream may take as long as it likes.
    """
    guard = Guard("images", timeout=None)

    async def main() -> None:
        assert [0, 1] == [number async for number in guard(chunks)(2, 10_000)]

    run_virtual(main, backend=backend)
    assert {"success": 1} == counted(guard)


@on_each_backend
def test_consumers_time_is_its_own(backend: Backend) -> None:
    """
    However long it works on an item, it is not interrupted, and the callee is not blamed.
    """
    guard = Guard("images", timeout=1000, first_item=2, between_items=2)

    async def main() -> None:
        async for _ in guard(chunks)(3, 1.5):
            await anyio.sleep(100)

    run_virtual(main, backend=backend)
    assert {"success": 1} == counted(guard)


@on_each_backend
def test_time_for_the_whole_is_used_up_by_the_consumer(backend: Backend) -> None:
    """
    The next item is refused at once, the callee is closed unasked, and the provider is not to blame.
    """
    guard = Guard("images", timeout=10)
    closed: list[float] = []

    @guard
    async def stream() -> AsyncGenerator[int, None]:
        try:
            await anyio.sleep(1)
            yield 1
            raise AssertionError
        finally:
            closed.append(anyio.current_time())

    async def main() -> None:
        items = stream()
        await anext(items)
        await anyio.sleep(20)
        at = anyio.current_time()
        with pytest.raises(CallTimeoutError, match="no answer within 10 s$") as aborted:
            await anext(items)
        assert at == anyio.current_time()
        assert [at] == closed
        assert (10, about(21)) == (aborted.value.timeout, aborted.value.elapsed)

    run_virtual(main, backend=backend)
    assert {"cancelled": 1} == counted(guard)


def test_time_for_the_whole_is_used_up_by_a_sync_consumer() -> None:
    """
    The same on a clock that is turned by hand.
    """
    clock = VirtualClock()
    guard = Guard("images", timeout=10, clock=clock)
    stream = guard(lines)(3)
    next(stream)
    clock.advance(11)

    with pytest.raises(CallTimeoutError, match="no answer within 10 s"):
        next(stream)

    assert {"cancelled": 1} == counted(guard)


@on_each_backend
def test_deadline_is_seen_within_a_step_only(backend: Backend) -> None:
    """
    The callee sees its step's deadline; the consumer sees what it saw before.
    """
    guard = Guard("images", timeout=60, first_item=5, between_items=2)
    seen: list[float | None] = []

    @guard
    async def stream() -> AsyncGenerator[int, None]:
        seen.append(time_left())
        yield 1
        seen.append(time_left())
        yield 2

    async def main() -> None:
        assert current_deadline() is None
        async for _ in stream():
            assert current_deadline() is None
            await anyio.sleep(3)
        assert current_deadline() is None
        async with guard.using(timeout=1000).attempt():
            outside = current_deadline()
            async for _ in stream():
                assert outside == current_deadline()
            async with aclosing(stream()) as items:
                await anext(items)
            assert outside == current_deadline()

    run_virtual(main, backend=backend)
    assert [about(5), about(2)] == seen[:2]


def test_sync_deadline_is_seen_within_a_step_only() -> None:
    """
    The same in threads.
    """
    guard = Guard("images", timeout=60, between_items=2)
    seen: list[float | None] = []

    @guard
    def stream() -> Generator[int, None, None]:
        for number in range(2):
            seen.append(time_left())
            yield number

    for _ in stream():
        assert time_left() is None
    assert [about(60), about(2)] == [round(left or 0, 1) for left in seen]


@on_each_backend
def test_deadline_of_the_call_around(backend: Backend) -> None:
    """
    A stream is asked for no longer than the call has left in which it is asked; that is no fault of its provider's.
    """
    outer, inner = Guard("outer", timeout=10), Guard("inner", timeout=60, between_items=30)
    stream = inner(chunks)(100, 4)

    async def consumes() -> None:
        assert 10 == about(time_left())
        async for _ in stream:
            pass

    async def main() -> None:
        await anext(stream)
        began_at = anyio.current_time()
        with pytest.raises(CallTimeoutError):
            await outer.acall(consumes)
        assert 10 == about(anyio.current_time() - began_at)

    run_virtual(main, backend=backend)
    assert {"timeout": 1} == counted(outer)
    assert {"cancelled": 1} == counted(inner)


@on_each_backend
def test_item_in_the_deadlines_tick_is_kept(backend: Backend) -> None:
    """
    One that comes exactly at the deadline is the consumer's, and the next has its own time.
    """
    guard = Guard("images", timeout=60, first_item=5, between_items=5)

    async def main() -> list[int]:
        return [number async for number in guard(chunks)(4, 5)]

    assert [0, 1, 2, 3] == run_virtual(main, backend=backend)
    assert {"success": 1} == counted(guard)


# -- learning --------------------------------------------------------------------------------------------------------


@on_each_backend
def test_consumers_time_is_not_learned(backend: Backend) -> None:
    """
    The P95 is what the callee took.
    """
    guard = Guard("images")

    async def main() -> None:
        for _ in range(20):
            async for _ in guard(chunks)(2, 1):
                await anyio.sleep(10)

    run_virtual(main, backend=backend)
    assert 2 == about(guard.snapshot().p95)


def test_stream_that_is_paused_is_no_suspect() -> None:
    """
    A consumer that takes its time makes nobody suspicious; a callee that is asked and silent does.
    """
    guard = Guard("images", timeout=AdaptiveTimeout(floor=900, ceiling=1000, initial=900))

    async def main() -> None:
        for _ in range(20):
            await guard.using(timeout=None).acall(anyio.sleep, 1)
        stream = guard(chunks)(3, 20)
        async with anyio.create_task_group() as group:
            group.start_soon(anext, stream)
            await anyio.sleep(10)
            assert 1 == guard.snapshot().suspects
            await anyio.sleep(11)
            assert 0 == guard.snapshot().suspects
        await anyio.sleep(100)
        assert (0, 1) == (guard.snapshot().suspects, guard.snapshot().in_flight)
        await stream.aclose()
        assert (0, 0) == (guard.snapshot().suspects, guard.snapshot().in_flight)

    run_virtual(main)


@on_each_backend
def test_consumer_that_leaves_early(backend: Backend) -> None:
    """
    Nothing is learned, and the permit is given back: in half-open the next probe may go.
    """
    clock = VirtualClock()
    guard = Guard("images", budget=TokenBucket(), clock=clock)
    for _ in range(3):
        guard.acquire().settle("timeout")
    clock.advance(60)

    async def main() -> None:
        async with aclosing(guard(chunks)(3)) as items:
            await anext(items)
            with pytest.raises(CircuitOpenError):
                guard.acquire()
        guard.acquire().cancel()

    run_virtual(main, backend=backend)
    stream = guard(lines)(3)
    next(stream)
    stream.close()
    guard.acquire().cancel()
    assert {"timeout": 3, "cancelled": 4, "rejected": 1} == counted(guard)
    assert 0 == guard.snapshot().in_flight


def test_dropped_streams_give_their_permits_back() -> None:
    """
    Without a word, whatever collects them; also in a cycle.
    """
    guard = Guard("images")
    stream: Any = guard(lines)(3)
    next(stream)
    assert 1 == guard.snapshot().in_flight
    del stream
    assert (0, {"cancelled": 1}) == (guard.snapshot().in_flight, counted(guard))

    cycle: list[Any] = [guard(lines)(3)]
    cycle.append(cycle)
    next(cycle[0])
    del cycle
    gc.collect()
    assert (0, {"cancelled": 2}) == (guard.snapshot().in_flight, counted(guard))


def test_collected_while_the_guards_own_lock_is_held() -> None:
    """
    The garbage collector comes by anywhere, also where the guard holds its lock: no deadlock, and no loss.
    """
    guard = Guard("images")
    stream: Any = guard(lines)(3)
    next(stream)
    engine = guard._engine

    with engine.lock:
        del stream
    for _ in range(100):
        if counted(guard):
            break
        run_virtual(anyio.sleep, 0)

    assert {"cancelled": 1} == counted(guard)


# -- variables -------------------------------------------------------------------------------------------------------

variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.mark.parametrize("isolate", ["auto", None])
def test_variables_of_a_sync_stream(isolate: Any) -> None:
    """
    Callee and consumer see each other's variables, and a token is good in a later step, also in another thread.
    """
    guard = Guard("images", isolate=isolate)

    @guard
    def stream() -> Generator[str, None, None]:
        token = variable.set("callee's")
        yield variable.get()
        yield variable.get()
        variable.reset(token)
        yield variable.get()

    before = variable.set("before")
    try:
        items = stream()
        assert "callee's" == next(items) == variable.get()
        variable.set("consumer's")
        assert "consumer's" == next(items)
        assert "before" == next(items) == variable.get()
        items.close()
    finally:
        variable.reset(before)


@on_each_backend
def test_variables_of_an_async_stream(backend: Backend) -> None:
    """
    The same on a loop.
    """

    @Guard("images")
    async def stream() -> AsyncGenerator[str, None]:
        token = variable.set("callee's")
        await anyio.sleep(1)
        yield variable.get()
        yield variable.get()
        variable.reset(token)
        yield variable.get()

    async def main() -> None:
        variable.set("before")
        items = stream()
        assert "callee's" == await anext(items) == variable.get()
        variable.set("consumer's")
        assert "consumer's" == await anext(items)
        assert "before" == await anext(items) == variable.get()
        await items.aclose()

    run_virtual(main, backend=backend)


@on_each_backend
def test_task_group_around_a_yield(backend: Backend) -> None:
    """
    What the callee opens in one step it may close in another.
    """
    guard = Guard("images")
    beats: list[float] = []

    async def beat() -> None:
        while True:
            await anyio.sleep(1)
            beats.append(anyio.current_time())

    @guard
    async def stream() -> AsyncGenerator[int, None]:
        async with anyio.create_task_group() as group:
            group.start_soon(beat)
            with anyio.move_on_after(100):
                yield 1
                await anyio.sleep(1)
                yield 2
            group.cancel_scope.cancel()

    async def main() -> None:
        async for _ in stream():
            await anyio.sleep(2.5)

    run_virtual(main, backend=backend)
    assert 5 <= len(beats) <= 6
    assert {"success": 1} == counted(guard)


@on_each_backend
def test_callee_that_cancels_itself(backend: Backend) -> None:
    """
    A scope of the callee's own that is cancelled within a step is the callee's business, step after step.
    """
    guard = Guard("images", timeout=60, between_items=5)

    @guard
    async def stream() -> AsyncGenerator[str, None]:
        for _ in range(3):
            with anyio.move_on_after(1):
                await anyio.sleep(100)
            yield "moved on"

    async def main() -> list[str]:
        return [word async for word in stream()]

    assert 3 * ["moved on"] == run_virtual(main, backend=backend)
    assert {"success": 1} == counted(guard)
