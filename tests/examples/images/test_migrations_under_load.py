"""
The migrations of `frames` under load, with the readers and writers of `benchmarks.migrations`.
"""

from __future__ import annotations

from benchmarks.migrations import LONGEST_BLOCKED, measure


def test_nobody_is_blocked_for_long(empty_database: str) -> None:
    """
    While 20,000 rows are migrated, none of four readers and four writers waits longer than 100 ms for a lock,
    though somebody reads in long transactions.

    No row is lost, no bad one is left, and what the old version of the service wrote meanwhile has its URL too.
    """
    measured = measure(empty_database, rows=20_000, quiet_for=0.0)

    began, ended = measured.migrating
    writes = sum(began <= at < ended for at, _ in measured.load.took["writer"])
    assert writes > 100
    assert 0 == measured.counts["bad frames"]
    assert measured.counts["audited"] >= 200
    assert measured.counts["frames"] + measured.counts["audited"] > 20_000
    assert measured.blocked() <= LONGEST_BLOCKED
