"""
How numbers, states and events read in the terminal; the same words as on the page.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

STATES = {
    "closed": "Closed",
    "half_open": "Half-open",
    "open": "Open",
    "forced_open": "Forced open",
    "disabled": "Disabled",
}

OUTCOMES = {
    "success": "answered",
    "timeout": "timed out",
    "quota": "over quota",
    "5xx": "server error",
    "connection": "connection lost",
    "4xx": "bad request",
    "unknown": "other error",
    "rejected": "refused further in",
    "cancelled": "cancelled",
}

_REASONS = {
    "circuit_open": "the breaker is open",
    "half_open": "a probe is on its way",
    "forced_open": "the breaker is forced open",
    "budget_exhausted": "the budget is spent",
    "budget_paused": "paused, after a 429 or by hand",
    "bulkhead_full": "too many calls in flight",
    "too_many_orphans": "too many callees still run",
}

_BREAKER = {
    "closed": ("good", "Breaker closed"),
    "half_open": ("warn", "Breaker half-open"),
    "open": ("bad", "Breaker opened"),
    "forced_open": ("bad", "Breaker forced open"),
    "disabled": ("soft", "Breaker disabled"),
}

_LEFT = {"clean": ", left in time", "late": ", left late", "orphan": ", left behind"}


def seconds(value: float | None) -> str:
    """
    A duration, with no more digits than can be read at a glance.

    >>> [seconds(each) for each in (0.482, 1.25, 20, 75, 150, None)]
    ['482 ms', '1.2 s', '20 s', '75 s', '2 min 30 s', 'none']
    """
    if value is None:
        return "none"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 9.95:
        return f"{value:.1f}".removesuffix(".0") + " s"
    if value < 119.5:
        return f"{value:.0f} s"
    return long(value)


def long(value: float) -> str:
    """
    A duration that counts on: whole seconds, minutes, hours.

    >>> [long(each) for each in (59.9, 60, 75, 7300)]
    ['59 s', '1 min', '1 min 15 s', '2 h 1 min']
    """
    whole = max(0, math.floor(value))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def clock(ts: float) -> str:
    """
    A Unix time as the clock on this machine's wall shows it.
    """
    try:
        return time.strftime("%H:%M:%S", time.localtime(ts))
    except (OverflowError, ValueError, OSError):
        return "??:??:??"


def sentence(event: Mapping[str, Any]) -> tuple[str, str]:
    """
    One event: how grave it is (`good`, `soft`, `warn`, `bad`), and what it says.

    >>> sentence({"evt": "gen.fail", "kind": "timeout", "latencyMs": 2000, "receipt": "orphan", "where": "a.py:3 in f"})
    ('bad', 'No answer after 2 s, left behind; a.py:3 in f')
    """
    evt = str(event.get("evt", "?"))
    kind = str(event.get("kind", ""))
    at = _at(event)
    if evt == "gen.fail":
        what = "No answer" if kind == "timeout" else outcome(kind).capitalize()
        left = _LEFT.get(str(event.get("receipt")), "")
        return "bad", f"{what} after {_ms(event, 'latencyMs')}{left}{at}"
    if evt == "breaker.state":
        state = str(event.get("state", "?"))
        grave, words = _BREAKER.get(state, ("bad", f"Breaker {state}"))
        rate = event.get("failureRate")
        failed = f", {rate * 100:.0f} % failed" if state == "open" and isinstance(rate, (int, float)) else ""
        return grave, words + failed
    if evt == "probe.result":
        result = str(event.get("outcome", "?"))
        return "good" if result == "success" else "bad", f"Probe: {outcome(result)}"
    simple = {
        "gen.reject": ("soft", f"Refused: {_REASONS.get(str(event.get('reason')), event.get('reason'))}"),
        "gen.abandoned": ("bad", f"Left behind, {event.get('orphans', '?')} still running{at}"),
        "gen.retry": ("soft", f"Tried again: {outcome(kind)}"),
        "gen.hedge": ("soft", f"Sent once more, after {_ms(event, 'afterMs')} without an answer"),
        "gen.fallback": ("soft", f"Fell back: {outcome(kind)}"),
        "operator.action": ("warn", f"Set by an operator: {str(event.get('action', '?')).replace('_', ' ')}"),
        "budget.paused": ("warn", f"Paused for {_ms(event, 'pausedMs')}, after a 429 or by hand"),
        "probe.scheduled": ("soft", f"Probe in {_ms(event, 'inMs')}" if "inMs" in event else "Probe wanted"),
        "loop.blocked": ("bad", f"Event loop blocked for {_ms(event, 'blockedMs')}{at}"),
    }
    return simple.get(evt, ("soft", evt))


def outcome(name: str) -> str:
    """
    An outcome in words.
    """
    return OUTCOMES.get(name, name)


def place(where: str) -> str:
    """
    Where a callee hangs, from the innermost frame to its own, without those between.

    >>> place("socket.py:705 in readinto < ssl.py:1166 in read < api.py:12 in draw")
    'socket.py:705 in readinto < ... < api.py:12 in draw'
    """
    frames = where.split(" < ")
    return where if len(frames) < 3 else f"{frames[0]} < ... < {frames[-1]}"


def _at(event: Mapping[str, Any]) -> str:
    where = event.get("where")
    return f"; {place(where)}" if isinstance(where, str) and where else ""


def _ms(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    return seconds(value / 1000) if isinstance(value, (int, float)) and math.isfinite(value) else "some time"
