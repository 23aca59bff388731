"""
The JSON Schema of events, made from their classes: `python -m hungframe.telemetry.schema` writes it.
"""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from dataclasses import fields
from typing import Any, Final

from hungframe import events
from hungframe.events import Event, key_of

EVENTS_VERSION: Final = 1
"""Goes up when a reader of the JSON could break: see `event_schema`."""

_TYPES: Final[dict[Any, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}

# Durations and amounts are never negative; a wall clock may stand before 1970.
_SIGNED: Final = frozenset({"ts"})


def event_schema() -> dict[str, Any]:
    """
    Make the JSON Schema (2020-12) that every line of `Event.to_json` satisfies.

    The version stands in its `$id` and in `EVENTS_VERSION`, and in no event: a key that says the same in each line
    costs every reader, and helps only one that reads lines of several versions without knowing who wrote them. Within
    a version keys, kinds of events and words (of `kind`, `reason`, `state`, ...) are only added, so a reader that
    passes over what it does not know keeps working: unknown keys are allowed here for the same reason. What renames or
    removes a key, makes a required one optional, or gives one another type, unit or meaning, is another version.

    Returns:
        A fresh dict, of what `json.dumps` takes.

    >>> schema = event_schema()
    >>> schema["$id"]
    'urn:hungframe:events:1'
    >>> schema["$defs"]["gen.success"]["required"]
    ['evt', 'ts', 'guard', 'id', 'latencyMs']
    """
    kinds = event_classes()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:hungframe:events:{EVENTS_VERSION}",
        "title": "Events of hungframe",
        "description": "What Event.to_json() writes: one JSON object an event. Keys are only added within a version.",
        "oneOf": [{"$ref": f"#/$defs/{kind.evt}"} for kind in kinds],
        "$defs": {kind.evt: _schema_of(kind) for kind in kinds},
    }


def event_classes() -> list[type[Event]]:
    """
    All kinds of events, in the order in which `hungframe.events` defines them.
    """
    return [
        found for found in vars(events).values() if inspect.isclass(found) and issubclass(found, Event) and found.evt
    ]


def _schema_of(kind: type[Event]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    properties: dict[str, Any] = {"evt": {"const": kind.evt}}
    required = ["evt"]
    for field in fields(kind):
        key, hint = key_of(field.name), hints[field.name]
        known = [each for each in _members(hint) if each is not types.NoneType]
        if len(known) != 1 or known[0] not in _TYPES:
            raise TypeError(f"{kind.__name__}.{field.name} must be one of str, int, float, bool, or None, got {hint!r}")
        described: dict[str, Any] = {"type": _TYPES[known[0]]}
        if known[0] in (int, float) and field.name not in _SIGNED:
            described["minimum"] = 0
        properties[key] = described
        if len(_members(hint)) == 1:
            required.append(key)
    return {
        "type": "object",
        "description": " ".join(inspect.cleandoc(kind.__doc__ or "").split()),
        "properties": properties,
        "required": required,
    }


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(event_schema(), indent=2) + "\n")
