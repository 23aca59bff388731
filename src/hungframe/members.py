"""
The guards of a set, by key: made when first asked for, held in the order of their last use, few that are idle.

A guard that is not idle knows what would be lost with it: that its breaker is
open, that calls of its key are in flight, that its budget is spent. It stays,
even if the set then holds more than it should.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from hungframe.each_key import EachKey
from hungframe.guard import Guard, engine_behind
from hungframe.ports import EventSink

_logger = logging.getLogger("hungframe")

# Seconds for which a set that found too few idle guards does not look again:
# it looks at all of them.
_LOOK_EVERY = 1.0


class Turn:
    """
    What is remembered of a guard between two choices.
    """

    __slots__ = ("due_at", "generation", "p95", "p95_until")

    def __init__(self) -> None:
        self.due_at = math.inf
        # Of its breaker, when it was last looked at.
        self.generation = 0
        self.p95: float | None = None
        self.p95_until = -math.inf


class Member:
    """
    One guard of a set.
    """

    __slots__ = ("guard", "turn")

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        # Made when it is first chosen among others: a set may hold a guard
        # for each of 100,000 keys that nobody chooses among.
        self.turn: Turn | None = None


class Members:
    """
    Find and make the guards of one set, from any thread.

    Args:
        name: Of the set.

        each_key: Makes a guard.

        most: Guards held while enough of them are idle.

        now: Tells seconds.
    """

    __slots__ = ("__weakref__", "_each_key", "_gone", "_heard_by", "_lock", "_look_at", "_making", "_most", "_name",
                 "_now", "_told", "by_key", "caches")  # fmt: skip

    def __init__(self, name: str, each_key: EachKey, most: int, now: Callable[[], float]) -> None:
        self._name = name
        self._each_key = each_key
        self._most = most
        self._now = now
        # In the order of their last use.
        self.by_key: OrderedDict[Hashable, Member] = OrderedDict()
        # Those that were dropped and that somebody still has: whoever asks for
        # the key again gets the same one, so that no key ever has two.
        self._gone: weakref.WeakValueDictionary[Hashable, Guard] = weakref.WeakValueDictionary()
        # Who is told the events of each guard, also of those yet to be made.
        self._heard_by: list[EventSink] = []
        # What each decorated function keeps of the guards, to be dropped with them.
        self.caches: weakref.WeakSet[Any] = weakref.WeakSet()
        self._look_at = -math.inf
        self._told = False
        self._renew_locks()
        _sets.add(self)

    def _renew_locks(self) -> None:
        self._lock = threading.Lock()
        # Held while a guard is made, by functions of the user that may ask for
        # another: making must be one at a time, as guards that share a bucket
        # share its lock.
        self._making = threading.RLock()

    def of(self, key: Hashable) -> Guard:
        """
        Find the guard of *key*, which is now the last one used; make it if there is none.

        Raises:
            TypeError: If *key* cannot be hashed.

            Exception: What making it raises.
        """
        lock = self._lock
        lock.acquire()
        try:
            member = self.by_key.get(key)
            if member is not None:
                self.by_key.move_to_end(key)
                return member.guard
        except TypeError as error:
            raise TypeError(f"guard set {self._name!r}: a key must be hashable, got {key!r}") from error
        finally:
            lock.release()
        return self._add(key)

    def _add(self, key: Hashable) -> Guard:
        with self._making:
            with self._lock:
                member = self.by_key.get(key)
                guard = self._gone.get(key)
            if member is not None:
                return member.guard
            if guard is None:
                guard = self._each_key.make(key)
                for sink in self._heard_by:
                    engine_behind(guard).subscribe(sink)
            with self._lock:
                # Its own factory may have asked for it.
                member = self.by_key.setdefault(key, Member(guard))
                dropped = self._make_room(member)
        for each in dropped:
            for cache in list(self.caches):
                cache.pop(each, None)
        # The guards end here, outside of the lock.
        return member.guard

    def _make_room(self, new: Member) -> list[Guard]:
        """
        Take out those guards that were idle for the longest time; under the lock.
        """
        over = len(self.by_key) - self._most
        if over <= 0:
            return []
        now = self._now()
        if now < self._look_at:
            return []
        shared = self._each_key.shared
        idle: list[Hashable] = []
        for key, member in self.by_key.items():
            if member is not new and engine_behind(member.guard).is_idle(now, shared):
                idle.append(key)
                if len(idle) == over:
                    break
        else:
            self._look_at = now + _LOOK_EVERY
            self._tell(over - len(idle))
        dropped: list[Guard] = []
        for key in idle:
            guard = self.by_key.pop(key).guard
            self._gone[key] = guard
            dropped.append(guard)
        return dropped

    def _tell(self, over: int) -> None:
        if not self._told:
            self._told = True
            _logger.warning(
                "guard set %r holds %d guards more than max_guards=%d, since no others are idle; "
                "they go when they are; told once",
                self._name,
                over,
                self._most,
            )

    def subscribe(self, sink: EventSink) -> None:
        """
        Tell *sink* the events of each guard, be it made later.
        """
        # Nobody makes a guard meanwhile that would be missed.
        with self._making:
            self._heard_by.append(sink)
            for guard in self._alive():
                engine_behind(guard).subscribe(sink)

    def unsubscribe(self, sink: EventSink) -> None:
        """
        Tell it to *sink* no more.
        """
        with self._making:
            self._heard_by = [each for each in self._heard_by if each is not sink]
            for guard in self._alive():
                engine_behind(guard).unsubscribe(sink)

    def _alive(self) -> list[Guard]:
        with self._lock:
            return [*(member.guard for member in self.by_key.values()), *self._gone.values()]

    def known(self) -> list[tuple[Hashable, Member]]:
        """
        All keys and their guards, the last used last.
        """
        with self._lock:
            return list(self.by_key.items())

    def peek(self, key: Hashable) -> Member | None:
        """
        Find a guard without using it.
        """
        with self._lock:
            return self.by_key.get(key)

    def after_fork(self) -> None:
        """
        Go on in a forked child: another thread may have held a lock, and will never release it here.
        """
        self._renew_locks()


_sets: weakref.WeakSet[Members] = weakref.WeakSet()


def _after_fork() -> None:
    for members in list(_sets):
        members.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
