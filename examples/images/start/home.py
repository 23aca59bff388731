"""
A temporary directory that is deleted at the latest by the next one, if its process was killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

_LOCK = "lock"

# Younger ones are being made, or their server is just about to end.
_SECONDS_OLD = 30.0


class Home:
    """
    A new directory, and no other of its *prefix* that belongs to nobody any more.

    As long as its process lives it holds a lock in it, which the kernel opens when that is gone.

    Args:
        prefix: What the names of all of them begin with, and no other's.

        busy: A file within one that tells that something still runs there.
    """

    def __init__(self, prefix: str, busy: str) -> None:
        _delete_left(prefix, busy)
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = (self.path / _LOCK).open("wb")
        _take(self._lock)

    def delete(self) -> None:
        """
        Delete it. Harmless when called again.
        """
        self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)


def _delete_left(prefix: str, busy: str) -> None:
    for lock in Path(tempfile.gettempdir()).glob(f"{prefix}*/{_LOCK}"):
        # Another process may be as far, or it is another user's.
        with contextlib.suppress(OSError):
            found = lock.lstat()
            if found.st_uid != _user() or time.time() - found.st_mtime < _SECONDS_OLD or (lock.parent / busy).exists():
                continue
            with lock.open("rb") as opened:
                if _take(opened):
                    shutil.rmtree(lock.parent, ignore_errors=True)


def _take(lock: IO[bytes]) -> bool:
    """
    Take the lock; returns whether nobody has it. Where the platform has none (Windows), everybody has it.
    """
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _user() -> int:
    return -1 if sys.platform == "win32" else os.geteuid()
