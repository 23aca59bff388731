"""
Time subjects in interleaved rounds: A, B, C, then A, B, C again.

A shared machine drifts by tens of percent within a minute. Timed one after the
other, two subjects would differ by that drift; interleaved, it hits all alike.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Final

from benchmarks.sanitize import reason
from benchmarks.subjects import Missing, Subject

MAX_CALLS: Final = 1_000_000

FEWEST: Final = 25
"""Rounds that are taken even where the machine is so busy that time is up."""

Samples = dict[Subject, list[float]]
"""Nanoseconds a call, one figure a round, by subject."""


async def _awaited(call: Callable[[], Any], n: int) -> float:
    start = perf_counter()
    for _ in range(n):
        await call()
    return perf_counter() - start


async def _refused(call: Callable[[], Any], n: int, refused: type[BaseException]) -> float:
    start = perf_counter()
    for _ in range(n):
        try:
            await call()
        except refused:
            pass
        else:
            raise AssertionError("the call was admitted, not refused")
    return perf_counter() - start


def _called(call: Callable[[], Any], n: int) -> float:
    start = perf_counter()
    for _ in range(n):
        call()
    return perf_counter() - start


def _refused_sync(call: Callable[[], Any], n: int, refused: type[BaseException]) -> float:
    start = perf_counter()
    for _ in range(n):
        try:
            call()
        except refused:
            pass
        else:
            raise AssertionError("the call was admitted, not refused")
    return perf_counter() - start


def take(subject: Subject, n: int, loop: asyncio.AbstractEventLoop) -> float:
    """Time *n* calls of *subject*, in seconds, with the collector off."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        if subject.is_async:
            if subject.refused is None:
                return loop.run_until_complete(_awaited(subject.call, n))
            return loop.run_until_complete(_refused(subject.call, n, subject.refused))
        if subject.refused is None:
            return _called(subject.call, n)
        return _refused_sync(subject.call, n, subject.refused)
    finally:
        if collecting:
            gc.enable()
        if subject.tidy is not None:
            subject.tidy()


def calibrate(subject: Subject, seconds: float, loop: asyncio.AbstractEventLoop) -> int:
    """Find how many calls of *subject* take about *seconds*; warms it up too."""
    # First calls import, fill caches and start threads: untimed.
    take(subject, 10, loop)
    n = 10
    while True:
        took = min(take(subject, n, loop) for _ in range(3))
        if took >= seconds / 4:
            return max(10, min(MAX_CALLS, round(n * seconds / took)))
        n *= 4


def measure(
    subjects: Sequence[Subject],
    *,
    rounds: int,
    seconds: float,
    budget: float,
    loop: asyncio.AbstractEventLoop,
) -> tuple[Samples, list[Missing]]:
    """
    Time all *subjects* side by side.

    Args:
        subjects: What to time, in the order of each round.

        rounds: How often each is sampled.

        seconds: How long one sample lasts, about.

        budget: Seconds after which no further round is begun, once there
            were 25.

        loop: The one event loop that all async subjects run in.

    Returns:
        The samples of those that could be called all through, and what
        failed on the way.
    """
    started = perf_counter()
    missing: list[Missing] = []
    calls: dict[Subject, int] = {}
    samples: Samples = {}
    for subject in subjects:
        try:
            calls[subject] = calibrate(subject, seconds, loop)
            samples[subject] = []
        except Exception as error:  # one failing peer must not end the run
            missing.append(Missing(subject.who, subject.row.title, reason(error)))

    gc.collect()
    gc.freeze()
    try:
        for done in range(rounds):
            if done >= FEWEST and perf_counter() - started > budget:
                break
            gc.collect()
            for subject in list(samples):
                n = calls[subject]
                try:
                    samples[subject].append(take(subject, n, loop) / n * 1e9)
                except Exception as error:
                    del samples[subject]
                    missing.append(Missing(subject.who, subject.row.title, reason(error)))
    finally:
        gc.unfreeze()
    return samples, missing
