"""
The images service over OpenAI's SDK, for asyncio and for sync workers.

Both do the same, and differ in what they wait with.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import openai

from examples.images.ports import Image, ImageRequest, NoImageError

from .answer import Link, found
from .asking import Asking
from .check import checked
from .download import HEADERS, Download, Fetching
from .verdict import is_our_fault

_log = logging.getLogger(__name__)


class OpenAIImages:
    """
    Draw images, awaited; this is an `ImageService`.

    Args:
        client: Asks the provider. Its `max_retries` is 0: what the SDK tries again by itself, no breaker sees.

        http: Fetches an image that comes as a url, from wherever that leads: give it no credentials and no
            `base_url`. The guarded client that *client* is built on will do.

        asking: How to ask.

        fetching: How to fetch.

    Raises:
        ValueError: If the client would retry.
    """

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        http: httpx2.AsyncClient,
        *,
        asking: Asking | None = None,
        fetching: Fetching | None = None,
    ) -> None:
        _check_retries(client.max_retries)
        self._client = client
        self._http = http
        self._asking = asking or Asking()
        self._fetching = fetching or Fetching()

    async def draw(self, request: ImageRequest) -> Image:
        """
        Draw one image, and fetch it where the provider sends a url.

        Raises:
            NoImageError: If what came is no image.

            ImageHostError: If the host behind the url failed, in a way that may pass.

            openai.OpenAIError: If the provider refused or failed.

            httpx2.HTTPError: If the fetching failed on the wire.
        """
        with _reading_the_answer():
            response: object = await self._client.images.generate(**self._asking.parameters(request))
        image = found(response, self._fetching.max_bytes)
        content = await self._fetched(image) if isinstance(image, Link) else image
        return checked(content, self._fetching.max_bytes)

    async def _fetched(self, link: Link) -> bytes:
        download = Download(link, self._fetching)
        while download.url is not None:
            async with self._http.stream("GET", download.url, headers=HEADERS, follow_redirects=False) as response:
                if download.answered(response.status_code, response.headers):
                    async for piece in response.aiter_raw():
                        download.take(piece)
        return download.content


class SyncOpenAIImages:
    """
    Draw images, in the caller's thread; else as `OpenAIImages`.
    """

    def __init__(
        self,
        client: openai.OpenAI,
        http: httpx2.Client,
        *,
        asking: Asking | None = None,
        fetching: Fetching | None = None,
    ) -> None:
        _check_retries(client.max_retries)
        self._client = client
        self._http = http
        self._asking = asking or Asking()
        self._fetching = fetching or Fetching()

    def draw(self, request: ImageRequest) -> Image:
        """
        As `OpenAIImages.draw`, and with the same errors.
        """
        with _reading_the_answer():
            response: object = self._client.images.generate(**self._asking.parameters(request))
        image = found(response, self._fetching.max_bytes)
        content = self._fetched(image) if isinstance(image, Link) else image
        return checked(content, self._fetching.max_bytes)

    def _fetched(self, link: Link) -> bytes:
        download = Download(link, self._fetching)
        while download.url is not None:
            with self._http.stream("GET", download.url, headers=HEADERS, follow_redirects=False) as response:
                if download.answered(response.status_code, response.headers):
                    for piece in response.iter_raw():
                        download.take(piece)
        return download.content


def _check_retries(max_retries: int) -> None:
    if max_retries:
        raise ValueError(
            f"client.max_retries must be 0, got {max_retries!r}: what the SDK tries again by itself spends the call's "
            "deadline, and breaker and budget see one call where the provider saw several"
        )


@contextmanager
def _reading_the_answer() -> Iterator[None]:
    """
    Tell of what the SDK raises where an answer came and was none.
    """
    try:
        yield
    except (json.JSONDecodeError, UnicodeDecodeError, openai.APIResponseValidationError):
        # The whole body hangs on these, so none of them is kept as the cause.
        raise NoImageError("the answer's status says that all is well, and its body is no JSON") from None
    except openai.APIStatusError as error:
        if is_our_fault(error):
            # Loud, since no other job fares better. A traceback says nothing more, and the text may tell the key.
            _log.error(
                "the provider refuses us (HTTP %d): no image is drawn until API key, rights or credit are put right",
                error.status_code,
            )
        raise
