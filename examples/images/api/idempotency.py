"""
The idempotency key of a job: requests for the same image are the same job.

Nothing here reads a clock, a setting or the network: the same request has the same key on every machine, for ever.
"""

from __future__ import annotations

import hashlib
import unicodedata

from examples.images.ports import ImageRequest

# Changes with whatever changes the meaning of a request: then no new job is taken for one of before.
_VERSION = b"examples.images/job/1"


def canonical(prompt: str) -> str:
    """
    Bring *prompt* into Unicode's composed form (NFC), in which it is stored, drawn and hashed.

    The same text comes in two forms: a Mac's file name has "é" as two
    characters, its keyboard as one. Nobody sees the difference, so it must
    not cost a second image. All that can be seen is kept: case, and every
    space and line end.

    >>> canonical("cafe\\u0301") == "café"
    True
    """
    return unicodedata.normalize("NFC", prompt)


def key_of(request: ImageRequest) -> bytes:
    """
    Compute the idempotency key: SHA-256 over the prompt's hash, the seed, the model and the size.

    Each field stands behind its length, so that no two requests give the same
    bytes: neither a longer model and a shorter size, nor a digit that moved.

    Returns:
        32 bytes.

    Raises:
        UnicodeEncodeError: If a field has a lone surrogate in it.

    >>> key_of(ImageRequest(prompt="a kite", model="gpt-image-1", size="1024x1024", seed=7)).hex()[:16]
    '2fc5e83107b20fc1'
    """
    fields = (
        hashlib.sha256(canonical(request.prompt).encode()).digest(),
        str(request.seed).encode(),
        request.model.encode(),
        request.size.encode(),
    )
    key = hashlib.sha256(_VERSION)
    for field in fields:
        key.update(len(field).to_bytes(8, "big"))
        key.update(field)
    return key.digest()
