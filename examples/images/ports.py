"""
What the services ask of each other, as protocols and values: they import this, and never one another.

`bootstrap` is the one place that knows who stands behind each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

# --- values -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """
    What one image is drawn from. Two that are equal are the same job.
    """

    prompt: str
    model: str
    size: str
    seed: int


@dataclass(frozen=True, slots=True)
class Image:
    """
    The bytes of one image, looked at and found to be one.
    """

    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Frame:
    """
    One image as a client sees it: `image_url` is never empty.
    """

    id: int
    job_id: UUID | None
    image_url: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FramePage:
    """
    Frames, oldest first, and how many rows without an image were kept from the client.

    `next_after` is what to ask with for those that follow; None: there are no more.
    """

    frames: Sequence[Frame]
    dropped: int
    next_after: int | None


class NoImageError(Exception):
    """
    The provider answered, and there is no image in it. Asking again is no cure: the job is a dead letter.

    Attributes:
        reason: In one word, for dead letters and metrics: `no-image-url`.
    """

    reason = "no-image-url"


class LeaseLostError(Exception):
    """
    The job belongs to another worker by now, or to nobody: what was done for it must not be stored.
    """


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What is to become of a job whose image was not drawn.

    `kind` is "retry" (later, until its attempts are used up), "bury" (asking again is no cure) or "snooze" (it was
    no attempt: after `retry_after` seconds). `reason` is one word for metrics, `detail` a line for people; no prompt
    and no key is in either.
    """

    kind: Literal["retry", "bury", "snooze"]
    reason: str
    detail: str
    retry_after: float | None = None


# --- the provider -----------------------------------------------------------------------------------------------------


class ImageService(Protocol):
    """
    Draws images. It is not guarded itself: whoever calls it holds the permit.
    """

    async def draw(self, request: ImageRequest) -> Image:
        """
        Raises:
            NoImageError: If there is no image in the answer.
        """
        ...


# --- the queue --------------------------------------------------------------------------------------------------------


class Enqueued(Protocol):
    """
    The job of a key: `created` tells whether it is new.
    """

    @property
    def id(self) -> UUID: ...
    @property
    def created(self) -> bool: ...


class Claim(Protocol):
    """
    One job, leased to one worker until `lease_until`; `token` fences it from everybody else. `attempt` counts from 1.
    """

    @property
    def id(self) -> UUID: ...
    @property
    def token(self) -> UUID: ...
    @property
    def attempt(self) -> int: ...
    @property
    def payload(self) -> Mapping[str, Any]: ...


class JobView(Protocol):
    """
    One job as a client may see it. `state` is "queued", "running", "done" or "dead".
    """

    @property
    def id(self) -> UUID: ...
    @property
    def state(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def urgency(self) -> int: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def finished_at(self) -> datetime | None: ...


class Producer(Protocol):
    """
    The queue as the API sees it.
    """

    async def enqueue(self, key: bytes, payload: Mapping[str, Any], *, urgency: int = 0) -> Enqueued: ...
    async def get(self, job_id: UUID) -> JobView | None: ...
    async def counts(self) -> Mapping[str, int]: ...


class Consumer(Protocol):
    """
    The queue as a worker sees it. All but `claim` are fenced by the claim's token.
    """

    async def claim(self, limit: int) -> Sequence[Claim]:
        """
        Lease at most *limit* jobs, the most urgent first, and none that waits for its time.
        """
        ...

    async def heartbeat(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """
        Prolong the leases; those that were lost come back.
        """
        ...

    def completing(self, claim: Claim) -> AbstractAsyncContextManager[Any]:
        """
        One transaction in which the job is done when the block is left; the block gets its connection.

        Raises:
            LeaseLostError: If the job is not this worker's any more; nothing is stored then.
        """
        ...

    async def fail(self, claim: Claim, reason: str, detail: str, retry_after: float | None = None) -> str:
        """
        Try again later, not before *retry_after* seconds, or bury it when its attempts are used up: returns "queued" or
        "dead".

        Raises:
            LeaseLostError: As `completing`.
        """
        ...

    async def bury(self, claim: Claim, reason: str, detail: str) -> None:
        """
        Make it a dead letter: nobody but an operator takes it out again.

        Raises:
            LeaseLostError: As `completing`.
        """
        ...

    async def snooze(self, claim: Claim, seconds: float) -> None:
        """
        Give it back, to be taken after *seconds*; the attempt does not count.

        Raises:
            LeaseLostError: As `completing`.
        """
        ...

    async def reap(self, on_dead: Callable[[UUID], object] | None = None) -> int:
        """
        Give back what dead workers hold, or bury it as `worker-died`; returns how many.

        Args:
            on_dead: Called with the id of each job that was buried.
        """
        ...

    async def wait(self, seconds: float) -> bool:
        """
        Wait until there may be a job, at most so long; returns whether somebody has said so.
        """
        ...


# --- the frames -------------------------------------------------------------------------------------------------------


class FrameWriter(Protocol):
    async def insert(self, connection: Any, job_id: UUID, image: Image) -> None:
        """
        Store the image of a job, within the caller's transaction; a second time changes nothing.
        """
        ...


class FrameReader(Protocol):
    """
    Reads past rows without an image: they are dropped, counted, and asked for again.
    """

    async def page(self, *, after: int = 0, limit: int = 100) -> FramePage: ...
    async def of_job(self, job_id: UUID) -> Frame | None: ...
    async def image(self, name: str) -> Image | None:
        """
        The image that `image_url` ends with, or None.
        """
        ...


# --- the board --------------------------------------------------------------------------------------------------------


class HealthBoard(Protocol):
    """
    Where workers post how their guard is, so that the API, another process, can show it.
    """

    async def post(self, worker: str, snapshot: Mapping[str, Any]) -> None: ...
    async def read(self) -> Sequence[Mapping[str, Any]]:
        """
        The workers heard of lately: `worker`, `seen_seconds_ago`, `snapshot`.
        """
        ...


class ProbeLog(Protocol):
    """
    The lane of the probes: a table of their own, with no place for an image.
    """

    async def begin(self, worker: str, kind: str) -> int: ...
    async def end(self, probe_id: int, outcome: str, latency_seconds: float) -> None: ...
