"""
Measure what a guard weighs, and whether many guards slow each call.

Each figure is taken in a child process of its own, where nothing else has
allocated: ``python -m benchmarks.memory traced 100000`` prints it as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from benchmarks.sanitize import reason
from benchmarks.subjects import Missing, instant, suspends_once

_STATM: Final = Path("/proc/self/statm")

USED_GUARDS: Final = 1000
ONE_GUARD_CALLS: Final = 50_000
CHUNK: Final = 1000


@dataclass(frozen=True)
class Memory:
    """
    Hold bytes a guard, and nanoseconds a call with few and many guards.

    Args:
        guards: How many guards there were.

        traced: Bytes a guard, by tracemalloc, never called yet.

        resident: Bytes a guard, by the process's resident set; None where
            the platform does not tell.

        traced_25: Bytes a guard after 25 calls: its window is full.

        traced_200: Bytes a guard after 200 calls: its latencies are full, too.

        retained: Bytes that one guard held more after 50,000 further calls.

        one_ns: Nanoseconds added to a bare call with one guard.

        many_ns: The same, each call through the next of all guards.
    """

    guards: int
    traced: float
    resident: float | None
    traced_25: float
    traced_200: float
    retained: float
    one_ns: float
    many_ns: float


def measure(guards: int) -> tuple[Memory | None, list[Missing]]:
    """Measure *guards* guards in two child processes."""
    try:
        return Memory(guards=guards, **_child("traced", guards), **_child("plain", guards)), []
    except (RuntimeError, ValueError) as error:
        return None, [Missing("hungframe", "memory", reason(error))]


def _child(mode: str, guards: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.memory", mode, str(guards)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no output"])[-1])
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def _make(guards: int) -> list[Any]:
    from hungframe import Guard, TokenBucket

    return [Guard(f"key-{i}", budget=TokenBucket(capacity=1e9, refill_every=1e-9)) for i in range(guards)]


def _traced(guards: int) -> dict[str, float]:
    _make(10)
    tracemalloc.start()
    before = _now_traced()
    held = _make(guards)
    fresh = (_now_traced() - before) / guards
    del held

    before = _now_traced()
    few = _make(USED_GUARDS)
    asyncio.run(_call_each(few, 25))
    used_25 = (_now_traced() - before) / USED_GUARDS
    asyncio.run(_call_each(few, 175))
    used_200 = (_now_traced() - before) / USED_GUARDS
    del few
    return {
        "traced": fresh,
        "traced_25": used_25,
        "traced_200": used_200,
        "retained": asyncio.run(_retained()),
    }


def _now_traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def _call_each(guards: list[Any], times: int) -> None:
    for guard in guards:
        for _ in range(times):
            await guard.acall(instant)


async def _retained() -> float:
    """Tell what one guard still holds of calls that ended: it should be nothing."""
    guarded: Callable[[], Any] = _make(1)[0](suspends_once)
    for _ in range(1000):
        await guarded()
    before = _now_traced()
    for _ in range(ONE_GUARD_CALLS):
        await guarded()
    return _now_traced() - before


def _plain(guards: int) -> dict[str, float | None]:
    _make(10)
    gc.collect()
    before = _resident()
    held = _make(guards)
    gc.collect()
    after = _resident()
    gc.freeze()
    gc.disable()
    resident = None if before is None or after is None else (after - before) / guards
    bare, one, many = asyncio.run(_cost(held))
    return {"resident": resident, "one_ns": one - bare, "many_ns": many - bare}


def _resident() -> int | None:
    if not _STATM.exists():
        return None
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _cost(guards: list[Any]) -> tuple[float, float, float]:
    """Time a bare call, a call through one guard, one through each in turn."""
    # The first call of a guard builds what later calls use.
    await _call_each(guards, 1)
    best = [float("inf")] * 3
    for start in range(0, len(guards), CHUNK):
        # Each guard is met once here, so none is still in the cache.
        chunk = guards[start : start + CHUNK]
        first = [guards[0]] * len(chunk)
        for i, taken in enumerate((await _bare(first), await _through(first), await _through(chunk))):
            best[i] = min(best[i], taken / len(chunk) * 1e9)
    return best[0], best[1], best[2]


async def _bare(guards: list[Any]) -> float:
    start = perf_counter()
    for _ in guards:
        await instant()
    return perf_counter() - start


async def _through(guards: list[Any]) -> float:
    start = perf_counter()
    for guard in guards:
        await guard.acall(instant)
    return perf_counter() - start


if __name__ == "__main__":
    mode, count = sys.argv[1], int(sys.argv[2])
    print(json.dumps(_traced(count) if mode == "traced" else _plain(count)))
