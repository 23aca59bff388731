"""
Events: their exact keys, and nothing in them that is the caller's (semantics 7).
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import anyio
import pytest

from hungframe import BudgetExhaustedError, CallTimeoutError, CircuitOpenError, Guard, TokenBucket
from hungframe.testing import RecordingSink, VirtualClock, hostile, run_virtual
from tests.guard.fakes import Backend, StatusError, about, fail, in_flight, on_each_backend, open_by_timeouts, sleeps

COMMON = {"evt", "ts", "guard"}


def told(sink: RecordingSink) -> list[dict[str, Any]]:
    """
    The events as a reader of the log sees them.
    """
    return [json.loads(event.to_json()) for event in sink.events]


def test_keys_of_a_success() -> None:
    """
    gen.request and gen.success have exactly the keys of the contract.
    """
    clock, sink = VirtualClock(wall=1_700_000_000.0), RecordingSink()
    guard = Guard("images", clock=clock, isolate=None, budget=TokenBucket(capacity=3), sinks=[sink])

    guard.call(clock.advance, 48.2134)

    request, success = told(sink)
    call_id = request["id"]
    assert {
        "evt": "gen.request",
        "ts": 1_700_000_000.0,
        "guard": "images",
        "id": call_id,
        "timeoutMs": 60000,
        "budgetBefore": 3,
    } == request
    assert {
        "evt": "gen.success",
        "ts": about(1_700_000_048.2134),
        "guard": "images",
        "id": call_id,
        "latencyMs": 48213,
    } == success


@on_each_backend
def test_keys_of_a_timeout(backend: Backend) -> None:
    """
    gen.fail of an aborted call says that it was our timeout, and where it hung.
    """
    sink = RecordingSink()
    guard = Guard("images", sinks=[sink])

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await guard.acall(sleeps, 65)

    run_virtual(main, backend=backend)

    request, fail_ = told(sink)
    assert COMMON | {"id", "kind", "latencyMs", "receipt", "where"} == fail_.keys()
    assert ("gen.fail", request["id"], "timeout", 60000, "clean") == (
        fail_["evt"],
        fail_["id"],
        fail_["kind"],
        fail_["latencyMs"],
        fail_["receipt"],
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), "timeout"),
        (StatusError(429), "quota"),
        (StatusError(500), "5xx"),
        (ConnectionResetError(), "connection"),
        (StatusError(404), "4xx"),
        (ValueError(), "unknown"),
    ],
)
def test_keys_of_a_failure(error: Exception, kind: str) -> None:
    """
    gen.fail has exactly the keys of the contract, with the outcome's name.
    """
    sink = RecordingSink()
    fail(Guard("images", sinks=[sink]), error)

    _, fail_, *pause = told(sink)

    assert COMMON | {"id", "kind", "latencyMs"} == fail_.keys()
    assert (["budget.paused"] if kind == "quota" else []) == [event["evt"] for event in pause]
    assert ("gen.fail", kind) == (fail_["evt"], fail_["kind"])


def test_keys_of_a_rejection_by_the_breaker() -> None:
    """
    gen.reject has exactly the keys of the contract, and follows a request of the same id.
    """
    clock, sink = VirtualClock(), RecordingSink()
    guard = Guard("images", clock=clock, sinks=[sink])
    open_by_timeouts(guard)
    clock.advance(18.8)
    sink.clear()

    with pytest.raises(CircuitOpenError):
        guard.call(str)

    request, reject = told(sink)
    assert {
        "evt": "gen.reject",
        "ts": reject["ts"],
        "guard": "images",
        "id": request["id"],
        "reason": "circuit_open",
        "retryAfterMs": 41200,
    } == reject


@pytest.mark.parametrize(
    ("reason", "retry_after"), [("budget_exhausted", 60000), ("half_open", 90250), ("forced_open", None)]
)
def test_reason_of_a_rejection(reason: str, retry_after: int | None) -> None:
    """
    Each reason has its name; where no time can be named the key is left out.
    """
    clock, sink = VirtualClock(), RecordingSink()
    guard = Guard("images", clock=clock, sinks=[sink], budget=TokenBucket(capacity=4))
    if reason == "budget_exhausted":
        for _ in range(4):
            guard.call(str)
    else:
        open_by_timeouts(guard)
        clock.advance(60)
    if reason == "forced_open":
        guard.force_open()

    # Who is half-open has a probe out, which falls free after its deadline and grace.
    with in_flight(guard, 1 if reason == "half_open" else 0):
        with pytest.raises((CircuitOpenError, BudgetExhaustedError)):
            guard.call(str)
        reject = told(sink)[-1]

    assert ("gen.reject", reason, retry_after) == (reject["evt"], reject["reason"], reject.get("retryAfterMs"))


def test_keys_of_a_state() -> None:
    """
    breaker.state has exactly the keys of the contract, and belongs to no call.
    """
    sink = RecordingSink()
    guard = Guard("images", sinks=[sink])
    guard.call(str)

    fail(guard, TimeoutError(), TimeoutError())

    (state,) = (event for event in told(sink) if event["evt"] == "breaker.state")
    assert {"evt": "breaker.state", "ts": state["ts"], "guard": "images", "state": "open", "failureRate": 0.8} == state


@on_each_backend
def test_keys_of_a_cancellation(backend: Backend) -> None:
    """
    gen.cancelled tells for how long it had run.
    """
    sink = RecordingSink()
    guard = Guard("images", sinks=[sink])

    async def main() -> None:
        with anyio.move_on_after(2.5):
            await guard.acall(sleeps, 10)

    run_virtual(main, backend=backend)

    request, cancelled = told(sink)
    assert COMMON | {"id", "latencyMs"} == cancelled.keys()
    assert ("gen.cancelled", request["id"], 2500) == (cancelled["evt"], cancelled["id"], cancelled["latencyMs"])


def test_keys_of_an_abandoned_callee() -> None:
    """
    gen.abandoned tells how many are left behind and where this one hangs, before the call's own end is told.
    """
    sink = RecordingSink()
    guard = Guard("images", timeout=0.02, grace=0.01, sinks=[sink])

    with pytest.raises(CallTimeoutError):
        guard.call(hostile.blocks, 0.2)

    request, abandoned, fail_ = told(sink)
    assert COMMON | {"id", "orphans", "where"} == abandoned.keys()
    assert ("gen.abandoned", request["id"], 1) == (abandoned["evt"], abandoned["id"], abandoned["orphans"])
    assert "in blocks" in abandoned["where"]
    assert ("gen.fail", "timeout", "orphan") == (fail_["evt"], fail_["kind"], fail_["receipt"])


def test_call_without_limits_leaves_their_keys_out() -> None:
    """
    No deadline, no budget: no timeoutMs, no budgetBefore.
    """
    sink = RecordingSink()
    Guard("images", timeout=None, sinks=[sink]).call(str)

    assert COMMON | {"id"} == told(sink)[0].keys()


def test_events_are_frozen_and_slotted() -> None:
    """
    Nobody who is handed an event can change what the next sink sees.
    """
    sink = RecordingSink()
    Guard("images", sinks=[sink]).call(str)

    for event in sink.events:
        assert dataclasses.is_dataclass(event)
        assert not hasattr(event, "__dict__")
        with pytest.raises(dataclasses.FrozenInstanceError):
            event.guard = "another"  # type: ignore[misc]  # that is the point


def test_ids_are_unique() -> None:
    """
    No two calls share an id, of one guard or of several.
    """
    sink = RecordingSink()
    guards = [Guard(name, sinks=[sink]) for name in ("images", "chat")]

    for _ in range(500):
        for guard in guards:
            guard.call(str)

    ids = [event["id"] for event in told(sink) if event["evt"] == "gen.request"]
    assert (1000, 1000) == (len(ids), len(set(ids)))
    assert all(ids)


def test_views_tell_the_same_sinks() -> None:
    """
    A view's calls are the guard's calls.
    """
    sink = RecordingSink()
    guard = Guard("images", sinks=[sink])

    guard.using(timeout=5).call(str)

    assert 5000 == told(sink)[0]["timeoutMs"]
    assert ["gen.request", "gen.success"] == sink.names()


class Leaky(Exception):
    """
    An error whose text holds everything that it should not.
    """


@on_each_backend
def test_no_payload_and_no_prompt_in_any_event(backend: Backend) -> None:
    """
    Whatever is passed in, comes back, or is said by an error: no event repeats it.
    """
    secret = "sk-a-cat-with-a-key"
    sink = RecordingSink()
    guard = Guard("images", timeout=5, sinks=[sink], budget=TokenBucket(capacity=4))

    async def draw(prompt: str, *, key: str, how: str) -> str:
        note = f"{prompt} {key}"
        if how == "hang":
            await anyio.sleep(10)
        if how == "fail":
            raise Leaky(note)
        return note

    async def main() -> None:
        draw_guarded = guard(draw)
        await draw_guarded(secret, key=secret, how="answer")
        with pytest.raises(Leaky):
            await draw_guarded(secret, key=secret, how="fail")
        with pytest.raises(CallTimeoutError):
            await draw_guarded(secret, key=secret, how="hang")
        with anyio.move_on_after(1):
            await draw_guarded(secret, key=secret, how="hang")
        with pytest.raises(BudgetExhaustedError):
            await draw_guarded(secret, key=secret, how="answer")

    run_virtual(main, backend=backend)

    assert 10 == len(sink.events)
    assert not any(secret in event.to_json() or secret in repr(event) for event in sink.events)
