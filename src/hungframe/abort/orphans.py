"""
Callees that were left behind, for as long as they run.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from hungframe.abort.where import Where

# The orphans of those guards that have ever left one. Entered when a callee is
# left, so that a call which ends on time pays nothing for it.
_known: set[weakref.ref[Orphans]] = set()


class Orphan:
    """
    A callee that its caller has left; a receipt that can be asked again later.

    It holds nothing of the callee, so that an error which carries it keeps no
    frame alive.
    """

    __slots__ = ("_running_in", "since", "where")

    def __init__(self, running_in: dict[Orphan, object], since: float, where: Where) -> None:
        self._running_in: dict[Orphan, object] | None = running_in
        self.since = since
        self.where = where

    @property
    def state(self) -> str:
        """
        `orphan` while it runs, `late` once it has ended.
        """
        return "late" if self._running_in is None else "orphan"

    def end(self, *_: object) -> None:
        """
        Tell that it has ended; telling it twice changes nothing. May be called from any thread.
        """
        running_in, self._running_in = self._running_in, None
        if running_in is not None:
            running_in.pop(self, None)


@dataclass(frozen=True, slots=True)
class OrphanInfo:
    """
    An orphan as the snapshot shows it: seconds since it was left, and where it hung.
    """

    age: float
    where: str


class Orphans:
    """
    The orphans of one guard. Adding and ending are single steps on a dict, so no lock is taken.
    """

    __slots__ = ("__weakref__", "guard", "running")

    def __init__(self, guard: str) -> None:
        self.guard = guard
        # With what tells of their end: held here, since the garbage collector
        # takes a weak reference that nobody holds, and its callback with it.
        self.running: dict[Orphan, object] = {}

    def __len__(self) -> int:
        return len(self.running)

    def add(self, since: float, where: Where, leftover: object) -> Orphan:
        """
        Count a callee that runs on; `Orphan.end` takes it off.
        """
        orphan = Orphan(self.running, since, where)
        self.running[orphan] = leftover
        # One that is known already is equal, and stays.
        _known.add(weakref.ref(self, _known.discard))
        return orphan

    def infos(self, now: float) -> tuple[OrphanInfo, ...]:
        """
        The orphans that run now, oldest first.
        """
        return tuple(OrphanInfo(max(0.0, now - orphan.since), str(orphan.where)) for orphan in list(self.running))

    def forget(self) -> None:
        """
        Drop them all: after a fork none of them runs in the child.
        """
        self.running = {}


def all_running() -> dict[Orphan, str]:
    """
    Every orphan of this process that runs now, with the name of its guard.
    """
    known = (reference() for reference in list(_known))
    return {orphan: one.guard for one in known if one is not None for orphan in list(one.running)}
