"""
The names of images: what their bytes hash to, and an ending that says what they are.
"""

from __future__ import annotations

import hashlib
import re

from examples.images.ports import Image, NoImageError

_ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_MEDIA_TYPES = {ending: media_type for media_type, ending in _ENDINGS.items()}
_NAME = re.compile(r"([0-9a-f]{64})\.(png|jpg|webp)")


def name_of(image: Image) -> tuple[bytes, str]:
    """
    Find the hash of an image and the path under which clients find it.

    Raises:
        NoImageError: If there is nothing in it, or it is not of a type that is served.
    """
    if not image.content:
        raise NoImageError("an image of 0 bytes is not stored")
    ending = _ENDINGS.get(image.media_type)
    if ending is None:
        known = ", ".join(_ENDINGS)
        raise NoImageError(f"media type {image.media_type!r} is not stored; there are {known}")
    digest = hashlib.sha256(image.content)
    return digest.digest(), f"/images/{digest.hexdigest()}.{ending}"


def read_name(name: str) -> tuple[bytes, str] | None:
    """
    Read the hash and the media type out of a name; None: it never was one of ours.
    """
    found = _NAME.fullmatch(name)
    return None if found is None else (bytes.fromhex(found[1]), _MEDIA_TYPES[found[2]])
