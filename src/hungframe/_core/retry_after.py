"""
What a provider's answer says of when to ask again.

Retry-After is RFC 9110 10.2.3; the others are what providers send beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime

# Seconds. Whoever asks for more is not believed: a typo must not shut a
# service out for a day.
LONGEST = 3600.0

# As Go writes durations, and OpenAI and Groq after it: "6m0s", "1.5s", "20ms".
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS = (3600.0, 60.0, 1.0, 0.001)


def retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """
    Seconds until the provider wants to be asked again.

    `retry-after-ms`, then `retry-after` (seconds or an HTTP date), then the
    `x-ratelimit-reset-*` of the limits that are used up. A date is compared
    with the answer's own Date, since clocks differ.

    Args:
        headers: Of the answer, found by their lower-case names.

        wall: Unix seconds now, where the answer has no Date.

    Returns:
        Seconds above 0 and at most an hour; None where nothing usable is said.

    >>> retry_after({"retry-after": "2"}, 0.0), retry_after({"retry-after": "soon"}, 0.0)
    (2.0, None)
    """
    said = _number(headers.get("retry-after-ms"), 0.001)
    if said is None:
        said = _seconds_or_date(headers.get("retry-after"), headers.get("date"), wall)
    if said is None:
        said = _reset(headers)
    if said is None or not said > 0:
        return None
    return min(said, LONGEST)


def _number(text: str | None, unit: float = 1.0) -> float | None:
    try:
        number = float(text) * unit if text else math.nan
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _seconds_or_date(text: str | None, date: str | None, wall: float) -> float | None:
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    until = _unix(text)
    if until is None:
        return None
    sent = _unix(date)
    return until - (wall if sent is None else sent)


def _unix(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, TypeError, OverflowError):
        return None


def _reset(headers: Mapping[str, str]) -> float | None:
    resets = dict(_resets(headers))
    used_up = [seconds for what, seconds in resets.items() if headers.get(f"x-ratelimit-remaining-{what}") == "0"]
    if used_up:
        return max(used_up)
    # Nobody says which limit it was: the first to be lifted may be it.
    return min(resets.values(), default=None)


def _resets(headers: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for name in headers:
        _, found, what = name.lower().partition("x-ratelimit-reset-")
        seconds = _duration(headers[name]) if found else None
        if seconds is not None:
            yield what, seconds


def _duration(text: str) -> float | None:
    seconds = _number(text)
    if seconds is not None:
        return seconds
    parts = _DURATION.fullmatch(text.strip())
    if parts is None or not any(parts.groups()):
        return None
    return sum(float(part) * unit for part, unit in zip(parts.groups(), _UNITS, strict=True) if part)
