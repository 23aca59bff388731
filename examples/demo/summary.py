"""
The two services side by side, and the ticks.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from examples.demo import pace
from examples.demo.checks import Check
from examples.demo.record import LaneRecord, Record
from examples.demo.screen import Screen


def show_table(screen: Screen, record: Record) -> None:
    """
    Print the two services side by side.
    """
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("")
    table.add_column("with hungframe", justify="right", style="green")
    table.add_column("without", justify="right", style="red")
    for row in rows(record):
        table.add_row(*row)
    screen.print(table)
    screen.print(Text("In parentheses: at the pace of production.", style="dim"))


def rows(record: Record) -> list[tuple[str, str, str]]:
    """
    Write what the table says: of what, with hungframe, without.
    """
    guarded, naked = record.guarded, record.naked
    refused = len(guarded.ended("refused")) + len(record.refusals)
    return [
        ("images drawn", _count(guarded.ended("answered")), _count(naked.ended("answered"))),
        ("calls ended at their deadline", _count(guarded.ended("timeout")), _count(naked.ended("timeout"))),
        ("calls refused at once", f"{refused}", _count(naked.ended("refused"))),
        ("calls that had to be cut off here", _count(guarded.ended("cut off")), _count(naked.ended("cut off"))),
        ("longest wait for nothing", _longest(guarded), _longest(naked)),
        ("all waits for nothing together", _together(guarded), _together(naked)),
        ("connections tied up at the end", f"{_tied_up(guarded)}", f"{_tied_up(naked)}"),
        ("provider well: next image after", _first(record, guarded), _first(record, naked)),
    ]


def wasted(lane: LaneRecord) -> list[float]:
    """
    List the seconds that callers waited for an answer that never came.
    """
    calls = lane.ended("timeout") + lane.ended("cut off") + lane.ended("failed")
    return [call.ended - call.began for call in calls if call.ended is not None]


def show_checks(screen: Screen, checks: Sequence[Check]) -> None:
    """
    Print each claim with a tick, or with what was found instead.
    """
    screen.print()
    screen.print(Text("Is that what happened?", style="bold"))
    for check in checks:
        line = Table.grid(padding=(0, 1))
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        if check.holds:
            line.add_row(Text(screen.tick, style="green"), Text(check.sentence))
        else:
            line.add_row(
                Text(screen.cross, style="bold red"), Text(f"{check.sentence} Found: {check.found}", style="red")
            )
        screen.print(line)


def _count(calls: Sequence[object]) -> str:
    return f"{len(calls)}"


def _longest(lane: LaneRecord) -> str:
    longest = max(wasted(lane), default=0.0)
    # What was cut off would have gone on.
    return ("over " if lane.ended("cut off") else "") + _with_production(longest)


def _together(lane: LaneRecord) -> str:
    return ("over " if lane.ended("cut off") else "") + _with_production(sum(wasted(lane)))


def _tied_up(lane: LaneRecord) -> int:
    # A connection that is kept for the next call is not tied up.
    return min(lane.at_the_end.open, len(lane.ended("cut off")))


def _first(record: Record, lane: LaneRecord) -> str:
    after = lane.first_answer_after(record.well_at)
    if after is None:
        return f"none in {_with_production(record.cut_at - record.well_at)}"
    return _with_production(after)


def _with_production(seconds: float) -> str:
    minutes = seconds / pace.MINUTE
    return f"{seconds:.1f} s ({minutes:.1f} min)" if minutes < 120 else f"{seconds:.0f} s ({minutes / 60:.1f} h)"
