"""
The guards and queues that a sink watches, none of which it keeps alive.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Iterator
from typing import Protocol

from hungframe.guard import Guard
from hungframe.guard_set import GuardSet
from hungframe.snapshot import Snapshot

_logger = logging.getLogger("hungframe")


class Drops(Protocol):
    """
    What counts the events that it had no room for.
    """

    @property
    def dropped(self) -> int:
        """So many so far."""
        ...


class Watched:
    """
    Look at what is watched, and tell what has been added since.
    """

    def __init__(self) -> None:
        self._guards: weakref.WeakSet[Guard | GuardSet] = weakref.WeakSet()
        self._dropped: weakref.WeakKeyDictionary[Drops, int] = weakref.WeakKeyDictionary()
        self._faults: dict[str, int] = {}
        self._has_failed = False

    def add(self, guard: Guard | GuardSet) -> None:
        """
        Watch *guard* from now on.
        """
        self._guards.add(guard)

    def add_queue(self, queue: Drops) -> None:
        """
        Watch *queue* from now on; what it has dropped before is counted as well.
        """
        self._dropped.setdefault(queue, 0)

    def snapshots(self) -> list[Snapshot]:
        """
        Look at all guards. One that cannot be looked at hides no other.
        """
        snapshots: list[Snapshot] = []
        for guard in list(self._guards):
            try:
                if isinstance(guard, Guard):
                    snapshots.append(guard.snapshot())
                else:
                    snapshots.extend(guard.snapshot().values())
            except Exception:
                if not self._has_failed:
                    self._has_failed = True
                    _logger.exception("PrometheusSink cannot look at %r; it goes on without", guard)
        return snapshots

    def new_faults(self, snapshots: Iterable[Snapshot]) -> Iterator[tuple[str, int]]:
        """
        Tell by name how many faults there are more than when last asked.
        """
        faults: dict[str, int] = {}
        for snapshot in snapshots:
            faults[snapshot.name] = faults.get(snapshot.name, 0) + snapshot.faults
        for name, count in faults.items():
            yield name, max(0, count - self._faults.get(name, 0))
        # Those that are gone and come again begin anew.
        self._faults = faults

    def newly_dropped(self) -> int:
        """
        Tell how many events were dropped since last asked.
        """
        new = 0
        for queue, known in list(self._dropped.items()):
            dropped = queue.dropped
            new += max(0, dropped - known)
            self._dropped[queue] = dropped
        return new
