"""
One guard in the terminal: lines as many as there is room for.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from rich.text import Text

from hungframe.cli.top import drawing, words
from hungframe.cli.top.reading import Standing

_LABEL = 12
# The right column, what stands beside a drawing: in narrow and in wide terminals.
_ASIDE, _WIDE_ASIDE, _WIDE = 32, 42, 100


class Detail(NamedTuple):
    """
    How much of a guard is shown.
    """

    rows: int
    """Of the drawing of its calls; 0 for no drawings."""
    events: int
    places: int
    """Where callees hang that were left behind."""
    gap: int
    """Empty lines after it."""


def card(standing: Standing, detail: Detail, width: int, now: float, age: float, plain: bool) -> list[Text]:
    """
    Show a guard.

    Args:
        standing: As the page told it.

        width: Of the terminal, in characters.

        now: The server's clock.

        age: Seconds since the page told it; what time alone moves on is moved on.

        plain: Whether the terminal knows ASCII only.
    """
    lines = [_title(standing, age, plain), _figures(standing)]
    if detail.rows:
        lines += _drawings(standing, detail.rows, width, now, age, plain)
    if detail.places:
        lines += _left(standing, detail.places, age)
    lines += _events(standing, detail.events)
    return lines + [Text()] * detail.gap


def height(standing: Standing, detail: Detail) -> int:
    """
    How many lines that would be; drawing all guards at each detail would take longer than a look.
    """
    lines = 2 + min(detail.places, len(standing.left)) + min(detail.events, len(standing.events)) + detail.gap
    if detail.rows:
        lines += 1 + (detail.rows if standing.calls else 1) + (standing.budget is not None)
    return lines


def row(standing: Standing, name_width: int, age: float, plain: bool) -> Text:
    """
    Show a guard in one line.
    """
    style = drawing.STYLES.get(standing.state, "")
    name = standing.name if len(standing.name) <= name_width else standing.name[: name_width - 1] + "~"
    line = Text.assemble(
        (f"{drawing.shape(standing.state, plain)} ", style),
        (f"{name:<{name_width}}", "bold"),
        (f" {_state(standing):<11}", style),
    )
    line.append(f" {standing.in_flight:>4} in flight {standing.failure_rate * 100:>4.0f} % failing")
    if standing.orphans:
        line.append(f"  {standing.orphans} left behind", drawing.STYLES["bad"])
    line.append(f"  {_limits(standing)}", "dim")
    following = _next(standing, age)
    return line.append(f"  {following}", "dim") if following else line


def gravity(standing: Standing) -> int:
    """
    The higher, the more it deserves to be seen where not all can be.
    """
    order = ("closed", "disabled", "half_open", "forced_open", "open")
    state = order.index(standing.state) if standing.state in order else len(order)
    return 2 * state + bool(standing.orphans or standing.suspects)


def _state(standing: Standing) -> str:
    return words.STATES.get(standing.state, standing.state)


def _next(standing: Standing, age: float) -> str:
    if standing.state == "forced_open":
        return "until somebody resets it"
    if standing.state == "disabled":
        return "refuses nobody"
    if standing.state not in ("open", "half_open"):
        return ""
    if standing.retry_after is None:
        return ""
    until = standing.retry_after - age
    return f"next try in {words.long(math.ceil(until))}" if until > 0.5 else "next call is the probe"


def _title(standing: Standing, age: float, plain: bool) -> Text:
    style = drawing.STYLES.get(standing.state, "")
    title = Text.assemble(
        (f"{drawing.shape(standing.state, plain)} ", style),
        (standing.name, "bold"),
        "  ",
        (_state(standing), style),
    )
    following = _next(standing, age)
    return title.append(f", {following}") if following else title


def _figures(standing: Standing) -> Text:
    slots = "" if standing.slots is None else f" of {standing.slots:,}"
    line = Text(f"  in flight {standing.in_flight:,}{slots}   waiting {standing.waiting:,}   ")
    line.append(f"suspects {standing.suspects:,}", drawing.STYLES["warn"] if standing.suspects else "")
    line.append("   ")
    line.append(f"left behind {standing.orphans:,}", drawing.STYLES["bad"] if standing.orphans else "")
    return line.append(f"   failing {standing.failure_rate * 100:.0f} %")


def _limits(standing: Standing) -> str:
    learned = "" if standing.p95 is None else f"P95 {words.seconds(standing.p95)}, "
    timeout = "no timeout" if standing.timeout is None else f"timeout {words.seconds(standing.timeout)}"
    return learned + timeout


def _drawings(standing: Standing, rows: int, width: int, now: float, age: float, plain: bool) -> list[Text]:
    room = max(10, width - _LABEL - (_WIDE_ASIDE if width >= _WIDE else _ASIDE) - 1)
    lines: list[Text] = []
    is_open = standing.state in ("open", "forced_open")
    today = f"open today {words.long(standing.open_seconds_today + (age if is_open else 0.0))}"
    if standing.states:
        lines.append(_line("15 min", drawing.timeline(standing.states, now, room, plain), today))
    else:
        lines.append(_line("breaker", Text(today), ""))
    if standing.calls:
        strips = drawing.latency(standing, room, rows, plain)
        counts = Counter(outcome for _, outcome in standing.calls)
        beside = [_limits(standing), *(_count(outcome, count, plain) for outcome, count in counts.most_common())]
        if rows < 2:
            beside = beside[:1]
        # The last row has what has found no place of its own.
        beside[rows - 1 :] = [", ".join(beside[rows - 1 :])] if len(beside) >= rows else []
        beside += [""] * (rows - len(beside))
        lines += [
            _line("calls" if place == 0 else "", strip, aside)
            for place, (strip, aside) in enumerate(zip(strips, beside, strict=True))
        ]
    else:
        lines.append(_line("calls", Text(_limits(standing)), ""))
    if standing.budget is not None:
        lines.append(_budget(standing, room, plain))
    return lines


def _count(outcome: str, count: int, plain: bool) -> str:
    if outcome == "success":
        return f"{count} answered"
    glyph, letter, _ = drawing.mark(outcome)
    return f"{letter if plain else glyph} {count} {words.outcome(outcome)}"


def _budget(standing: Standing, room: int, plain: bool) -> Text:
    budget, full = standing.budget or 0.0, standing.budget_full
    if not full:
        return _line("budget", Text(f"{budget:,.0f} tokens left"), "")
    return _line("budget", drawing.gauge(budget / full, room, plain), f"{budget:,.0f} of {full:,.0f} tokens left")


def _line(label: str, drawn: Text, aside: str) -> Text:
    line = Text.assemble((f"  {label:<{_LABEL - 2}}", "dim"), drawn)
    return line.append(f" {aside}") if aside else line


def _left(standing: Standing, places: int, age: float) -> list[Text]:
    lines: list[Text] = []
    for where, ages in standing.left[:places]:
        oldest = words.long(ages[0] + age)
        told = f"for {oldest}" if len(ages) == 1 else f"{len(ages):,} for up to {oldest}"
        line = Text.assemble((f"  {'hang' if not lines else '':<{_LABEL - 2}}", "dim"))
        lines.append(line.append(f"{told}: ", drawing.STYLES["bad"]).append(words.place(where) or "nobody knows where"))
    if lines and len(standing.left) > places:
        lines[-1].append(f"; and in {len(standing.left) - places} more places", "dim")
    return lines


def _events(standing: Standing, most: int) -> list[Text]:
    lines: list[Text] = []
    for event in reversed(standing.events[-most:] if most else ()):
        grave, told = words.sentence(event)
        ts, count = event.get("ts"), event.get("count")
        at = words.clock(ts) if isinstance(ts, (int, float)) else ""
        line = Text.assemble((f"  {at:<{_LABEL - 2}}", "dim"), (told, drawing.STYLES[grave]))
        lines.append(line.append(f" x {count:,}", "dim") if isinstance(count, int) and count > 1 else line)
    return lines
