"""
LogSink: a sentence for people, the event's fields for machines, and a level by what happened.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from hungframe import Guard
from hungframe.events import BreakerChanged, BudgetPaused, Event, GenAbandoned, GenFail, GenSuccess
from hungframe.telemetry.logging import LEVELS, LogSink
from hungframe.telemetry.schema import event_classes, event_schema
from tests.telemetry.each_kind import all_kinds

SUCCESS = GenSuccess(1.5, "images", "7f-1", 48213)


def records(event: Event, levels: Any = None) -> list[logging.LogRecord]:
    """
    What is written of *event*.
    """
    logger, kept = logging.getLogger("tests.telemetry"), Keeps()
    logger.setLevel(logging.DEBUG)
    logger.addHandler(kept)
    try:
        LogSink(logger, levels)(event)
    finally:
        logger.removeHandler(kept)
    return kept.records


class Keeps(logging.Handler):
    """
    A handler that keeps its records.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()
        self.records.append(record)


def test_no_key_is_one_of_a_record() -> None:
    """
    Whatever an event holds, `logging` takes it as `extra`: it refuses keys that a record has itself.
    """
    reserved = vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "taskName"}

    keys = {key for kind in event_schema()["$defs"].values() for key in kind["properties"]}

    assert set() == reserved & keys


def test_all_kinds_are_written() -> None:
    """
    Each real event becomes one record, with the fields of its JSON, and a sentence that names the guard.
    """
    for event in all_kinds():
        (record,) = records(event)
        told = json.loads(event.to_json())
        assert told == {key: getattr(record, key) for key in told}
        assert record.getMessage().startswith(f"guard {event.guard!r}: ")
        assert event.evt not in record.getMessage()


def test_every_event_has_a_level() -> None:
    """
    None was forgotten, and no key names what is not there.
    """
    assert {kind.evt for kind in event_classes()} == {key.partition(":")[0] for key in LEVELS}


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (SUCCESS, logging.DEBUG),
        (GenFail(1.5, "images", "7f-1", "timeout", 60000, None, None), logging.WARNING),
        (BreakerChanged(1.5, "images", "open", 0.67), logging.ERROR),
        (BreakerChanged(1.5, "images", "half_open", None), logging.WARNING),
        (BreakerChanged(1.5, "images", "closed", None), logging.INFO),
    ],
)
def test_levels(event: Event, level: int) -> None:
    """
    What went well is for the debugger, an open breaker for whoever is on duty.
    """
    assert [level] == [record.levelno for record in records(event)]


def test_levels_can_be_changed() -> None:
    """
    By event, and by event and word, of which the latter wins; None writes nothing.
    """
    levels = {"gen.fail:4xx": None, "gen.fail": logging.CRITICAL, "gen.success": logging.INFO}
    client, timeout = (GenFail(1.5, "images", "7f-1", kind, 3, None, None) for kind in ("4xx", "timeout"))

    assert [] == records(client, levels)
    assert [logging.CRITICAL] == [record.levelno for record in records(timeout, levels)]
    assert [logging.INFO] == [record.levelno for record in records(SUCCESS, levels)]


def test_sentence_is_template_and_values() -> None:
    """
    All events of a kind have one template, by which they can be grouped.
    """
    (record,) = records(GenFail(1.5, "images", "7f-1", "timeout", 60004, "orphan", "draw.py:7 in draw"))

    assert "guard %r: call failed after %.3f s: %s; it was aborted (%s) in %s" == record.msg
    assert (
        "guard 'images': call failed after 60.004 s: timeout; it was aborted (orphan) in draw.py:7 in draw"
        == record.getMessage()
    )


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (GenFail(1.5, "images", "7f-1", "timeout", 60004, "clean", ""), "timeout; it was aborted (clean)"),
        (GenAbandoned(1.5, "images", "7f-1", 1, ""), "callee left behind; 1 run now"),
        (
            GenAbandoned(1.5, "images", "7f-1", 1, "draw.py:7 in draw"),
            "callee left behind in draw.py:7 in draw; 1 run now",
        ),
        (BudgetPaused(1.5, "images", 5000), "calls are paused for 5.000 s, after a 429 or by hand"),
    ],
)
def test_a_sentence_says_what_is_known(event: Event, said: str) -> None:
    """
    A callee such as time.sleep hangs in no Python code; a pause may be the provider's or `Guard.pause()`.
    """
    (record,) = records(event)

    assert record.getMessage().endswith(said)


def test_an_event_of_your_own_is_written() -> None:
    """
    A kind that hungframe does not know has its name for a sentence.
    """

    class Own(Event):
        evt = "own.thing"

    (record,) = records(Own(1.5, "images"))
    assert (logging.INFO, "guard 'images': own.thing") == (record.levelno, record.getMessage())


def test_nothing_is_made_of_what_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Below the logger's level neither sentence nor fields are made.
    """
    logger = logging.getLogger("tests.telemetry")
    logger.setLevel(logging.INFO)
    monkeypatch.setattr(GenSuccess, "to_dict", None)

    LogSink(logger)(SUCCESS)


def test_default_logger(caplog: pytest.LogCaptureFixture) -> None:
    """
    Without a logger it is hungframe.events.
    """
    with caplog.at_level(logging.DEBUG, "hungframe.events"):
        Guard("images", sinks=[LogSink()]).call(str)

    assert [("hungframe.events", "DEBUG")] * 2 == [(record.name, record.levelname) for record in caplog.records]


def test_structlog_finds_the_fields() -> None:
    """
    structlog's ExtraAdder and JSONRenderer make one JSON line, with the keys of the event.
    """
    structlog = pytest.importorskip("structlog")
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ExtraAdder(),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ]
    )

    (record,) = records(SUCCESS)
    line = json.loads(formatter.format(record))

    assert json.loads(SUCCESS.to_json()).items() <= line.items()
    assert "guard 'images': call succeeded after 48.213 s" == line["event"]


@pytest.mark.parametrize(
    ("levels", "error", "message"),
    [
        ({"gen.sucess": 10}, ValueError, "no event is named 'gen.sucess'"),
        ({"gen.hedge:timeout": 10}, ValueError, "gen.hedge has no word to tell apart"),
        ({"gen.fail": "WARNING"}, TypeError, r"levels\['gen.fail'\] must be a level such as logging.INFO, or None"),
        ({"gen.fail": True}, TypeError, r"levels\['gen.fail'\] must be"),
    ],
)
def test_wrong_levels(levels: Any, error: type[Exception], message: str) -> None:
    """
    A key that would never be looked at is refused.
    """
    with pytest.raises(error, match=message):
        LogSink(levels=levels)


@pytest.mark.parametrize("logger", ["hungframe", logging.LoggerAdapter(logging.getLogger("x"), {})])
def test_wrong_logger(logger: Any) -> None:
    """
    A name is no logger, and an adapter would replace the fields.
    """
    with pytest.raises(TypeError, match="logger must be a logging.Logger"):
        LogSink(logger)
