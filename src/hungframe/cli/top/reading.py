"""
Health documents, as this command understands them: what is missing or of another kind is left out, and never an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What is larger is no number of calls or seconds, and would be an error to reckon with; NaN is no number either.
_MOST = 1e15


@dataclass(frozen=True)
class Standing:
    """
    How one guard stands; durations are seconds, instants Unix time, None what is not known.
    """

    name: str
    state: str
    failure_rate: float
    budget: float | None
    budget_full: float | None
    timeout: float | None
    p95: float | None
    in_flight: int
    waiting: int
    slots: int | None
    suspects: int
    orphans: int
    left: tuple[tuple[str, tuple[float, ...]], ...]
    """Where callees hang that were left behind, and their ages."""
    retry_after: float | None
    open_seconds_today: float
    calls: tuple[tuple[float, str], ...]
    """Seconds and outcome of the last ones, oldest first."""
    states: tuple[tuple[float, str], ...]
    """Since when it was in which state, oldest first."""
    events: tuple[Mapping[str, Any], ...]
    """Oldest first."""


@dataclass(frozen=True)
class Reading:
    """
    One document.
    """

    ts: float | None
    ready: bool
    guards: tuple[Standing, ...]
    notes: tuple[str, ...] = ()
    """What it says besides."""


def read(document: Mapping[str, Any]) -> Reading:
    """
    Understand what /health.json of `hungframe.health` answers, or /internal/gen-health of examples/images.

    >>> reading = read({"ready": True, "guards": [{"name": "images", "state": "closed", "in_flight": 2}]})
    >>> reading.guards[0].in_flight, reading.guards[0].timeout
    (2, None)
    """
    notes: list[str] = []
    hidden = _whole(document, "hidden")
    if hidden:
        notes.append(f"{hidden:,} more guards of sets, not used lately")
    if "guards" in document:
        guards = [_standing(each) for each in _maps(document, "guards")]
    else:
        guards = []
        for worker in _maps(document, "workers"):
            snapshot = worker.get("snapshot")
            if isinstance(snapshot, dict):
                name = f"{_text(worker, 'worker')}: {_text(snapshot, 'name')}"
                guards.append(_standing({**snapshot, "name": name}))
        notes += [clean(each) for each in _list(document, "reasons")]
        notes += _queue(document.get("queue"))
    return Reading(_number(document, "ts"), document.get("ready") is True, tuple(guards), tuple(notes))


def clean(value: object) -> str:
    """
    Text from somewhere else, with nothing in it that a terminal obeys.

    >>> clean("a\\x1b[2Jb")
    'a?[2Jb'
    """
    text = value if isinstance(value, str) else "?"
    return "".join(each if each.isprintable() else "?" for each in text)


def _standing(guard: Mapping[str, Any]) -> Standing:
    slots = _number(guard, "slots")
    return Standing(
        name=_text(guard, "name"),
        state=_text(guard, "state"),
        failure_rate=_number(guard, "failure_rate") or 0.0,
        budget=_number(guard, "budget"),
        budget_full=_number(guard, "budget_full"),
        timeout=_number(guard, "timeout"),
        p95=_number(guard, "p95"),
        in_flight=_whole(guard, "in_flight"),
        waiting=_whole(guard, "waiting"),
        slots=None if slots is None else int(slots),
        suspects=_whole(guard, "suspects"),
        orphans=_whole(guard, "orphans"),
        left=_left(guard),
        retry_after=_number(guard, "retry_after"),
        open_seconds_today=_number(guard, "open_seconds_today") or 0.0,
        calls=tuple((row[1], clean(row[2])) for row in _rows(guard, "calls", 3) if _is_number(row[1])),
        states=tuple((row[0], clean(row[1])) for row in _rows(guard, "states", 2) if _is_number(row[0])),
        events=tuple(
            {
                key: clean(each) if isinstance(each, str) else each
                for key, each in event.items()
                if isinstance(each, str) or _is_number(each)
            }
            for event in _maps(guard, "events")
        ),
    )


def _left(guard: Mapping[str, Any]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    places: dict[str, list[float]] = {}
    for orphan in _maps(guard, "orphan_calls"):
        places.setdefault(_text(orphan, "where"), []).append(_number(orphan, "age") or 0.0)
    return tuple((where, tuple(sorted(ages, reverse=True))) for where, ages in places.items())


def _queue(queue: object) -> list[str]:
    if not isinstance(queue, dict):
        return []
    counts = queue.get("counts")
    told = (
        [f"{clean(name)} {each}" for name, each in counts.items() if _is_number(each)]
        if isinstance(counts, dict)
        else []
    )
    oldest = _number(queue, "oldest_seconds")
    if oldest is not None:
        told.append(f"oldest {oldest:.0f} s")
    return [f"queue: {', '.join(told)}"] if told else []


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _MOST


def _number(source: Mapping[str, Any], name: str) -> float | None:
    value = source.get(name)
    return value if _is_number(value) else None


def _whole(source: Mapping[str, Any], name: str) -> int:
    return int(_number(source, name) or 0)


def _text(source: Mapping[str, Any], name: str) -> str:
    return clean(source.get(name, "?"))


def _list(source: Mapping[str, Any], name: str) -> list[Any]:
    value = source.get(name)
    return value if isinstance(value, list) else []


def _maps(source: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return [each for each in _list(source, name) if isinstance(each, dict)]


def _rows(source: Mapping[str, Any], name: str, columns: int) -> list[list[Any]]:
    return [each for each in _list(source, name) if isinstance(each, list) and len(each) >= columns]
