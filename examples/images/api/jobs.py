"""
POST /jobs and GET /jobs/{id}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from examples.images.api.asked import read_asked
from examples.images.api.bodies import read_object
from examples.images.api.catalogue import Catalogue
from examples.images.api.database import Database
from examples.images.api.idempotency import key_of
from examples.images.api.problems import ProblemError
from examples.images.ports import Frame, FrameReader, JobView, Producer

_NO_STORE = {"Cache-Control": "no-store"}


class Jobs:
    """
    The jobs' two endpoints.
    """

    def __init__(self, database: Database, queue: Producer, frames: FrameReader, catalogue: Catalogue) -> None:
        self._database = database
        self._queue = queue
        self._frames = frames
        self._catalogue = catalogue

    async def post(self, request: Request) -> Response:
        """
        POST /jobs: ask for an image.

        Answers 202 for a new job and 200 for one that was asked for before, both with its Location. The idempotency
        key is made of what is asked for. An Idempotency-Key header is not needed, and not looked at: a client that
        makes up a new one for each attempt would pay twice for one image, and one that uses an old one for another
        image would get the old.
        """
        asked = read_asked(await read_object(request), self._catalogue)
        key = key_of(asked.request)
        # A client that hangs up now has its job, or has not; asking again gives it the same one.
        job = await self._database.ask(self._queue.enqueue, key, asdict(asked.request), urgency=asked.urgency)
        document = await self._document(job.id)
        if document is None:
            raise ProblemError(503, "the job was deleted as soon as it was there; send the request again")
        headers = {**_NO_STORE, "Location": document["links"]["self"]}
        return JSONResponse(document, 202 if job.created else 200, headers)

    async def get(self, request: Request) -> Response:
        """
        GET /jobs/{id}: how far it is, and where its image is once there is one.
        """
        given = request.path_params["job_id"]
        try:
            document = await self._document(UUID(given))
        except ValueError:
            document = None
        if document is None:
            raise ProblemError(404, f"there is no job {given[:50]!r}; POST /jobs answers with the id of one")
        return JSONResponse(document, headers=_NO_STORE)

    async def _document(self, job_id: UUID) -> Mapping[str, Any] | None:
        job = await self._database.ask(self._queue.get, job_id)
        if job is None:
            return None
        frame = await self._database.ask(self._frames.of_job, job_id) if job.state == "done" else None
        return job_document(job, frame)


def job_document(job: JobView, frame: Frame | None) -> dict[str, Any]:
    """
    Write a job as a JSON object; `links.frame` is the image's address, or null as long as there is none.
    """
    return {
        "id": str(job.id),
        "state": job.state,
        "attempts": job.attempts,
        "urgency": job.urgency,
        "reason": job.reason,
        "created_at": job.created_at.isoformat(),
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
        "links": {"self": f"/jobs/{job.id}", "frame": frame.image_url if frame else None},
    }
