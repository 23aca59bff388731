"""
Where the image is in what the SDK made of an answer.

The SDK checks little: of a 200 it builds an object from whatever the body held, with None for what was missing, or
returns a text or a list in place of one. So nothing of the answer is taken for granted here.
"""

from __future__ import annotations

import base64
import re
from typing import NamedTuple, cast

from examples.images.ports import NoImageError

from .check import MAX_BYTES

# A word of an API, and no sentence, which may quote the prompt.
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Link(NamedTuple):
    """
    A url that the image is said to be behind.
    """

    url: str


def found(response: object, max_bytes: int = MAX_BYTES) -> bytes | Link:
    """
    Find the first image's bytes, or where they are.

    Args:
        response: What `images.generate` returned.

        max_bytes: Most bytes that an image may have.

    Raises:
        NoImageError: If there are neither bytes nor a url; what either holds is still to be checked.
    """
    data = _get(response, "data")
    if not isinstance(data, list):
        raise NoImageError(f"the answer's data is {_kind(data)}, not a list of images{_error_in(response)}")
    if not data:
        raise NoImageError("the answer's data is an empty list")
    first: object = data[0]
    encoded, url = _get(first, "b64_json"), _get(first, "url")
    if isinstance(encoded, str) and encoded:
        return _decoded(encoded, max_bytes)
    if isinstance(url, str) and url.strip():
        return Link(url.strip())
    raise NoImageError(f"the answer's image has no bytes and no url: b64_json is {_kind(encoded)}, url is {_kind(url)}")


def _decoded(encoded: str, max_bytes: int) -> bytes:
    # Some encoders break the lines.
    encoded = "".join(encoded.split())
    # Four letters hold three bytes. What is too large is not decoded first.
    if len(encoded) // 4 * 3 > max_bytes + 3:
        raise NoImageError(f"b64_json holds more than {max_bytes:,} bytes; raise max_bytes for larger images")
    try:
        content = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise NoImageError(f"b64_json is not base64: {error}") from None
    if not content:
        raise NoImageError("b64_json holds no bytes")
    return content


def _get(owner: object, name: str) -> object:
    return cast(object, getattr(owner, name, None))


def _kind(value: object) -> str:
    """
    Say what it is, and not what it says.
    """
    if value is None:
        return "missing"
    if isinstance(value, str):
        return "a text" if value.strip() else "blank" if value else "empty"
    return f"of type {type(value).__name__}"


def _error_in(response: object) -> str:
    error = _get(response, "error")
    if not isinstance(error, dict):
        return ""
    for name in ("code", "type"):
        word = error.get(name)
        if isinstance(word, str) and _WORD.fullmatch(word):
            return f"; its error has the {name} {word!r}"
    return "; it has an error"
