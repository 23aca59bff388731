"""
What Anthropic's API would answer.

Only as much as the real ``anthropic`` package needs to build its objects from.
"""

from __future__ import annotations

from typing import Any

from .http import Answer, Request
from .payload import WORDS, asked_object, event, event_stream, json_answer, words

_MODEL = "claude-hostile"


def speaks(path: str) -> bool:
    """
    Tell whether a path is one of this API's.
    """
    return path == "/v1/messages"


def answer(request: Request, body: bytes, url: str) -> Answer:
    """
    Answer as an honest provider does.
    """
    asked = asked_object(body)
    if asked.get("stream"):
        return stream(request, body, len(WORDS))
    text = {"type": "text", "text": "".join(WORDS)}
    return json_answer(_message(asked, [text], "end_turn", len(WORDS)))


def stream(request: Request, body: bytes, count: int) -> Answer:
    """
    Answer with *count* pieces of text and what ends them.

    A message opens with two events of its own, which come with the first
    piece, and closes with three.
    """
    opened = _event("message_start", message=_message(asked_object(body), [], None, 0))
    opened += _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    pieces = [
        _event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in words(count)
    ]
    pieces[:1] = [opened + b"".join(pieces[:1])]
    closed = _event("content_block_stop", index=0)
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    closed += _event("message_delta", delta=ending, usage={"output_tokens": count})
    closed += _event("message_stop")
    return event_stream(*pieces, closed)


def _event(kind: str, **values: Any) -> bytes:
    return event({"type": kind, **values}, kind)


def _message(
    asked: dict[str, Any], content: list[dict[str, Any]], stop_reason: str | None, tokens: int
) -> dict[str, Any]:
    return {
        "id": "msg_hostile",
        "type": "message",
        "role": "assistant",
        "model": asked.get("model", _MODEL),
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": tokens},
    }
