"""
Fetching the image behind a url: where to go, what to believe, and how much to take.

A provider's urls expire, so the image is fetched at once, within the call that was asked for it.

The url comes from the provider, and we go where it says: this is how server-side request forgery begins (CWE-918). A
provider, or who sits in between, could have us ask an address that only our own network reaches. What comes back is
never shown unless it is an image, and only GET is ever sent; but where that is not enough, name the hosts that images
come from (`allowed_hosts`), and let the network forbid the rest. Redirects are followed by hand, since a name that is
allowed may lead to one that is not.

Nothing here awaits: `Download` is told what came, and tells what to ask next. The loops are in service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

from examples.images.ports import NoImageError

from .answer import Link
from .check import MAX_BYTES

#: What to ask with. Images are packed already, and bytes that a server packs anyway are no image to us: what is
#: unpacked could be of any size.
HEADERS: Mapping[str, str] = {"Accept": "image/png, image/jpeg, image/webp", "Accept-Encoding": "identity"}

_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
_IPV6 = re.compile(r"[0-9a-f:.]*:[0-9a-f:.]*")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# The image may be there, and its host cannot give it now: not what the provider's answer is to blame for.
_FOR_NOW = frozenset({408, 425, 429})


class ImageHostError(Exception):
    """
    The host of an image's url failed, in a way that may pass.

    Args:
        host: Its name.

        status_code: What it answered. A guard reads the outcome off this, and the wait off the headers.

        headers: Of its answer.
    """

    def __init__(self, host: str, status_code: int, headers: Mapping[str, str]) -> None:
        # Exception.__new__ has kept the arguments, for pickling.
        self.host = host
        self.status_code = status_code
        self.headers = headers

    def __str__(self) -> str:
        return f"{self.host!r}, which has the image, answered {self.status_code}"


@dataclass(frozen=True, slots=True)
class Fetching:
    """
    How to fetch.

    Attributes:
        allowed_hosts: Names of the hosts to go to, as they stand in a url, in lower case; None: any.

        max_bytes: Most bytes that an image may have, also one in base64.

        max_redirects: Most redirects of one url.

    Raises:
        TypeError: If *allowed_hosts* is a string.

        ValueError: If one of the numbers is out of range.
    """

    allowed_hosts: frozenset[str] | None = None
    max_bytes: int = MAX_BYTES
    max_redirects: int = 3

    def __post_init__(self) -> None:
        if isinstance(self.allowed_hosts, str):
            raise TypeError(f"allowed_hosts must be a set of names or None, got {self.allowed_hosts!r}")
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, got {self.max_bytes!r}")
        if self.max_redirects < 0:
            raise ValueError(f"max_redirects must be at least 0, got {self.max_redirects!r}")


class Download:
    """
    One image on its way.

    Args:
        link: Where it is said to be.

        fetching: How to fetch.

    Raises:
        NoImageError: From each method, as soon as it is clear that there will be no image.
    """

    def __init__(self, link: Link, fetching: Fetching) -> None:
        self._fetching = fetching
        self._redirects = 0
        self._content = bytearray()
        self._asked = self._checked(link.url)
        #: What to ask next; None: all is there.
        self.url: httpx2.URL | None = self._asked

    @property
    def content(self) -> bytes:
        return bytes(self._content)

    def answered(self, status: int, headers: Mapping[str, str]) -> bool:
        """
        Take status and headers of an answer.

        Returns:
            Whether its body is wanted, piece by piece.

        Raises:
            ImageHostError: If the host failed, in a way that may pass.
        """
        host = self._asked.host
        if status in _REDIRECTS:
            self._redirected(headers.get("location", ""))
            return False
        if status in _FOR_NOW or status >= 500:
            raise ImageHostError(host, status, dict(headers))
        if status != 200:
            raise NoImageError(f"the image's url led to a {status} of {host!r}; it may have expired")
        told = headers.get("content-length", "")
        if told.isdecimal() and len(told) < 20 and int(told) > self._fetching.max_bytes:
            raise self._too_large()
        self.url = None
        return True

    def take(self, piece: bytes) -> None:
        """
        Take the next bytes of the body.
        """
        self._content += piece
        if len(self._content) > self._fetching.max_bytes:
            raise self._too_large()

    def _redirected(self, location: str) -> None:
        self._redirects += 1
        if self._redirects > self._fetching.max_redirects:
            raise NoImageError(
                f"the image's url led on and on: more than max_redirects ({self._fetching.max_redirects}), at last "
                f"from {self._asked.host!r}"
            )
        if not location:
            raise NoImageError(f"the image's url led to a redirect of {self._asked.host!r} that leads nowhere")
        try:
            onward = str(self._asked.join(location))
        except httpx2.InvalidURL:
            raise _no_url("it redirects to something that is no url") from None
        self.url = self._asked = self._checked(onward)

    def _checked(self, text: str) -> httpx2.URL:
        # Read by whoever will ask it: two readers of urls may find two hosts in the same one.
        try:
            url = httpx2.URL(text)
        except httpx2.InvalidURL:
            raise _no_url("it cannot be read") from None
        if url.scheme not in ("http", "https"):
            raise _no_url(f"it needs http or https, and has {url.scheme[:20]!r}")
        host = url.raw_host.decode("ascii", "replace").lower()
        if len(host) > 253 or not (_NAME.fullmatch(host) or _IPV6.fullmatch(host)):
            raise _no_url("its host is no name and no address")
        if url.port is not None and not 0 < url.port < 65536:
            raise _no_url(f"its port is {url.port}")
        allowed = self._fetching.allowed_hosts
        if allowed is not None and host not in allowed:
            raise _no_url(f"its host {host!r} is not one of allowed_hosts")
        return url

    def _too_large(self) -> NoImageError:
        most = self._fetching.max_bytes
        return NoImageError(f"the image's url led to more bytes than max_bytes ({most:,}); raise that for larger ones")


def _no_url(why: str) -> NoImageError:
    # The url itself is not told: a signature in it opens the image to whoever reads the logs.
    return NoImageError(f"the image's url is of no use: {why}")
