"""
What Google's Gemini API would answer.

Only as much as the real ``google-genai`` package needs to build its objects
from. Its version stands before the model in a path, or, behind some gateways,
does not; so the end of the path decides.
"""

from __future__ import annotations

from typing import Any

from .http import Answer, Request
from .payload import WORDS, event, event_stream, json_answer, words


def speaks(path: str) -> bool:
    """
    Tell whether a path is one of this API's.
    """
    return path.endswith((":generateContent", ":streamGenerateContent"))


def answer(request: Request, body: bytes, url: str) -> Answer:
    """
    Answer as an honest provider does.
    """
    if request.path.endswith(":streamGenerateContent"):
        return stream(request, body, len(WORDS))
    return json_answer(_content(request, "".join(WORDS), last=True))


def stream(request: Request, body: bytes, count: int) -> Answer:
    """
    Answer with *count* pieces of text; the last one says why it is the last.
    """
    pieces = [_content(request, word, last=index == count - 1) for index, word in enumerate(words(count))]
    return event_stream(*map(event, pieces))


def _content(request: Request, text: str, *, last: bool) -> dict[str, Any]:
    model = request.path.rpartition("/")[2].partition(":")[0]
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}
    if last:
        candidate["finishReason"] = "STOP"
    tokens = len(WORDS)
    usage = {"promptTokenCount": 1, "candidatesTokenCount": tokens, "totalTokenCount": 1 + tokens}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, "responseId": "hostile"}
