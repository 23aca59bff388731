"""
The command line: `hungframe alerts`, and whatever else the table has.

A command is a module in this package with `add_arguments(parser)` and `run(args)`, which returns the exit code, and a
line in `COMMANDS`. It is imported when it is asked for, so that one that needs an extra hinders no other.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "alerts": "write alert rules for Prometheus",
    "dashboard": "write a dashboard for Grafana",
    "top": "show a health page in the terminal",
}
"""Name and what it does, of each command."""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Args:
        argv: What follows the program's name; that of the process by default.

    Returns:
        The exit code: 0 for done, 1 for an error that was told, 2 for words that were not understood.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="hungframe", description="Every call ends, on time.")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    asked = words[0] if words else None
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == asked:
            try:
                module = importlib.import_module(f"hungframe.cli.{name.replace('-', '_')}")
            except ImportError as error:
                print(f"hungframe {name}: {error}", file=sys.stderr)
                return 1
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    args = parser.parse_args(words)
    # A service without a terminal may have closed it.
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        print(f"hungframe {asked}: standard output is closed", file=sys.stderr)
        return 1
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough (`| head`).
        _write_no_more()
        return 0
    except OSError as error:
        # Such as a disk that is full.
        _write_no_more()
        print(f"hungframe {asked}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _write_no_more() -> None:
    # Python would complain once more when it closes the stream.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
