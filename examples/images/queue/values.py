"""
What the queue answers with. Instants are the server's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Enqueued:
    """
    The job of a key: `created` tells whether it is new.
    """

    id: UUID
    created: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """
    One job, leased to one worker until `lease_until` or the next heartbeat; `token` fences it from everybody else.

    `attempt` counts from 1.
    """

    id: UUID
    token: UUID
    attempt: int
    # Not to be seen in a log by accident: it is a user's.
    payload: Mapping[str, Any] = field(repr=False)
    urgency: int
    created_at: datetime
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """
    One job as it is now. `state` is "queued", "running", "done" or "dead".

    `reason` and `detail` tell why the last attempt failed or, of a dead one, why it is dead; `worker`, `started_at` and
    `heartbeat_at` are those of the last attempt.
    """

    id: UUID
    state: str
    attempts: int
    max_attempts: int
    urgency: int
    reason: str | None
    detail: str | None
    worker: str | None
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None
