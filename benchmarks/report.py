"""Write the results down: Markdown to read, JSON to compare."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure
from benchmarks.lateness import Lateness
from benchmarks.memory import Memory
from benchmarks.subjects import BARE, BARE_ROW, Missing, Row
from benchmarks.targets import Verdict

_MATRIX: Final = (
    ("breaker async", Row.BREAKER_ASYNC),
    ("breaker sync", Row.BREAKER_SYNC),
    ("limiter async", Row.LIMITER_ASYNC),
    ("timeout, suspends once", Row.TIMEOUT_ONCE),
    ("full, suspends once", Row.FULL_ONCE),
    ("full, never suspends", Row.FULL_INSTANT),
    ("full sync, worker", Row.FULL_WORKER),
    ("refusal raised async", Row.REFUSED_ASYNC),
)

_INTRODUCTION: Final = (
    "Written by `python -m benchmarks`. Nanoseconds **added** to a bare call; all subjects are timed in one run, in "
    "interleaved rounds, so that the drift of a shared machine hits all alike. *Best* is the best of all rounds, "
    "*median* the median of the rounds' differences; *x* is a multiple of what `asyncio.timeout` adds to the same "
    "callee (for sync: to one that never suspends)."
)

_SIDE_BY_SIDE: Final = (
    "Best ns added; `-`: has no such feature. Full: breaker + limiter + timeout where all three are there; what each "
    "lacks is in the tables below."
)

_LATENESS: Final = (
    "Milliseconds from a hung call's deadline until its caller was back; the callee obeys its cancellation. The best "
    "of all bursts, and the 99th percentile of the worst."
)

_BARE_TITLES: Final = {row.title for row in BARE_ROW.values()}


@dataclass(frozen=True)
class Results:
    """Hold everything that one run measured."""

    about: dict[str, str]
    figures: list[Figure]
    verdicts: list[Verdict]
    memory: Memory | None
    lateness: list[Lateness]
    missing: list[Missing]


def write(results: Results, folder: Path) -> None:
    """Write *results* to ``latest.md`` and ``latest.json`` in *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.md").write_text(markdown(results), encoding="utf-8")
    verdicts = [{**asdict(verdict), "kept": verdict.kept} for verdict in results.verdicts]
    data = {**asdict(results), "verdicts": verdicts}
    (folder / "latest.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def markdown(results: Results) -> str:
    """Lay *results* out as one Markdown page."""
    parts = [
        "# What a guarded call costs",
        _INTRODUCTION,
        _table(("", ""), [(name, value) for name, value in results.about.items()]),
        "## Targets",
        _table(("promise", "limit", "measured", ""), [_verdict(v) for v in results.verdicts]),
        "## Side by side",
        _SIDE_BY_SIDE,
        _matrix(results),
        "## Row by row",
        *_rows(results.figures),
        *_memory(results.memory),
        *_lateness(results.lateness),
    ]
    if results.missing:
        parts += [
            "## Not measured",
            _table(("who", "what", "why"), [(m.who, m.what, m.why) for m in results.missing]),
        ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _number(value: float, unit: str) -> str:
    digits = 2 if unit.startswith("x") else 1 if unit == "ms" else 0
    return f"{value:,.{digits}f} {unit}"


def _verdict(verdict: Verdict) -> tuple[str, str, str, str]:
    limit = f"<= {_number(verdict.limit, verdict.unit)}"
    if verdict.measured is None:
        return verdict.promise, limit, "not measured", "-"
    word = "pass" if verdict.kept else "**miss**"
    return verdict.promise, limit, _number(verdict.measured, verdict.unit), word


def _matrix(results: Results) -> str:
    best = {(f.row, f.who): f.best for f in results.figures}
    gone = {(m.what, m.who) for m in results.missing}
    absent = {m.who: m.why for m in results.missing if m.what == "all rows"}
    names = list(dict.fromkeys(f.who for f in results.figures if f.who != BARE))
    rows: list[list[str]] = []
    for who in [*names, *(name for name in absent if name not in names)]:
        if who in absent:
            rows.append([f"{who}: {absent[who]}", *[""] * len(_MATRIX)])
            continue
        cells = [_cell(best.get((row.title, who)), (row.title, who) in gone) for _, row in _MATRIX]
        if any(cell != "-" for cell in cells):
            rows.append([who, *cells])
    return _table(("", *(title for title, _ in _MATRIX)), rows)


def _cell(value: float | None, failed: bool) -> str:
    if value is None:
        return "failed" if failed else "-"
    return f"{value:,.0f}"


def _rows(figures: Sequence[Figure]) -> list[str]:
    bare = [(f.row, f"{f.best:,.0f}", f"{f.middle:,.0f}") for f in figures if f.who == BARE]
    parts = [_table(("bare call, ns", "best", "median"), bare)]
    for row in Row:
        if row.title in _BARE_TITLES:
            continue
        of_row = sorted((f for f in figures if f.row == row.title), key=lambda f: f.best)
        if of_row:
            parts += [f"### {row.title[0].upper()}{row.title[1:]}", _row_table(of_row)]
    return parts


def _row_table(figures: Sequence[Figure]) -> str:
    return _table(
        ("", "best", "median", "x best", "x median", "note"),
        [
            (f.who, f"{f.best:,.0f}", f"{f.middle:,.0f}", _ratio(f.ratio), _ratio(f.middle_ratio), f.note)
            for f in figures
        ],
    )


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _memory(memory: Memory | None) -> list[str]:
    if memory is None:
        return []
    resident = "not told by this platform" if memory.resident is None else _number(memory.resident, "bytes")
    rows = [
        (f"a guard of {memory.guards:,}, never called, by tracemalloc", _number(memory.traced, "bytes")),
        (f"a guard of {memory.guards:,}, never called, by resident set", resident),
        ("a guard after 25 calls (window full)", _number(memory.traced_25, "bytes")),
        ("a guard after 200 calls (latencies full)", _number(memory.traced_200, "bytes")),
        ("one guard, 50,000 calls later, holds more by", _number(memory.retained, "bytes")),
        ("full call that never suspends, one guard, adds", _number(memory.one_ns, "ns")),
        (f"the same through {memory.guards:,} guards in turn, adds", _number(memory.many_ns, "ns")),
    ]
    return ["## Memory", _table(("hungframe", ""), rows)]


def _ms(value: float) -> str:
    return f"{value:.2f}"


def _lateness(lateness: Sequence[Lateness]) -> list[str]:
    if not lateness:
        return []
    rows = [
        (x.scenario, x.backend, x.who, f"{x.calls:,}", *map(_ms, (x.p50, x.p99, x.max, x.worst_p99))) for x in lateness
    ]
    return [
        "## Lateness",
        _LATENESS,
        _table(("hung calls", "loop", "", "calls", "p50", "p99", "max", "p99, worst burst"), rows),
    ]
