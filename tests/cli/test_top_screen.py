"""
What `hungframe top` draws: it fits into any terminal, tells states apart without colours, and lets nothing through that
a terminal would obey.
"""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rich", reason="rich is not installed")

from rich.console import Console

from hungframe.cli.top import card, drawing, screen
from hungframe.cli.top.reading import read
from hungframe.cli.top.screen import Scene, lines_of

NOW = 1_800_000_000.0


def guard(name: str = "images", **more: Any) -> dict[str, Any]:
    """
    A guard as a page tells it.
    """
    told: dict[str, Any] = {
        "id": "0" * 12,
        "name": name,
        "state": "open",
        "failure_rate": 0.57,
        "budget": 2,
        "budget_full": 20,
        "timeout": 2.0,
        "p95": 1.3,
        "in_flight": 3,
        "waiting": 1,
        "slots": 8,
        "suspects": 1,
        "orphans": 2,
        "orphan_calls": [
            {"age": 5.0, "where": "ssl.py:1166 in read < http.py:2 in get < draw.py:12 in draw"},
            {"age": 61.0, "where": "ssl.py:1166 in read < http.py:2 in get < draw.py:12 in draw"},
        ],
        "retry_after": 12.0,
        "open_seconds_today": 75.0,
        "calls": [[NOW - 60 + i, 0.02 * (i + 1), "success"] for i in range(40)] + [[NOW - 9, 2.0, "timeout"]] * 3,
        "states": [[NOW - 700, "closed"], [NOW - 300, "open"], [NOW - 200, "half_open"], [NOW - 190, "closed"]],
        "events": [
            {"evt": "breaker.state", "ts": NOW - 20, "count": 1, "state": "open", "failureRate": 0.57},
            {"evt": "gen.reject", "ts": NOW - 1, "count": 28, "reason": "circuit_open"},
        ],
    }
    return told | more


def document(*guards: Any, **more: Any) -> dict[str, Any]:
    return {"version": 1, "ts": NOW, "ready": True, "hidden": 0, "guards": list(guards), **more}


def scene(told: dict[str, Any], age: float = 0.0, away: str | None = None) -> Scene:
    return Scene("http://a/health", read(told), age, NOW + age, away, NOW)


def text_of(told: dict[str, Any], width: int = 80, height: int | None = 24, plain: bool = False, **more: Any) -> str:
    return "\n".join(line.plain for line in lines_of(scene(told, **more), width, height, plain))


def test_a_guard() -> None:
    """
    All that an engineer on call asks: state, since when, how slow, what is left, what hangs where, what happened.
    """
    told = text_of(document(guard()), 120, 40)
    for words in (
        "■ images  Open, next try in 12 s",
        "in flight 3 of 8   waiting 1   suspects 1   left behind 2   failing 57 %",
        "open today 1 min 15 s",
        "P95 1.3 s, timeout 2 s",
        "40 answered",
        "× 3 timed out",
        "2 of 20 tokens left",
        "2 for up to 1 min 1 s: ssl.py:1166 in read < ... < draw.py:12 in draw",
        "Breaker opened, 57 % failed",
        "Refused: the breaker is open x 28",
    ):
        assert words in told


def test_time_moves_on() -> None:
    """
    What time alone changes goes on between two looks, and while the page is away.
    """
    told = text_of(document(guard()), 120, 40, age=8.0, away="connection refused")
    assert "next try in 4 s" in told and "open today 1 min 23 s" in told and "2 for up to 1 min 9 s" in told
    assert "for 8 s: connection refused" in told and "What follows is 8 s old." in told
    assert "ready" not in told
    assert "next call is the probe" in text_of(document(guard()), age=20.0)


@settings(max_examples=15, deadline=None)
@given(
    width=st.integers(10, 250),
    height=st.integers(1, 70),
    guards=st.integers(0, 15),
    plain=st.booleans(),
    away=st.sampled_from([None, "connection refused"]),
)
def test_it_fits(width: int, height: int, guards: int, plain: bool, away: str | None) -> None:
    """
    No terminal is too small; where not all guards fit it is said how many are missing; the plain one gets ASCII only.
    """
    told = document(*(guard(f"guard-{i}-日本") for i in range(guards)))
    output = io.BytesIO()
    encoded = io.TextIOWrapper(output, encoding="ascii" if plain else "utf-8")
    console = Console(file=encoded, force_terminal=True, color_system=None, width=width, height=height, highlight=False)
    console.print(scene(told, away=away))
    encoded.flush()
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue().decode())
    lines = drawn.splitlines()
    assert len(lines) <= height
    assert all(console.measure(line).maximum <= width for line in lines)
    shown = sum("guard-" in line for line in lines_text(told, 200, 10))
    assert shown == guards or f"and {guards - shown} more" in "\n".join(lines_text(told, 200, 10))


def lines_text(told: dict[str, Any], width: int, height: int) -> list[str]:
    lines = text_of(told, width, height).splitlines()
    # Two beside each other are two.
    return [part for line in lines for part in re.split(r"(?=[■#] guard-)", line) if part]


@pytest.mark.parametrize(
    "more", [{}, {"calls": []}, {"budget": None}, {"orphan_calls": []}, {"events": []}, {"states": []}]
)
def test_a_card_is_as_high_as_it_says(more: dict[str, Any]) -> None:
    """
    What fits is found without drawing it.
    """
    standing = read(document(guard(**more))).guards[0]
    for detail in screen._DETAILS:
        assert card.height(standing, detail) == len(card.card(standing, detail, 80, NOW, 0.0, plain=False))


def test_the_worst_is_seen_where_not_all_are() -> None:
    """
    Of a hundred guards the one whose breaker is open comes first.
    """
    fine = [guard(f"fine-{i}", state="closed", orphans=0, suspects=0) for i in range(100)]
    told = text_of(document(*fine, guard("broken"))).splitlines()
    assert "broken" in told[2] and "Open" in told[2]
    assert "and 80 more" == told[-1] and 24 == len(told)


@pytest.mark.parametrize("plain", [False, True])
def test_an_outage_of_a_second_is_drawn(plain: bool) -> None:
    """
    Each state has a sign of its own, and the gravest in a column wins.
    """
    states = [(NOW - 800, "closed"), (NOW - 400, "open"), (NOW - 399, "half_open"), (NOW - 398, "closed")]
    drawn = drawing.timeline(states, NOW, 30, plain).plain
    assert 30 == len(drawn) and "..." == drawn[:3]
    assert 1 == drawn.count("#" if plain else "█")
    for signs in (drawing.SHAPES, drawing.PLAIN_SHAPES):
        assert len(set(signs.values())) == len(drawing.STYLES.keys() & signs.keys())


def test_latency_beside_the_timeout() -> None:
    """
    The strip is full at the timeout, newest call at the right, and what failed is a mark.
    """
    calls = [[NOW, 2.0, "success"], [NOW, 0.2, "success"], [NOW, 2.0, "timeout"], [NOW, 0.1, "5xx"]]
    standing = read(document(guard(calls=calls))).guards[0]
    assert ["      █▄×!"] == [line.plain for line in drawing.latency(standing, 10, 1, plain=False)]
    assert ["  █ × ", "  ██ !"] == [line.plain for line in drawing.latency(standing, 6, 2, plain=False)]


def test_no_escape_reaches_the_terminal() -> None:
    """
    Names and places come from elsewhere: what a terminal would obey is a question mark, and brackets are no markup.
    """
    evil = "a\x1b]0;owned\x07\x9b2J\u202e[red]b[/red]\r\n"
    told = document(
        guard(
            evil,
            state=evil,
            orphan_calls=[{"age": 1, "where": evil}],
            calls=[[NOW, 1, evil]],
            states=[[NOW - 9, evil]],
            events=[{"evt": evil, "ts": NOW, "count": 1}, {"evt": "gen.fail", "kind": evil, "where": evil, "ts": NOW}],
        )
    )
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=300, height=60)
    console.print(scene(told))
    assert isinstance(console.file, io.StringIO)
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())
    assert "a?]0;owned??2J?[red]b[/red]??" in drawn
    assert all(each.isprintable() or each == "\n" for each in drawn)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(guard())), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(sorted(guard())), value=ANY, top=ANY, plain=st.booleans())
def test_whatever_the_page_says(name: str, value: Any, top: Any, plain: bool) -> None:
    """
    A document with something else where a number or a list should be is shown as well as it can be.
    """
    for told in (
        document(guard(**{name: value}), value),
        document(guard(events=[{"evt": "gen.fail", "ts": value, "count": value, "latencyMs": value, "kind": value}])),
        document(guard(calls=[[NOW, value, value]], states=[[value, value]], orphan_calls=[{"age": value}])),
        document(hidden=value, ready=value, ts=value) | {"guards": top},
        {"workers": [{"worker": value, "snapshot": top}], "queue": value, "reasons": value},
    ):
        text_of(told, plain=plain)


@pytest.mark.parametrize(
    "value",
    [10**400, 1e308, float("inf"), float("nan"), -(10**400), True, "1", None, [], {}],
    ids=lambda value: repr(value)[:8],
)
def test_numbers_that_are_none(value: Any) -> None:
    """
    Python's JSON knows numbers that cannot be reckoned with.
    """
    event = {"evt": "gen.fail", "kind": "timeout", "ts": value, "count": value, "latencyMs": value, "where": value}
    opened = {"evt": "breaker.state", "state": "open", "failureRate": value}
    paused = {"evt": "budget.paused", "pausedMs": value}
    numbers = {name: value for name, each in guard().items() if isinstance(each, (int, float))}
    more: dict[str, Any] = {
        "events": [event, opened, paused],
        "calls": [[value, value, "success"]],
        "states": [[value, "open"]],
        "orphan_calls": [{"age": value, "where": "a.py:1 in f"}],
    }
    drawn = text_of(document(guard(**numbers, **more), ts=value, hidden=value), 120, 40)
    assert "images  Open" in drawn and "No answer after some time" in drawn


def test_the_workers_of_the_images_example() -> None:
    """
    /internal/gen-health of examples/images, which has a snapshot a worker, reads as well.
    """
    from hungframe import Guard

    told = {
        "ready": False,
        "reasons": ["all-breakers-open"],
        "workers": [
            {"worker": f"w{i}", "seen_seconds_ago": 0.4, "snapshot": json.loads(Guard("draw").snapshot().to_json())}
            for i in (1, 2)
        ],
        "queue": {"counts": {"queued": 3, "dead": 1}, "oldest_seconds": 12.5},
    }
    drawn = text_of(told)
    assert "NOT READY" in drawn and "all-breakers-open" in drawn and "queue: queued 3, dead 1, oldest 12 s" in drawn
    assert "● w1: draw  Closed" in drawn and "● w2: draw  Closed" in drawn
