"""Run the benchmark: ``python -m benchmarks [--quick] [--rounds N] [--only PATTERN] [--out DIR]``."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

from benchmarks import baselines, lateness, memory, report, rounds
from benchmarks.figures import figures
from benchmarks.sanitize import reason
from benchmarks.subjects import Missing, Subject
from benchmarks.subjects_peers import PEERS
from benchmarks.targets import verdicts

HERE = Path(__file__).parent

BUDGET = 75.0
"""Seconds for all rounds together, so that a run stays under three minutes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the report, write it down."""
    options = _options(arguments)
    started = perf_counter()
    wanted = re.compile(options.only, re.IGNORECASE) if options.only else None
    n, seconds = (5, 0.001) if options.quick else (options.rounds, 0.008)

    loop = asyncio.new_event_loop()
    try:
        subjects, missing = loop.run_until_complete(_subjects(wanted))
        _say(f"timing {len(subjects)} subjects, {n} rounds")
        samples, failed = rounds.measure(subjects, rounds=n, seconds=seconds, budget=BUDGET, loop=loop)
    finally:
        loop.close()
    missing += failed

    weights: memory.Memory | None = None
    late: list[lateness.Lateness] = []
    if wanted is None or wanted.search("memory"):
        _say("weighing guards")
        weights, failed = memory.measure(5_000 if options.quick else 100_000)
        missing += failed
    if wanted is None or wanted.search("lateness"):
        _say("letting calls hang")
        late, failed = lateness.measure(1000, 1 if options.quick else 3, spread=not options.quick)
        missing += failed

    measured = figures(samples)
    results = report.Results(
        about=_about(max(map(len, samples.values())), seconds, perf_counter() - started),
        figures=measured,
        verdicts=verdicts(measured, weights, late),
        memory=weights,
        lateness=late,
        missing=missing,
    )
    report.write(results, options.out)
    print(report.markdown(results))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of a few seconds; its figures mean little")
    parser.add_argument(
        "--rounds",
        type=int,
        default=50,
        help="how often each subject is sampled: 50, or 25 and more while there is time",
    )
    parser.add_argument("--only", metavar="PATTERN", help="a regular expression on 'row / library', memory, lateness")
    parser.add_argument("--out", type=Path, default=HERE / "results", metavar="DIR", help="where the results go")
    return parser.parse_args(arguments)


async def _subjects(wanted: re.Pattern[str] | None) -> tuple[list[Subject], list[Missing]]:
    """Build what matches *wanted*, and what all else is compared to."""
    timeouts, missing = baselines.timeouts()
    compared = [*baselines.bare(), *(s for s in timeouts if s.who == baselines.ASYNCIO_TIMEOUT)]
    others = [s for s in timeouts if s.who != baselines.ASYNCIO_TIMEOUT]
    builders = [("hungframe", _hungframe), *((peer.name, peer.build) for peer in PEERS)]
    for name, build in builders:
        built = await _built(name, build)
        if isinstance(built, Missing):
            missing.append(built)
        else:
            others += built
    return [*compared, *(s for s in others if wanted is None or wanted.search(s.key))], missing


async def _hungframe() -> list[Subject]:
    # Imported late, so that the peers can be measured without it.
    from benchmarks.subjects_hungframe import hungframe

    return await hungframe()


async def _built(name: str, build: Callable[[], Awaitable[list[Subject]]]) -> list[Subject] | Missing:
    try:
        return await build()
    except Exception as error:  # a peer that cannot be set up is named, not dropped
        return Missing(name, "all rows", reason(error))


def _about(n: int, seconds: float, took: float) -> dict[str, str]:
    about = {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "rounds": f"{n}, samples of about {seconds * 1e3:.0f} ms",
        "run": f"{took:.0f} s",
    }
    for name in dict.fromkeys(("hungframe", *(peer.distribution for peer in PEERS), "anyio", "trio")):
        about[name] = _version(name)
    if hasattr(os, "getloadavg"):
        # Above 1 others were at work, too: then trust the best, not the median.
        about["load average"] = f"{os.getloadavg()[0]:.1f}"
    return about


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        # On the path without having been installed, as hungframe is in its own repository.
        return "from source" if find_spec(name) else "not installed"


def _say(what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
