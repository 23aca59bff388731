"""
Callees, clocks and shortcuts that the tests of Guard share.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal, NoReturn

import anyio
import pytest

from hungframe import CallRejectedError, Guard
from hungframe.permit import GuardPermit
from hungframe.testing import VirtualClock

Backend = Literal["asyncio", "trio"]

on_each_backend = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class StatusError(Exception):
    """
    An HTTP error as SDKs have it: by shape, of no library.
    """

    def __init__(self, status_code: object) -> None:
        super().__init__(f"the provider said {status_code}")
        self.status_code = status_code


class SteppingClock(VirtualClock):
    """
    A clock whose wall time an administrator, or NTP, may set.
    """

    __slots__ = ("stepped",)

    def __init__(self) -> None:
        super().__init__()
        self.stepped = 0.0

    def step_wall(self, seconds: float) -> None:
        """
        Set the wall clock forward, or back if *seconds* is negative.
        """
        self.stepped += seconds

    def wall(self) -> float:
        return super().wall() + self.stepped


def about(value: float | None) -> Any:
    """
    A number that equals *value* but for rounding; of no type, so that it may stand beside any other.
    """
    return pytest.approx(value)


def raises(error: BaseException) -> NoReturn:
    """
    Raise *error*.
    """
    raise error


async def raises_async(error: BaseException) -> NoReturn:
    """
    Suspend once, then raise *error*.
    """
    await anyio.sleep(0)
    raise error


async def sleeps(seconds: float) -> str:
    """
    Answer after *seconds*.
    """
    await anyio.sleep(seconds)
    return "done"


async def hold_up() -> None:
    """
    Hold up the event loop, so that all that is due within 0.05 s comes up in one tick. This one sleeps for real.
    """
    await anyio.sleep(0.001)
    time.sleep(0.05)


def fail(guard: Guard, *errors: BaseException) -> None:
    """
    Make one call for each error, which ends with it.
    """
    for error in errors:
        with pytest.raises(type(error)) as raised:
            guard.call(raises, error)
        assert error is raised.value


def open_by_timeouts(guard: Guard) -> None:
    """
    Let three calls time out, which opens a fresh guard.
    """
    fail(guard, TimeoutError(), TimeoutError(), TimeoutError())
    assert "open" == guard.snapshot().state


def opened_guard() -> tuple[Guard, VirtualClock]:
    """
    Make a guard that has just opened, and its clock.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock)
    open_by_timeouts(guard)
    return guard, clock


async def outcome_of(call: Callable[[], Awaitable[object]]) -> str:
    """
    Await one call and tell how it ended: "in" for a result, else the name of what it raised.
    """
    try:
        await call()
    except CallRejectedError as error:
        return type(error).__name__
    return "in"


@contextmanager
def in_flight(guard: Guard, count: int) -> Generator[list[GuardPermit], None, None]:
    """
    Have *count* calls in flight; those that the block does not end are cancelled after it.
    """
    permits = [guard.acquire() for _ in range(count)]
    try:
        yield permits
    finally:
        for permit in permits:
            try:
                permit.cancel()
            except RuntimeError:
                # The block has ended it.
                pass
