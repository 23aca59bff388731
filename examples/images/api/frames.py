"""
GET /frames and GET /images/{name}.
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from examples.images.api.conditional import answer
from examples.images.api.database import Database
from examples.images.api.problems import FieldError, ProblemError
from examples.images.ports import Frame, FrameReader, Image

_log = logging.getLogger(__name__)

MAX_LIMIT = 500
_LIMIT = 100
_MAX_ID = 2**63 - 1

# Whatever a store holds, nothing else leaves as an image: an SVG or HTML file would be a program.
_MEDIA_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})

# A name that begins as a SHA-256 does is that of the bytes.
_SHA256 = re.compile("[0-9a-f]{64}(?![0-9a-z])")

# An image is named by what is in it, so that under one name there is never another.
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


class Frames:
    """
    The frames' two endpoints.
    """

    def __init__(self, database: Database, frames: FrameReader) -> None:
        self._database = database
        self._frames = frames

    async def page(self, request: Request) -> Response:
        """
        GET /frames?after=&limit=: frames, oldest first, each with an image.

        `dropped` counts the rows without one that were passed over; `next` is where the list goes on, or null.
        """
        errors: list[FieldError] = []
        after = _number(request, "after", 0, 0, _MAX_ID, errors)
        limit = _number(request, "limit", _LIMIT, 1, MAX_LIMIT, errors)
        if errors:
            raise ProblemError(400, "no such page; see errors", kind="invalid-request", errors=errors)
        page = await self._database.ask(self._frames.page, after=after, limit=limit)
        following = None
        if page.next_after is not None:
            following = "/frames?" + urlencode({"after": page.next_after, "limit": limit})
        document = {
            "frames": [frame_document(frame) for frame in page.frames],
            "dropped": page.dropped,
            "next": following,
        }
        return JSONResponse(document, headers={"Cache-Control": "no-store"})

    async def image(self, request: Request) -> Response:
        """
        GET /images/{name}: the bytes, to be kept for ever.
        """
        name = request.path_params["name"]
        image = await self._database.ask(self._frames.image, name)
        if image is None or not _is_sound(name, image):
            raise ProblemError(404, f"there is no image {name[:100]!r}; GET /frames lists those there are")
        return answer(request, image.content, image.media_type, _FOR_EVER)


def _is_sound(name: str, image: Image) -> bool:
    """
    Tell whether *image* may leave; where it may not, an operator has to look at it.
    """
    wrong = None
    if not image.content:
        wrong = "it has no bytes"
    elif image.media_type not in _MEDIA_TYPES:
        wrong = f"its media type is {image.media_type!r}"
    elif (named := _SHA256.match(name)) and named[0] != hashlib.sha256(image.content).hexdigest():
        # A JPEG has no checksum of its own, so that nobody after us would see it.
        wrong = "its bytes are not those that it is named by; they have changed in the store"
    if wrong:
        _log.error("image %.100r is not served: %s", name, wrong)
    return wrong is None


def frame_document(frame: Frame) -> dict[str, Any]:
    """
    Write a frame as a JSON object.
    """
    return {
        "id": frame.id,
        "job_id": str(frame.job_id) if frame.job_id else None,
        "image_url": frame.image_url,
        "created_at": frame.created_at.isoformat(),
    }


def _number(request: Request, name: str, default: int, least: int, most: int, errors: list[FieldError]) -> int:
    given = request.query_params.getlist(name)
    if not given:
        return default
    # In ASCII digits and not too many: int() would take other digits, signs, spaces and underscores as well.
    if len(given) == 1 and re.fullmatch("[0-9]{1,19}", given[0]) and least <= int(given[0]) <= most:
        return int(given[0])
    got = ", ".join(repr(value[:40]) for value in given[:3])
    errors.append(FieldError(name, f"must be one whole number from {least} to {most}, got {got}; or leave it out"))
    return default
