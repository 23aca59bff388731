"""
Write the matrix down: a page of the reference, between two marks, and JSON to compare.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks.clients.cell import ON_TIME, Record
from benchmarks.clients.situations import SITUATIONS

BEGIN: Final = "<!-- matrix: begin -->"
END: Final = "<!-- matrix: end -->"


def write(records: Sequence[Record], about: dict[str, str], page: Path, results: Path) -> None:
    """
    Replace what stands between the marks of *page*, and write all figures to *results*.

    Raises:
        ValueError: If the page has no such marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} must have the lines {BEGIN} and {END}")
    page.write_text(f"{before}{begin}\n\n{markdown(records, about)}\n{end}{after}", encoding="utf-8")
    # A cell a line, so that two runs can be compared line by line. JSON knows no infinity: never back is null.
    cells = ",\n".join(json.dumps(asdict(record)).replace("Infinity", "null") for record in records)
    results.write_text(f'{{"about": {json.dumps(about)},\n"cells": [\n{cells}\n]}}\n', encoding="utf-8")


def markdown(records: Sequence[Record], about: dict[str, str]) -> str:
    """
    Lay the records out.
    """
    parts = [
        "\n".join(f"- {name}: {value}" for name, value in about.items()),
        _matrix(records),
        _by_client(records),
        _deviations(records),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _matrix(records: Sequence[Record]) -> str:
    clients = list(dict.fromkeys(record.client for record in records))
    rows = [
        [name, *(_cell([r for r in records if (r.situation, r.client) == (name, client)]) for client in clients)]
        for name in SITUATIONS
        if any(record.situation == name for record in records)
    ]
    return _table(["", *clients], rows)


def _cell(records: Sequence[Record]) -> str:
    """
    Say when the latest was back with hungframe, and whether all were without.

    Stock calls run beside each other in one process, so their seconds would say little.
    """
    with_it = [record for record in records if record.guarded and record.back]
    stock = [record for record in records if not record.guarded and record.back]
    told = f"{max(map(max, (r.back for r in with_it))):.3f}" if with_it else "?"
    if with_it and not all(r.right and r.closed is not False for r in with_it):
        told += "*"
    if not stock:
        return told
    return f"{told} / {'**hung**' if any(record.hung for record in stock) else 'back'}"


def _by_client(records: Sequence[Record]) -> str:
    keys = list(dict.fromkeys((record.client, record.backend) for record in records))
    head = [
        "",
        "cells",
        f"back within {ON_TIME:.0f} ms",
        "p50",
        "p99",
        "latest",
        "outcome",
        "phase",
        "closed",
        "stock: hung",
    ]
    rows: list[list[str]] = []
    for key in keys:
        mine = [record for record in records if (record.client, record.backend) == key and record.back]
        with_it = [record for record in mine if record.guarded]
        ended = [record for record in with_it if SITUATIONS[record.situation].hangs]
        late = sorted(max(s - r.deadline, 0.0) * 1e3 for r in ended for s in r.back)
        closing = [record for record in with_it if record.closed is not None]
        stock = [record for record in mine if not record.guarded]
        rows.append(
            [
                " ".join(key),
                str(len(with_it)),
                _share(ms <= ON_TIME for ms in late),
                *(f"{ms:.1f} ms" for ms in (_rank(late, 0.5), _rank(late, 0.99), _rank(late, 1.0))),
                _share(record.right for record in with_it),
                _share(record.phase_right for record in ended if record.expected_phase),
                _share(bool(record.closed) for record in closing),
                f"{sum(record.hung for record in stock)} of {len(stock)}",
            ]
        )
    return _table(head, rows)


def _deviations(records: Sequence[Record]) -> str:
    told: list[str] = []
    for record in records:
        where = f"{record.client} {record.backend}, {record.situation}"
        if record.broken:
            told.append(f"- {where}{'' if record.guarded else ', stock'}: no figure: {record.broken}")
        elif record.guarded and record.guards_sockets and record.late(1.0) > ON_TIME:
            told.append(f"- {where}: {record.late(1.0):.0f} ms late")
        if record.guarded and not record.broken and not record.right:
            told.append(f"- {where}: counted {', '.join(record.outcomes)}, should be {record.expected}")
        if record.guarded and record.guards_sockets and record.closed is False:
            told.append(f"- {where}: socket not closed within a second")
    return "\n".join(told)


def _rank(ordered: Sequence[float], q: float) -> float:
    return ordered[max(-int(-q * len(ordered) // 1) - 1, 0)] if ordered else 0.0


def _share(of: Iterable[bool]) -> str:
    answers = list(of)
    return "-" if not answers else f"{sum(answers)} of {len(answers)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
