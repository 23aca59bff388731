"""
What a job asks for, read from its payload.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from examples.images.ports import ImageRequest

_WORDS = ("prompt", "model", "size")


class BadPayloadError(ValueError):
    """
    A payload that no image can be drawn from, now or later. Its text holds no value of the payload.
    """

    reason = "bad-payload"


def image_request(payload: Mapping[str, Any]) -> ImageRequest:
    """
    Read what is to be drawn.

    Raises:
        BadPayloadError: If a field is missing, empty, or of the wrong kind.
    """
    given: object = payload
    if not isinstance(given, Mapping):
        raise BadPayloadError(f"the payload must be an object, got {type(given).__name__}")
    for name in _WORDS:
        word = payload.get(name)
        if not isinstance(word, str) or not word:
            raise BadPayloadError(f"{name} must be a text, and not empty, got {_kind(word)}")
    seed = payload.get("seed")
    # True is an int to Python, and no seed.
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise BadPayloadError(f"seed must be a whole number, got {_kind(seed)}")
    return ImageRequest(payload["prompt"], payload["model"], payload["size"], seed)


def _kind(value: object) -> str:
    """
    Name what was given without repeating it: a prompt is nobody's business.
    """
    if value is None:
        return "nothing"
    return "an empty text" if value == "" else type(value).__name__
