"""
Through proxies: forward, tunnel, TLS in TLS, SOCKS; named by the user or by the environment.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from hungframe import CallTimeoutError, Guard
from tests.transport.certificates import client_context, server_context
from tests.transport.faces import (
    BACK_BY,
    DEADLINE,
    Face,
    Kind,
    Library,
    both,
    each_kind,
    each_library,
    error_of,
    facts,
    run_with,
)
from tests.transport.proxies import http_proxy, refusing_proxy, silent_proxy, socks5_proxy
from tests.transport.raw_server import OK, Answer, Connection, says, serving

BIG = b"x" * 3_000_000


def echoes(connection: Connection) -> None:
    """
    Send back what was sent.
    """
    while request := connection.request():
        body = request.partition(b"\r\n\r\n")[2]
        connection.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))


def proxy_of(library: Library, kind: Kind, url: str, tls: bool) -> Any:
    if tls and kind != "sync" and library.stock.__version__.startswith("0.27."):
        pytest.skip("async httpx 0.27 forgets the ssl_context of a proxy")
    return library.stock.Proxy(url, ssl_context=client_context() if tls else None)


@each_kind
@each_library
@pytest.mark.parametrize("to", ["http", "https"])
@pytest.mark.parametrize("over", ["http", "https", "socks5", "socks5 with a password"])
def test_through_a_proxy(library: Library, kind: Kind, to: str, over: str) -> None:
    """
    Small and large, up and down, as the stock client does it.
    """

    async def scenario(face: Face) -> list[Any]:
        return [facts(await face.post(f"{server.url}/p", content=body)) for body in (b"", b"x", large, b"y")]

    large = BIG if over == "https" else BIG[:300_000]

    scheme = over.split()[0]
    with (
        serving(echoes, tls=server_context() if to == "https" else None) as server,
        serving(
            socks5_proxy if scheme == "socks5" else http_proxy, tls=server_context() if over == "https" else None
        ) as proxy,
    ):
        name = "user:pass@" if over.endswith("password") else ""
        given = proxy_of(library, kind, f"{scheme}://{name}127.0.0.1:{proxy.port}", over == "https")
        both(kind, library, scenario, verify=client_context(), proxy=given)
        assert proxy.connections


@pytest.mark.filterwarnings("ignore:Async generator 'httpx._content:ResourceWarning")
@each_kind
@each_library
@pytest.mark.parametrize("within", ["headers", "body", "upload"])
def test_stall_under_tls_in_tls(library: Library, kind: Kind, within: str) -> None:
    """
    Within the TLS to the server within the TLS to the proxy, a call ends at its deadline.
    """
    guard = Guard("images", timeout=DEADLINE)

    def stalls(connection: Connection) -> None:
        connection.head()
        if within == "body":
            connection.exactly(1)
            connection.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n" + BIG)
        if within == "upload":
            connection.is_over.wait(5)
        connection.more()
        connection.is_over.wait(5)

    async def scenario(face: Face) -> str | None:
        began = time.monotonic()
        with pytest.raises(CallTimeoutError) as caught:
            await face.guarded(guard, face.post, server.url, content=BIG * 4 if within == "upload" else b"x")
        assert time.monotonic() - began < BACK_BY
        return caught.value.phase

    with serving(http_proxy, tls=server_context()) as proxy, serving(stalls, tls=server_context()) as server:
        given = proxy_of(library, kind, proxy.url, tls=True)
        phase = run_with(kind, library.ours, scenario, verify=client_context(), proxy=given, timeout=30)
    assert ("write" if within == "upload" else within) == phase


@each_kind
@each_library
@pytest.mark.parametrize("answer", [refusing_proxy, silent_proxy])
def test_proxy_fails(library: Library, kind: Kind, answer: Answer) -> None:
    """
    The library's own exception.
    """

    async def scenario(face: Face) -> str:
        return await error_of(face.get("https://127.0.0.1:1/"))

    with serving(answer) as proxy:
        raised = both(kind, library, scenario, proxy=proxy.url, timeout=0.1)
    assert ("ProxyError" if answer is refusing_proxy else "ReadTimeout") == raised.rpartition(".")[2]


@each_kind
@each_library
def test_named_by_the_environment(library: Library, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    HTTP_PROXY, NO_PROXY, and `trust_env=False` for neither.
    """

    async def scenario(face: Face) -> int:
        before = len(proxy.connections)
        await face.get(server.url)
        return len(proxy.connections) - before

    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving(says(OK)) as server, serving(http_proxy) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert 1 == both(kind, library, scenario, trust_env=True)
        assert 0 == both(kind, library, scenario, trust_env=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert 0 == both(kind, library, scenario, trust_env=True)
