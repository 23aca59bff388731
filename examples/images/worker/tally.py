"""
How many jobs of a worker ended how, since it was started.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """
    Counted where it happens, on one event loop.
    """

    done: int = 0
    """Stored, with their image."""
    retried: int = 0
    """Put back, to be tried again."""
    dead: int = 0
    """Made dead letters."""
    snoozed: int = 0
    """Put back without counting as an attempt: the provider asked for it."""
    given_back: int = 0
    """Put back because the worker was stopped."""
    lost: int = 0
    """Taken by another worker, or by nobody: what was done for them was dropped."""
    left: int = 0
    """Left to the reaper, because the database did not take their end."""
