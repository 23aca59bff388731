"""
Wait for locks a little at a time: whoever queues for one makes all others queue behind it.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from psycopg import Connection
from psycopg.errors import DeadlockDetected, LockNotAvailable

from examples.images.migrate.errors import MigrationBlockedError
from examples.images.migrate.statements import SQL

T = TypeVar("T")

Report = Callable[[str], object]
"""
Takes one line of progress, for a person.
"""


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How a migration waits for locks.

    Args:
        lock_timeout: The longest that it queues for one, in seconds. Who comes later queues behind it, and
            for twice as long where a file takes two locks one after the other.

        longest: Seconds for all attempts of one step together, and for another migrator to be done.

        first_pause: Seconds from the first attempt to the second, on average; then twice as long each time.

        longest_pause: Seconds that a pause never exceeds.
    """

    lock_timeout: float = 0.04
    longest: float = 300.0
    first_pause: float = 0.1
    longest_pause: float = 5.0

    def pause(self, attempt: int) -> float:
        """
        Draw the pause after *attempt*, counted from 0: a half to one and a half of its mean.
        """
        mean = min(self.longest_pause / 1.5, self.first_pause * 2.0 ** min(attempt, 30))
        return random.uniform(0.5, 1.5) * mean


def patiently(
    attempt: Callable[[], T], connection: Connection[Any], what: str, patience: Patience, report: Report
) -> T:
    """
    Run *attempt* until no lock is in its way.

    Raises:
        MigrationBlockedError: If one still is after `patience.longest`; it names the oldest transactions.
    """
    ends_at = time.monotonic() + patience.longest
    for number in itertools.count():
        try:
            return attempt()
        except (LockNotAvailable, DeadlockDetected) as error:
            pause = patience.pause(number)
            if time.monotonic() + pause > ends_at:
                asked = f"asked for {number + 1} times within {patience.longest:g} s"
                raise MigrationBlockedError(f"{what}: no lock, {asked}; {_oldest(connection)}") from error
        report(f"{what}: a lock is in the way; attempt {number + 2} in {pause:.2f} s")
        time.sleep(pause)
    raise AssertionError("unreachable: count() does not end")


def _oldest(connection: Connection[Any]) -> str:
    """
    Say who has been in a transaction for longest, without a word of their queries: these may hold secrets.
    """
    rows = connection.execute(SQL["oldest_transactions"]).fetchall()
    if not rows:
        # Whoever is no superuser and has not pg_read_all_stats sees nobody's but its own.
        return "whose transaction holds it cannot be seen from here; run it again at a calmer hour"
    told = (f"pid {pid} ({name or 'unnamed'}, {state}) for {age:.0f} s" for pid, name, state, age in rows)
    return f"in a transaction: {', '.join(told)}; end these, or run it again at a calmer hour"
