"""
What the end of a call says of the next attempt: when to make it, and whether this one was begun at all.

Read off the shape of an exception or a result, like its outcome, without
an import of any library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from hungframe._core.outcome import NO_STATUS, causes, leaves
from hungframe._core.retry_after import LONGEST, retry_after
from hungframe.errors import CallTimeoutError, WorkerDiedError

# Groups of exceptions within groups, and headers of one answer: beyond that it is somebody's joke.
_DEEPEST = 5
_MOST_HEADERS = 1000

# Names of exception classes that libraries raise where no connection was made, or none was free.
_NO_CONNECTION_NAMES = frozenset(
    {
        "ClientConnectorError",  # aiohttp
        "ConnectError",  # httpx, httpcore
        "ConnectTimeout",  # httpx, httpcore, requests
        "ConnectTimeoutError",  # urllib3, botocore
        "ConnectionRefusedError",  # builtin
        "ConnectionTimeoutError",  # aiohttp
        "EmptyPoolError",  # urllib3
        "EndpointConnectionError",  # botocore
        "NewConnectionError",  # urllib3
        "PoolTimeout",  # httpx, httpcore
        "SSLCertVerificationError",  # ssl
        "gaierror",
        "herror",
    }
)
# And of those that they raise on a connection that stood.
_CONNECTION_NAMES = frozenset(
    {
        "ConnectionAbortedError",  # builtin
        "ConnectionResetError",  # builtin
        "BrokenPipeError",  # builtin
        "ChunkedEncodingError",  # requests
        "ReadError",  # httpx, httpcore
        "ReadTimeout",  # httpx, httpcore, requests
        "ReadTimeoutError",  # urllib3, botocore
        "RemoteProtocolError",  # httpx, httpcore
        "ServerDisconnectedError",  # aiohttp
        "SocketTimeoutError",  # aiohttp
        "WriteError",  # httpx, httpcore
        "WriteTimeout",  # httpx, httpcore
    }
)


def hint_of(ended: object, wall: float) -> float | None:
    """
    Find the seconds that the provider asked to wait; never raise.

    A number as `retry_after` comes first, then the headers of `response`, then
    those of the object itself; of an exception also those of what it was
    raised from, the nearest first, and of a group's members the longest wait.

    Args:
        ended: The exception or the result of a call that failed. Of one that
            succeeded, headers may tell of a limit that was not reached.

        wall: Unix seconds now, where an answer has no Date.

    Returns:
        Seconds above 0 and at most an hour; None where nothing usable is said.

    >>> from hungframe.errors import CircuitOpenError
    >>> hint_of(CircuitOpenError("images", 4.0), wall=0.0), hint_of(ValueError("wait 4 s"), wall=0.0)
    (4.0, None)
    """
    if type(ended) in NO_STATUS:
        return None
    try:
        return _of_error(ended, wall, _DEEPEST) if isinstance(ended, BaseException) else _said(ended, wall)
    except Exception:
        # Whoever writes an exception may put anything into its attributes.
        return None


def not_begun(error: BaseException) -> bool:
    """
    Tell whether it is certain that no connection was made, so that the provider got nothing of the call; never raise.

    >>> not_begun(ConnectionRefusedError()), not_begun(ConnectionResetError()), not_begun(ValueError())
    (True, False, False)
    """
    try:
        return _not_begun(error, _DEEPEST)
    except Exception:
        return False


# -- when to ask again ---------------------------------------------------------


def _of_error(error: BaseException, wall: float, deeper: int) -> float | None:
    if deeper <= 0:
        return None
    for link in causes(error):
        said = _said(link, wall)
        if said is None:
            members = (_of_error(member, wall, deeper - 1) for member in leaves(link))
            said = max((each for each in members if each is not None), default=None)
        if said is not None:
            return said
    return None


def _said(ended: object, wall: float) -> float | None:
    seconds = _get(ended, "retry_after")
    # A bool is no number here, and what a mock answers is none either.
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0:
        return float(min(seconds, LONGEST))
    response = _get(ended, "response")
    for headers in (_aws_headers(response), _get(response, "headers"), _get(ended, "headers")):
        said = retry_after(_plain(headers), wall)
        if said is not None:
            return said
    return None


def _get(owner: object, name: str) -> object:
    try:
        return getattr(owner, name, None)
    except Exception:
        return None


def _aws_headers(response: object) -> object:
    # botocore.exceptions.ClientError keeps a dict of dicts.
    found = response
    for name in ("ResponseMetadata", "HTTPHeaders"):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _plain(headers: object) -> Mapping[str, str]:
    """
    Headers by their lower-case names, the first of each name; none where it is no mapping.
    """
    # By its class, since a mock has every method and none of them there. The
    # headers of http.client have the methods of a mapping and are none.
    items: Callable[[object], Iterable[object]] | None = getattr(type(headers), "items", None)
    pairs = items(headers) if callable(items) else ()
    found: dict[str, str] = {}
    for pair in islice(pairs, _MOST_HEADERS):
        if isinstance(pair, tuple) and len(pair) == 2:
            name, value = _text(pair[0]), _text(pair[1])
            if name is not None and value is not None:
                found.setdefault(name.lower(), value)
    return found


def _text(value: object) -> str | None:
    if isinstance(value, (list, tuple)) and value:
        value = value[0]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # What no float can hold is too long to write out, too.
        return f"{value:f}" if -math.inf < value < math.inf and abs(value) < 1e300 else None
    return value if isinstance(value, str) else None


# -- whether it was begun ------------------------------------------------------


def _not_begun(error: BaseException, deeper: int) -> bool:
    if deeper <= 0:
        return False
    for link in _chain(error):
        members = leaves(link)
        if members:
            return all(_not_begun(member, deeper - 1) for member in members)
        if isinstance(link, CallTimeoutError):
            # A transport that carried it and was in no phase waited for a connection of its pool.
            return link.phase in ("connect", "tls") or (link.phase is None and link.wire is not None)
        if isinstance(link, WorkerDiedError):
            return not link.began
        names = {cls.__name__ for cls in type(link).__mro__}
        # The nearest that says it decides: an error of the request may have been raised from an earlier one.
        if not _NO_CONNECTION_NAMES.isdisjoint(names):
            return True
        if not _CONNECTION_NAMES.isdisjoint(names):
            return False
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """
    The error and what lies behind it, which requests and urllib do not tell as the cause.
    """
    for link in causes(error):
        yield link
        if link.__cause__ is None:
            # requests.ConnectionError(MaxRetryError), whose `reason` is urllib3's own; URLError has a `reason`, too.
            inner = _get(link, "reason")
            if not isinstance(inner, BaseException):
                inner = link.args[0] if link.args else None
            if isinstance(inner, BaseException) and inner is not link:
                yield from causes(inner)
                reason = _get(inner, "reason")
                if isinstance(reason, BaseException):
                    yield from causes(reason)
