"""
What is kept of a guard's past is the right part of it, in bounded memory, whoever tells and reads at once.
"""

from __future__ import annotations

import gc
import threading
import tracemalloc

from hungframe import Guard, GuardSet
from hungframe.events import BreakerChanged, GenCancelled, GenFail, GenReject, GenRequest, GenSuccess
from hungframe.health import app
from hungframe.health.history import MOST_CALLS, MOST_EVENTS, SPAN, History


def test_last_calls() -> None:
    """
    The last hundred, by their ends.
    """
    history = History()
    for number in range(500):
        history(GenRequest(number, "images", str(number), None, None, None))
        history(GenSuccess(number, "images", str(number), 250))
    history(GenFail(500, "images", "500", "timeout", 5000, "clean", "app.py:3 in draw"))
    history(GenCancelled(501, "images", "501", 10))

    calls = history.read()["calls"]
    assert MOST_CALLS == len(calls)
    assert [(499, 0.25, "success"), (500, 5.0, "timeout"), (501, 0.01, "cancelled")] == calls[-3:]


def test_refusals_do_not_push_out_what_they_came_from() -> None:
    """
    Events of one kind are one entry, with a count, until the breaker turns.
    """
    history = History()
    history(BreakerChanged(1, "images", "open", 0.6))
    for number in range(2000):
        history(GenReject(2 + number, "images", "x", "circuit_open", 5))
        history(GenReject(2 + number, "images", "x", "bulkhead_full", 5))
    history(BreakerChanged(3000, "images", "closed", 0.0))
    history(GenReject(3001, "images", "x", "circuit_open", 5))

    told = [(event["evt"], event.get("reason"), event["count"]) for event in history.read()["events"]]
    assert [
        ("breaker.state", None, 1),
        ("gen.reject", "circuit_open", 2000),
        ("gen.reject", "bulkhead_full", 2000),
        ("breaker.state", None, 1),
        ("gen.reject", "circuit_open", 1),
    ] == told
    assert "guard" not in history.read()["events"][0]


def test_states_of_a_quarter_of_an_hour() -> None:
    """
    With the one in which it began; what snapshots see is kept as well as what was told.
    """
    history = History()
    for number, state in enumerate(["closed", "open", "half_open", "open", "half_open", "closed"]):
        history(BreakerChanged(100.0 * number, "images", state, None))
    history.saw("closed", 510.0)
    history.saw("open", 400.0 + SPAN)
    assert [(300.0, "open"), (400.0, "half_open"), (500.0, "closed"), (1300.0, "open")] == history.read()["states"]

    history.saw("open", 10_000.0)
    assert [(1300.0, "open")] == history.read()["states"]


def test_version_tells_of_changes() -> None:
    """
    It stays while there is nothing new to read.
    """
    history = History()
    history(GenRequest(1, "images", "1", None, None, None))
    before = history.read()
    version = history.version
    history(GenRequest(2, "images", "2", None, None, None))
    assert history.read() is before and version == history.version

    history(GenSuccess(3, "images", "1", 5))
    assert 1 == len(history.read()["calls"]) and version != history.version


def test_memory_is_bounded() -> None:
    """
    A hundred thousand events weigh no more than a thousand do, whether or not anybody reads.
    """

    def fill(history: History, times: int) -> None:
        for number in range(times):
            history(GenRequest(number, "images", f"id-{number}", None, None, None))
            history(GenFail(number, "images", f"id-{number}", "timeout", 5000, "clean", f"app.py:{number} in draw"))
            history(BreakerChanged(number, "images", "open" if number % 2 else "closed", 0.5))

    history = History()
    fill(history, 2000)
    gc.collect()
    tracemalloc.start()
    fill(history, 8000)
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert grown < 300_000
    assert MOST_EVENTS == len(history.read()["events"])


def test_told_while_it_is_read() -> None:
    """
    A thread that ends a call within a read, as the garbage collector may, neither waits nor loses an event.
    """
    history = History()
    with history._lock:
        for number in range(1000):
            history(GenSuccess(number, "images", "x", 5))
    assert 999 == history.read()["calls"][-1][0]


def test_many_threads() -> None:
    """
    Each event is counted once.
    """
    history = History()

    def tell() -> None:
        for number in range(2000):
            history(GenReject(number, "images", "x", "circuit_open", 5))

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        history.read()
    for thread in threads:
        thread.join()

    assert [8000] == [event["count"] for event in history.read()["events"]]


def test_a_set_of_many_guards() -> None:
    """
    Histories are kept of few: a set may have a hundred thousand guards.
    """
    guards = GuardSet("images", timeout=5, max_guards=2000)
    page = app(guards, most=5)
    for number in range(500):
        guards[number].call(str)
    watched = page._feed._watched[0]
    most = len(watched._histories)
    page._feed.looks_again()
    page._feed.look()

    assert 10 == most
    assert {f"images[{number}]" for number in range(495, 500)} == set(watched._histories)


def test_close_listens_no_more() -> None:
    """
    A page that is closed costs the guards nothing.
    """
    guard, guards = Guard("images"), GuardSet("sets")
    guards["eu"].call(str)
    page = app(guard, guards)
    assert guard._engine.sinks and guards["eu"]._engine.sinks

    page.close()

    assert not guard._engine.sinks and not guards["eu"]._engine.sinks and not guards["new"]._engine.sinks
