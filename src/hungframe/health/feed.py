"""
How all guards of a page stand, written out at most four times a second, for however many look.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hungframe._core.bucket import TokenBucket
from hungframe.events import Event
from hungframe.guard import Guard, engine_behind
from hungframe.guard_set import GuardSet, guards_in
from hungframe.health.history import History
from hungframe.health.names import fingerprint, shown
from hungframe.snapshot import Snapshot

_logger = logging.getLogger("hungframe")

EVERY = 0.25
"""Seconds between two snapshots, at least."""

Ready = Callable[[Sequence[Snapshot]], bool]
"""Tells by how the guards stand whether the service should be sent requests."""


def any_lets_through(snapshots: Sequence[Snapshot]) -> bool:
    """
    The default rule: not ready only while the breaker of every guard is open.

    >>> from hungframe import Guard
    >>> eu, us = Guard("eu"), Guard("us")
    >>> eu.force_open()
    >>> any_lets_through([eu.snapshot(), us.snapshot()]), any_lets_through([eu.snapshot()])
    (True, False)
    """
    return not snapshots or any(each.state not in ("open", "forced_open") for each in snapshots)


@dataclasses.dataclass(frozen=True)
class View:
    """
    How they stood at one moment, written out.
    """

    version: int
    """Another one where more has changed than time has passed."""
    ready: bool
    body: bytes
    """The JSON document."""
    message: bytes
    """The same as a server-sent event."""


class Watched:
    """
    A source of guards, and the histories of those that are shown.
    """

    def __init__(self, source: Guard | GuardSet, most: int) -> None:
        self._source = source
        self._most = most
        self._histories: dict[str, History] = {}
        self.unsubscribe = source.subscribe(self._tell)

    def _tell(self, event: Event) -> None:
        history = self._histories.get(event.guard)
        if history is None:
            # A set may have a hundred thousand guards, and the page shows a few.
            if len(self._histories) >= 2 * self._most:
                return
            history = self._histories.setdefault(event.guard, History())
        history(event)

    def guards(self) -> tuple[list[Guard], int]:
        """
        Those to show, and how many there are besides: of a set those that were used last, by name.
        """
        source = self._source
        if isinstance(source, Guard):
            return [source], 0
        guards = guards_in(source)
        return sorted(guards[-self._most :], key=lambda guard: guard.name), max(0, len(guards) - self._most)

    def history_of(self, guard: Guard) -> History:
        """
        What is known of it.
        """
        return self._histories.setdefault(guard.name, History())

    def keep(self, guards: Sequence[Guard]) -> None:
        """
        Forget all others.
        """
        names = {guard.name for guard in guards}
        for name in [name for name in list(self._histories) if name not in names]:
            self._histories.pop(name, None)

    def renew_locks(self) -> None:
        for history in list(self._histories.values()):
            history.renew_lock()


class Feed:
    """
    Looks at the guards when somebody asks, and listens to them all the time.
    """

    def __init__(
        self, sources: Sequence[Guard | GuardSet], ready: Ready | None, label: Callable[[str], str] | None, most: int
    ) -> None:
        self._ready = ready or any_lets_through
        self._label = label or shown
        self._told_of_ready = False
        self._told_of_label = False
        self._watched = [Watched(source, most) for source in sources]
        self._lock = threading.Lock()
        self._looked_at = -math.inf
        self._seen: object = None
        self._view: View | None = None
        self._versions = itertools.count(1)
        self.look()
        _feeds.add(self)

    def close(self) -> None:
        """
        Listen no more.
        """
        for watched in self._watched:
            watched.unsubscribe()

    def look(self) -> View:
        """
        How they stand now, or stood up to a quarter of a second ago.
        """
        with self._lock:
            now = time.monotonic()
            if self._view is None or now - self._looked_at >= EVERY:
                self._looked_at = now
                self._view = self._write()
            return self._view

    def find(self, id: str) -> Guard | None:
        """
        The guard that the page calls *id*.
        """
        return next((guard for _, guard in self._all() if fingerprint(guard.name) == id), None)

    def looks_again(self) -> None:
        """
        Have the next look see what has just been done.
        """
        with self._lock:
            self._looked_at = -math.inf

    def _all(self) -> Iterator[tuple[Watched, Guard]]:
        for watched in self._watched:
            for guard in watched.guards()[0]:
                yield watched, guard

    def _write(self) -> View:
        ts = time.time()
        snapshots: list[Snapshot] = []
        told: list[dict[str, Any]] = []
        seen: list[object] = []
        hidden = 0
        for watched in self._watched:
            guards, others = watched.guards()
            watched.keep(guards)
            hidden += others
            for guard in guards:
                snapshot = guard.snapshot()
                history = watched.history_of(guard)
                history.saw(snapshot.state, engine_behind(guard).clock.wall())
                snapshots.append(snapshot)
                told.append(self._plain(guard, snapshot) | history.read())
                seen += (history, history.version, _still(snapshot))
        ready = self._is_ready(snapshots)
        seen.append(ready)
        version = next(self._versions) if self._view is None or seen != self._seen else self._view.version
        self._seen = seen
        document = {"version": 1, "ts": round(ts, 3), "ready": ready, "hidden": hidden, "guards": told}
        body = json.dumps(_finite(document), separators=(",", ":")).encode()
        return View(version, ready, body, b"id: %d\nevent: state\ndata: %b\n\n" % (version, body))

    def _plain(self, guard: Guard, snapshot: Snapshot) -> dict[str, Any]:
        plain = {"id": fingerprint(guard.name)} | dataclasses.asdict(snapshot)
        plain["name"] = self._name(guard)
        plain["budget_full"] = _full(guard)
        return plain

    def _name(self, guard: Guard) -> str:
        label: Any
        try:
            label = self._label(guard.name)
            if not isinstance(label, str):
                raise TypeError(f"label() must return a string, got a {type(label).__name__}")
        except Exception as error:
            if not self._told_of_label:
                self._told_of_label = True
                # Neither the name nor the error's text is repeated: they may hold what the label is there to hide.
                _logger.error(  # noqa: TRY400 - see above
                    "health: label() failed (%s); such guards are shown by their id; told once", type(error).__name__
                )
            return fingerprint(guard.name)
        else:
            return label

    def _is_ready(self, snapshots: Sequence[Snapshot]) -> bool:
        try:
            return bool(self._ready(snapshots))
        except Exception:
            if not self._told_of_ready:
                self._told_of_ready = True
                _logger.exception("health: ready() raised, which counts as not ready; told once")
            return False

    def renew_locks(self) -> None:
        """
        Go on in a forked child.
        """
        self._lock = threading.Lock()
        for watched in self._watched:
            watched.renew_locks()


def _still(snapshot: Snapshot) -> Snapshot:
    """
    A snapshot without what time alone moves on, and a page can move on by itself.
    """
    return dataclasses.replace(
        snapshot,
        retry_after=snapshot.retry_after and 1.0,
        open_seconds_today=0.0,
        orphan_calls=(),
    )


def _full(guard: Guard) -> int | None:
    """
    What the scarcest of its budgets holds when it is full; None where that is not known.
    """
    engine = engine_behind(guard)
    given = engine.given_budget
    budgets = given if isinstance(given, tuple) else (given,)
    buckets = [each for each in budgets if isinstance(each, TokenBucket)]
    if not buckets or len(buckets) < len(budgets):
        return None
    now = engine.clock.now()
    with engine.lock:
        return math.floor(min(buckets, key=lambda bucket: bucket.available(now)).capacity)


def _finite(value: Any) -> Any:
    """
    What JSON has no number for is null.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value


_feeds: weakref.WeakSet[Feed] = weakref.WeakSet()


def _after_fork() -> None:
    for feed in list(_feeds):
        feed.renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
