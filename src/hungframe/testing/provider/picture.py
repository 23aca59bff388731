"""
Small pictures that can be told apart at a glance: a landscape of few colours for each name.

A PNG is written by hand, since a testing kit must not ask for an imaging
library. Rows are filled by slices and never pixel by pixel: 2 ms a picture.
"""

from __future__ import annotations

import colorsys
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache

SIZE = 256

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TRUECOLOUR = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0)
# Rows go into the file as they are.
_NO_FILTER = b"\0"
_STARS = 9

_Span = tuple[int, int, int]
"""The row, and from which pixel up to which a shape covers it."""


@lru_cache(maxsize=128)
def picture(name: str) -> bytes:
    """
    Draw the picture of a name, as a PNG of 256 by 256 pixels; the same name gets the same bytes.
    """
    dice = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    hue = dice[0] / 256
    sky = _gradient(_colour(hue, 0.75, 0.30), _colour(hue + 0.14, 0.55, 0.98))
    # Each row begins one pixel later, so that the colours run aslant.
    rows = [sky[3 * y : 3 * (y + SIZE)] for y in range(SIZE)]
    for colour, spans in _landscape(dice, hue):
        for y, left, right in spans:
            left, right = max(0, left), min(SIZE, right)
            rows[y][3 * left : 3 * right] = colour * (right - left)
    # The level is the fastest: rows resemble each other, so that it packs them well.
    pixels = zlib.compress(_NO_FILTER + _NO_FILTER.join(rows), 1)
    return _SIGNATURE + _chunk(b"IHDR", _TRUECOLOUR) + _chunk(b"IDAT", pixels) + _chunk(b"IEND")


def _landscape(dice: bytes, hue: float) -> Iterator[tuple[bytes, Iterator[_Span]]]:
    """
    Place stars, a sun and three ridges, those behind first.
    """
    white = _colour(hue, 0.10, 1.0)
    for star in range(_STARS):
        yield white, _disc(dice[8 + 2 * star], dice[9 + 2 * star] // 2, 1 + dice[star] % 2)
    sun = 60 + dice[1] % 136, 50 + dice[2] % 60
    radius = 22 + dice[3] % 22
    yield _colour(hue + 0.45, 0.25, 1.0), _disc(*sun, radius + 7)
    yield _colour(hue + 0.45, 0.60, 1.0), _disc(*sun, radius)
    for ridge in range(3):
        peak = 20 + (dice[26 + ridge] + 85 * ridge) % 216
        top = 110 + 34 * ridge + dice[29 + ridge] % 24
        yield _colour(hue + 0.05 * ridge, 0.65, 0.62 - 0.19 * ridge), _ridge(peak, top, 1.3 + 0.5 * ridge)


def _disc(x: int, y: int, radius: int) -> Iterator[_Span]:
    for row in range(max(0, y - radius), min(SIZE, y + radius + 1)):
        half = math.isqrt(radius * radius - (row - y) ** 2)
        yield row, x - half, x + half + 1


def _ridge(x: int, top: int, slope: float) -> Iterator[_Span]:
    for row in range(top, SIZE):
        half = int((row - top) * slope)
        yield row, x - half, x + half + 1


def _gradient(first: bytes, last: bytes) -> bytearray:
    """
    Blend two colours over twice the width of a row.
    """
    steps = 2 * SIZE
    return bytearray(
        begin + (end - begin) * step // steps for step in range(steps) for begin, end in zip(first, last, strict=True)
    )


def _colour(hue: float, saturation: float, value: float) -> bytes:
    return bytes(round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def _chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
