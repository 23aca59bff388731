"""
What stands behind the API in its tests, and a way to serve it: the ports in memory, small and obvious.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any
from uuid import UUID, uuid4

from examples.images.ports import Frame, FramePage, Image

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)

CATALOGUE = {"gpt-image-1": ("1024x1024", "1536x1024"), "dall-e-2": ("256x256",)}


@dataclass(frozen=True)
class Job:
    id: UUID
    payload: Mapping[str, Any]
    urgency: int = 0
    state: str = "queued"
    attempts: int = 0
    reason: str | None = None
    created_at: datetime = NOON
    finished_at: datetime | None = None
    created: bool = True


@dataclass
class QueueInMemory:
    """
    A `Producer`. A test ends jobs by putting them into `jobs`.
    """

    jobs: dict[bytes, Job] = field(default_factory=dict)

    async def enqueue(self, key: bytes, payload: Mapping[str, Any], *, urgency: int = 0) -> Job:
        known = self.jobs.get(key)
        if known is not None:
            return replace(known, created=False)
        self.jobs[key] = Job(uuid4(), payload, urgency)
        return self.jobs[key]

    async def get(self, job_id: UUID) -> Job | None:
        return next((job for job in self.jobs.values() if job.id == job_id), None)

    async def counts(self) -> Mapping[str, int]:
        states = ("queued", "running", "done", "dead")
        return {state: sum(job.state == state for job in self.jobs.values()) for state in states}

    async def oldest_age(self) -> float | None:
        return 12.5 if self.jobs else None

    def end(self, job_id: UUID, state: str, reason: str | None = None) -> None:
        for key, job in self.jobs.items():
            if job.id == job_id:
                self.jobs[key] = replace(job, state=state, reason=reason, attempts=1, finished_at=NOON)


@dataclass
class FramesInMemory:
    """
    A `FrameReader`.
    """

    frames: list[Frame] = field(default_factory=list)
    images: dict[str, Image] = field(default_factory=dict)
    dropped: int = 0

    def add(self, name: str, content: bytes, media_type: str = "image/png", job_id: UUID | None = None) -> Frame:
        self.images[name] = Image(content, media_type)
        frame = Frame(len(self.frames) + 1, job_id, f"/images/{name}", NOON)
        self.frames.append(frame)
        return frame

    async def page(self, *, after: int = 0, limit: int = 100) -> FramePage:
        found = [frame for frame in self.frames if frame.id > after]
        more = len(found) > limit
        return FramePage(found[:limit], self.dropped, found[limit - 1].id if more else None)

    async def of_job(self, job_id: UUID) -> Frame | None:
        return next((frame for frame in self.frames if frame.job_id == job_id), None)

    async def image(self, name: str) -> Image | None:
        return self.images.get(name)


@dataclass
class BoardInMemory:
    """
    A `HealthBoard`.
    """

    workers: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    async def post(self, worker: str, snapshot: Mapping[str, Any]) -> None:
        self.workers[worker] = snapshot

    async def read(self) -> Sequence[Mapping[str, Any]]:
        return [{"worker": w, "seen_seconds_ago": 0.5, "snapshot": s} for w, s in sorted(self.workers.items())]


def gradient(red: int, green: int, blue: int, size: int = 64) -> bytes:
    """
    A PNG that goes from a colour to black.
    """
    rows = []
    for y in range(size):
        shade = 1 - y / size
        rows.append(b"\0" + bytes(int(part * shade) for part in (red, green, blue)) * size)
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """
    Serve *app* over real sockets, in a thread, as `http://127.0.0.1:port`.
    """
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
