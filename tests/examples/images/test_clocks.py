"""
Nothing depends on what time a client's clock tells: instants are the server's, and waits are monotonic.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

IMAGES = Path(__file__).parents[3] / "examples/images"
# When a dead letter was told, for people: nobody reads it back.
TELLS_THE_TIME = {"worker/telling.py"}
# What starts it all on one machine, where there is one clock, and files that tell their age by it.
ONE_MACHINE = "start"
# When a transaction began, which is what is meant there.
BEGAN = {"migrate/sql/done_at_once.sql"}


def wall_clock(source: str) -> set[str]:
    """
    Name what reads the wall clock in *source*.
    """
    names = {ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Attribute, ast.Name))}
    return {
        name
        for name in names
        if re.fullmatch(r"time\.(time|time_ns|localtime|gmtime|ctime)|(.*\.)?(utcnow|today|datetime\.now)", name)
    }


def test_no_service_reads_the_wall_clock() -> None:
    """
    A client whose clock is wrong by a day leases, waits and prolongs as all others do.
    """
    assert {"time.time", "datetime.now"} == wall_clock("time.time() + datetime.now().timestamp() + time.monotonic()")

    found = {
        path.relative_to(IMAGES).as_posix()
        for path in IMAGES.rglob("*.py")
        if ONE_MACHINE not in path.relative_to(IMAGES).parts
        and (re.search(r"from time import", path.read_text()) or wall_clock(path.read_text()))
    }

    assert TELLS_THE_TIME == found


def test_statements_read_the_clock_and_not_when_their_transaction_began() -> None:
    """
    `now()` and its like stand still in a transaction, and so does a lease that is made with them.
    """
    still = re.compile(
        r"\b(now\(|current_timestamp|current_time|localtime|transaction_timestamp|statement_timestamp)", re.I
    )
    statements = sorted(IMAGES.rglob("*.sql"))

    found = {path.relative_to(IMAGES).as_posix() for path in statements if still.search(path.read_text())}

    assert 20 < len(statements) and BEGAN == found
