"""
Whether bytes are an image, by what they are and not by what a header says of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from examples.images.ports import Image, NoImageError

from . import formats

#: Most bytes of one image, if nothing else is said. The largest PNG of 1536 by 1024 pixels has about 5 million.
MAX_BYTES = 20_000_000

#: What is an image to us: its media type, what its first bytes look like, and what tells its flaw.
FORMATS: Mapping[str, tuple[Callable[[bytes], bool], Callable[[bytes], str | None]]] = MappingProxyType(
    {
        "image/png": (formats.begins_as_png, formats.flaw_of_png),
        "image/jpeg": (formats.begins_as_jpeg, formats.flaw_of_jpeg),
        "image/webp": (formats.begins_as_webp, formats.flaw_of_webp),
    }
)


def checked(content: bytes, max_bytes: int = MAX_BYTES) -> Image:
    """
    Look whether these bytes are a whole PNG, JPEG or WebP.

    Told cheaply: a file that was cut or is damaged is found by its structure (of a PNG by its checksums, too); pixels
    are not decoded.

    Args:
        content: The bytes.

        max_bytes: Most bytes that an image may have.

    Raises:
        NoImageError: If they are not; the message names the flaw.
    """
    if not content:
        raise NoImageError("the image has no bytes")
    if len(content) > max_bytes:
        raise NoImageError(
            f"the image has {len(content):,} bytes, more than max_bytes ({max_bytes:,}); raise that for larger ones"
        )
    for media_type, (begins, flaw_of) in FORMATS.items():
        if begins(content):
            flaw = flaw_of(content)
            if flaw is not None:
                raise NoImageError(f"the {media_type} of {len(content):,} bytes is broken: {flaw}")
            return Image(content, media_type)
    raise NoImageError(
        f"the {len(content):,} bytes are neither PNG, JPEG nor WebP; they begin with {content[:8].hex(' ')} (hex)"
    )
