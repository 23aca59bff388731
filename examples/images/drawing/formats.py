"""
How a PNG, a JPEG and a WebP begin, and how each shows that it is whole.

Each `flaw_of_...` takes bytes that begin as its format does, and tells in a few words what is wrong, or None. They read
the containers, and decode no pixel: 20 MB take some milliseconds.
"""

from __future__ import annotations

import struct
import zlib

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# Of a JPEG: frames (their size is in them), except the tables that lie among their codes.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA
_END = b"\xff\xd9"
# Of chunks and segments an image has some thousands at most. Bytes that were made to have millions would hold up the
# event loop for a second.
_MOST_PARTS = 50_000
_TOO_MANY_PARTS = f"it has more than {_MOST_PARTS:,} parts"
_WEBP_CHUNKS = (b"VP8 ", b"VP8L", b"VP8X")


def begins_as_png(content: bytes) -> bool:
    return content.startswith(_PNG)


def begins_as_jpeg(content: bytes) -> bool:
    return content.startswith(_JPEG)


def begins_as_webp(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def flaw_of_png(content: bytes) -> str | None:
    """
    Walk its chunks from IHDR to IEND (PNG, third edition, 5.2 and 5.6).
    """
    at, has_pixels = len(_PNG), False
    view = memoryview(content)
    for part in range(_MOST_PARTS):
        if at + 12 > len(content):
            return "it has no IEND chunk: it was cut off"
        size, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + size
        if end > len(content):
            return "it ends in the middle of a chunk"
        if not part and (kind != b"IHDR" or size != 13):
            return "it does not begin with an IHDR chunk"
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", content, end - 4)[0]:
            return "a chunk's checksum is wrong"
        if kind == b"IHDR" and 0 in struct.unpack_from(">II", content, at + 8):
            return "it has no pixels"
        if kind == b"IEND":
            # Some tools write more behind it; no reader minds.
            return None if has_pixels else "it has no IDAT chunk"
        has_pixels = has_pixels or kind == b"IDAT"
        at = end
    return _TOO_MANY_PARTS


def flaw_of_jpeg(content: bytes) -> str | None:
    """
    Walk its segments to the first scan, and look for the mark of its end (ITU T.81, B.1).
    """
    # Zeros that pad a file are harmless.
    if not content.rstrip(b"\0").endswith(_END):
        return "it has no end-of-image mark: it was cut off"
    at, has_size = 2, False
    for _ in range(_MOST_PARTS):
        if at + 4 > len(content):
            return "it has no scan: it was cut off"
        if content[at] != 0xFF:
            return "a segment does not begin with its mark"
        mark = content[at + 1]
        if mark == 0xFF:
            # Any number of these may fill up the space before a mark.
            at += 1
            continue
        if mark == _SCAN:
            return None if has_size else "it has no frame before its first scan"
        if mark in _FRAMES and at + 9 <= len(content):
            if 0 in struct.unpack_from(">HH", content, at + 5):
                return "it has no pixels"
            has_size = True
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return _TOO_MANY_PARTS


def flaw_of_webp(content: bytes) -> str | None:
    """
    Compare the sizes it tells with the one it has (RFC 9649, 2.4 and 2.5).
    """
    told = int.from_bytes(content[4:8], "little") + 8
    if told != len(content):
        return f"it has {len(content):,} bytes and tells of {told:,}"
    kind, size = content[12:16], int.from_bytes(content[16:20], "little")
    if kind not in _WEBP_CHUNKS:
        return "it does not begin with an image chunk"
    if not size or 20 + size > len(content):
        return "it ends in the middle of a chunk"
    return None
