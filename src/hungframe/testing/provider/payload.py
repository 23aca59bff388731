"""
How the bodies of an API are read and written, whichever API it is.

Values in, values out.
"""

from __future__ import annotations

import json
from typing import Any, cast

from .http import Answer

#: What the provider says when it is asked to talk, in the pieces of a stream.
WORDS = ("Hello", " from", " a", " hostile", " provider.")


def asked_object(body: bytes) -> dict[str, Any]:
    """
    Read what was asked, taken as an empty object where it is no JSON object.
    """
    try:
        asked = json.loads(body)
    except ValueError:
        return {}
    return cast(dict[str, Any], asked) if isinstance(asked, dict) else {}


def words(count: int) -> list[str]:
    """
    Say *count* words, from the beginning again where there are no more.
    """
    return [WORDS[index % len(WORDS)] for index in range(count)]


def json_answer(
    value: dict[str, Any],
    status: int = 200,
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """
    Answer with one JSON object.
    """
    return Answer(status, "application/json", (json.dumps(value).encode(),), headers)


def event(value: dict[str, Any], name: str = "") -> bytes:
    """
    Write one server-sent event, named or not.
    """
    named = f"event: {name}\n".encode() if name else b""
    return named + b"data: " + json.dumps(value).encode() + b"\n\n"


def event_stream(*parts: bytes) -> Answer:
    """
    Answer with server-sent events, each part a chunk of its own.
    """
    return Answer(200, "text/event-stream", parts, chunked=True)
