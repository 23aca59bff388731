"""
What a provider's answer says of when to ask again.

Retry-After is RFC 9110 10.2.3; the others are what providers send beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

# Seconds. Whoever asks for more is not believed: a typo must not shut a
# service out for a day.
LONGEST = 3600.0

# Digits, and a fraction where a provider sends one. float() takes more than
# that: "nan", "inf", "1_000", "1e9", digits of other scripts.
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")

# As Go writes durations, and OpenAI and Groq after it: "6m0s", "1.5s", "20ms".
_DURATION = re.compile("".join(f"(?:({_NUMBER.pattern}){unit})?" for unit in ("h", "m", "s", "ms")))
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


def _number(text: object, unit: float = 1.0) -> float | None:
    if not isinstance(text, str) or not _NUMBER.fullmatch(text.strip()):
        return None
    # Infinite where there are too many digits for a float.
    return float(text) * unit


def _seconds_or_date(text: object, date: object, wall: float) -> float | None:
    seconds = _number(text)
    if seconds is not None:
        return seconds
    until = _unix(text)
    if until is None:
        return None
    sent = _unix(date)
    return until - (wall if sent is None else sent)


def _unix(date: object) -> float | None:
    if not isinstance(date, str):
        return None
    # Here, since they bring a dozen modules that `import hungframe` needs for nothing else, and dates are rare.
    from calendar import timegm
    from email.utils import parsedate_to_datetime

    try:
        # A date without a zone is in UTC (RFC 9110 5.6.7), not in this machine's.
        return timegm(parsedate_to_datetime(date).utctimetuple())
    except (ValueError, TypeError, OverflowError, IndexError):
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
        before, found, what = name.lower().partition("x-ratelimit-reset-")
        seconds = _duration(headers[name]) if found and not before else None
        if seconds is not None:
            yield what, seconds


def _duration(text: object) -> float | None:
    seconds = _number(text)
    if seconds is not None or not isinstance(text, str):
        return seconds
    parts = _DURATION.fullmatch(text.strip())
    if parts is None or not any(parts.groups()):
        return None
    return sum(float(part) * unit for part, unit in zip(parts.groups(), _UNITS, strict=True) if part)
