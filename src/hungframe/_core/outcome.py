"""
What became of a call.

An outcome is read off the shape of what came back, never off its class: an
exception of openai, anthropic, httpx or requests needs no adapter and no import.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from enum import Enum


class Outcome(str, Enum):
    """
    How one call ended; every call ends in exactly one.

    A member equals its name as a string, so that `permit.settle("timeout")`
    and `counts["timeout"]` will do.

    >>> Outcome("5xx") is Outcome.SERVER_ERROR
    True
    """

    SUCCESS = "success"
    TIMEOUT = "timeout"
    QUOTA = "quota"
    SERVER_ERROR = "5xx"
    CONNECTION = "connection"
    CLIENT_ERROR = "4xx"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    REJECTED = "rejected"

    def __str__(self) -> str:
        return str(self.value)

    @classmethod
    def _missing_(cls, value: object) -> Outcome | None:
        raise ValueError(f"outcome must be one of {', '.join(m.value for m in cls)}, got {value!r}")

    ordinal: int
    """Its place in this list, to count by."""

    # The hash of an enum member is computed in Python before 3.12; outcomes
    # are looked up on every call.
    __hash__ = str.__hash__


for _ordinal, _outcome in enumerate(Outcome):
    _outcome.ordinal = _ordinal


# The worst first: of a group of failures, the one that says most about the
# provider's health counts.
_SEVERITY = (
    Outcome.TIMEOUT,
    Outcome.CONNECTION,
    Outcome.SERVER_ERROR,
    Outcome.QUOTA,
    Outcome.UNKNOWN,
    Outcome.CLIENT_ERROR,
    Outcome.REJECTED,
    Outcome.CANCELLED,
)

# Names of exception classes, as libraries spell them. "Timeout" anywhere in a
# class's name or its bases' says timeout (httpx.ReadTimeout, APITimeoutError).
_CONNECTION_NAMES = frozenset(
    {
        "APIConnectionError",  # openai, anthropic
        "BrokenResourceError",  # anyio, trio
        "ChunkedEncodingError",  # requests
        "ClientConnectionError",  # aiohttp
        "ClosedResourceError",  # anyio, trio
        "ConnectError",
        "ConnectionError",  # builtin, requests
        "HTTPException",  # http.client
        "IncompleteReadError",  # asyncio
        "NetworkError",  # httpx
        "NewConnectionError",  # urllib3
        "ProtocolError",  # httpx, urllib3
        "SSLError",
        "TransportError",  # httpx
        "gaierror",
        "herror",
    }
)
_CONNECTION_ERRNOS = frozenset(
    {
        errno.EADDRNOTAVAIL,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.EPIPE,
    }
)
_RATE_LIMIT_NAMES = frozenset({"RateLimitError", "TooManyRequests", "ResourceExhausted"})

_REQUEST_TIMEOUT = 408

# A chain of causes longer than this is a loop, or nobody's business.
_MOST_CAUSES = 10

# What a call mostly returns; none of these carries a status.
NO_STATUS = frozenset({type(None), bool, bytes, dict, float, int, list, set, str, tuple})


def classify(ended: object) -> Outcome:
    """
    Tell the outcome of a call from its result, or from the exception it raised.

    A `status_code`, a `response.status_code`, or an exception's `status` decides
    where there is one; else the names of the exception's classes; else those of its `__cause__`,
    since SDKs wrap the errors of their transport.

    Args:
        ended: The result, or the exception.

    >>> classify("an answer").value, classify(ConnectionResetError()).value
    ('success', 'connection')
    """
    if type(ended) in NO_STATUS:
        return Outcome.SUCCESS
    if isinstance(ended, BaseException):
        return _classify_error(ended)
    return _by_status(ended) or Outcome.SUCCESS


def _classify_error(error: BaseException) -> Outcome:
    members = leaves(error)
    if not isinstance(error, Exception) and not members:
        return Outcome.CANCELLED
    if members:
        return min((_classify_error(member) for member in members), key=_SEVERITY.index)
    if any(cls.__name__ in ("CancelledError", "Cancelled") for cls in type(error).__mro__):
        return Outcome.CANCELLED
    for link in causes(error):
        found = _by_status(link) or _by_name(link)
        if found is Outcome.CLIENT_ERROR and _status(link) == _REQUEST_TIMEOUT:
            # A client that gave up waiting says 408 where no server did (litellm.Timeout).
            found = _by_name(link) or found
        if found is not None:
            return found
    return Outcome.UNKNOWN


def leaves(error: BaseException) -> tuple[BaseException, ...]:
    """
    The members of an exception group, by shape, since 3.10 has no such class.
    """
    members = getattr(error, "exceptions", None)
    if isinstance(members, tuple) and members and all(isinstance(m, BaseException) for m in members):
        return members
    return ()


def causes(error: BaseException) -> Iterator[BaseException]:
    """
    The error and what it was raised from, the nearest first, up to a number of them.
    """
    link: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if link is None:
            return
        yield link
        link = link.__cause__


def _by_status(ended: object) -> Outcome | None:
    status = _status(ended)
    if status is None or status < 400:
        return None
    if status == 429:
        return Outcome.QUOTA
    return Outcome.CLIENT_ERROR if status < 500 else Outcome.SERVER_ERROR


def _status(ended: object) -> int | None:
    # A result may be any object, a proxy or a mock that answers to every name
    # among them: what is not a plain HTTP status is none.
    try:
        status = getattr(ended, "status_code", None)
        if status is None:
            status = getattr(getattr(ended, "response", None), "status_code", None)
        if status is None and isinstance(ended, Exception):
            # aiohttp, urllib.request. Of a result it may be anything's status.
            status = getattr(ended, "status", None)
    except Exception:
        return None
    # http.HTTPStatus is an int, too.
    return status if isinstance(status, int) and 100 <= status <= 599 else None


def _by_name(error: BaseException) -> Outcome | None:
    names = [cls.__name__ for cls in type(error).__mro__]
    if isinstance(error, TimeoutError) or any("Timeout" in name for name in names):
        return Outcome.TIMEOUT
    if "CallRejectedError" in names:
        # A guard further in refused: that says nothing of this one's provider.
        return Outcome.REJECTED
    if not _RATE_LIMIT_NAMES.isdisjoint(names):
        return Outcome.QUOTA
    if not _CONNECTION_NAMES.isdisjoint(names):
        return Outcome.CONNECTION
    if isinstance(error, OSError) and error.errno in _CONNECTION_ERRNOS:
        return Outcome.CONNECTION
    return None
