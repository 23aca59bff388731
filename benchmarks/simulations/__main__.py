"""Play every scenario: ``python -m benchmarks.simulations [--write]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.simulations.report import report, write

DOCS = Path(__file__).parents[2] / "docs"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables; with --write put them, and the pictures, into the docs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulations", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/explanation/simulations.md and its pictures")
    arguments = parser.parse_args(argv)
    told = report(lambda name: print(name, file=sys.stderr))
    print(told.markdown())
    if arguments.write:
        write(told, DOCS / "explanation" / "simulations.md", DOCS / "pictures")


if __name__ == "__main__":
    main()
