"""
What the queue takes, refused here with its name, its value and what would do, before the database is asked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

KEY_BYTES = 32
LARGEST_PAYLOAD = 256 * 1024
"""Bytes of a payload, as JSON in UTF-8."""

MOST_URGENT = 9
LONGEST_NAME = 100
LONGEST_DETAIL = 2_000
"""Characters that are kept of a detail."""

LONGEST_DELAY = 366 * 86_400.0


def number(name: str, value: object, *, above: float | None = None, at_least: float = 0.0, at_most: float) -> float:
    """
    Return *value* if it is a number within the bounds.

    Raises:
        TypeError: If it is no int or float; a bool counts as none.

        ValueError: If it is out of bounds, or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    low = at_least if above is None else above
    if math.isnan(value) or value < low or value > at_most or (above is not None and value == above):
        bracket = "[" if above is None else "("
        raise ValueError(f"{name} must be in {bracket}{low:g}, {at_most:g}], got {value!r}")
    return float(value)


def whole(name: str, value: object, *, at_least: int, at_most: int) -> int:
    """
    Return *value* if it is a whole number within the bounds.

    Raises:
        TypeError: If it is no int; a bool counts as none.

        ValueError: If it is out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if not at_least <= value <= at_most:
        raise ValueError(f"{name} must be in {at_least}..{at_most}, got {value!r}")
    return value


def text(name: str, value: object) -> str:
    """
    Return *value* if it is a name: not blank, at most 100 characters, and nothing that Postgres cannot store.

    Raises:
        TypeError: If it is no string.

        ValueError: If it is blank, too long, or holds a NUL or half a surrogate pair.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    if not value.strip() or len(value) > LONGEST_NAME:
        raise ValueError(f"{name} must have 1 to {LONGEST_NAME} characters, not all blank, got {value[:120]!r}")
    if value != stored(value):
        raise ValueError(f"{name} must hold no NUL and no lone surrogate, which Postgres cannot store, got {value!r}")
    return value


def stored(value: str) -> str:
    """
    Put U+FFFD or "?" where *value* has what Postgres cannot store.
    """
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def detail(value: object) -> str:
    """
    Make *value* storable, and no longer than 2,000 characters.

    It comes from an error that somebody else has worded, and must never be why a job cannot be failed.
    """
    return stored(str(value)[:LONGEST_DETAIL])


def key(value: object) -> bytes:
    """
    Return *value* if it is an idempotency key.

    Raises:
        TypeError: If it is not bytes.

        ValueError: If it has not 32 bytes.
    """
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"key must be {KEY_BYTES} bytes, as hashlib.sha256(...).digest() gives them, got {value!r}")
    found = bytes(value)
    if len(found) != KEY_BYTES:
        raise ValueError(
            f"key must be {KEY_BYTES} bytes, as hashlib.sha256(...).digest() gives them, got {len(found)} bytes"
        )
    return found


def payload(value: object) -> str:
    """
    Write *value* as JSON.

    Raises:
        TypeError: If it is no mapping, or holds what JSON has no word for.

        ValueError: If it is larger than 256 kB, or holds a NUL, a lone surrogate, NaN or an infinity.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"payload must be a mapping, got {type(value).__name__}")
    try:
        # As characters and not as \u escapes, so that what Postgres refuses can be seen, and the size is the true one.
        written = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise TypeError(f"payload must hold only what JSON has: {error}") from None
    except ValueError as error:
        raise ValueError(f"payload must hold finite numbers and no cycle: {error}") from None
    except RecursionError:
        raise ValueError("payload must not be nested so deeply") from None
    try:
        size = len(written.encode())
    except UnicodeEncodeError:
        raise ValueError("payload must hold no lone surrogate, which Postgres cannot store; replace it") from None
    if size > LARGEST_PAYLOAD:
        raise ValueError(
            f"payload must be at most {LARGEST_PAYLOAD:,} bytes as JSON, got {size:,}; store it, and queue where"
        )
    # A backslash is itself escaped, so an even number of them before "u0000" means these characters and no NUL.
    if "\\u0000" in written.replace("\\\\", ""):
        raise ValueError("payload must hold no NUL (\\u0000), which Postgres cannot store; remove or replace it")
    return written


def _plain(value: Mapping[Any, Any]) -> dict[str, Any]:
    odd = [each for each in value if not isinstance(each, str)]
    if odd:
        raise TypeError(f"a name must be a string, got {odd[0]!r}")
    return dict(value)
