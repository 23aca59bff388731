"""
The whole screen: as much of each guard as fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from hungframe.cli.top import card, words
from hungframe.cli.top.card import Detail
from hungframe.cli.top.reading import Reading, Standing

T = TypeVar("T")

# From all that there is to what a small terminal has room for; after these, one line a guard.
_DETAILS = (
    Detail(4, 6, 4, 1),
    Detail(3, 4, 3, 1),
    Detail(2, 3, 2, 1),
    Detail(1, 3, 2, 1),
    Detail(1, 2, 1, 1),
    Detail(1, 2, 1, 0),
    Detail(1, 1, 1, 0),
    Detail(1, 0, 1, 0),
    Detail(0, 0, 1, 0),
    Detail(0, 0, 0, 0),
)
_FULL = _DETAILS[2]

# Below this, a card's lines would be cut.
_CARD_WIDTH = 78
_BETWEEN = 2


@dataclass(frozen=True)
class Scene:
    """
    What there is to show.

    Args:
        url: Of the page.

        reading: Its last document; None before the first.

        age: Seconds since that came.

        now: This machine's Unix time.

        away: Why the page does not answer; None where it does.

        away_since: Unix time since when it does not.
    """

    url: str
    reading: Reading | None
    age: float
    now: float
    away: str | None = None
    away_since: float = 0.0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # The height of a terminal that is redrawn; a file or a pipe has none.
        height = options.height if options.height is not None else console.height
        for line in lines_of(self, options.max_width, height if console.is_terminal else None, options.ascii_only):
            line.no_wrap, line.overflow = True, "ellipsis" if not options.ascii_only else "crop"
            yield line


def lines_of(scene: Scene, width: int, height: int | None, plain: bool) -> list[Text]:
    """
    Write it out, in *height* lines at most; None for all that are worth it.
    """
    lines = list(_head(scene, width))
    reading = scene.reading
    if reading is not None:
        room = None if height is None else max(1, height - len(lines))
        # Without a clock of the server, this machine's; the page's is moved on by what has passed since.
        now = scene.now if reading.ts is None else reading.ts + scene.age
        body = _body(reading.guards, width, room, now, scene.age, plain)
        if scene.away is not None:
            for line in body:
                line.stylize("dim")
        lines += body
    if plain:
        lines = [_ascii(line) for line in lines]
    return lines if height is None else lines[:height]


def _head(scene: Scene, width: int) -> Iterator[Text]:
    reading = scene.reading
    head = Text.assemble(("hungframe top  ", "bold"), scene.url)
    if reading is not None and scene.away is None:
        head.append("  ")
        head.append("ready", "green") if reading.ready else head.append("NOT READY", "bold red")
    at = words.clock(scene.now)
    head.truncate(max(1, width - len(at) - 2), pad=True)
    yield head.append(f"  {at}", "dim")
    if scene.away is not None:
        since = f"Away since {words.clock(scene.away_since)}, for {words.long(scene.now - scene.away_since)}"
        yield Text(f"{since}: {scene.away}", "bold red")
        if reading is not None:
            yield Text(f"Asking on. What follows is {words.long(scene.age)} old.", "yellow")
    elif reading is None:
        yield Text("Asking ...", "dim")
    if reading is not None:
        for note in reading.notes:
            yield Text(note, "dim")
        if not reading.guards:
            yield Text("No guards are told of.", "dim")
    yield Text()


def _body(guards: Sequence[Standing], width: int, room: int | None, now: float, age: float, plain: bool) -> list[Text]:
    """
    As much of each guard as fits, beside each other where the terminal is wide.
    """
    columns = [count for count in (1, 2, 3, 4) if count == 1 or width >= count * (_CARD_WIDTH + _BETWEEN) - _BETWEEN]
    for detail in _DETAILS if room is not None else (_FULL,):
        for count in columns if room is not None else (1,):
            heights = [card.height(guard, detail) for guard in guards]
            # The last one's gap may be cut.
            if room is None or sum(map(max, _by(heights, count))) - detail.gap <= room:
                each = (width - (count - 1) * _BETWEEN) // count
                cards = [card.card(guard, detail, each, now, age, plain) for guard in guards]
                return _side_by_side(cards, count, each)
    assert room is not None
    shown = sorted(guards, key=card.gravity, reverse=True)
    name_width = max(8, min(max(len(guard.name) for guard in guards), width // 3))
    hidden = len(shown) - room + 1 if len(shown) > room else 0
    rows = [card.row(guard, name_width, age, plain) for guard in shown[: len(shown) - hidden]]
    return [*rows, Text(f"and {hidden:,} more", "dim")] if hidden else rows


def _side_by_side(cards: Sequence[list[Text]], columns: int, width: int) -> list[Text]:
    if columns == 1:
        return [line for lines in cards for line in lines]
    lines: list[Text] = []
    for beside in _by(cards, columns):
        for place in range(max(map(len, beside))):
            line = Text()
            for column, each in enumerate(beside):
                cell = each[place].copy() if place < len(each) else Text()
                cell.truncate(width, overflow="ellipsis", pad=True)
                line.append(cell).append(" " * _BETWEEN if column + 1 < len(beside) else "")
            lines.append(line)
    return lines


def _by(items: Sequence[T], count: int) -> list[Sequence[T]]:
    return [items[first : first + count] for first in range(0, len(items), count)]


def _ascii(line: Text) -> Text:
    if line.plain.isascii():
        return line
    told = line.copy()
    told.plain = "".join(each if each.isascii() else "?" for each in line.plain)
    return told
