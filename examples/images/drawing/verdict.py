"""
What an error of the provider means for the job: try again, give it back, or bury it.

Pure: an error in, a value out. No text of the provider's goes into a verdict, since it may quote the prompt or the key.
"""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime

import httpx2
import openai

from examples.images.ports import NoImageError, Verdict
from hungframe import CallRejectedError, CallTimeoutError

#: Seconds that a job is given back for where the provider refuses all of us: a key that has expired, an account without
#: credit. To bury for that would make dead letters of the whole queue in a minute.
OUR_FAULT_SECONDS = 60.0

#: Seconds where nobody names a time. The guard pauses by itself after a 429, so that no worker comes too early.
DEFAULT_SECONDS = 5.0

#: Whoever names a longer wait is not believed: nothing that long is known.
LONGEST_SECONDS = 3600.0

# Ours to put right: unknown, unpaid, forbidden.
_OUR_FAULT = frozenset({401, 402, 403})
_QUOTA = 429
# They may pass: request timeout, conflict, too early. The SDK tries the first two again as well.
_MAY_PASS = frozenset({408, 409, 425})
# What a chain of causes may have; a longer one is a loop.
_MOST_CAUSES = 10


def verdict(error: Exception) -> Verdict:
    """
    Tell what becomes of the job whose call ended with this error.

    ============================================  =======  ==================================================
    error                                         kind     reason
    ============================================  =======  ==================================================
    no image in the answer                        bury     `no-image-url`: the same request gets the same
    4xx (400, 404, 413, 422, ...)                 bury     `refused-by-provider`: by its content or its values
    401, 402, 403, 429 `insufficient_quota`       snooze   `provider-refuses-us`: nobody's job fares better
    429                                           snooze   `quota`: until Retry-After
    the guard refused                             snooze   `rejected`: until its `retry_after`; it never ran
    timeout, 408                                  retry    `timeout`
    5xx                                           retry    `5xx`
    no connection, or one that broke              retry    `connection`
    409, 425                                      retry    `4xx`
    anything else                                 retry    `unknown`
    ============================================  =======  ==================================================
    """
    if isinstance(error, NoImageError):
        return Verdict("bury", error.reason, str(error))
    if isinstance(error, CallRejectedError):
        return Verdict("snooze", "rejected", str(error), _wait(error.retry_after))
    for link in _causes(error):
        status = _status(link)
        if status is not None:
            return _of_status(status, link)
    if isinstance(error, CallTimeoutError):
        # What the guard tells is made of names and numbers: where it hung, and how far it had come.
        return Verdict("retry", "timeout", str(error))
    if isinstance(error, (TimeoutError, openai.APITimeoutError, httpx2.TimeoutException)):
        return Verdict("retry", "timeout", f"no answer in time ({_name(error)})")
    if isinstance(error, (ConnectionError, openai.APIConnectionError, httpx2.TransportError)):
        return Verdict("retry", "connection", f"the connection failed ({_name(error)})")
    return Verdict("retry", "unknown", f"an error that nobody expects ({_name(error)})")


def is_our_fault(error: BaseException) -> bool:
    """
    Tell whether the provider refuses all of us, whatever is asked: somebody has to look at it.
    """
    return _status(error) in _OUR_FAULT or getattr(error, "code", None) == "insufficient_quota"


def _of_status(status: int, error: BaseException) -> Verdict:
    told = f"the provider answered {status} ({_name(error)})"
    if is_our_fault(error):
        return Verdict("snooze", "provider-refuses-us", f"{told}: API key, rights or credit", OUR_FAULT_SECONDS)
    if status == _QUOTA:
        return Verdict("snooze", "quota", told, _wait(_retry_after(error)))
    if status == 408:
        return Verdict("retry", "timeout", told)
    if status in _MAY_PASS:
        return Verdict("retry", "4xx", told)
    if status >= 500:
        return Verdict("retry", "5xx", told)
    return Verdict("bury", "refused-by-provider", f"{told}: asked again, it would say the same")


def _causes(error: BaseException) -> list[BaseException]:
    chain, link = list[BaseException](), error.__cause__
    chain.append(error)
    while link is not None and len(chain) < _MOST_CAUSES:
        chain.append(link)
        link = link.__cause__
    return chain


def _status(error: BaseException) -> int | None:
    """
    Read the status off the error's shape: the SDK's errors have it, and so has `ImageHostError`.
    """
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) and 400 <= status <= 599 else None


def _name(error: BaseException) -> str:
    return type(error).__name__


def _wait(seconds: float | None) -> float:
    """
    Give seconds that a queue can wait for, whatever was named.
    """
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return DEFAULT_SECONDS
    return min(seconds, LONGEST_SECONDS)


def _retry_after(error: BaseException) -> float | None:
    """
    Read when to ask again, in seconds: `retry-after-ms`, or Retry-After as a number or a date (RFC 9110 10.2.3).
    """
    headers = getattr(getattr(error, "response", error), "headers", {})
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    told = headers.get("retry-after")
    seconds = _number(told)
    if seconds is not None:
        return seconds
    until, sent = _unix(told), _unix(headers.get("date"))
    # A date means what the clock of its sender says. Who does not tell that gets the usual wait.
    return None if until is None or sent is None else until - sent


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _unix(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
