"""
Calls that are tried again, hedged or fall back keep nothing alive either, and leave no reference cycle.
"""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import trio

from hungframe import CallTimeoutError, Guard, Hedge, Retry, TokenBucket
from tests.abort.measure import LONG, hostile_guard

Library = Literal["asyncio", "trio"]
Settings = Callable[[], dict[str, Any]]


CALLS = 5


class Payload:
    """
    Something big that a callee holds.
    """


class StatusError(Exception):
    """
    What a provider says.
    """

    def __init__(self, payload: Payload) -> None:
        super().__init__()
        self.status_code = 503
        self.payload = payload


class Response:
    """
    What a provider says that raises nothing.
    """

    status_code = 503


def _raise(error: Exception) -> Any:
    raise error


AROUND: dict[str, Settings] = {
    "retry": lambda: {"retry": Retry(2, base=0, budget=None)},
    "retry in a total": lambda: {"retry": Retry(2, base=0, budget=None), "total_timeout": LONG},
    "refused retry": lambda: {"retry": Retry(2, base=0, budget=None), "budget": TokenBucket(1)},
    "hedge": lambda: {"hedge": Hedge(after=0.005)},
    "retry and hedge": lambda: {"retry": Retry(2, base=0, budget=None), "hedge": Hedge(after=0.005)},
    "fallback that raises it": lambda: {"fallback": _raise},
    "retry and fallback": lambda: {"retry": Retry(2, base=0, budget=None), "fallback": _raise},
}
around = pytest.mark.parametrize("settings", AROUND.values(), ids=AROUND)
_WITHOUT = {name: settings for name, settings in AROUND.items() if "fallback" not in name}
before_a_fallback = pytest.mark.parametrize("settings", _WITHOUT.values(), ids=_WITHOUT)
on_each = pytest.mark.parametrize("library", ["asyncio", "trio"])


@pytest.fixture(autouse=True)
def without_gc() -> Iterator[None]:
    """
    What must be dead is dead by its reference count.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def guard_with(settings: Settings, **others: Any) -> Guard:
    """
    A guard whose calls time out at once, and whose breaker does not open.
    """
    return hostile_guard(**{"timeout": 0.02, "grace": 0.01, "breaker": None, **settings(), **others})


def sleep_of(library: Library) -> Callable[[float], Any]:
    return asyncio.sleep if library == "asyncio" else trio.sleep


def run(library: Library, main: Callable[[], Any]) -> Any:
    return asyncio.run(main()) if library == "asyncio" else trio.run(main)


def new(refs: list[Any]) -> Payload:
    """
    Make what must be gone.
    """
    payload = Payload()
    refs.append(weakref.ref(payload))
    return payload


def alive(refs: list[Any]) -> list[int]:
    """
    Which of them are not.
    """
    return [number for number, ref in enumerate(refs) if ref() is not None]


async def error_of(guard: Guard, callee: Callable[..., Any], *args: Any) -> BaseException:
    """
    Make one call and give its error; what was passed is nobody's but the guard's.
    """
    try:
        await guard.acall(callee, *args)
    except BaseException as error:
        return error
    finally:
        # This frame is in the traceback.
        del args
    raise AssertionError("it did not raise")


# -- errors ----------------------------------------------------------------------


@around
@on_each
def test_a_timeout_keeps_no_frame(library: Library, settings: Settings) -> None:
    """
    With the error still in hand, what the callees held in all attempts is gone.
    """
    refs: list[Any] = []
    sleep = sleep_of(library)

    async def callee() -> None:
        payload = new(refs)
        await sleep(LONG)
        del payload

    async def main() -> None:
        error = await error_of(guard_with(settings), callee)
        assert isinstance(error, CallTimeoutError)
        await sleep(0)
        assert [] == alive(refs)
        assert refs
        assert error.__context__ is None and error.__cause__ is None

    run(library, main)


@around
@on_each
def test_a_timeout_does_not_keep_the_arguments(library: Library, settings: Settings) -> None:
    """
    Nor what was passed through the guard.
    """
    refs: list[Any] = []
    sleep = sleep_of(library)

    async def callee(payload: Payload) -> None:
        await sleep(LONG)

    async def main() -> None:
        error = await error_of(guard_with(settings), callee, *[new(refs)])
        assert isinstance(error, CallTimeoutError)
        await sleep(0)
        assert [] == alive(refs)

    run(library, main)


@around
def test_a_sync_timeout_keeps_nothing(settings: Settings) -> None:
    """
    Nor in threads, once their workers are through.
    """
    refs: list[Any] = []

    def callee(passed: Payload) -> None:
        payload = new(refs)
        time.sleep(0.04)
        del payload

    def call() -> CallTimeoutError:
        try:
            guard_with(settings).call(callee, *[new(refs)])
        except CallTimeoutError as error:
            return error
        raise AssertionError("it ended in time")

    error = call()
    time.sleep(0.06)

    assert "late" == error.receipt
    assert [] == alive(refs)


@around
@on_each
def test_the_providers_error_is_kept_by_its_holder_only(library: Library, settings: Settings) -> None:
    """
    Those of the attempts before it are gone while it is held; when it is dropped everything is.
    """
    refs: list[Any] = []
    sleep = sleep_of(library)

    async def callee() -> None:
        await sleep(0)
        raise StatusError(new(refs))

    async def main() -> None:
        error = await error_of(guard_with(settings), callee)
        assert isinstance(error, StatusError)
        assert [len(refs) - 1] == alive(refs)
        _no_longer(error)
        del error
        await sleep(0)
        assert [] == alive(refs)

    run(library, main)


@around
def test_the_providers_error_in_a_thread(settings: Settings) -> None:
    """
    Likewise.
    """
    refs: list[Any] = []

    def callee() -> None:
        raise StatusError(new(refs))

    try:
        guard_with(settings).call(callee)
    except StatusError as error:
        _no_longer(error)
    time.sleep(0.02)

    assert [] == alive(refs)


def _no_longer(error: BaseException) -> None:
    """
    Undo what the function that raised its argument again has done: its frame holds the error, which holds the frame.
    """
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code is _raise.__code__:
            traceback.tb_frame.clear()
        traceback = traceback.tb_next


@on_each
def test_an_error_does_not_keep_a_response_before_it(library: Library) -> None:
    """
    Nor the error that came before the response that the caller has.
    """
    refs: list[Any] = []

    async def main() -> None:
        kept: list[Any] = []
        for ends in (["response", "error"], ["error", "response"]):
            guard = guard_with(AROUND["retry in a total"])

            async def callee(ends: list[str] = ends) -> Response:
                if ends.pop(0) == "error":
                    raise StatusError(new(refs))
                response = Response()
                refs.append(weakref.ref(response))
                return response

            try:
                kept.append(await guard.acall(callee))
            except StatusError as error:
                kept.append(error)
        assert [1, 3] == alive(refs)
        kept.clear()
        assert [] == alive(refs)

    run(library, main)


# -- cycles ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["returns", "returns late", "raises", "hangs", "fails at first"])
@before_a_fallback
@on_each
def test_no_cycle(library: Library, settings: Settings, how: str) -> None:
    """
    After some calls the collector finds nothing of the guard's.
    """
    sleep = sleep_of(library)

    async def main() -> int:
        gc.collect()
        for _ in range(CALLS):
            guard = guard_with(settings, timeout=0.01 if how == "hangs" else 0.05)
            attempts: list[int] = []

            async def callee(attempts: list[int] = attempts) -> None:
                attempts.append(1)
                await sleep({"hangs": LONG, "returns late": 0.01}.get(how, 0))
                if how == "raises" or (how == "fails at first" and len(attempts) == 1):
                    raise ConnectionResetError

            try:
                await guard.acall(callee)
            except (CallTimeoutError, ConnectionResetError):
                pass
            del callee
        await sleep(0.005)
        return gc.collect()

    run(library, main)

    assert run(library, main) < CALLS


@pytest.mark.parametrize("how", ["value", "function", "coroutine function"])
@on_each
def test_no_cycle_with_a_fallback(library: Library, how: str) -> None:
    """
    Nor where something else is given.
    """

    async def callee() -> str:
        raise StatusError(Payload())

    async def later(error: Exception) -> str:
        return "a drawing"

    fallbacks: dict[str, Any] = {"value": "a drawing", "function": lambda _: "a drawing", "coroutine function": later}

    async def main() -> int:
        guard = guard_with(AROUND["retry in a total"], fallback=fallbacks[how])
        gc.collect()
        for _ in range(CALLS):
            assert "a drawing" == await guard.acall(callee)
        return gc.collect()

    run(library, main)

    assert run(library, main) < CALLS


@pytest.mark.parametrize("how", ["returns", "raises", "hangs", "fails at first"])
@before_a_fallback
def test_no_cycle_with_threads(settings: Settings, how: str) -> None:
    """
    The same for sync callees.
    """

    def calls() -> int:
        for _ in range(CALLS):
            attempts: list[int] = []

            def callee(attempts: list[int] = attempts) -> None:
                attempts.append(1)
                if how == "hangs":
                    time.sleep(0.02)
                if how == "raises" or (how == "fails at first" and len(attempts) == 1):
                    raise ConnectionResetError

            try:
                guard_with(settings, timeout=0.008, grace=0.002).call(callee)
            except (CallTimeoutError, ConnectionResetError):
                pass
            del callee
        time.sleep(0.05)
        return gc.collect()

    calls()

    assert calls() < CALLS
