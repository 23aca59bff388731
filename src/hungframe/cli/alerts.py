"""
`hungframe alerts`: alert rules for Prometheus, on standard output.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import fields

from hungframe.telemetry.alerts import Thresholds, rules

_HELP = {
    "timeout_rate": "share of the calls of 15 minutes that timed out",
    "min_calls": "fewer calls in 15 minutes say nothing of timeouts",
    "open_seconds": "seconds a day that the breaker was open",
    "budget_rate": "share of the calls of 15 minutes that the budget refused",
    "orphans": "callees left behind, where they become more",
    "probes": "failed probes of 15 minutes, where none went well",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add an option for each threshold.
    """
    for field in fields(Thresholds):
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            dest=field.name,
            type=float,
            default=field.default,
            metavar="N",
            help=f"{_HELP[field.name]} (%(default)g)",
        )
    parser.add_argument("--namespace", default="hungframe", help="that of the PrometheusSink (%(default)s)")
    parser.set_defaults(refuse=parser.error)


def run(args: argparse.Namespace) -> int:
    """
    Write them.
    """
    refuse: Callable[[str], None] = args.refuse
    try:
        text = rules(
            Thresholds(**{field.name: getattr(args, field.name) for field in fields(Thresholds)}), args.namespace
        )
    except ValueError as error:
        refuse(str(error))
        raise
    sys.stdout.write(text)
    return 0
