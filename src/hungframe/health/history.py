"""
What one guard has done lately, in bounded memory: its last calls, its last events, its states.

A call that tells an event appends it to a deque, and from time to time pays for folding what waits there. No lock is
waited for then: the garbage collector may end a call, and tell of it, in the thread that holds it.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from typing import Any

from hungframe.events import (
    BreakerChanged,
    Event,
    GenCancelled,
    GenFail,
    GenRequest,
    GenSuccess,
    OperatorActed,
)

SPAN = 900.0
"""Seconds of states that are kept."""

MOST_CALLS = 100
MOST_EVENTS = 24
_MOST_STATES = 200

# Events that wait to be folded before a call folds them, and the most that may wait: while one folds, others append.
_FOLD_AT = 256
_MOST_WAITING = 4096

# Kinds of events that begin a new chapter: what is told after them is not added up with what was told before.
_CHAPTERS = (BreakerChanged, OperatorActed)


class Told:
    """
    An event, and how often one of its kind was told in a row.
    """

    __slots__ = ("count", "event", "kind")

    def __init__(self, event: Event, kind: tuple[str, object]) -> None:
        self.event = event
        self.kind = kind
        self.count = 1

    def plain(self) -> dict[str, Any]:
        """
        The event as JSON has it, without the guard's name, and with the count.
        """
        told: dict[str, Any] = json.loads(self.event.to_json())
        del told["guard"]
        told["count"] = self.count
        return told


class History:
    """
    A sink that keeps the last of each. Any thread may tell it an event, and any thread may read.

    >>> from hungframe import Guard
    >>> history, guard = History(), Guard("images")
    >>> unsubscribe = guard.subscribe(history)
    >>> guard.call(str.upper, "done")
    'DONE'
    >>> [outcome for ts, seconds, outcome in history.read()["calls"]]
    ['success']
    """

    __slots__ = ("_calls", "_events", "_lock", "_plain", "_states", "_waiting", "version")

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque(maxlen=_MOST_WAITING)
        self._calls: deque[tuple[float, float, str]] = deque(maxlen=MOST_CALLS)
        self._events: deque[Told] = deque(maxlen=MOST_EVENTS)
        self._states: deque[tuple[float, str]] = deque(maxlen=_MOST_STATES)
        self._plain: dict[str, Any] | None = None
        self.version = 0
        """Changes with what `read` returns."""
        self.renew_lock()

    def renew_lock(self) -> None:
        """
        Go on in a forked child: another thread may have held the lock, and will never release it here.
        """
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        waiting = self._waiting
        waiting.append(event)
        if len(waiting) >= _FOLD_AT and self._lock.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self._lock.release()

    def saw(self, state: str, ts: float) -> None:
        """
        Note the state that a snapshot shows: a breaker becomes half-open by time alone, and tells it to nobody.
        """
        with self._lock:
            self._fold()
            self._turn(state, ts)

    def read(self) -> dict[str, Any]:
        """
        What it keeps, oldest first: `calls`, `states`, `events`.
        """
        with self._lock:
            self._fold()
            if self._plain is None:
                self._plain = {
                    "calls": list(self._calls),
                    "states": list(self._states),
                    "events": [told.plain() for told in self._events],
                }
            return self._plain

    def _fold(self) -> None:
        waiting = self._waiting
        folded = False
        while True:
            try:
                event = waiting.popleft()
            except IndexError:
                break
            if not isinstance(event, GenRequest):
                self._take(event)
                folded = True
        if folded:
            self._changed()

    def _changed(self) -> None:
        self.version += 1
        self._plain = None

    def _take(self, event: Event) -> None:
        if isinstance(event, GenSuccess):
            self._calls.append((round(event.ts, 3), event.latency_ms / 1000, "success"))
            return
        if isinstance(event, GenCancelled):
            self._calls.append((round(event.ts, 3), event.latency_ms / 1000, "cancelled"))
            return
        if isinstance(event, GenFail):
            self._calls.append((round(event.ts, 3), event.latency_ms / 1000, event.kind))
        elif isinstance(event, BreakerChanged):
            self._turn(event.state, event.ts)
        self._tell(event)

    def _tell(self, event: Event) -> None:
        """
        Keep an event; with one of its kind since the last chapter it is added up, so that a thousand refusals do not
        push out what they came from.
        """
        kind = (event.evt, getattr(event, "kind", None) or getattr(event, "reason", None))
        if isinstance(event, _CHAPTERS):
            self._events.append(Told(event, kind))
            return
        for told in reversed(self._events):
            if isinstance(told.event, _CHAPTERS):
                break
            if told.kind == kind:
                self._events.remove(told)
                told.event = event
                told.count += 1
                self._events.append(told)
                return
        self._events.append(Told(event, kind))

    def _turn(self, state: str, ts: float) -> None:
        states = self._states
        if not states or states[-1][1] != state:
            states.append((round(ts, 3), state))
            self._changed()
        # The one before the span says how it stood when the span began.
        while len(states) > 1 and states[1][0] < ts - SPAN:
            states.popleft()
            self._changed()
