"""
OpenAI's own package, against the provider.
"""

import asyncio
import base64
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from hungframe.testing.provider import HostileProvider

T = TypeVar("T")
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


@pytest.fixture
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture
def client(provider: HostileProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=provider.base_url, api_key="none", max_retries=0, timeout=2.0) as client:
        yield client


def run_async(provider: HostileProvider, use: Callable[[openai.AsyncOpenAI], Awaitable[T]], timeout: float = 2.0) -> T:
    """
    Use an async client on an event loop of its own.
    """

    async def main() -> T:
        async with openai.AsyncOpenAI(
            base_url=provider.base_url,
            api_key="none",
            max_retries=0,
            timeout=timeout,
        ) as client:
            return await use(client)

    return asyncio.run(main())


def check_png(data: bytes) -> None:
    """
    Read a PNG chunk by chunk, as a decoder would.
    """
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    data = data[8:]
    chunks = {}
    while data:
        size, name = struct.unpack(">I4s", data[:8])
        chunks[name] = data[8 : 8 + size]
        (checksum,) = struct.unpack(">I", data[8 + size : 12 + size])
        assert zlib.crc32(data[4 : 8 + size]) == checksum
        data = data[12 + size :]
    width, height, depth, color = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (256, 256, 8, 2) == (width, height, depth, color)
    # Of each row a filter byte and its RGB pixels.
    assert 256 * (1 + 3 * 256) == len(zlib.decompress(chunks[b"IDAT"]))


def test_images_in_base64(client: openai.OpenAI) -> None:
    """
    Each image asked for is a PNG.
    """
    images = client.images.generate(model="gpt-image-1", prompt="cat", n=2).data or []

    assert 2 == len(images)
    for image in images:
        check_png(base64.b64decode(image.b64_json or ""))


def test_images_by_url(provider: HostileProvider, client: openai.OpenAI) -> None:
    """
    The URL is served by the provider, and the same prompt has the same one.
    """
    first = client.images.generate(prompt="cat", response_format="url").data or []
    again = client.images.generate(prompt="cat", response_format="url").data or []
    url = first[0].url or ""
    frame = httpx.get(url, verify=False)

    assert url == again[0].url
    assert url.startswith(f"{provider.url}/frames/")
    assert "image/png" == frame.headers["content-type"]
    check_png(frame.content)


def test_images_async(provider: HostileProvider) -> None:
    """
    The async client gets the same.
    """

    async def draw(client: openai.AsyncOpenAI) -> str:
        images = await client.images.generate(prompt="cat")
        return (images.data or [])[0].b64_json or ""

    check_png(base64.b64decode(run_async(provider, draw)))


def test_chat(client: openai.OpenAI) -> None:
    """
    A completion has a message, an end and a usage, of the model asked for.
    """
    chat = client.chat.completions.create(model="gpt-x", messages=MESSAGES)

    assert "gpt-x" == chat.model
    assert "Hello from a hostile provider." == chat.choices[0].message.content
    assert "stop" == chat.choices[0].finish_reason
    assert chat.usage
    assert chat.usage.total_tokens > 0


def test_chat_streamed(client: openai.OpenAI) -> None:
    """
    A stream says the same in pieces.
    """
    stream = client.chat.completions.create(model="gpt-x", messages=MESSAGES, stream=True)
    pieces = [chunk.choices[0] for chunk in stream]

    assert "Hello from a hostile provider." == "".join(piece.delta.content or "" for piece in pieces)
    assert "assistant" == pieces[0].delta.role
    assert "stop" == pieces[-1].finish_reason


def test_chat_streamed_async(provider: HostileProvider) -> None:
    """
    The async client gets the same pieces.
    """

    async def talk(client: openai.AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(model="gpt-x", messages=MESSAGES, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert "Hello from a hostile provider." == run_async(provider, talk)


def test_chat_stream_of_n(provider: HostileProvider, client: openai.OpenAI) -> None:
    """
    stream:n sends so many chat chunks.
    """
    provider.play("stream:8:0")
    stream = client.chat.completions.create(model="gpt-x", messages=MESSAGES, stream=True)

    assert 8 == len(list(stream))


def test_chat_stream_stalls(provider: HostileProvider) -> None:
    """
    The SDK gets three chunks and then waits.
    """
    provider.play("stream-stall")
    got: list[object] = []

    async def talk(client: openai.AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(model="gpt-x", messages=MESSAGES, stream=True)
        async for chunk in stream:
            got.append(chunk)

    with pytest.raises(Exception, match="(?i)time") as caught:
        run_async(provider, talk, timeout=0.4)

    assert "Timeout" in type(caught.value).__name__
    assert 3 == len(got)


def test_models(client: openai.OpenAI) -> None:
    """
    The list of models can be read.
    """
    assert "gpt-image-1" in [model.id for model in client.models.list()]


@pytest.mark.parametrize(
    "mode, error",
    [
        ("400", openai.BadRequestError),
        ("401", openai.AuthenticationError),
        ("429", openai.RateLimitError),
        ("503", openai.InternalServerError),
        ("reset-before-headers", openai.APIConnectionError),
        ("close-early", openai.APIConnectionError),
    ],
)
def test_failures_are_what_the_sdk_knows(
    provider: HostileProvider, client: openai.OpenAI, mode: str, error: type[Exception]
) -> None:
    """
    Failures arrive as the SDK's own errors.
    """
    provider.play(mode)
    with pytest.raises(error):
        client.images.generate(prompt="cat")


def test_silence_is_a_timeout_and_retries_show(provider: HostileProvider, client: openai.OpenAI) -> None:
    """
    Each attempt of a retrying client is a request in the stats.
    """
    provider.play(["silent", "429:0.01", "ok"])
    hasty = client.with_options(max_retries=2, timeout=0.1)
    hasty.images.generate(prompt="cat")

    assert 3 == provider.stats.requests
    assert ["silent", "429:0.01", "ok"] == [request.mode for request in provider.requests]
