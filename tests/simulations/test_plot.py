"""
The pictures of the docs can be read by machines, and come out the same to the byte.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.plot import Dots, Line, Plot, Strip, draw, ticks
from benchmarks.simulations import pictures, report, storms

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


def plot(title: str = "A & B", points: tuple[tuple[float, float], ...] = ((0.0, 1.0), (30.0, 9.0))) -> Plot:
    return Plot(
        title,
        "told",
        begin=-60.0,
        end=60.0,
        unit=("min", 60.0),
        value="seconds",
        top=8.0,
        strips=[Strip("breaker", [(-90.0, "closed"), (0.0, "open"), (90.0, "closed")])],
        dots=[Dots("answered", points, "#111111"), Dots("refused", [], "#222222")],
        lines=[Line("timeout", points, "#333333", steps=True), Line("P95", points, "#444444", dashed=True)],
    )


def texts(drawn: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(drawn).iter(f"{SVG}text")]


def test_all_is_named() -> None:
    """
    Title, axes and states are written, and the legend has a word for what is to be seen and for nothing else.
    """
    written = texts(draw(plot()))

    assert {"A & B", "told", "seconds", "breaker", "closed", "open", "answered", "timeout", "P95"} <= set(written)
    assert "refused" not in written
    assert {"-1 min", "0", "1 min"} <= set(written)


def test_what_is_outside_is_drawn_at_the_edge() -> None:
    """
    A value above the top is drawn at the top; a dot before the beginning is not drawn.
    """
    inside, outside = (draw(plot(points=points)) for points in (((0.0, 8.0),), ((0.0, 99.0), (-61.0, 1.0))))
    dots = [[line for line in drawn.splitlines() if "round" in line] for drawn in (inside, outside)]

    assert dots[0] == dots[1]


@pytest.mark.parametrize(("end", "most"), [(0.7, 6), (1.0, 6), (8.0, 6), (45.0, 6), (99.0, 12), (12_000.0, 3)])
def test_ticks_are_few_and_round(end: float, most: int) -> None:
    """
    No more than asked for, at least two, the first at the beginning.
    """
    found = ticks(0.0, end, most)

    assert 2 <= len(found) <= most
    assert 0.0 == found[0] and found[-1] <= end


def test_the_same_to_the_byte() -> None:
    """
    Two runs of one scenario are drawn alike.
    """
    assert pictures.of_herd(storms.herd()) == pictures.of_herd(storms.herd())


def test_page_shows_each_picture() -> None:
    """
    Every picture that is there is shown, and there is none shown that is not there.
    """
    page = (DOCS / "explanation" / "simulations.md").read_text(encoding="utf-8")
    there = sorted(path.name for path in (DOCS / "pictures").glob("sim-*.svg"))

    assert there
    assert all(f"](../pictures/{name})" in page for name in there)
    assert len(there) == page.count("](../pictures/sim-")
    assert report.BEGIN in page and report.END in page


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    """
    A page that has lost its marks is left alone.
    """
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")

    with pytest.raises(ValueError, match="must have the lines"):
        report.write(report.Report([], [], {}), page, tmp_path)
    assert "nothing" == page.read_text(encoding="utf-8")
