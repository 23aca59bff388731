"""
The packages of other providers, against ours. Where one is not installed, its tests say so.

They are in the dependency group `sdks`, which `make test` installs and `make matrix` does not. OpenAI's own package has
a file of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import httpx
import httpx2
import openai
import pytest

from hungframe.testing.provider import HostileProvider

TEXT = "Hello from a hostile provider."
MESSAGES: list[Any] = [{"role": "user", "content": "hello"}]


@pytest.fixture
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


def sdk(name: str) -> Any:
    """
    Import an SDK, or skip the test that needs it.
    """
    return pytest.importorskip(name, reason=f"{name} is not installed; it is in the dependency group sdks")


# -- Anthropic --------------------------------------------------------------------------------------------------------


@pytest.fixture
def claude(provider: HostileProvider) -> Iterator[Any]:
    with sdk("anthropic").Anthropic(base_url=provider.url, api_key="none", max_retries=0, timeout=0.5) as client:
        yield client


def test_anthropic(claude: Any) -> None:
    """
    A message has a text, an end and a usage, of the model asked for.
    """
    message = claude.messages.create(model="claude-x", max_tokens=9, messages=MESSAGES)

    assert "claude-x" == message.model
    assert [TEXT] == [block.text for block in message.content]
    assert "end_turn" == message.stop_reason
    assert message.usage.output_tokens > 0


def test_anthropic_streamed(claude: Any) -> None:
    """
    The SDK puts the events together to the same message.
    """
    with claude.messages.stream(model="claude-x", max_tokens=9, messages=MESSAGES) as stream:
        message = stream.get_final_message()

    assert [TEXT] == [block.text for block in message.content]
    assert ("end_turn", 5) == (message.stop_reason, message.usage.output_tokens)


def test_anthropic_async(provider: HostileProvider) -> None:
    """
    The async client gets the same, whole and streamed.
    """
    anthropic = sdk("anthropic")

    async def talk() -> tuple[str, str]:
        async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="none", max_retries=0) as client:
            message = await client.messages.create(model="claude-x", max_tokens=9, messages=MESSAGES)
            async with client.messages.stream(model="claude-x", max_tokens=9, messages=MESSAGES) as stream:
                return message.content[0].text, await stream.get_final_text()

    assert (TEXT, TEXT) == asyncio.run(talk())


@pytest.mark.parametrize("count", [0, 1, 8])
def test_anthropic_stream_of_n(provider: HostileProvider, claude: Any, count: int) -> None:
    """
    stream:n sends so many pieces of text, in a message that is whole.
    """
    provider.play(f"stream:{count}:0")
    with claude.messages.stream(model="claude-x", max_tokens=9, messages=MESSAGES) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()

    assert count == len(pieces)
    assert ("end_turn", count) == (message.stop_reason, message.usage.output_tokens)


def test_anthropic_stream_stalls(provider: HostileProvider, claude: Any) -> None:
    """
    The SDK gets three pieces and then waits.
    """
    provider.play("stream-stall")
    pieces: list[str] = []
    with pytest.raises(Exception, match="(?i)time"):
        with claude.messages.stream(model="claude-x", max_tokens=9, messages=MESSAGES) as stream:
            for piece in stream.text_stream:
                pieces.append(piece)

    assert 3 == len(pieces)


@pytest.mark.parametrize(
    ("mode", "error"),
    [("400", "BadRequestError"), ("429", "RateLimitError"), ("503", "InternalServerError")],
)
def test_anthropic_fails(provider: HostileProvider, claude: Any, mode: str, error: str) -> None:
    """
    Failures arrive as the SDK's own errors.
    """
    provider.play(mode)
    with pytest.raises(getattr(sdk("anthropic"), error)):
        claude.messages.create(model="claude-x", max_tokens=9, messages=MESSAGES)


# -- Google -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def gemini(provider: HostileProvider) -> Iterator[Any]:
    genai = sdk("google.genai")
    options = genai.types.HttpOptions(base_url=provider.url, timeout=500)
    with genai.Client(api_key="none", http_options=options) as client:
        yield client


def test_gemini(gemini: Any) -> None:
    """
    A content has a text, an end and a usage, of the model asked for.
    """
    content = gemini.models.generate_content(model="gemini-x", contents="hello")

    assert TEXT == content.text
    assert "STOP" == content.candidates[0].finish_reason
    assert "gemini-x" == content.model_version
    assert content.usage_metadata.total_token_count > 0


def test_gemini_streamed(gemini: Any) -> None:
    """
    A stream says the same in pieces.
    """
    pieces = list(gemini.models.generate_content_stream(model="gemini-x", contents="hello"))

    assert TEXT == "".join(piece.text for piece in pieces)
    assert "STOP" == pieces[-1].candidates[0].finish_reason


def test_gemini_async(provider: HostileProvider) -> None:
    """
    The async client gets the same, whole and streamed.
    """
    genai = sdk("google.genai")

    async def talk() -> tuple[str, str]:
        # A client of ours: where aiohttp is installed, google-genai would take that.
        async with httpx2.AsyncClient(verify=False, trust_env=False) as http:
            options = genai.types.HttpOptions(base_url=provider.url, httpx_async_client=http)
            models = genai.Client(api_key="none", http_options=options).aio.models
            content = await models.generate_content(model="gemini-x", contents="hello")
            stream = await models.generate_content_stream(model="gemini-x", contents="hello")
            return content.text, "".join([piece.text async for piece in stream])

    assert (TEXT, TEXT) == asyncio.run(talk())


@pytest.mark.parametrize("count", [1, 8])
def test_gemini_stream_of_n(provider: HostileProvider, gemini: Any, count: int) -> None:
    """
    stream:n sends so many pieces, the last with the reason that it is.
    """
    provider.play(f"stream:{count}:0")
    pieces = list(gemini.models.generate_content_stream(model="gemini-x", contents="hello"))

    assert count == len(pieces)
    assert "STOP" == pieces[-1].candidates[0].finish_reason


@pytest.mark.parametrize(("mode", "error"), [("400", "ClientError"), ("429", "ClientError"), ("503", "ServerError")])
def test_gemini_fails(provider: HostileProvider, gemini: Any, mode: str, error: str) -> None:
    """
    Failures arrive as the SDK's own errors, with their status.
    """
    provider.play(mode)
    with pytest.raises(getattr(sdk("google.genai.errors"), error)) as caught:
        gemini.models.generate_content(model="gemini-x", contents="hello")

    assert int(mode) == caught.value.code


# -- Ollama, Groq -----------------------------------------------------------------------------------------------------


@pytest.fixture
def llama(provider: HostileProvider) -> Iterator[Any]:
    with sdk("ollama").Client(host=provider.url, timeout=0.5) as client:
        yield client


def test_ollama(llama: Any) -> None:
    """
    A chat and a completion have a text and an end.
    """
    chat = llama.chat(model="llama-x", messages=MESSAGES)
    completion = llama.generate(model="llama-x", prompt="hello")

    assert (TEXT, "llama-x", "stop") == (chat.message.content, chat.model, chat.done_reason)
    assert (TEXT, "llama-x", "stop") == (completion.response, completion.model, completion.done_reason)


def test_ollama_streamed(provider: HostileProvider, llama: Any) -> None:
    """
    Lines of JSON, of which the last is empty and says that it is done.
    """
    provider.play(["ok", "stream:2:0"])
    pieces = list(llama.chat(model="llama-x", messages=MESSAGES, stream=True))
    two = list(llama.chat(model="llama-x", messages=MESSAGES, stream=True))

    assert TEXT == "".join(piece.message.content for piece in pieces)
    assert [False, False, True] == [piece.done for piece in two]


def test_ollama_fails(provider: HostileProvider, llama: Any) -> None:
    """
    A failure arrives as the SDK's own error, with its status.
    """
    provider.play("503")
    with pytest.raises(sdk("ollama").ResponseError) as caught:
        llama.chat(model="llama-x", messages=MESSAGES)

    assert 503 == caught.value.status_code


def test_groq(provider: HostileProvider) -> None:
    """
    Groq speaks OpenAI's API, one path further down.
    """
    with sdk("groq").Groq(base_url=provider.url, api_key="none", max_retries=0) as client:
        chat = client.chat.completions.create(model="groq-x", messages=MESSAGES)
        pieces = client.chat.completions.create(model="groq-x", messages=MESSAGES, stream=True)
        streamed = "".join(piece.choices[0].delta.content for piece in pieces)

    assert (TEXT, TEXT) == (chat.choices[0].message.content, streamed)


# -- LiteLLM, which speaks to them all -------------------------------------------------------------------------------


# litellm's own models warn when it is imported, and each answer of it when it is made into a string.
@pytest.mark.filterwarnings("ignore::UserWarning:pydantic")
@pytest.mark.parametrize("model", ["openai/gpt-x", "anthropic/claude-x", "gemini/gemini-x"])
def test_litellm(provider: HostileProvider, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever it calls, it can read the answer.
    """
    # Else it fetches a list of prices from GitHub when it is imported.
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = sdk("litellm")
    with httpx.Client(verify=False, trust_env=False) as http:
        # A client that is ours is closed by us; those that litellm makes stay open to the end of the process.
        client: Any = sdk("litellm.llms.custom_httpx.http_handler").HTTPHandler(client=http)
        base = provider.url
        if model.startswith("openai/"):
            client = openai.OpenAI(
                base_url=provider.base_url, api_key="none", http_client=cast(Any, http), max_retries=0
            )
            base = provider.base_url
        answer = litellm.completion(model=model, messages=MESSAGES, client=client, api_base=base, api_key="none")

    assert TEXT == answer.choices[0].message.content
    assert 1 == provider.stats.requests
