"""
The clients: how each is made, and how a call is made through it.

What is imported is imported late, so that a client that is not installed is missing and breaks nothing.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, resources
from importlib.util import find_spec
from typing import Any, Final, Literal, cast

Backend = Literal["sync", "asyncio", "trio"]
Library = Literal["httpx", "httpx2", "requests"]

Ask = Callable[[str, bool], Any]
"""Asks with a prompt, streamed or not; for async clients, what it returns is awaited."""

PLENTY: Final = 60.0
"""Seconds of a client's own timeout, where a guard is to end the call."""


@dataclass(frozen=True)
class Wanted:
    """
    Say what a client is made for.

    Args:
        url: Where the provider is.

        tls: What trusts it; None for plain HTTP.

        timeout: Seconds, the client's own.

        guarded: Whether the client is made over a guarded transport.
    """

    url: str
    tls: ssl.SSLContext | None
    timeout: float
    guarded: bool

    def http(self, library: str, kind: str) -> Any:
        """
        Make the HTTP client below an SDK.
        """
        module = import_module(f"hungframe.transport.{library}" if self.guarded else library)
        # Without a context, one would be read from disk for each: 18 ms.
        return getattr(module, kind)(verify=self.tls or False, trust_env=False, timeout=self.timeout)


@dataclass(frozen=True)
class Made:
    """
    Hold a client that can be asked and closed.
    """

    ask: Ask
    close: Callable[[], Any]


@dataclass(frozen=True)
class Subject:
    """
    Name a client on one backend.

    Args:
        name: As tables have it.

        backend: Where it runs.

        library: What it speaks HTTP with.

        make: Makes one.

        needs: The module of the SDK.

        reports: Outcomes that the client itself reports as others, whatever is below it.

        lingers: Seconds that the client itself is busy with an error before it lets it go.

        guards_sockets: Whether it is made over a guarded transport; else its calls are made in a thread.
    """

    name: str
    backend: Backend
    library: Library
    make: Callable[[Wanted], Made]
    needs: str
    reports: tuple[tuple[str, str], ...] = ()
    lingers: float = 0.0
    guards_sockets: bool = True

    @property
    def key(self) -> str:
        """Tell it from all others."""
        return f"{self.name} {self.backend}"

    @property
    def tells_phase(self) -> bool:
        """Whether its transport knows how far a request has come."""
        return self.library != "requests"

    @property
    def installed(self) -> bool:
        """Whether all that it needs is there."""
        try:
            return all(find_spec(name) for name in (self.library, self.needs, *([] if self.on_any else [self.backend])))
        except ModuleNotFoundError:
            return False

    @property
    def on_any(self) -> bool:
        """Whether its backend comes with Python."""
        return self.backend != "trio"

    def expects(self, outcome: str) -> str:
        """
        Tell what a guard can know of an outcome through this client.
        """
        return dict(self.reports).get(outcome, outcome)


def _messages(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


async def _all(pieces: Any) -> object:
    return [piece async for piece in pieces]


def _plain(library: str) -> Callable[[Wanted], Made]:
    def make(wanted: Wanted) -> Made:
        client = wanted.http(library, "Client")

        def ask(prompt: str, stream: bool) -> object:
            asked = {"messages": _messages(prompt), "stream": stream}
            return client.post(f"{wanted.url}/v1/chat/completions", json=asked).raise_for_status()

        return Made(ask, client.close)

    return make


def _plain_async(library: str) -> Callable[[Wanted], Made]:
    def make(wanted: Wanted) -> Made:
        client = wanted.http(library, "AsyncClient")

        async def ask(prompt: str, stream: bool) -> object:
            asked = {"messages": _messages(prompt), "stream": stream}
            return (await client.post(f"{wanted.url}/v1/chat/completions", json=asked)).raise_for_status()

        return Made(ask, client.aclose)

    return make


def _openai_client(wanted: Wanted, kind: str, http: str) -> Any:
    return getattr(import_module("openai"), kind)(
        base_url=f"{wanted.url}/v1",
        api_key="none",
        max_retries=0,
        timeout=wanted.timeout,
        http_client=wanted.http("httpx2", http),
    )


def _openai(wanted: Wanted) -> Made:
    client = _openai_client(wanted, "OpenAI", "Client")

    def ask(prompt: str, stream: bool) -> object:
        answer = client.chat.completions.create(model="m", messages=_messages(prompt), stream=stream)
        return list(answer) if stream else answer

    return Made(ask, client.close)


def _openai_async(wanted: Wanted) -> Made:
    client = _openai_client(wanted, "AsyncOpenAI", "AsyncClient")

    async def ask(prompt: str, stream: bool) -> object:
        answer = await client.chat.completions.create(model="m", messages=_messages(prompt), stream=stream)
        return await _all(answer) if stream else answer

    return Made(ask, client.close)


def _anthropic_client(wanted: Wanted, kind: str, http: str) -> Any:
    return getattr(import_module("anthropic"), kind)(
        base_url=wanted.url,
        api_key="none",
        max_retries=0,
        timeout=wanted.timeout,
        http_client=wanted.http("httpx2", http),
    )


def _anthropic(wanted: Wanted) -> Made:
    client = _anthropic_client(wanted, "Anthropic", "Client")

    def ask(prompt: str, stream: bool) -> object:
        answer = client.messages.create(model="m", max_tokens=9, messages=_messages(prompt), stream=stream)
        return list(answer) if stream else answer

    return Made(ask, client.close)


def _anthropic_async(wanted: Wanted) -> Made:
    client = _anthropic_client(wanted, "AsyncAnthropic", "AsyncClient")

    async def ask(prompt: str, stream: bool) -> object:
        answer = await client.messages.create(model="m", max_tokens=9, messages=_messages(prompt), stream=stream)
        return await _all(answer) if stream else answer

    return Made(ask, client.close)


def _gemini_client(wanted: Wanted, http: dict[str, Any]) -> Any:
    genai = import_module("google.genai")
    # In milliseconds. Without it, google-genai takes the HTTP client's own timeout away.
    options = genai.types.HttpOptions(base_url=wanted.url, timeout=int(wanted.timeout * 1e3), **http)
    return genai.Client(api_key="none", http_options=options)


def _gemini(wanted: Wanted) -> Made:
    http = wanted.http("httpx2", "Client")
    models = _gemini_client(wanted, {"httpx_client": http}).models

    def ask(prompt: str, stream: bool) -> object:
        if stream:
            return list(models.generate_content_stream(model="m", contents=prompt))
        return models.generate_content(model="m", contents=prompt)

    return Made(ask, http.close)


def _gemini_async(wanted: Wanted) -> Made:
    http = wanted.http("httpx2", "AsyncClient")
    models = _gemini_client(wanted, {"httpx_async_client": http}).aio.models

    async def ask(prompt: str, stream: bool) -> object:
        if stream:
            return await _all(await models.generate_content_stream(model="m", contents=prompt))
        return await models.generate_content(model="m", contents=prompt)

    return Made(ask, http.aclose)


def _litellm_module() -> Any:
    # Else it fetches a list of prices from GitHub when it is imported.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = cast(Any, import_module("litellm"))
    litellm.suppress_debug_info = True
    return litellm


def _litellm(wanted: Wanted) -> Made:
    litellm, client = _litellm_module(), _openai_client(wanted, "OpenAI", "Client")

    def ask(prompt: str, stream: bool) -> object:
        answer = litellm.completion(
            model="openai/m",
            messages=_messages(prompt),
            client=client,
            stream=stream,
            max_retries=0,
            timeout=wanted.timeout,  # It overrides the client's, with 600 s where nothing is said.
        )
        return list(answer) if stream else answer

    return Made(ask, client.close)


def _litellm_async(wanted: Wanted) -> Made:
    litellm, client = _litellm_module(), _openai_client(wanted, "AsyncOpenAI", "AsyncClient")

    async def ask(prompt: str, stream: bool) -> object:
        answer = await litellm.acompletion(
            model="openai/m",
            messages=_messages(prompt),
            client=client,
            stream=stream,
            max_retries=0,
            timeout=wanted.timeout,  # It overrides the client's, with 600 s where nothing is said.
        )
        return await _all(answer) if stream else answer

    return Made(ask, client.close)


def _requests(wanted: Wanted) -> Made:
    session = import_module("hungframe.transport.requests" if wanted.guarded else "requests").Session()
    session.trust_env = False
    if wanted.tls:
        session.verify = str(resources.files("hungframe.testing.provider") / "loopback.pem")

    def ask(prompt: str, stream: bool) -> None:
        asked = {"messages": _messages(prompt), "stream": stream}
        answer = session.post(f"{wanted.url}/v1/chat/completions", json=asked, timeout=wanted.timeout)
        answer.raise_for_status()

    return Made(ask, session.close)


# litellm raises an error of its own, without a cause, and gives it a status: 500 to what had none. Before that, in the
# caller's thread, it formats the traceback and searches it for secrets: 20 ms on an idle machine.
_LITELLM: Final = (("connection", "5xx"),)


def _both(
    name: str,
    library: Library,
    needs: str,
    sync: Callable[[Wanted], Made],
    of_async: Callable[[Wanted], Made],
    backends: tuple[Backend, ...] = ("asyncio", "trio"),
    reports: tuple[tuple[str, str], ...] = (),
    lingers: float = 0.0,
) -> list[Subject]:
    return [
        Subject(name, "sync", library, sync, needs, reports, lingers),
        *(Subject(name, backend, library, of_async, needs, reports) for backend in backends),
    ]


_ALL: Final = [
    *_both("httpx", "httpx", "httpx", _plain("httpx"), _plain_async("httpx")),
    *_both("httpx2", "httpx2", "httpx2", _plain("httpx2"), _plain_async("httpx2")),
    *_both("openai", "httpx2", "openai", _openai, _openai_async),
    *_both("anthropic", "httpx2", "anthropic", _anthropic, _anthropic_async),
    *_both("google-genai", "httpx2", "google.genai", _gemini, _gemini_async),
    *_both("litellm", "httpx2", "litellm", _litellm, _litellm_async, ("asyncio",), _LITELLM, lingers=0.1),
    Subject("requests", "sync", "requests", _requests, "requests"),
    Subject("requests, as it is", "sync", "requests", _requests, "requests", guards_sockets=False),
]

SUBJECTS: Final = {subject.key: subject for subject in _ALL}
"""By name and backend: "openai trio"."""
