"""
Asks a health page how its guards stand. Each question ends in time, also where the server trickles: a guard sees to it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import IO, Any, NoReturn
from urllib.parse import urlsplit

from hungframe.cli.top.reading import clean
from hungframe.errors import CallRejectedError, CallTimeoutError
from hungframe.guard import Guard

VERSION = 1
"""That of the health document which is understood here."""

MOST_BYTES = 16_000_000
"""Of a document that are read; one of 50 guards has 500,000."""

_STATUSES = {
    401: "not let in; --header 'Authorization: Bearer ...' sends what it asks for",
    403: "not let in; --header 'Authorization: Bearer ...' sends what it asks for",
    404: "nothing is there; give the URL at which the health page is mounted",
    405: "that is something else; give the URL at which the health page is mounted",
    429: "asked too often; a longer --interval helps",
}


class NoAnswerError(Exception):
    """
    There is no document, and why. With *is_lasting*, asking again would help only after somebody has changed something.
    """

    def __init__(self, why: str, *, is_lasting: bool = False) -> None:
        super().__init__(why)
        self.is_lasting = is_lasting


class HealthPage:
    """
    A health page, as it is asked.

    Args:
        url: Where it is mounted, or its /health.json; `http://` may be left out.

        headers: What is sent besides, such as Authorization; to no other server, whatever this one answers.

        within: Seconds until an answer must be there, whole.

    Raises:
        ValueError: If *url* is none of HTTP.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, within: float = 5.0) -> None:
        self._url = checked(url)
        self._headers = {"Accept": "application/json", "User-Agent": "hungframe top"} | dict(headers or {})
        self._open = urllib.request.build_opener(_StaysThere()).open
        self._within = within
        # No breaker: when to ask again is for who looks to say. What is left behind ends with its socket.
        self._guard = Guard("health page", timeout=within, grace=0.2, breaker=None)

    @property
    def shown(self) -> str:
        """
        The URL without its query, which may hold a token.
        """
        return without_query(self._url)

    def ask(self) -> dict[str, Any]:
        """
        Ask once.

        Raises:
            NoAnswerError: If there is no document, in one line.
        """
        try:
            status, kind, body = self._guard.call(self._get)
        except CallTimeoutError:
            raise NoAnswerError(f"no whole answer within {self._within:g} s") from None
        except CallRejectedError as error:
            raise NoAnswerError(f"too many questions hang; {error}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _told(error) from error
        return _document(status, kind, body)

    def _get(self) -> tuple[int, str, bytes]:
        request = urllib.request.Request(self._url, headers=self._headers)
        try:
            answer = self._open(request)
        except urllib.error.HTTPError as error:
            # 503 is what a page answers whose service is not ready.
            answer = error
        with contextlib.closing(answer):
            body = answer.read(MOST_BYTES + 1)
            # Who reads up to a number of bytes is not told that the connection has ended before them all.
            missing = getattr(answer, "length", None)
            if missing and len(body) <= MOST_BYTES:
                raise http.client.IncompleteRead(body, missing)
            return int(answer.status or 0), answer.headers.get_content_type(), body


def checked(url: str) -> str:
    """
    Complete a URL.

    >>> checked("localhost:8000/internal/gen-health")
    'http://localhost:8000/internal/gen-health'
    """
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, has_host = urlsplit(""), False
    if "@" in parts.netloc:
        raise ValueError("a URL with a password ends up in logs; send it by --header 'Authorization: Basic ...'")
    is_plain = whole.isascii() and whole.isprintable() and " " not in whole
    if not has_host or not is_plain or parts.scheme not in ("http", "https"):
        shown = without_query(url)
        raise ValueError(f"the URL must be such as http://127.0.0.1:8000/internal/gen-health, got {shown!r}")
    return whole


def without_query(url: str) -> str:
    """
    What of a URL may be shown.

    >>> without_query("https://a.example/health?token=1")
    'https://a.example/health'
    """
    return url.partition("#")[0].partition("?")[0]


def _document(status: int, kind: str, body: bytes) -> dict[str, Any]:
    # A header may hold what a terminal obeys.
    kind = clean(kind)[:100]
    if status not in (200, 503):
        why = _STATUSES.get(status, "it has a fault" if status >= 500 else "that is no health page")
        raise NoAnswerError(f"HTTP {status}: {why}", is_lasting=400 <= status < 500 and status != 429)
    if len(body) > MOST_BYTES:
        raise NoAnswerError(f"more than {MOST_BYTES:,} bytes came, which is no health page", is_lasting=True)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("guards", document.get("workers")), list):
        if status == 503:
            # A proxy whose service is away says so, too, in words of its own.
            raise NoAnswerError(f"HTTP 503, and no health page ({kind})")
        raise NoAnswerError(f"what answers is no health page ({kind}); is it mounted elsewhere?", is_lasting=True)
    if document.get("version", VERSION) != VERSION:
        told = f"the page is of version {document['version']!r:.20}, and this hungframe reads {VERSION}; update it"
        raise NoAnswerError(told, is_lasting=True)
    return document


def _told(error: BaseException) -> NoAnswerError:
    """
    Say in one line what went wrong.
    """
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return NoAnswerError(f"the certificate is not trusted: {reason.verify_message}", is_lasting=True)
    if isinstance(reason, ssl.SSLError):
        told = (reason.reason or str(reason)).replace("_", " ").lower()
        return NoAnswerError(f"no TLS with it ({told}); is it http://?", is_lasting=True)
    if isinstance(reason, _Elsewhere):
        return NoAnswerError(str(reason), is_lasting=True)
    if isinstance(reason, socket.gaierror):
        return NoAnswerError(f"no such host: {reason.strerror}", is_lasting=reason.errno == socket.EAI_NONAME)
    if isinstance(reason, ConnectionRefusedError):
        return NoAnswerError("connection refused: nobody listens there")
    if isinstance(reason, (http.client.RemoteDisconnected, ConnectionError)):
        return NoAnswerError("the connection was closed before an answer came")
    if isinstance(reason, http.client.IncompleteRead):
        return NoAnswerError("the connection was closed in the middle of the answer")
    if isinstance(reason, http.client.BadStatusLine):
        return NoAnswerError("what answers does not speak HTTP; is it https://?", is_lasting=True)
    words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return NoAnswerError("".join(each if each.isprintable() else " " for each in str(words))[:200])


class _Elsewhere(OSError):
    """
    It answers with another server's URL.
    """


class _StaysThere(urllib.request.HTTPRedirectHandler):
    """
    Follow redirects within the same server only: the others would be told what is in Authorization.
    """

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        here, there = urlsplit(req.full_url), urlsplit(newurl)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            fp.close()
            _refuse(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]  # An HTTPMessage.


def _refuse(url: str) -> NoReturn:
    shown = "".join(each if each.isprintable() else " " for each in without_query(url))[:200]
    raise _Elsewhere(f"it is somewhere else: {shown}; give that URL if you trust it")
