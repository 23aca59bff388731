"""
One service: a provider that it depends on, the openai client, and workers that draw images.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from copy import copy

import openai
from openai.types import ImagesResponse

from examples.demo import pace
from examples.demo.record import Call, LaneRecord, Stopwatch
from hungframe import CallRejectedError, CallTimeoutError, HungframeError
from hungframe.testing import HostileProvider

Draw = Callable[[str], Awaitable[ImagesResponse]]


class Lane:
    """
    Run one service, and note what becomes of its calls.

    Args:
        client: As `client_of` makes it.

        guard: A decorator for the call to the provider; None: none.
    """

    def __init__(
        self,
        watch: Stopwatch,
        provider: HostileProvider,
        client: openai.AsyncOpenAI,
        guard: Callable[[Draw], Draw] | None = None,
    ) -> None:
        async def draw(prompt: str) -> ImagesResponse:
            return await client.images.generate(model="gpt-image-1", prompt=prompt)

        self.draw: Draw = guard(draw) if guard else draw
        self.provider = provider
        self.record = LaneRecord()
        self._watch = watch

    async def ask(self, who: str) -> Call:
        """
        Draw one image for *who*; whatever happens is in the call returned.
        """
        call = Call(who, self._watch.now())
        self.record.calls.append(call)
        try:
            await self.draw("a cat in a spacesuit")
        except CallTimeoutError as error:
            call.outcome, call.error = "timeout", error
        except CallRejectedError as error:
            call.outcome, call.error = "refused", error
        except (HungframeError, openai.OpenAIError) as error:
            call.outcome, call.error = "failed", error
        except asyncio.CancelledError:
            call.outcome = "cut off"
            raise
        else:
            call.outcome = "answered"
        finally:
            call.ended = self._watch.now()
        return call

    async def ask_all(self, callers: Iterable[str]) -> list[Call]:
        """
        Draw one image for each of *callers*, all at once.
        """
        return list(await asyncio.gather(*(self.ask(who) for who in callers)))

    async def work(self, workers: Iterable[str], images: int) -> None:
        """
        Let each of *workers* draw so many images, one after the other.
        """

        async def one(who: str) -> None:
            for _ in range(images):
                await self.ask(who)

        await asyncio.gather(*(one(who) for who in workers))


def client_of(provider: HostileProvider) -> openai.AsyncOpenAI:
    """
    Make the client that both services use: the real one, with its own defaults at the demo's pace.
    """
    # Copied, because old releases of openai have the Limits of httpx, and new ones those of httpx2.
    limits = copy(openai.DEFAULT_CONNECTION_LIMITS)
    limits.max_connections = pace.CONNECTIONS
    client = openai.AsyncOpenAI(
        base_url=provider.base_url,
        api_key="none",
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(
            timeout=pace.client_timeout(),
            limits=limits,
            # The provider is on this machine, and no proxy knows it.
            trust_env=False,
        ),
    )
    # Imported at its first use, which on a busy machine takes as long as an image.
    _ = client.images
    return client
