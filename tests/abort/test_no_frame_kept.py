"""
An error keeps nothing of the callee alive, and no path leaves a reference cycle.
"""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

from hungframe import CallTimeoutError, Guard
from tests.abort.measure import LONG, hostile_guard


class Payload:
    """
    Something big that a callee holds.
    """


@pytest.fixture(autouse=True)
def without_gc() -> Iterator[None]:
    """
    What must be dead is dead by its reference count.
    """
    gc.collect()
    # What is there already need not be looked through each time.
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


async def _call(guard: Guard, callee: Callable[..., Any], *args: Any) -> BaseException | None:
    try:
        await guard.acall(callee, *args)
    except BaseException as error:
        return error
    return None


def _holding(refs: list[Any], sleep: Callable[[float], Any], how: str) -> Callable[[], Any]:
    async def callee() -> None:
        payload = Payload()
        refs.append(weakref.ref(payload))
        if how == "hangs":
            await sleep(LONG)
        elif how == "swallows":
            try:
                await sleep(LONG)
            except BaseException:
                return
        elif how == "raises when cancelled":
            try:
                await sleep(LONG)
            except BaseException:
                raise ValueError(len(refs)) from None
        elif how == "swallows for longer":
            for _ in range(50):
                try:
                    await sleep(0.4)
                except asyncio.CancelledError:
                    pass
        del payload

    return callee


@pytest.mark.parametrize("how", ["hangs", "swallows", "raises when cancelled", "swallows for longer"])
def test_a_timeout_keeps_no_frame_on_asyncio(how: str) -> None:
    """
    With the error still in hand, what the callee held is gone.
    """
    refs: list[Any] = []

    async def main() -> None:
        error = await _call(hostile_guard(), _holding(refs, asyncio.sleep, how))
        assert isinstance(error, CallTimeoutError)
        await asyncio.sleep(0)
        assert refs[0]() is None
        assert error.__context__ is None and error.__cause__ is None

    asyncio.run(main())


@pytest.mark.parametrize("how", ["hangs", "swallows", "raises when cancelled"])
def test_a_timeout_keeps_no_frame_on_trio(how: str) -> None:
    """
    With the error still in hand, what the callee held is gone.
    """
    refs: list[Any] = []

    async def main() -> None:
        error = await _call(hostile_guard(), _holding(refs, trio.sleep, how))
        assert isinstance(error, CallTimeoutError)
        await trio.lowlevel.checkpoint()
        assert refs[0]() is None
        assert error.__context__ is None and error.__cause__ is None

    trio.run(main)


def test_a_timeout_keeps_no_frame_of_a_thread() -> None:
    """
    Once the worker is through, the error holds nothing of it.
    """
    refs: list[Any] = []

    def callee() -> None:
        payload = Payload()
        refs.append(weakref.ref(payload))
        time.sleep(0.12)

    with pytest.raises(CallTimeoutError) as caught:
        hostile_guard().call(callee)
    time.sleep(0.1)

    assert "late" == caught.value.receipt
    assert refs[0]() is None


def test_a_timeout_does_not_keep_the_arguments() -> None:
    """
    An argument that nobody else holds is gone, too, although it was passed through the guard.
    """

    async def callee(payload: Payload) -> None:
        await asyncio.sleep(LONG)

    async def main() -> None:
        payload = Payload()
        ref = weakref.ref(payload)
        task = asyncio.ensure_future(hostile_guard().acall(callee, payload))
        del payload
        await asyncio.wait([task])
        error = task.exception()
        assert isinstance(error, CallTimeoutError)
        assert ref() is None

    asyncio.run(main())


def test_a_sync_timeout_does_not_keep_the_arguments() -> None:
    """
    Nor in a thread, once its worker is through.
    """

    def callee(payload: Payload) -> None:
        time.sleep(0.12)

    refs: list[Any] = []

    def handed_over() -> list[Payload]:
        payload = Payload()
        refs.append(weakref.ref(payload))
        return [payload]

    def call() -> CallTimeoutError:
        try:
            # Unpacked, so that no frame but the guard's holds it.
            hostile_guard().call(callee, *handed_over())
        except CallTimeoutError as error:
            return error
        raise AssertionError("it ended in time")

    error = call()
    time.sleep(0.1)

    assert "late" == error.receipt
    assert refs[0]() is None


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_a_plain_exception_is_kept_by_its_holder_only(library: str) -> None:
    """
    The provider's own error passes through, and when it is dropped everything is gone.
    """
    refs: list[Any] = []
    sleep: Any = asyncio.sleep if library == "asyncio" else trio.sleep

    async def callee() -> None:
        payload = Payload()
        refs.append(weakref.ref(payload))
        await sleep(0)
        raise KeyError("the provider's")

    async def main() -> None:
        error = await _call(hostile_guard(), callee)
        assert isinstance(error, KeyError)
        del error
        await sleep(0)
        assert refs[0]() is None

    asyncio.run(main()) if library == "asyncio" else trio.run(main)


def test_a_plain_exception_of_a_thread_is_kept_by_its_holder_only() -> None:
    """
    The same for a sync callee.
    """
    refs: list[Any] = []

    def callee() -> None:
        payload = Payload()
        refs.append(weakref.ref(payload))
        raise KeyError("the provider's")

    try:
        hostile_guard(timeout=LONG).call(callee)
    except KeyError:
        pass
    time.sleep(0.01)

    assert refs[0]() is None


def test_what_a_call_has_started_does_not_keep_the_call() -> None:
    """
    A background task that was started within a call, and lives on, keeps nothing that the call received.
    """

    async def main() -> None:
        forever: list[asyncio.Task[None]] = []
        refs: list[Any] = []
        loop = asyncio.get_running_loop()

        async def callee() -> None:
            forever.append(asyncio.ensure_future(asyncio.sleep(LONG)))
            response: asyncio.Future[Payload] = loop.create_future()
            payload = Payload()
            refs.append(weakref.ref(payload))
            loop.call_soon(response.set_result, payload)
            del payload
            await response

        await hostile_guard(timeout=LONG).acall(callee)
        await asyncio.sleep(0)
        assert refs[0]() is None
        forever[0].cancel()

    asyncio.run(main())


# -- cycles --------------------------------------------------------------------


async def _returns() -> None:
    await asyncio.sleep(0)


async def _raises() -> None:
    await asyncio.sleep(0)
    raise KeyError


async def _hangs() -> None:
    await asyncio.sleep(LONG)


async def _swallows() -> None:
    for _ in range(20):
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            pass


async def _raises_when_cancelled() -> None:
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        raise KeyError from None


@pytest.mark.parametrize("callee", [_returns, _raises, _hangs, _swallows, _raises_when_cancelled])
def test_no_cycle_on_asyncio(callee: Any) -> None:
    """
    After twenty calls the collector finds nothing that is not found without the guard.
    """

    async def main() -> int:
        guard = hostile_guard(timeout=0.01, grace=0.005, breaker=None)
        for _ in range(20):
            try:
                await guard.acall(callee)
            except (CallTimeoutError, KeyError):
                pass
        await asyncio.sleep(0.01)
        return gc.collect()

    asyncio.run(main())

    assert asyncio.run(main()) < 20


@pytest.mark.parametrize("how", ["returns", "raises", "hangs", "raises when cancelled"])
def test_no_cycle_on_trio(how: str) -> None:
    """
    The same on trio.
    """

    async def callee() -> None:
        await trio.lowlevel.checkpoint()
        if how == "raises":
            raise KeyError
        if how == "hangs":
            await trio.sleep(LONG)
        elif how == "raises when cancelled":
            try:
                await trio.sleep(LONG)
            finally:
                raise KeyError

    async def main() -> int:
        guard = hostile_guard(timeout=0.01, grace=0.005, breaker=None)
        # trio leaves some of its own when it starts.
        gc.collect()
        for _ in range(20):
            try:
                await guard.acall(callee)
            except (CallTimeoutError, KeyError):
                pass
        await trio.sleep(0.01)
        return gc.collect()

    trio.run(main)

    assert trio.run(main) < 20


@pytest.mark.parametrize("how", ["returns", "raises", "hangs", "raises when it was left"])
def test_no_cycle_with_threads(how: str) -> None:
    """
    The same for sync callees, also where an orphan raises at its end.
    """

    def callee() -> None:
        if how == "raises":
            raise KeyError
        if how != "returns":
            time.sleep(0.03)
        if how == "raises when it was left":
            raise KeyError

    def twenty() -> int:
        guard = hostile_guard(timeout=0.01, grace=0.005, breaker=None)
        for _ in range(20):
            try:
                guard.call(callee)
            except (CallTimeoutError, KeyError):
                pass
        time.sleep(0.05)
        return gc.collect()

    twenty()

    assert twenty() < 20
