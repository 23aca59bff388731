"""
Which API a request is for. Its path tells, and nothing else.
"""

from __future__ import annotations

from typing import Protocol

from . import anthropic_api, gemini_api, ollama_api, openai_api
from .http import Answer, Request


class Api(Protocol):
    """
    Answer as one provider's API does.
    """

    def speaks(self, path: str) -> bool:
        """
        Tell whether a path, without a slash at its end, is one of this API's.
        """
        ...

    def answer(self, request: Request, body: bytes, url: str) -> Answer:
        """
        Answer honestly. *url* is where we are, for links to ourselves.
        """
        ...

    def stream(self, request: Request, body: bytes, count: int) -> Answer:
        """
        Answer with *count* pieces, and after them what ends this API's streams.
        """
        ...


_OTHERS: tuple[Api, ...] = (anthropic_api, gemini_api, ollama_api)


def api_of(request: Request) -> Api:
    """
    Find the API that a request is for; OpenAI's, where no other knows its path.
    """
    path = request.path.rstrip("/")
    for api in _OTHERS:
        if api.speaks(path):
            return api
    return openai_api
