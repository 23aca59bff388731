"""
The names of the ways in which a provider can fail, and how they are written.

A mode is a name and, after colons, numbers: ``sleep:2``, ``stream:3:0.1``.
What a mode does on the wire is told in ``acts``. Nothing here does I/O.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: Every mode by the way it is written, with what it does. Numbers in square
#: brackets may be left out.
#:
#: .. versionadded:: 0.1.0
MODES: Mapping[str, str] = MappingProxyType(
    {
        "ok": "answers at once",
        "sleep:<seconds>": "answers after a while",
        "silent": "reads the request and never answers",
        "trickle-headers[:<interval>]": "sends its headers a byte at a time",
        "trickle-body[:<interval>]": "sends its body a byte at a time",
        "stall-body": "sends headers and half of the body, then nothing",
        "reset-before-headers": "resets (RST) instead of answering",
        "reset-in-body": "resets (RST) after half of the body",
        "close-early": "closes (FIN) instead of answering",
        "endless-body": "sends a body without end, as fast as it is read",
        "never-read": "never reads what is sent (connection level)",
        "tls-stall": "never says a word, not even in TLS (connection level)",
        "slow-accept:<seconds>": "reads after a while (connection level)",
        "<4xx or 5xx>[:<seconds>]": "fails; the seconds are Retry-After",
        "<4xx or 5xx>-date:<seconds>": "fails; Retry-After is a date",
        "malformed": "answers with something that is not HTTP",
        "wrong-length": "promises more body than it sends, then closes",
        "image-empty-url": "answers 200, its image's url is empty",
        "image-null-url": "answers 200, its image's url is null",
        "image-broken-bytes": "sends bytes for an image that are none",
        "image-truncated": "sends half of the image's bytes",
        "image-error-body": "answers 200 with an error in its body",
        "image-no-data": "answers 200 with an empty list of images",
        "stream-stall": "sends three pieces of a stream, then nothing",
        "stream:<n>[:<interval>]": "sends n pieces of a stream and its end",
    }
)

DEFAULT_INTERVAL = 0.05
ANY_STATUS = "<4xx or 5xx>"
_AT_CONNECTION = frozenset({"never-read", "tls-stall", "slow-accept"})
# Two numbers are the most that any mode takes.
_WRITTEN = re.compile(r"([a-z0-9-]+)((?::[^:]+){0,2})")
_STATUS = re.compile(r"([45]\d\d)(-date)?")


@dataclass(frozen=True, slots=True)
class Mode:
    """
    Hold one mode, read and found valid.

    Attributes:
        text: As it was written.

        act: Which act plays it: its name as :data:`MODES` has it.

        numbers: What followed the colons.

        status: The HTTP status it answers with, where it is one.

        at_connection: Whether it begins when the connection is accepted,
            before a request can be read.
    """

    text: str
    act: str
    numbers: tuple[float, ...]
    status: int = 200
    at_connection: bool = False

    @classmethod
    def parse(cls, text: str) -> Mode:
        """
        Read a mode, or refuse it with the list of all that there are.
        """
        written = _WRITTEN.fullmatch(text)
        if not written:
            raise _unknown(text)
        name, tail = written.groups()
        status = _STATUS.fullmatch(name)
        act = ANY_STATUS + (status[2] or "") if status else name
        numbers = _numbers(tail)
        if act not in _HOW_MANY or numbers is None:
            raise _unknown(text)
        if len(numbers) not in _HOW_MANY[act]:
            raise _unknown(text)
        # There is no such thing as half an event.
        if act == "stream" and not numbers[0].is_integer():
            raise _unknown(text)
        code = int(status[1]) if status else 200
        return cls(text, act, numbers, code, act in _AT_CONNECTION)

    def number(self, index: int, default: float = DEFAULT_INTERVAL) -> float:
        """
        Take one of the numbers, or *default* where it was left out.
        """
        return self.numbers[index] if index < len(self.numbers) else default


def _how_many() -> dict[str, range]:
    """
    Read from the way each mode is written how many numbers it may take.
    """
    how_many: dict[str, range] = {}
    for usage in MODES:
        act = re.split(r"\[?:", usage)[0]
        most = usage.count(":<")
        how_many[act] = range(most - usage.count("[:<"), most + 1)
    return how_many


_HOW_MANY = _how_many()


def _numbers(tail: str) -> tuple[float, ...] | None:
    """
    Read ":1:0.5", or say None where a part of it is no usable number.
    """
    try:
        numbers = tuple(float(part) for part in tail.split(":")[1:])
    except ValueError:
        return None
    if all(math.isfinite(number) and number >= 0 for number in numbers):
        return numbers
    return None


def _unknown(text: str) -> ValueError:
    return ValueError(f"mode must be one of {', '.join(MODES)}; got {text!r}")
