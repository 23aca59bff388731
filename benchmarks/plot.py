"""
Draw what happened over time as an SVG: strips of states, lines, steps, and a dot for each call.

Written by hand, so that it needs no library and comes out the same to the byte. The look is that of the demo's
timeline (examples/demo/picture.py): on white, so that it reads alike on a light page and on a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH, PANEL = 1000, 260
_LEFT, _RIGHT = 120, 970
_STRIP, _GAP = 20, 6

INK, FAINT, GRID = "#1f2933", "#66717d", "#d9dee4"
GREEN, ORANGE, PURPLE, RED, BLUE = "#1b9e77", "#d95f02", "#7570b3", "#c8402f", "#2c6fbb"
STATES = {
    "closed": "#cdeadd",
    "well": "#cdeadd",
    "open": "#f6c9b0",
    "half-open": "#fbe7a1",
    "slower": "#fbe7a1",
    "limits": "#fbe7a1",
    "hangs": "#c9ced6",
}
"""Fill of a stretch of a strip, by the state's name."""

Point = tuple[float, float]

_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"
 font-family="system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="13" fill="{ink}">
<title>{title}</title>
<rect width="{width}" height="{height}" fill="#ffffff"/>"""


@dataclass(frozen=True)
class Strip:
    """
    A row of states: each begins at an instant, and lasts until the next.
    """

    name: str
    states: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Line:
    """
    A value over time; where *steps*, it stays until the next point. A *dashed* line is one to compare with.
    """

    name: str
    points: Sequence[Point]
    colour: str
    steps: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Dots:
    """
    Calls that ended alike, each at its instant and its value.
    """

    name: str
    points: Sequence[Point]
    colour: str
    size: float = 3.0


@dataclass(frozen=True)
class Plot:
    """
    Hold one picture.

    Args:
        title: What is to be seen.

        told: A sentence below it.

        begin: First instant shown, in seconds.

        end: Last instant shown, in seconds.

        unit: Name of the unit of time, and its seconds. Its zero is at *zero*.

        value: Name of the vertical axis, with its unit.

        top: Largest value shown; what is larger is drawn there.

        zero: Instant that the axis calls 0, in seconds.
    """

    title: str
    told: str
    begin: float
    end: float
    unit: tuple[str, float]
    value: str
    top: float
    zero: float = 0.0
    strips: Sequence[Strip] = ()
    dots: Sequence[Dots] = ()
    lines: Sequence[Line] = ()


@dataclass
class _Sheet:
    """
    Collect shapes, and know where a point of *plot* lies.
    """

    plot: Plot
    y0: float
    shapes: list[str] = field(default_factory=list)
    # States whose name was written into a strip; the legend explains the others.
    named: set[str] = field(default_factory=set)

    def x(self, at: float) -> float:
        plot = self.plot
        within = min(max(at, plot.begin), plot.end)
        return _LEFT + (within - plot.begin) / (plot.end - plot.begin) * (_RIGHT - _LEFT)

    def y(self, value: float) -> float:
        return self.y0 + PANEL * (1 - min(max(value, 0.0), self.plot.top) / self.plot.top)

    def add(self, shape: str) -> None:
        self.shapes.append(shape)

    def text(self, x: float, y: float, what: str, style: str = "") -> None:
        self.add(f'<text x="{x:.1f}" y="{y:.1f}"{style and " "}{style}>{escape(what)}</text>')


def draw(plot: Plot) -> str:
    """
    Draw the whole picture.
    """
    below = 78 + len(plot.strips) * (_STRIP + _GAP)
    sheet = _Sheet(plot, below + 8)
    bottom = sheet.y0 + PANEL
    sheet.text(20, 34, plot.title, 'font-size="20" font-weight="600"')
    sheet.text(20, 56, plot.told, f'fill="{FAINT}"')
    _axes(sheet, bottom)
    for nth, strip in enumerate(plot.strips):
        _strip(sheet, strip, 78 + nth * (_STRIP + _GAP))
    for line in plot.lines:
        _line(sheet, line)
    for dots in plot.dots:
        if dots.points:
            _dots(sheet, dots)
    _legend(sheet, bottom + 54)
    height = int(bottom + 76)
    head = _HEAD.format(width=WIDTH, height=height, ink=INK, title=escape(plot.title))
    return "\n".join((head, *sheet.shapes, "</svg>", ""))


def ticks(begin: float, end: float, most: int) -> list[float]:
    """
    Find round numbers from *begin* to *end*, no more than *most*.

    >>> ticks(0.0, 45.0, 6)
    [0.0, 10.0, 20.0, 30.0, 40.0]
    """
    power = 10.0 ** math.floor(math.log10((end - begin) / most))
    step = next(power * each for each in (1, 2, 5, 10, 20) if (end - begin) / (power * each) < most - 1)
    return [step * nth for nth in range(math.ceil(begin / step), math.floor(end / step) + 1)]


def _axes(sheet: _Sheet, bottom: float) -> None:
    plot = sheet.plot
    unit, seconds = plot.unit
    for value in ticks(0.0, plot.top, 6):
        y = sheet.y(value)
        sheet.add(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}" stroke="{GRID}"/>')
        sheet.text(_LEFT - 8, y + 4, f"{value:g}", f'text-anchor="end" font-size="12" fill="{FAINT}"')
    for at in ticks((plot.begin - plot.zero) / seconds, (plot.end - plot.zero) / seconds, 12):
        x = sheet.x(at * seconds + plot.zero)
        sheet.add(f'<line x1="{x:.1f}" y1="{sheet.y0:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="{GRID}"/>')
        told = f"{at:g} {unit}" if at else "0"
        sheet.text(x, bottom + 18, told, f'text-anchor="middle" font-size="12" fill="{FAINT}"')
    middle = (sheet.y0 + bottom) / 2
    turned = f'text-anchor="middle" fill="{FAINT}" transform="rotate(-90 30 {middle:.1f})"'
    sheet.text(30, middle, plot.value, turned)


def _strip(sheet: _Sheet, strip: Strip, y: float) -> None:
    plot = sheet.plot
    sheet.text(_LEFT - 8, y + 14.5, strip.name, f'text-anchor="end" fill="{FAINT}"')
    ends = [at for at, _ in strip.states[1:]] + [plot.end]
    for (begin, state), end in zip(strip.states, ends, strict=True):
        if end <= plot.begin or begin >= plot.end:
            continue
        x, width = sheet.x(begin), max(sheet.x(end) - sheet.x(begin), 1.0)
        fill = STATES.get(state, GRID)
        sheet.add(f'<rect x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{_STRIP}" rx="2" fill="{fill}"/>')
        if width > 8 * len(state):
            sheet.text(x + width / 2, y + 14.5, state, 'text-anchor="middle" font-size="12"')
            sheet.named.add(state)


def _dots(sheet: _Sheet, dots: Dots) -> None:
    # Many calls fall on one dot of the picture, which then is drawn once.
    shown = [(at, value) for at, value in dots.points if sheet.plot.begin <= at <= sheet.plot.end]
    places = sorted({(round(sheet.x(at)), round(sheet.y(value))) for at, value in shown})
    path = "".join(f"M{x} {y}h0" for x, y in places)
    style = f'stroke="{dots.colour}" stroke-width="{dots.size:g}" stroke-linecap="round" stroke-opacity="0.7"'
    sheet.add(f'<path d="{path}" fill="none" {style}/>')


def _line(sheet: _Sheet, line: Line) -> None:
    plot = sheet.plot
    before = [each for each in line.points if each[0] < plot.begin][-1:]
    points = before + [each for each in line.points if plot.begin <= each[0] <= plot.end]
    if not points:
        return
    path = f"M{sheet.x(points[0][0]):.1f} {sheet.y(points[0][1]):.1f}"
    for at, value in points[1:]:
        path += f"H{sheet.x(at):.1f}V{sheet.y(value):.1f}" if line.steps else f"L{sheet.x(at):.1f} {sheet.y(value):.1f}"
    if line.steps:
        path += f"H{_RIGHT}"
    sheet.add(f'<path d="{path}" fill="none" stroke="{line.colour}" stroke-width="2"{_dash(line)}/>')


def _dash(line: Line) -> str:
    return ' stroke-dasharray="6 4"' if line.dashed else ""


def _legend(sheet: _Sheet, y: float) -> None:
    plot, x = sheet.plot, float(_LEFT)
    explained: list[Line | Dots] = [*plot.lines, *(dots for dots in plot.dots if dots.points)]
    for each in explained:
        if isinstance(each, Line):
            style = f'stroke="{each.colour}" stroke-width="2"{_dash(each)}'
            sheet.add(f'<path d="M{x:.1f} {y - 4:.1f}h22" fill="none" {style}/>')
        else:
            sheet.add(f'<circle cx="{x + 11:.1f}" cy="{y - 4:.1f}" r="4" fill="{each.colour}"/>')
        sheet.text(x + 30, y, each.name)
        x += 30 + 7.0 * len(each.name) + 24
    shown = {state for strip in plot.strips for at, state in strip.states if at < plot.end}
    for state in sorted(shown - sheet.named):
        fill = STATES.get(state, GRID)
        sheet.add(f'<rect x="{x:.1f}" y="{y - 11:.1f}" width="22" height="14" rx="2" fill="{fill}"/>')
        sheet.text(x + 30, y, state)
        x += 30 + 7.0 * len(state) + 24
