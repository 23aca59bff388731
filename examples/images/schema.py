"""
The part of the composition root that a deployment needs first: whose migrations there are, and in which order.

`bootstrap` hands it on. It is a file of its own so that migrating waits for no SDK and no web server to be imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from examples.images import frames
from examples.images.migrate import Migrator

_HERE = Path(__file__).parent

# In the order in which they are migrated.
MIGRATIONS: Mapping[str, Path] = {
    "queue": _HERE / "queue" / "migrations",
    "board": _HERE / "board" / "migrations",
    "frames": frames.MIGRATIONS,
}


def migrator_of(url: str, report: Callable[[str], None]) -> Migrator:
    """
    Make the runner of all migrations.
    """
    return Migrator(url, MIGRATIONS, report=report)
