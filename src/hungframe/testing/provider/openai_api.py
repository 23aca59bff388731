"""
What OpenAI's API would answer.

Only as much as the real ``openai`` package needs to build its objects from.
Values in, values out; the same request gets the same frame.
"""

from __future__ import annotations

import time
from typing import Any

from .http import Answer, Request
from .openai_images import frame, images
from .payload import WORDS, asked_object, event, event_stream, json_answer, words

_IMAGE_MODEL = "gpt-image-1"
_CHAT_MODEL = "gpt-4o-mini"
_DONE = b"data: [DONE]\n\n"


def speaks(path: str) -> bool:
    """
    Tell whether a path is one of this API's: it answers to any.
    """
    return True


def answer(request: Request, body: bytes, url: str) -> Answer:
    """
    Answer as an honest provider does.

    Args:
        request: What was asked.

        body: Its body; taken as an empty object where it is no JSON object.

        url: Where we are, for links to our own frames.
    """
    asked = asked_object(body)
    path = _path(request)
    if path == "/v1/images/generations":
        return json_answer(images(asked, url))
    if path == "/v1/chat/completions":
        if asked.get("stream"):
            return stream(request, body, len(WORDS))
        return json_answer(_completion(asked))
    if path == "/v1/models":
        return json_answer(_models())
    return frame(path) or json_answer({"ok": True})


def failure(status: int, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """
    Answer with an error in the shape that the SDK reads.
    """
    kind = "server_error" if status >= 500 else "invalid_request_error"
    if status == 429:
        kind = "rate_limit_error"
    message = f"The hostile provider answers {status}."
    return refusal(status, message, kind, headers)


def refusal(
    status: int,
    message: str,
    kind: str = "invalid_request_error",
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """
    Answer with an error in words of our own.
    """
    error = {"message": message, "type": kind, "param": None, "code": None}
    return json_answer({"error": error}, status, headers)


def stream(request: Request, body: bytes, count: int) -> Answer:
    """
    Answer with *count* server-sent events and the mark that ends them: chat
    chunks for a chat, else a counter.
    """
    asked = asked_object(body)
    values: list[dict[str, Any]] = [{"index": index} for index in range(count)]
    if _path(request) == "/v1/chat/completions":
        values = [
            _completion_chunk(asked, word, first=index == 0, last=index == count - 1)
            for index, word in enumerate(words(count))
        ]
    return event_stream(*map(event, values), _DONE)


def _path(request: Request) -> str:
    """
    Take the path as OpenAI has it. Others that speak its API put their own
    mark before it: Groq "/openai".
    """
    return request.path.rstrip("/").removeprefix("/openai")


def _completion(asked: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(WORDS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {
        "prompt_tokens": 1,
        "completion_tokens": len(WORDS),
        "total_tokens": 1 + len(WORDS),
    }
    return {**_chat(asked, "chat.completion", choice), "usage": usage}


def _completion_chunk(asked: dict[str, Any], word: str, *, first: bool, last: bool) -> dict[str, Any]:
    delta = {"content": word}
    if first:
        delta["role"] = "assistant"
    choice = {
        "index": 0,
        "delta": delta,
        "finish_reason": "stop" if last else None,
    }
    return _chat(asked, "chat.completion.chunk", choice)


def _chat(asked: dict[str, Any], kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-hostile",
        "object": kind,
        "created": int(time.time()),
        "model": asked.get("model", _CHAT_MODEL),
        "choices": [choice],
    }


def _models() -> dict[str, Any]:
    models = [
        {"id": name, "object": "model", "created": 0, "owned_by": "hungframe"} for name in (_IMAGE_MODEL, _CHAT_MODEL)
    ]
    return {"object": "list", "data": models}
