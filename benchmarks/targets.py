"""Compare what was measured to what hungframe promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.figures import Figure, find
from benchmarks.lateness import Lateness
from benchmarks.memory import Memory
from benchmarks.subjects import Row

HUNGFRAME: Final = "hungframe"


@dataclass(frozen=True)
class Verdict:
    """Hold one promise, what was measured, and whether it was kept."""

    promise: str
    limit: float
    measured: float | None
    unit: str

    @property
    def kept(self) -> bool | None:
        """Tell whether the promise was kept; None where it was not measured."""
        return None if self.measured is None else self.measured <= self.limit


_ADDED: Final = (
    ("full async guard, never suspending", Row.FULL_INSTANT, 1000.0),
    ("full sync guard, isolate=None", Row.FULL_OWN_THREAD, 3000.0),
    ("full sync guard, worker thread", Row.FULL_WORKER, 40_000.0),
    ("breaker only, async", Row.BREAKER_ASYNC, 500.0),
    ("breaker only, sync", Row.BREAKER_SYNC, 400.0),
    ("bucket only, async", Row.LIMITER_ASYNC, 500.0),
    ("bucket only, sync", Row.LIMITER_SYNC, 500.0),
    ("refusal, health port", Row.ASKED_HEALTH, 1000.0),
    ("refusal, breaker alone", Row.ASKED_CORE, 1000.0),
    ("refusal raised, async", Row.REFUSED_ASYNC, 2000.0),
    ("refusal raised, sync", Row.REFUSED_SYNC, 2000.0),
)


def verdicts(figures: Sequence[Figure], memory: Memory | None, lateness: Sequence[Lateness]) -> list[Verdict]:
    """List every promise with its figure, the best of all rounds."""
    full = find(figures, Row.FULL_ONCE, HUNGFRAME)
    result = [Verdict("full async guard, suspending once", 1.0, full.ratio if full else None, "x asyncio.timeout")]
    around = find(figures, Row.AROUND_ONCE, HUNGFRAME)
    ratio = around.ratio if around else None
    result.append(Verdict("the same with retry and bulkhead", 1.3, ratio, "x asyncio.timeout"))
    for promise, row, limit in _ADDED:
        figure = find(figures, row, HUNGFRAME)
        result.append(Verdict(promise, limit, figure.best if figure else None, "ns"))
    result.append(Verdict("memory a key, never called", 1500.0, memory.traced if memory else None, "bytes"))
    for backend in ("asyncio", "trio"):
        late = _at_once(lateness, backend)
        promise = f"1,000 hung calls at once on {backend}: p99 late"
        result.append(Verdict(promise, 10.0, late.p99 if late else None, "ms"))
    return result


def _at_once(lateness: Sequence[Lateness], backend: str) -> Lateness | None:
    return next(
        (x for x in lateness if (x.backend, x.who, x.scenario) == (backend, HUNGFRAME, "at once")),
        None,
    )
