"""
The JSON Schema of what `/health.json` answers: `python -m hungframe.health.schema` writes it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from hungframe._core.outcome import Outcome
from hungframe._core.states import BreakerState

HEALTH_VERSION = 1
"""Goes up when a reader of the JSON could break; names are only added within a version."""

_SECONDS = {"type": "number", "minimum": 0}
_COUNT = {"type": "integer", "minimum": 0}
_OUTCOMES = [outcome.value for outcome in Outcome]
_STATES = [state.value for state in BreakerState]


def health_schema() -> dict[str, Any]:
    """
    Make the JSON Schema (2020-12) of the health document.

    Returns:
        A fresh dict, of what `json.dumps` takes.

    >>> health_schema()["required"]
    ['version', 'ts', 'ready', 'hidden', 'guards']
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:hungframe:health:{HEALTH_VERSION}",
        "title": "Health of hungframe's guards",
        "description": "What /health.json answers, and each `state` event of /events. Durations are seconds.",
        **_object(
            version={"const": HEALTH_VERSION},
            ts={"type": "number", "description": "Unix time of this document."},
            ready={"type": "boolean", "description": "What probes are told by the status: 200, or else 503."},
            hidden={**_COUNT, "description": "Guards of sets that were not used lately, and are not below."},
            guards={"type": "array", "items": _guard()},
        ),
    }


def _guard() -> dict[str, Any]:
    return _object(
        id={"type": "string", "description": "Names the guard in requests of an operator."},
        name={"type": "string"},
        state={"enum": _STATES},
        failure_rate={"type": "number", "minimum": 0, "maximum": 1},
        weight=_SECONDS,
        budget={
            **_or_null({"type": "integer"}),
            "description": "Whole tokens that are left; below 0 where some are owed.",
        },
        budget_full={**_or_null(_COUNT), "description": "What it holds when it is full, where that is known."},
        timeout=_or_null(_SECONDS),
        p95=_or_null(_SECONDS),
        in_flight=_COUNT,
        waiting=_COUNT,
        slots=_or_null(_COUNT),
        suspects=_COUNT,
        orphans=_COUNT,
        orphan_calls={"type": "array", "items": _object(age=_SECONDS, where={"type": "string"})},
        retry_after=_or_null(_SECONDS),
        generation=_COUNT,
        open_seconds_today=_SECONDS,
        counts={"type": "object", "properties": dict.fromkeys(_OUTCOMES, _COUNT), "required": _OUTCOMES},
        faults=_COUNT,
        calls={
            "description": "The last calls, oldest first: Unix time of the end, seconds, outcome.",
            **_rows({"type": "number"}, _SECONDS, {"enum": _OUTCOMES}),
        },
        states={
            "description": "The breaker's states in the last 15 minutes, oldest first: Unix time of the begin, state.",
            **_rows({"type": "number"}, {"enum": _STATES}),
        },
        events={
            "description": "The last events, oldest first, but those of answers; those of one kind in one, counted.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"evt": {"type": "string"}, "ts": {"type": "number"}, "count": {"type": "integer"}},
                "required": ["evt", "ts", "count"],
            },
        },
    )


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _rows(*columns: dict[str, Any]) -> dict[str, Any]:
    row = {"type": "array", "prefixItems": list(columns), "minItems": len(columns), "maxItems": len(columns)}
    return {"type": "array", "items": row}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(health_schema(), indent=2) + "\n")
