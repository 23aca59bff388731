"""
The JSON Schema of events holds for what guards really tell, and the published file is what the classes say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hungframe import events
from hungframe.events import Event
from hungframe.telemetry import schema
from tests.telemetry.each_kind import all_kinds

PUBLISHED = Path(__file__).parents[2] / "docs" / "reference" / "events.schema.json"


def validator() -> Any:
    """
    What checks one event.
    """
    jsonschema = pytest.importorskip("jsonschema")
    return jsonschema.Draft202012Validator(schema.event_schema())


def test_real_events_of_all_kinds_satisfy_it() -> None:
    """
    Every kind is told once at least, and each event is valid, with no key that the schema does not name.
    """
    check = validator()
    kinds = schema.event_schema()["$defs"]

    told = [json.loads(event.to_json()) for event in all_kinds()]

    assert set(kinds) == {event["evt"] for event in told}
    for event in told:
        assert [] == [error.message for error in check.iter_errors(event)]
        assert event.keys() <= kinds[event["evt"]]["properties"].keys()


def test_it_is_a_schema() -> None:
    """
    It satisfies the meta-schema of its draft.
    """
    check = validator()

    check.check_schema(check.schema)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("evt", "gen.succes"),
        ("ts", "2026-01-01"),
        ("id", 7),
        ("latencyMs", 1.5),
        ("latencyMs", -1),
        ("latencyMs", "1"),
        ("guard", None),
    ],
)
def test_it_refuses_what_is_no_event(key: str, value: object) -> None:
    """
    A wrong type, unit or name is found; so is a key that is missing.
    """
    check = validator()
    good = {"evt": "gen.success", "ts": 1.5, "guard": "images", "id": "7f-1", "latencyMs": 3}

    assert check.is_valid(good)
    assert not check.is_valid({**good, key: value})
    assert not check.is_valid({k: v for k, v in good.items() if k != key})


def test_unknown_keys_are_allowed() -> None:
    """
    A reader with the schema of today takes the events of a later release of the same version.
    """
    assert validator().is_valid(
        {"evt": "gen.success", "ts": 1.5, "guard": "images", "id": "7f-1", "latencyMs": 3, "more": [1]}
    )


def test_published_file_is_up_to_date() -> None:
    """
    `python -m hungframe.telemetry.schema > docs/reference/events.schema.json` was run after the last change.
    """
    assert schema.event_schema() == json.loads(PUBLISHED.read_text(encoding="utf-8"))


def test_a_field_that_json_has_no_simple_type_for_is_found() -> None:
    """
    Whoever adds one is told.
    """

    @dataclass(frozen=True, slots=True)
    class Odd(Event):
        evt: ClassVar[str] = "odd"
        parts: list[str]

    with pytest.raises(TypeError, match=r"Odd\.parts must be one of str, int, float, bool, or None"):
        schema._schema_of(Odd)


def test_version_names_what_is_required() -> None:
    """
    What version 1 promises to be there is there for as long as it is version 1.
    """
    promised = {
        "gen.request": {"id"},
        "gen.success": {"id", "latencyMs"},
        "gen.fail": {"id", "kind", "latencyMs"},
        "gen.reject": {"id", "reason"},
        "gen.cancelled": {"id", "latencyMs"},
        "gen.retry": {"kind", "attempt", "delayMs"},
        "gen.hedge": {"attempt", "afterMs"},
        "gen.fallback": {"kind"},
        "gen.abandoned": {"id", "orphans", "where"},
        "breaker.state": {"state"},
        "budget.paused": {"pausedMs"},
        "probe.scheduled": {"kind"},
        "probe.result": {"id", "kind", "outcome", "latencyMs", "noStore"},
        "loop.blocked": {"blockedMs", "where"},
        "queue.deadletter": {"jobId", "reason"},
    }
    kinds = schema.event_schema()["$defs"]

    assert 1 == schema.EVENTS_VERSION
    for evt, keys in promised.items():
        assert {"evt", "ts", "guard"} | keys <= set(kinds[evt]["required"])
    assert events.GenRequest in schema.event_classes()
