"""
`hungframe top`: a health page in the terminal.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

from hungframe.cli.top.asking import HealthPage

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the page's URL, and how to look at it.
    """
    parser.add_argument("url", help="where hungframe.health.app is mounted, or hungframe.health.serve listens")
    parser.add_argument(
        "--interval", type=float, default=1.0, metavar="S", help="seconds between two looks (%(default)g)"
    )
    parser.add_argument("--timeout", type=float, default=5.0, metavar="S", help="seconds for an answer (%(default)g)")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="what is sent besides, such as 'Authorization: Bearer ...'; may be given again",
    )
    parser.add_argument("--once", action="store_true", help="show how it is now, and end")
    parser.add_argument("--json", action="store_true", help="write the page's JSON instead, one line a look")
    parser.set_defaults(refuse=parser.error)


def run(args: argparse.Namespace) -> int:
    """
    Show it until somebody presses Ctrl-C, or once.
    """
    refuse: Callable[[str], None] = args.refuse
    try:
        for name in ("interval", "timeout"):
            if not 0.1 <= getattr(args, name) <= 3600:
                raise ValueError(f"--{name} must be in 0.1..3600 s, got {getattr(args, name):g}")
        page = HealthPage(args.url, _headers(args.header), args.timeout)
    except ValueError as error:
        refuse(str(error))
        raise
    try:
        from hungframe.cli.top import watching
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "rich":
            raise
        print("hungframe top: needs rich, which is not installed: pip install 'hungframe[cli]'", file=sys.stderr)
        return 1
    return watching.watch(page, args.interval, once=args.once, as_json=args.json)


def _headers(given: list[str]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for header in given:
        name, colon, value = header.partition(":")
        name, value = name.strip(), value.strip()
        # What was given may be a token, so it is not told.
        if not colon or not name.isascii() or not all(each.isalnum() or each in "-_" for each in name) or not name:
            raise ValueError("--header must be such as 'Authorization: Bearer ...': a name, a colon, a value")
        if not value.isprintable() or not value.isascii():
            raise ValueError(f"the value of --header {name!r} must be of printable ASCII")
        headers[name] = value
    return headers
