"""
Run the demo. The exit code is 0 only if what it told is what happened.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from examples.demo.checks import Check, check_all
from examples.demo.picture import draw
from examples.demo.screen import Screen
from examples.demo.story import play
from examples.demo.summary import show_checks, show_table


def main(argv: Sequence[str] | None = None) -> int:
    """
    Play the story, print what came of it, draw the timeline.
    """
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo", description="A provider hangs: watch what follows."
    )
    parser.add_argument("--picture", type=Path, default=Path("demo-timeline.svg"), metavar="PATH", help="where to draw")
    picture: Path = parser.parse_args(argv).picture
    if not picture.absolute().parent.is_dir():
        # Said now, not after the whole story.
        parser.error(f"--picture: there is no directory {str(picture.parent)!r}; make it, or name another")
    screen = Screen(Console())
    screen.opening()
    record = asyncio.run(play(screen))
    show_table(screen, record)
    checks = check_all(record)
    show_checks(screen, checks)
    picture.write_text(draw(record), encoding="utf-8")
    screen.print()
    screen.print(f"The timeline: {picture}")
    return verdict(checks)


def verdict(checks: Sequence[Check]) -> int:
    """
    Tell the exit code; say on stderr what did not hold.
    """
    failed = [check for check in checks if not check.holds]
    for check in failed:
        print(f"error: this did not happen: {check.sentence} Found: {check.found}", file=sys.stderr)
    return 1 if failed or not checks else 0


if __name__ == "__main__":
    sys.exit(main())
