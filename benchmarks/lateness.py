"""
Measure how late a caller is back from a call that hangs.

A thousand calls hang at once, so all their deadlines fall within the few
milliseconds that it took to start them: the worst case for a single thread,
which has to end a thousand calls in a moment. Spread over a second, the same
calls show what is late without that queue.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import ceil
from time import perf_counter
from typing import Any, Final

from benchmarks.sanitize import reason
from benchmarks.subjects import Missing

AFTER: Final = 0.5
"""Seconds that each hung call is given."""

SPREAD: Final = 1.0
"""Seconds over which the starts are spread in the second scenario."""

Hang = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Lateness:
    """
    Hold milliseconds from the deadline until the caller was back.

    Args:
        backend: The event loop's library.

        who: What set the deadline.

        scenario: How the starts lay in time.

        calls: How many hung in one burst.

        p50: Nearest-rank median of the best burst, as the next two are.

        p99: Nearest-rank 99th percentile.

        max: The latest of all.

        worst_p99: The 99th percentile of the worst burst.
    """

    backend: str
    who: str
    scenario: str
    calls: int
    p50: float
    p99: float
    max: float
    worst_p99: float


async def _timed(call: Hang, delay: float, sleep: Callable[[float], Awaitable[None]], late: list[float]) -> None:
    if delay:
        await sleep(delay)
    start = perf_counter()
    try:
        await call()
    except TimeoutError:
        late.append((perf_counter() - start - AFTER) * 1e3)


async def _asyncio_hangs() -> None:
    await asyncio.get_running_loop().create_future()


async def _on_asyncio(call: Hang, delays: Sequence[float]) -> list[float]:
    late: list[float] = []
    await asyncio.gather(*(_timed(call, delay, asyncio.sleep, late) for delay in delays))
    return late


def _on_trio(make: Callable[[Any], Hang], delays: Sequence[float]) -> list[float]:
    trio = importlib.import_module("trio")
    late: list[float] = []

    async def main() -> None:
        call = make(trio)
        async with trio.open_nursery() as nursery:
            for delay in delays:
                nursery.start_soon(_timed, call, delay, trio.sleep, late)

    trio.run(main)
    return late


def _asyncio_timeout() -> Hang:
    if sys.version_info >= (3, 11):

        async def within() -> None:
            async with asyncio.timeout(AFTER):
                await _asyncio_hangs()

        return within
    raise NotImplementedError("asyncio.timeout needs Python 3.11")


def _guard(hangs: Hang) -> Hang:
    from hungframe import CircuitBreaker, Guard

    # Spread over a second, calls start after the first ones timed out: a
    # breaker that records them, as any would, but never has enough to open.
    breaker = CircuitBreaker(min_weight=1e9)
    guarded: Hang = Guard("lateness", breaker=breaker, timeout=AFTER)(hangs)
    return guarded


def _fail_after() -> Hang:
    anyio = importlib.import_module("anyio")

    async def within() -> None:
        with anyio.fail_after(AFTER):
            await anyio.sleep_forever()

    return within


def _trio_fail_after(trio: Any) -> Hang:
    async def within() -> None:
        # trio.TooSlowError is no TimeoutError, so it is turned into one.
        with trio.move_on_after(AFTER):
            await trio.sleep_forever()
        raise TimeoutError

    return within


Run = Callable[[Sequence[float]], list[float]]

RUNS: Final[Sequence[tuple[str, str, Run]]] = (
    ("asyncio", "hungframe", lambda d: asyncio.run(_on_asyncio(_guard(_asyncio_hangs), d))),
    ("asyncio", "asyncio.timeout", lambda d: asyncio.run(_on_asyncio(_asyncio_timeout(), d))),
    ("asyncio", "anyio.fail_after", lambda d: asyncio.run(_on_asyncio(_fail_after(), d))),
    ("trio", "hungframe", lambda d: _on_trio(lambda trio: _guard(trio.sleep_forever), d)),
    ("trio", "trio.move_on_after", lambda d: _on_trio(_trio_fail_after, d)),
)


def measure(calls: int, bursts: int, *, spread: bool) -> tuple[list[Lateness], list[Missing]]:
    """Hang *calls* at once, and, if *spread*, over a second too; *bursts* of each."""
    scenarios = [("at once", [0.0] * calls)]
    if spread:
        scenarios.append(("spread over 1 s", [SPREAD * i / calls for i in range(calls)]))
    result: list[Lateness] = []
    missing: list[Missing] = []
    for scenario, delays in scenarios:
        taken: dict[tuple[str, str], list[list[float]]] = {}
        for _ in range(bursts):
            for backend, who, run in RUNS:
                gc.collect()
                try:
                    taken.setdefault((backend, who), []).append(sorted(run(delays)))
                except Exception as error:  # the others are still worth measuring
                    gone = Missing(who, f"lateness on {backend}, {scenario}", reason(error))
                    if gone not in missing:
                        missing.append(gone)
        result += [_summary(*key, scenario, each) for key, each in taken.items()]
    return result, missing


def _summary(backend: str, who: str, scenario: str, bursts: list[list[float]]) -> Lateness:
    bursts.sort(key=lambda late: _rank(late, 0.99))
    best, worst = bursts[0], bursts[-1]
    p50, p99 = _rank(best, 0.5), _rank(best, 0.99)
    return Lateness(backend, who, scenario, len(best), p50, p99, best[-1], _rank(worst, 0.99))


def _rank(ordered: Sequence[float], share: float) -> float:
    """Find the nearest-rank quantile: a lateness that was really seen."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
