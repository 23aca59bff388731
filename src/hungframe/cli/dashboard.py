"""
`hungframe dashboard`: a dashboard for Grafana, on standard output.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from hungframe.telemetry.dashboard import to_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the one option.
    """
    parser.add_argument("--namespace", default="hungframe", help="that of the PrometheusSink (%(default)s)")
    parser.set_defaults(refuse=parser.error)


def run(args: argparse.Namespace) -> int:
    """
    Write it.
    """
    refuse: Callable[[str], None] = args.refuse
    try:
        text = to_json(args.namespace)
    except ValueError as error:
        refuse(str(error))
        raise
    sys.stdout.write(text)
    return 0
