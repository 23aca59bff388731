"""Run the matrix: ``python -m benchmarks.clients [--repeat N] [--deadline S] [--only PATTERN] [--write]``."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic

from benchmarks.clients import page
from benchmarks.clients.batches import Batch, run_all
from benchmarks.clients.situations import SITUATIONS
from benchmarks.clients.subjects import SUBJECTS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "clients.md"
RESULTS = ROOT / "benchmarks" / "results" / "clients.json"
PACKAGES = ("httpx", "httpx2", "openai", "anthropic", "google-genai", "litellm", "requests", "trio")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the tables, write them down."""
    options = _options(arguments)
    if not hasattr(os, "fork"):
        print("the matrix forks a process for each client, and this system has no fork", file=sys.stderr)
        return 2
    wanted = re.compile(options.only, re.IGNORECASE)
    subjects = [subject for subject in SUBJECTS.values() if wanted.search(subject.key)]
    for subject in subjects:
        if not subject.installed:
            print(f"{subject.key} is not installed, and left out", file=sys.stderr)
    batches = [
        Batch(subject, guarded, options.deadline, options.repeat if guarded else 1)
        for subject in subjects
        if subject.installed
        for guarded in (True, False)
        if guarded or not options.without_stock
    ]
    began = monotonic()

    def on_done(batch: Batch) -> None:
        what = "with hungframe" if batch.guarded else "stock"
        print(f"{monotonic() - began:5.1f} s  {batch.subject.key}, {what}", file=sys.stderr, flush=True)

    order = {key: index for index, key in enumerate(SUBJECTS)}
    places = {name: index for index, name in enumerate(SITUATIONS)}
    records = sorted(
        run_all(batches, on_done),
        key=lambda r: (order[f"{r.client} {r.backend}"], places[r.situation], not r.guarded),
    )
    about = _about(options, monotonic() - began)
    print(page.markdown(records, about))
    if options.write:
        page.write(records, about, PAGE, RESULTS)
    missing = sum(len(batch.situations) for batch in batches) - len(records)
    if missing:
        print(f"{missing} cells are missing: their process died", file=sys.stderr)
    return 1 if missing else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    parser.add_argument("--repeat", type=int, default=1, help="how often each cell is run with hungframe (1)")
    parser.add_argument("--deadline", type=float, default=0.3, metavar="S", help="seconds that a call is given (0.3)")
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help='a regular expression on "openai trio" and the like'
    )
    parser.add_argument("--without-stock", action="store_true", help="leave out what has no hungframe")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} and {RESULTS.name}")
    return parser.parse_args(arguments)


def _about(options: argparse.Namespace, took: float) -> dict[str, str]:
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    command = f"python -m benchmarks.clients --repeat {options.repeat} --deadline {options.deadline:g}"
    return {
        "Run": f"`{command}`, {datetime.now(timezone.utc):%Y-%m-%d}, {took:.0f} s",
        "On": f"{interpreter}, {platform.system()}, {os.cpu_count()} CPUs",
        "With": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    raise SystemExit(main())
