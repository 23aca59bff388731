"""
Draws docs/pictures/top.svg, what `hungframe top` shows of a quarter of an hour: `python -m tests.cli.top_picture`.
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
from pathlib import Path

from rich.console import Console

from hungframe.cli.top.reading import read
from hungframe.cli.top.screen import Scene
from tests.health.asking import ask
from tests.health.scene import scene

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "top.svg"

# rich's own names a font on a server of somebody else.
FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
.{unique_id}-title {{ font: bold 18px ui-sans-serif, system-ui, sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def draw() -> str:
    """
    Draw it as SVG.
    """
    until = threading.Event()
    try:
        document = json.loads(ask(scene(until), "/health.json").body)
    finally:
        until.set()
    console = Console(
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        width=100,
        height=40,
        highlight=False,
    )
    console.print(Scene("http://10.0.0.7:8000/internal/gen-health", read(document), 0.0, time.time()))
    drawn = console.export_svg(title="hungframe top", code_format=FORMAT, unique_id="top")
    return "\n".join(line.strip() for line in re.sub(r">\s+<", ">\n<", drawn).splitlines() if line.strip()) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
