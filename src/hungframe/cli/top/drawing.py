"""
The drawings of a guard, in characters: its breaker's states over time, its last calls, its budget.

Each tells its states apart without a colour; *plain* terminals, which know ASCII only, have letters instead of blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from hungframe.cli.top.reading import Standing

SPAN = 900.0
"""Seconds of states that are drawn: those that the page keeps."""

STYLES = {
    "closed": "green",
    "half_open": "yellow",
    "open": "bold red",
    "forced_open": "bold magenta",
    "disabled": "dim",
    "good": "green",
    "soft": "",
    "warn": "yellow",
    "bad": "red",
}
"""How states, and what is more or less grave, are shown."""

SHAPES = {"closed": "●", "half_open": "◆", "open": "■", "forced_open": "▣", "disabled": "○"}
PLAIN_SHAPES = {"closed": "o", "half_open": "~", "open": "#", "forced_open": "X", "disabled": "-"}

# From the least to the gravest: of what falls into one column, that is drawn.
_GRAVEST = ("disabled", "closed", "half_open", "forced_open", "open")
_STRIP = {"closed": "▂", "half_open": "▅", "open": "█", "forced_open": "▓", "disabled": "─"}
_PLAIN_STRIP = {"closed": "_", "half_open": "=", "open": "#", "forced_open": "X", "disabled": "-"}

_BARS = " ▁▂▃▄▅▆▇█"
_PLAIN_BARS = " ..::||##"

MARKS = {"timeout": ("×", "x", "red"), "quota": ("▲", "q", "yellow"), "cancelled": ("○", "c", "dim")}
"""Outcomes that are no bar: their mark, the same in ASCII, and its style."""

FAILED = ("!", "!", "red")
"""The mark of all other failures."""


def shape(state: str, plain: bool) -> str:
    """
    The sign of a state.
    """
    return (PLAIN_SHAPES if plain else SHAPES).get(state, "?")


def timeline(states: Sequence[tuple[float, str]], now: float, width: int, plain: bool) -> Text:
    """
    States over the last quarter of an hour, up to *now*; dots stand for what was before anybody listened.
    """
    glyphs = _PLAIN_STRIP if plain else _STRIP
    columns: list[str | None] = [None] * width
    begin = now - SPAN
    for place, (ts, state) in enumerate(states):
        until = states[place + 1][0] if place + 1 < len(states) else now
        first = max(0, math.floor((ts - begin) / SPAN * width))
        last = min(width - 1, math.ceil((until - begin) / SPAN * width) - 1)
        # An outage of a second is seen, too.
        for column in range(min(first, width - 1), max(last, min(first, width - 1)) + 1 if until > begin else 0):
            columns[column] = _graver(columns[column], state)
    drawn = Text()
    for each in columns:
        drawn.append("." if each is None else glyphs.get(each, "?"), "dim" if each is None else STYLES.get(each, "red"))
    return drawn


def latency(standing: Standing, width: int, rows: int, plain: bool) -> list[Text]:
    """
    The last calls, newest at the right, from the top row to the bottom.

    Bars for answers, on a logarithmic scale of two decades whose top is the
    timeout, or the slowest call; marks for what failed, as high as it took.
    """
    calls = standing.calls[-width:]
    top = max([standing.timeout or 0.0, 0.001, *(took for took, _ in calls)])
    bars = _PLAIN_BARS if plain else _BARS
    lines = [Text(" " * (width - len(calls))) for _ in range(rows)]
    for took, outcome in calls:
        height = max(1, round((2 + math.log10(min(max(took / top, 0.01), 1.0))) / 2 * 8 * rows))
        if outcome == "success":
            for row in range(rows):
                lines[rows - 1 - row].append(bars[min(8, max(0, height - 8 * row))], "cyan")
            continue
        glyph, letter, style = mark(outcome)
        at = (height - 1) // 8
        for row in range(rows):
            lines[rows - 1 - row].append((letter if plain else glyph) if row == at else " ", style)
    return lines


def mark(outcome: str) -> tuple[str, str, str]:
    """
    What a call is drawn as that was not answered: a sign, the same in ASCII, a style.
    """
    return MARKS.get(outcome, FAILED)


def gauge(share: float, width: int, plain: bool) -> Text:
    """
    A budget, of which *share* is left.
    """
    full = round(max(0.0, min(1.0, share)) * width)
    style = STYLES["bad"] if share <= 0 else STYLES["warn"] if share < 0.2 else STYLES["good"]
    return Text.assemble((("#" if plain else "█") * full, style), (("." if plain else "░") * (width - full), "dim"))


def _graver(one: str | None, other: str) -> str:
    if one is None:
        return other
    rank = {state: place for place, state in enumerate(_GRAVEST)}
    return max(one, other, key=lambda state: rank.get(state, len(rank)))
