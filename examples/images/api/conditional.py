"""
Conditional requests (RFC 9110): who has the bytes already gets none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response


def answer(request: Request, content: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
    """
    Answer with *content* and its ETag, or with 304 where the client has the same.
    """
    # Of the content, and not of its name or date: what a client keeps is right, whatever the store does.
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    if _has(request.headers.getlist("if-none-match"), etag):
        return Response(status_code=304, headers={**headers, "ETag": etag})
    return Response(content, 200, {**headers, "ETag": etag}, media_type=media_type)


def _has(if_none_match: list[str], etag: str) -> bool:
    # Our tags have no comma in them. The comparison is the weak one, as this header has it.
    tags = [tag.strip() for line in if_none_match for tag in line.split(",")]
    return "*" in tags or any(tag.removeprefix("W/") == etag for tag in tags)
