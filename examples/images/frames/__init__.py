"""
The images, in Postgres: written once a job, and read past the rows that have none.
"""

from pathlib import Path

from examples.images.frames.guard import is_shown
from examples.images.frames.store import PostgresFrames

MIGRATIONS = Path(__file__).parent / "migrations"
"""
The folder of the component `frames`, for the migrator.
"""

__all__ = ["MIGRATIONS", "PostgresFrames", "is_shown"]
