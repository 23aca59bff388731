"""What there is without a library: bare calls, asyncio.timeout, anyio.fail_after."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from typing import Any, Final

from benchmarks.subjects import BARE, BARE_ROW, CALLEES, TIMEOUT, YARDSTICK, Callee, Missing, Row, Subject

ASYNCIO_TIMEOUT: Final = "asyncio.timeout"
ANYIO: Final = "anyio.fail_after"

_ASYNC: Final = (Callee.INSTANT, Callee.ONCE, Callee.FUTURE)


def bare() -> list[Subject]:
    """List the callees themselves, to be subtracted from all else."""
    return [Subject(BARE_ROW[callee], BARE, call) for callee, call in CALLEES.items()]


def timeouts() -> tuple[list[Subject], list[Missing]]:
    """List the timeouts that a user could write without a library like ours."""
    subjects: list[Subject] = []
    missing: list[Missing] = []
    if sys.version_info >= (3, 11):
        subjects += [_row(callee, ASYNCIO_TIMEOUT, _asyncio_timeout) for callee in _ASYNC]
    else:
        missing.append(Missing(ASYNCIO_TIMEOUT, "all rows", "needs Python 3.11"))
    try:
        importlib.import_module("anyio")
    except ImportError:
        missing.append(Missing(ANYIO, "all rows", "not installed (anyio)"))
    else:
        subjects += [_row(callee, ANYIO, _fail_after) for callee in _ASYNC]
    return subjects, missing


def _row(callee: Callee, who: str, wrap: Callable[[Callable[[], Any]], Callable[[], Any]]) -> Subject:
    row: Row = YARDSTICK[callee]
    return Subject(row, who, wrap(CALLEES[callee]), note="in an async def, as a decorator would")


def _asyncio_timeout(callee: Callable[[], Any]) -> Callable[[], Any]:
    if sys.version_info >= (3, 11):

        async def within() -> Any:
            async with asyncio.timeout(TIMEOUT):
                return await callee()

        return within
    raise NotImplementedError


def _fail_after(callee: Callable[[], Any]) -> Callable[[], Any]:
    fail_after = importlib.import_module("anyio").fail_after

    async def within() -> Any:
        with fail_after(TIMEOUT):
            return await callee()

    return within
