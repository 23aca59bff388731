"""
The timeline as an SVG: what each worker waited for, in both services, and the breaker's state above it.

Written by hand, so that it needs no library. Calls are bars, refusals are ticks, time runs from left to right.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from examples.demo import pace
from examples.demo.record import CROWD, WORKERS, Call, CallOutcome, Record

WIDTH = 1000
_LEFT, _RIGHT = 140, 970
_ROW, _BAR = 26, 18

INK, FAINT, GRID = "#1f2933", "#66717d", "#d9dee4"
COLOURS: dict[CallOutcome, str] = {
    "answered": "#1b9e77",
    "timeout": "#d95f02",
    "failed": "#d95f02",
    "refused": "#7570b3",
    "cut off": "url(#hanging)",
    "waiting": "url(#hanging)",
}
STATES = {"closed": "#cdeadd", "open": "#f6c9b0", "half_open": "#fbe7a1"}

_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"
 font-family="system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="13" fill="{ink}">
<title>A provider hangs, with hungframe and without</title>
<defs><pattern id="hanging" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="8" height="8" fill="#f4b9b0"/><rect width="3" height="8" fill="#c8402f"/></pattern></defs>
<rect width="{width}" height="{height}" fill="#ffffff"/>"""


class _Sheet:
    """
    Collect shapes; x is told in seconds of the demo.
    """

    def __init__(self, seconds: float) -> None:
        self.shapes: list[str] = []
        self._scale = (_RIGHT - _LEFT) / max(seconds, 0.001)

    def x(self, seconds: float) -> float:
        return _LEFT + seconds * self._scale

    def bar(self, begin: float, end: float, y: float, height: float, fill: str, tip: str) -> None:
        x, width = self.x(begin), max((end - begin) * self._scale, 2.0)
        self.shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:g}" rx="2" fill="{fill}">'
            f"<title>{escape(tip)}</title></rect>"
        )

    def text(self, x: float, y: float, what: str, style: str = "") -> None:
        self.shapes.append(f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(what)}</text>')

    def label(self, x: float, y: float, what: str, *, ends: bool = False) -> None:
        """
        Write on white what must be read whatever lies below it; it begins, or ends, at *x*.
        """
        width = 5.7 * len(what) + 8
        left = x - width if ends else x
        self.shapes.append(
            f'<rect x="{left:.1f}" y="{y + 1:.1f}" width="{width:.0f}" height="{_BAR - 2}" rx="2" fill="#ffffff"/>'
        )
        anchor = 'text-anchor="end" ' if ends else ""
        self.text(x - 4 if ends else x + 4, y + 13.5, what, f'{anchor}font-size="12"')

    def line(self, seconds: float, top: float, bottom: float, style: str) -> None:
        x = self.x(seconds)
        self.shapes.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" {style}/>')

    def span(self, begin: float, end: float, y: float, fill: str, label: str) -> None:
        """
        Draw one stretch of a strip, with its name where there is room.
        """
        self.bar(begin, end, y, 20, fill, f"{label}: {begin:.1f} s to {end:.1f} s")
        if (end - begin) * self._scale > 8 * len(label):
            self.text(self.x((begin + end) / 2), y + 14.5, label, 'text-anchor="middle" font-size="12"')


def draw(record: Record) -> str:
    """
    Draw the whole timeline.
    """
    sheet = _Sheet(record.cut_at)
    sheet.text(20, 34, "A provider hangs, with hungframe and without", 'font-size="20" font-weight="600"')
    pace_told = f"one minute of production takes {pace.MINUTE:g} s here"
    sheet.text(20, 56, f"Same script, same openai client, same outage; {pace_told}.", f'fill="{FAINT}"')
    top = 78
    bottom = _lanes(sheet, record, top)
    _axis(sheet, record, top, bottom)
    _legend(sheet, bottom + 62)
    height = bottom + 88
    head = _HEAD.format(width=WIDTH, height=height, ink=INK)
    return "\n".join((head, *sheet.shapes, "</svg>", ""))


def _lanes(sheet: _Sheet, record: Record, y: int) -> int:
    _named(sheet, y, "the provider")
    for begin, end, fill, label in (
        (0.0, record.hung_at, STATES["closed"], "answers"),
        (record.hung_at, record.well_at, "#c9ced6", "hangs"),
        (record.well_at, record.cut_at, STATES["closed"], "answers again"),
    ):
        sheet.span(begin, end, y, fill, label)
    y += 44
    _title(sheet, y, "with hungframe")
    y += 12
    _named(sheet, y, "breaker")
    ends = [at for at, _ in record.states[1:]] + [record.cut_at]
    for (begin, state), end in zip(record.states, ends, strict=False):
        sheet.span(begin, end, y, STATES.get(state, GRID), state.replace("_", "-"))
    y = _rows(sheet, record.guarded.calls, y + _ROW, record.cut_at)
    if record.refusals:
        _burst(sheet, record, y - _ROW)
    y += 32
    _title(sheet, y, "without")
    return _rows(sheet, record.naked.calls, y + 12, record.cut_at)


def _rows(sheet: _Sheet, calls: list[Call], y: int, cut_at: float) -> int:
    for who in WORKERS:
        _named(sheet, y, who)
        for call in calls:
            if call.who == who:
                _bar(sheet, [call], y, cut_at)
        y += _ROW
    _named(sheet, y, CROWD)
    _crowd(sheet, [call for call in calls if call.who == CROWD], y, cut_at)
    return y + _ROW


def _crowd(sheet: _Sheet, calls: list[Call], y: int, cut_at: float) -> None:
    """
    Draw callers that came at once: one bar for all that fared alike.
    """
    answered = [call for call in calls if call.outcome == "answered"]
    # Refusals last: their tick would be lost below a bar.
    for outcome in sorted({call.outcome for call in calls}, key=lambda outcome: outcome == "refused"):
        _bar(sheet, [call for call in calls if call.outcome == outcome], y, cut_at)
    if answered:
        end = max(_end(call, cut_at) for call in answered)
        told = f"{len(answered)} of {len(calls)} gets through, the others are refused"
        sheet.label(sheet.x(end) + 4, y, told)


def _bar(sheet: _Sheet, calls: list[Call], y: int, cut_at: float) -> None:
    outcome = calls[0].outcome
    begin, end = calls[0].began, max(_end(call, cut_at) for call in calls)
    count = f"{len(calls)} calls " if len(calls) > 1 else ""
    sheet.bar(begin, end, y, _BAR, COLOURS[outcome], f"{count}{outcome}: {begin:.2f} s to {end:.2f} s")
    if outcome == "timeout":
        style = 'text-anchor="middle" font-size="12" fill="#ffffff"'
        sheet.text(sheet.x((begin + end) / 2), y + 13.5, f"{end - begin:.1f} s", style)
    if outcome in ("cut off", "waiting"):
        told = f"{count}still waiting after {end - begin:.1f} s, cut off here"
        sheet.label(sheet.x(end) - 8, y, told, ends=True)


def _end(call: Call, cut_at: float) -> float:
    # To cut a hundred calls off takes a moment, which is not theirs.
    return cut_at if call.ended is None or call.outcome == "cut off" else call.ended


def _burst(sheet: _Sheet, record: Record, y: int) -> None:
    told = f"{len(record.refusals)} refused, each in {record.refusal_took * 1e6:.0f} µs"
    sheet.bar(record.refused_at, record.refused_at, y, _BAR, COLOURS["refused"], told)
    sheet.label(sheet.x(record.refused_at) - 4, y, told, ends=True)


def _axis(sheet: _Sheet, record: Record, top: int, bottom: int) -> None:
    behind: list[str] = []
    shapes, sheet.shapes = sheet.shapes, behind
    minutes = 0
    while minutes * pace.MINUTE <= record.cut_at:
        at = minutes * pace.MINUTE
        sheet.line(at, top, bottom, f'stroke="{GRID}"')
        told = f"{minutes} min" if minutes else "0"
        sheet.text(sheet.x(at), bottom + 18, told, f'text-anchor="middle" font-size="12" fill="{FAINT}"')
        minutes += 1
    for at in (record.hung_at, record.well_at):
        sheet.line(at, top, bottom, f'stroke="{FAINT}" stroke-dasharray="3 3"')
    sheet.shapes = behind + shapes


def _legend(sheet: _Sheet, y: int) -> None:
    legend: tuple[tuple[CallOutcome, str], ...] = (
        ("answered", "answered"),
        ("timeout", "ended at its deadline"),
        ("refused", "refused at once"),
        ("cut off", "hanging, and nothing ends it"),
    )
    x = float(_LEFT)
    for outcome, label in legend:
        sheet.shapes.append(f'<rect x="{x:.1f}" y="{y - 11}" width="22" height="14" rx="2" fill="{COLOURS[outcome]}"/>')
        sheet.text(x + 30, y, label)
        x += 30 + 7.2 * len(label) + 26


def _named(sheet: _Sheet, y: float, what: str) -> None:
    sheet.text(_LEFT - 12, y + 14, what, f'text-anchor="end" fill="{FAINT}"')


def _title(sheet: _Sheet, y: float, what: str) -> None:
    sheet.text(20, y, what, 'font-size="15" font-weight="600"')
