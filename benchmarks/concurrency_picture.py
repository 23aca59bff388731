"""
The limit that was learned, what was in flight, and what the provider could take, over time, as an SVG.

Written by hand, so that it needs no library.
"""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 1000, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 980, 50, 295

INK, FAINT, GRID = "#1f2933", "#66717d", "#d9dee4"
LIMIT, IN_FLIGHT, CAPACITY = "#7570b3", "#9ad3c0", "#d95f02"

_HEAD = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"
 font-family="system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="13" fill="{INK}">
<title>A limit that is learned, while the provider loses half of its capacity and gets it back</title>
<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>"""


def draw(seen: Sequence[tuple[float, int, int]], capacity: Sequence[tuple[float, float]]) -> str:
    """
    Draw what was seen: instant, limit, calls in flight; and from which instant on the capacity was what.
    """
    until = seen[-1][0]
    most = max(max(limit, in_flight) for _, limit, in_flight in seen) * 1.1

    def x(at: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * at / until

    def y(calls: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * calls / most

    def steps(points: Sequence[tuple[float, float]]) -> str:
        path = [f"M{x(points[0][0]):.1f} {y(points[0][1]):.1f}"]
        path += [f"H{x(at):.1f}V{y(calls):.1f}" for at, calls in points[1:]]
        return "".join([*path, f"H{x(until):.1f}"])

    shapes = [_HEAD]
    for calls in range(0, int(most) + 1, 10):
        shapes.append(f'<path d="M{_LEFT} {y(calls):.1f}H{_RIGHT}" stroke="{GRID}"/>')
        shapes.append(f'<text x="{_LEFT - 8}" y="{y(calls) + 4:.1f}" text-anchor="end" fill="{FAINT}">{calls}</text>')
    shapes.extend(
        f'<text x="{x(minute * 60):.1f}" y="{_BOTTOM + 20}" text-anchor="middle" fill="{FAINT}">{minute} min</text>'
        for minute in range(0, int(until / 60) + 1, 15)
    )
    in_flight = steps([(at, count) for at, _, count in seen])
    shapes.append(f'<path d="{in_flight}V{_BOTTOM}H{_LEFT}Z" fill="{IN_FLIGHT}"/>')
    limit = steps([(at, count) for at, count, _ in seen])
    shapes.append(f'<path d="{limit}" fill="none" stroke="{LIMIT}" stroke-width="2"/>')
    shapes.append(
        f'<path d="{steps(capacity)}" fill="none" stroke="{CAPACITY}" stroke-width="2" stroke-dasharray="7 4"/>'
    )
    keys = [(LIMIT, "limit"), (IN_FLIGHT, "in flight"), (CAPACITY, "what the provider can take")]
    for nth, (colour, name) in enumerate(keys):
        left = _LEFT + nth * 120
        shapes.append(f'<rect x="{left}" y="20" width="14" height="14" rx="2" fill="{colour}"/>')
        shapes.append(f'<text x="{left + 20}" y="32">{name}</text>')
    shapes.append("</svg>\n")
    return "\n".join(shapes)
