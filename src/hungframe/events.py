"""
What happened, as frozen values.

Every event has `evt`, `ts` (Unix seconds), `guard` and, where a call is meant,
`id`. No prompt, key or payload is ever in one.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, fields
from typing import Any, ClassVar

_KEYS: dict[str, str] = {}


def key_of(name: str) -> str:
    """
    The key of a field in JSON: `timeout_ms` is `timeoutMs`.
    """
    key = _KEYS.get(name)
    if key is None:
        first, *rest = name.split("_")
        key = _KEYS[name] = first + "".join(part.capitalize() for part in rest)
    return key


def milliseconds(seconds: float) -> int:
    """
    Whole milliseconds of *seconds*; the largest whole number for infinity.

    >>> milliseconds(48.2134)
    48213
    """
    scaled = seconds * 1000
    return round(scaled) if scaled < sys.maxsize else sys.maxsize


@dataclass(frozen=True, slots=True)
class Event:
    """
    One thing that happened.
    """

    evt: ClassVar[str] = ""

    ts: float
    guard: str

    def to_dict(self) -> dict[str, Any]:
        """
        What `to_json` writes, as a dict: `evt` first, then the fields in camelCase; what is not known is left out.

        >>> GenSuccess(ts=1_760_000_000.0, guard="images", id="7f-1", latency_ms=48213).to_dict()
        {'evt': 'gen.success', 'ts': 1760000000.0, 'guard': 'images', 'id': '7f-1', 'latencyMs': 48213}
        """
        known: dict[str, Any] = {"evt": self.evt}
        for field in fields(self):
            value: Any = getattr(self, field.name)
            if value is not None:
                known[key_of(field.name)] = value
        return known

    def to_json(self) -> str:
        """
        Write one JSON object: `evt` first, then the fields in camelCase; what is not known is left out.
        """
        return json.dumps(self.to_dict())


@dataclass(frozen=True, slots=True)
class GenRequest(Event):
    """
    A call was asked for. `timeout_ms` is None for a call without a deadline; `would_reject` is what
    the breaker would have said were it enabled; `waited_ms` is how long it has waited to be let in, if it did.
    `call` is there where retry, hedge or fallback stand around it: it names the call whose attempt this is.
    """

    evt: ClassVar[str] = "gen.request"

    id: str
    timeout_ms: int | None
    budget_before: int | None
    would_reject: str | None
    waited_ms: int | None = None
    call: str | None = None


@dataclass(frozen=True, slots=True)
class GenSuccess(Event):
    """
    A call returned, and its result was found good.
    """

    evt: ClassVar[str] = "gen.success"

    id: str
    latency_ms: int


@dataclass(frozen=True, slots=True)
class GenFail(Event):
    """
    A call failed; `kind` is the outcome. `receipt` and `where` are there when it was aborted, and what
    follows them when a guarded transport carried it (see `WireReport`).
    """

    evt: ClassVar[str] = "gen.fail"

    id: str
    kind: str
    latency_ms: int
    receipt: str | None
    where: str | None
    phase: str | None = None
    silent_ms: int | None = None
    bytes_sent: int | None = None
    bytes_received: int | None = None
    connection_age_ms: int | None = None
    connection_uses: int | None = None


@dataclass(frozen=True, slots=True)
class GenReject(Event):
    """
    A call was refused before it began.
    """

    evt: ClassVar[str] = "gen.reject"

    id: str
    reason: str
    retry_after_ms: int | None


@dataclass(frozen=True, slots=True)
class GenCancelled(Event):
    """
    A call was cancelled by its caller.
    """

    evt: ClassVar[str] = "gen.cancelled"

    id: str
    latency_ms: int


@dataclass(frozen=True, slots=True)
class GenRetry(Event):
    """
    An attempt failed with outcome `kind`, and another is made in `delay_ms`; `attempt` is its number, from 2, and
    `call` the call whose attempts they are.
    """

    evt: ClassVar[str] = "gen.retry"

    kind: str
    attempt: int
    delay_ms: int
    call: str | None = None


@dataclass(frozen=True, slots=True)
class GenHedge(Event):
    """
    No answer had come after `after_ms`, and another attempt was sent beside; `attempt` is its number, from 2, and
    `call` the call whose attempts they are.
    """

    evt: ClassVar[str] = "gen.hedge"

    attempt: int
    after_ms: int
    call: str | None = None


@dataclass(frozen=True, slots=True)
class GenFallback(Event):
    """
    A call failed for good with outcome `kind`, and its caller was given something else; `call` names it.
    """

    evt: ClassVar[str] = "gen.fallback"

    kind: str
    call: str | None = None


@dataclass(frozen=True, slots=True)
class GenAbandoned(Event):
    """
    A callee went on after its deadline and grace; the caller left without it.
    """

    evt: ClassVar[str] = "gen.abandoned"

    id: str
    orphans: int
    where: str


@dataclass(frozen=True, slots=True)
class BreakerChanged(Event):
    """
    The breaker went into another state.
    """

    evt: ClassVar[str] = "breaker.state"

    state: str
    failure_rate: float | None


@dataclass(frozen=True, slots=True)
class OperatorActed(Event):
    """
    An operator has set the breaker by hand, on the health page: `action` is `force_open`, `disable` or `reset`.
    """

    evt: ClassVar[str] = "operator.action"

    action: str


@dataclass(frozen=True, slots=True)
class BudgetPaused(Event):
    """
    The provider, or `Guard.pause()`, asked for a pause: nothing is granted for `paused_ms`.
    """

    evt: ClassVar[str] = "budget.paused"

    paused_ms: int


@dataclass(frozen=True, slots=True)
class ProbeScheduled(Event):
    """
    The provider is to be probed in `in_ms`, by a prober or by the next call; None: no time can be named. `kind`
    is why: `timeout`, `burst` or `quota`.
    """

    evt: ClassVar[str] = "probe.scheduled"

    kind: str
    in_ms: int | None


@dataclass(frozen=True, slots=True)
class ProbeEnded(Event):
    """
    A prober's probe has ended. What it has brought is not to be stored: `no_store` is always true.
    """

    evt: ClassVar[str] = "probe.result"

    id: str
    kind: str
    outcome: str
    latency_ms: int
    no_store: bool = True


@dataclass(frozen=True, slots=True)
class LoopBlocked(Event):
    """
    An event loop has not run for `blocked_ms`; `where` is what it hangs in.
    """

    evt: ClassVar[str] = "loop.blocked"

    blocked_ms: int
    where: str


@dataclass(frozen=True, slots=True)
class QueueDeadletter(Event):
    """
    A job was given up for good: nobody but an operator tries it again. `reason` is one word, such as
    `no-image-url`. No guard tells this; whoever keeps a queue does.
    """

    evt: ClassVar[str] = "queue.deadletter"

    job_id: str
    reason: str
