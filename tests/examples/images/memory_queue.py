"""
A queue in memory that keeps what the port promises, as plainly as can be: a list, and a token for each lease.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from examples.images.ports import Image, ImageRequest, LeaseLostError, Verdict

CAT: Mapping[str, Any] = {"prompt": "a cat", "model": "gpt-image-1", "size": "1024x1024", "seed": 7}
PICTURE = Image(b"\x89PNG\r\n\x1a\n", "image/png")


@dataclass(eq=False)
class Lease:
    """
    A claim.
    """

    id: UUID
    attempt: int
    payload: Mapping[str, Any]
    token: UUID = field(default_factory=uuid4)


@dataclass(eq=False)
class Entry:
    payload: Mapping[str, Any]
    id: UUID = field(default_factory=uuid4)
    state: str = "queued"
    reason: str | None = None
    attempts: int = 0
    token: UUID | None = None
    image: Image | None = None


class MemoryQueue:
    """
    A `Consumer`. `step` is awaited at each of its awaits; `asked` is what for and when, `claims` with which limits.
    """

    def __init__(self, jobs: int = 0, step: Callable[[str], Any] | None = None, attempts: int = 3) -> None:
        self.entries: dict[UUID, Entry] = {}
        self.claims: list[int] = []
        self.waits: list[float] = []
        self.snoozed: list[float] = []
        self.beats: list[int] = []
        self.added = asyncio.Event()
        self.asked: list[tuple[str, float]] = []
        self.dead_of_workers: list[UUID] = []
        self.down = False
        self._step = step
        self._attempts = attempts
        for _ in range(jobs):
            self.add()

    def add(self, payload: Mapping[str, Any] = CAT) -> Entry:
        entry = Entry(payload)
        self.entries[entry.id] = entry
        self.added.set()
        return entry

    def states(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for entry in self.entries.values():
            counts[entry.state] = counts.get(entry.state, 0) + 1
        return counts

    async def _stepped(self, where: str) -> None:
        self.asked.append((where, asyncio.get_running_loop().time()))
        if self._step is not None:
            await self._step(where)
        if self.down:
            raise OSError("connection refused")

    async def claim(self, limit: int) -> Sequence[Lease]:
        self.claims.append(limit)
        await self._stepped("claim")
        queued = [entry for entry in self.entries.values() if entry.state == "queued"][:limit]
        leases = []
        for entry in queued:
            entry.attempts += 1
            lease = Lease(entry.id, entry.attempts, entry.payload)
            entry.state, entry.token = "running", lease.token
            leases.append(lease)
        await self._stepped("claimed")
        return leases

    def steal(self, entry: Entry) -> None:
        """
        Another worker takes it.
        """
        entry.token = uuid4()

    def held(self, claim: Any) -> Entry:
        entry = self.entries[claim.id]
        if entry.state != "running" or entry.token != claim.token:
            raise LeaseLostError(f"job {claim.id}")
        return entry

    async def heartbeat(self, claims: Sequence[Any]) -> Sequence[Any]:
        await self._stepped("heartbeat")
        self.beats.append(len(claims))
        return [claim for claim in claims if self.entries[claim.id].token != claim.token]

    @contextlib.asynccontextmanager
    async def completing(self, claim: Any) -> AsyncIterator[dict[UUID, Image]]:
        await self._stepped("completing")
        rows: dict[UUID, Image] = {}
        yield rows
        await self._stepped("commit")
        entry = self.held(claim)
        entry.state, entry.token, entry.image = "done", None, rows[claim.id]

    async def insert(self, connection: Any, job_id: UUID, image: Image) -> None:
        """
        As a `FrameWriter` does.
        """
        await self._stepped("insert")
        connection[job_id] = image

    async def fail(self, claim: Any, reason: str, detail: str, retry_after: float | None = None) -> str:
        await self._stepped("fail")
        entry = self.held(claim)
        entry.state = "queued" if entry.attempts < self._attempts else "dead"
        entry.token, entry.reason = None, reason
        return entry.state

    async def bury(self, claim: Any, reason: str, detail: str) -> None:
        await self._stepped("bury")
        entry = self.held(claim)
        entry.state, entry.token, entry.reason = "dead", None, reason

    async def snooze(self, claim: Any, seconds: float) -> None:
        await self._stepped("snooze")
        entry = self.held(claim)
        entry.state, entry.token = "queued", None
        entry.attempts -= 1
        self.snoozed.append(seconds)

    async def reap(self, on_dead: Callable[[UUID], object] | None = None) -> int:
        await self._stepped("reap")
        dead, self.dead_of_workers = self.dead_of_workers, []
        for job_id in dead:
            if on_dead is not None:
                on_dead(job_id)
        return len(dead)

    async def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        await self._stepped("wait")
        self.added.clear()
        try:
            await asyncio.wait_for(self.added.wait(), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            return False
        return True


class Draws:
    """
    An `ImageService` that takes its time, and remembers when it was asked.
    """

    def __init__(self, seconds: float = 0.0, error: BaseException | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.asked_at: list[float] = []

    async def draw(self, request: ImageRequest) -> Image:
        self.asked_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return PICTURE


def always_retry(error: Exception) -> Verdict:
    """
    A verdict, as plain as can be.
    """
    return Verdict("retry", "error", type(error).__name__)
