"""
What a local Ollama would answer.

Only as much as the real ``ollama`` package needs to build its objects from.
Its streams are lines of JSON, not server-sent events, and it streams unless
told not to.
"""

from __future__ import annotations

import json
from typing import Any

from .http import Answer, Request
from .payload import WORDS, asked_object, json_answer, words

_MODEL = "llama-hostile"


def speaks(path: str) -> bool:
    """
    Tell whether a path is one of this API's.
    """
    return path in ("/api/chat", "/api/generate")


def answer(request: Request, body: bytes, url: str) -> Answer:
    """
    Answer as an honest provider does.
    """
    if asked_object(body).get("stream", True):
        return stream(request, body, len(WORDS))
    return json_answer(_piece(request, body, "".join(WORDS), last=True))


def stream(request: Request, body: bytes, count: int) -> Answer:
    """
    Answer with *count* pieces of text and the empty one that ends them.
    """
    pieces = [_piece(request, body, word, last=False) for word in words(count)]
    lines = [json.dumps(piece).encode() + b"\n" for piece in [*pieces, _piece(request, body, "", last=True)]]
    return Answer(200, "application/x-ndjson", tuple(lines), chunked=True)


def _piece(request: Request, body: bytes, text: str, *, last: bool) -> dict[str, Any]:
    piece: dict[str, Any] = {
        "model": asked_object(body).get("model", _MODEL),
        "created_at": "2024-01-01T00:00:00Z",
        "done": last,
    }
    if last:
        piece["done_reason"] = "stop"
    if request.path.rstrip("/") == "/api/chat":
        return {**piece, "message": {"role": "assistant", "content": text}}
    return {**piece, "response": text}
