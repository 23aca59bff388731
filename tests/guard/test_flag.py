"""
GEN_BREAKER_ENABLED, and `enabled=`: off means that the breaker watches, tells, and refuses nobody (R13).
"""

from __future__ import annotations

import json
import logging

import pytest

from hungframe import BudgetExhaustedError, CircuitBreaker, CircuitOpenError, Guard, TokenBucket
from hungframe.testing import RecordingSink, VirtualClock
from tests.guard.fakes import fail, open_by_timeouts

VARIABLE = "GEN_BREAKER_ENABLED"


@pytest.mark.parametrize("off", ["false", "False", " FALSE ", "0", "no", "off"])
def test_off_admits_and_tells(monkeypatch: pytest.MonkeyPatch, off: str) -> None:
    """
    With the variable off an open breaker lets the call through, and its request says what it would have been told.
    """
    sink = RecordingSink()
    guard = Guard("images", sinks=[sink])
    open_by_timeouts(guard)
    sink.clear()
    monkeypatch.setenv(VARIABLE, off)

    assert "in" == guard.call(lambda: "in")

    request, success = (json.loads(event.to_json()) for event in sink.events)
    assert ("gen.request", "circuit_open") == (request["evt"], request["wouldReject"])
    assert "gen.success" == success["evt"]
    assert "disabled" == guard.snapshot().state
    assert not guard.health.should_open_circuit()


@pytest.mark.parametrize("on", ["true", "1", "yes", "ON", ""])
def test_on_refuses(monkeypatch: pytest.MonkeyPatch, on: str) -> None:
    """
    With the variable on an open breaker refuses.
    """
    monkeypatch.setenv(VARIABLE, on)
    guard = Guard("images")
    open_by_timeouts(guard)

    with pytest.raises(CircuitOpenError):
        guard.acquire()


def test_read_again_at_every_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whoever sets the variable while the program runs is obeyed by the very next call, both ways.
    """
    guard = Guard("images")
    open_by_timeouts(guard)

    for value, admits in [("false", True), ("true", False), ("false", True), ("true", False)]:
        monkeypatch.setenv(VARIABLE, value)
        assert admits == is_admitted(guard)
    monkeypatch.delenv(VARIABLE)
    assert not is_admitted(guard)


def is_admitted(guard: Guard) -> bool:
    """
    Ask for one call and give it back.
    """
    try:
        guard.acquire().cancel()
    except CircuitOpenError:
        return False
    return True


def test_closed_breaker_tells_no_would_be_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A call that no breaker would have refused says nothing of refusing.
    """
    monkeypatch.setenv(VARIABLE, "false")
    sink = RecordingSink()

    Guard("images", sinks=[sink]).call(str)

    assert "wouldReject" not in json.loads(sink.events[0].to_json())


def test_off_goes_on_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Switched off, the breaker still opens, in its own eyes, and says so.
    """
    monkeypatch.setenv(VARIABLE, "false")
    sink = RecordingSink()
    guard = Guard("images", sinks=[sink])

    fail(guard, TimeoutError(), TimeoutError(), TimeoutError())

    assert ["open"] == [json.loads(event.to_json())["state"] for event in sink.of("breaker.state")]
    assert is_admitted(guard)
    monkeypatch.setenv(VARIABLE, "true")
    assert not is_admitted(guard)


def test_what_the_breaker_would_have_refused_teaches_it_nothing() -> None:
    """
    A call let through by the flag alone neither closes the open breaker nor takes its probe's place.
    """
    clock = VirtualClock()
    on = False
    guard = Guard("images", clock=clock, enabled=lambda: on)
    fail(guard, TimeoutError(), TimeoutError(), TimeoutError())

    for _ in range(10):
        guard.call(str)
    on = True

    assert ("open", 60.0) == (guard.snapshot().state, guard.snapshot().retry_after)


def test_off_tells_why_a_half_open_breaker_would_have_refused() -> None:
    """
    The would-be decision is the one that it is, not always "open".
    """
    clock, sink = VirtualClock(), RecordingSink()
    guard = Guard("images", clock=clock, sinks=[sink], enabled=False)
    fail(guard, TimeoutError(), TimeoutError(), TimeoutError())
    clock.advance(60)
    probe = guard.acquire()
    sink.clear()

    guard.call(str)
    guard.force_open()
    guard.call(str)

    told = [json.loads(event.to_json())["wouldReject"] for event in sink.of("gen.request")]
    assert ["half_open", "forced_open"] == told
    probe.cancel()


def test_off_leaves_the_budget_on() -> None:
    """
    The flag turns off breaker rejections only: the budget holds.
    """
    guard = Guard("images", budget=TokenBucket(capacity=1), enabled=False, clock=VirtualClock())
    guard.call(str)

    with pytest.raises(BudgetExhaustedError):
        guard.call(str)


def test_off_leaves_the_deadline_on() -> None:
    """
    The flag turns off breaker rejections only: deadlines hold.
    """
    guard = Guard("images", enabled=False)
    fail(guard, TimeoutError(), TimeoutError(), TimeoutError())

    permit = guard.acquire()

    assert 60.0 == permit.timeout
    permit.cancel()


@pytest.mark.parametrize("environment", ["true", "false"])
def test_a_bool_outweighs_the_environment(monkeypatch: pytest.MonkeyPatch, environment: str) -> None:
    """
    `enabled=True` refuses and `enabled=False` admits, whatever the variable says.
    """
    monkeypatch.setenv(VARIABLE, environment)
    for enabled in (True, False):
        guard = Guard("images", enabled=enabled)
        fail(guard, TimeoutError(), TimeoutError(), TimeoutError())

        assert is_admitted(guard) is not enabled


def test_a_function_is_asked_only_when_it_matters() -> None:
    """
    A function is asked at every would-be refusal, and never by a closed breaker.
    """
    asked = 0

    def enabled() -> bool:
        nonlocal asked
        asked += 1
        return True

    guard = Guard("images", enabled=enabled, breaker=CircuitBreaker(min_weight=2))
    for _ in range(5):
        guard.call(str)
    assert 0 == asked

    fail(guard, *[TimeoutError() for _ in range(3)])
    asked = 0
    for _ in range(3):
        assert not is_admitted(guard)
    assert 3 == asked


def test_a_function_that_raises_leaves_it_on(caplog: pytest.LogCaptureFixture) -> None:
    """
    Who cannot say that the breaker is off has not turned it off; each guard says so once.
    """
    for name in ("images", "chat"):

        def broken(name: str = name) -> bool:
            raise RuntimeError(f"no such flag: {name}")

        guard = Guard(name, enabled=broken)
        open_by_timeouts(guard)
        for _ in range(3):
            assert not is_admitted(guard)

    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert ["no such flag: images", "no such flag: chat"] == [
        str(record.exc_info[1]) for record in told if record.exc_info
    ]


def test_a_variable_that_nobody_can_read_leaves_it_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A typo in the variable does not turn the protection off; it is told once, with its value.
    """
    monkeypatch.setenv(VARIABLE, "flase")
    guard = Guard("images")
    open_by_timeouts(guard)

    for _ in range(3):
        assert not is_admitted(guard)

    (told,) = (record.getMessage() for record in caplog.records if VARIABLE in record.getMessage())
    assert "'flase'" in told
