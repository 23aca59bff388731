"""
Numbered .sql files, run once each, while the service goes on.
"""

from examples.images.migrate.errors import (
    MigrationBlockedError,
    MigrationBusyError,
    MigrationChangedError,
    MigrationError,
    MigrationFailedError,
    MigrationFileError,
)
from examples.images.migrate.files import Migration, Mode
from examples.images.migrate.migrator import Migrator, Status
from examples.images.migrate.patience import Patience

__all__ = [
    "Migration",
    "MigrationBlockedError",
    "MigrationBusyError",
    "MigrationChangedError",
    "MigrationError",
    "MigrationFailedError",
    "MigrationFileError",
    "Migrator",
    "Mode",
    "Patience",
    "Status",
]
