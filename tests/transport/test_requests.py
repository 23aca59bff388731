"""
requests under a deadline, in the caller's own thread: every operation is cut, also where the server trickles.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
import requests

from hungframe import CallTimeoutError, Guard
from hungframe.testing import HostileProvider
from hungframe.transport.requests import DeadlineAdapter, Session

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

DEADLINE = 0.15
# Of a machine that is busy.
SLACK = 0.15

UPLOAD = b"x" * 16_000_000


@pytest.fixture
def session() -> Iterator[Session]:
    with Session() as session:
        session.trust_env = False
        session.verify = False
        yield session


def guard_of(**settings: Any) -> Guard:
    return Guard("images", **{"timeout": DEADLINE, "isolate": None, "breaker": None, **settings})


def cut(callee: Callable[..., Any], *args: Any, **kwargs: Any) -> CallTimeoutError:
    """
    Call it, and check that it was cut at the deadline.
    """
    guard = guard_of()
    threads = threading.active_count()
    began = time.monotonic()
    with pytest.raises(CallTimeoutError) as caught:
        guard.call(callee, *args, **kwargs)
    seconds = time.monotonic() - began
    assert DEADLINE - 0.01 < seconds < DEADLINE + SLACK
    assert "clean" == caught.value.receipt
    # Idle workers of other tests may end meanwhile.
    assert threads >= threading.active_count()
    assert (1, 0) == (guard.snapshot().counts["timeout"], guard.snapshot().in_flight)
    return caught.value


MODES = [
    "silent",
    "trickle-headers",
    "trickle-body",
    "stall-body",
    "endless-body",
    "stream-stall",
    "tls-stall",
    "slow-accept:5",
    "sleep:5",
]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("mode", MODES)
def test_cut_at_the_deadline(session: Session, mode: str, tls: bool) -> None:
    """
    Whatever the provider does, in the caller's own thread; its connection is closed, and the session works on.
    """
    with HostileProvider(mode, tls=tls) as provider:
        error = cut(session.get, provider.url)
        assert provider.wait_closed(1.0)
        # Not in the script: on a busy machine the first request may not get as far as taking its mode.
        provider.play("ok")
        assert 200 == guard_of(timeout=5.0).call(session.get, provider.url).status_code
    assert "hungframe/transport" not in error.where
    assert "requests" in error.where or "ssl.py" in error.where or "socket.py" in error.where


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_upload_that_nobody_reads(session: Session, tls: bool) -> None:
    """
    It is cut, and reset, so that nothing of it stays in the kernel.
    """
    with HostileProvider("never-read", tls=tls) as provider:
        cut(session.post, provider.url, data=UPLOAD)
        assert provider.wait_closed(1.0)
        assert 1 == provider.stats.reset


def test_the_certificate_is_checked(session: Session) -> None:
    """
    As requests does it, with the default context and with a bundle of one's own.
    """
    session.verify = True
    with HostileProvider("ok", tls=True) as provider, pytest.raises(requests.exceptions.SSLError):
        guard_of(timeout=5.0).call(session.get, provider.url)


def test_a_context_of_ones_own() -> None:
    """
    A context that an adapter hands to urllib3 is used, and obeys the deadline.
    """

    class Adapter(DeadlineAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, ssl_context=provider.ssl_context(), **kwargs)

        def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
            host, pool = super().build_connection_pool_key_attributes(*args, **kwargs)
            pool.pop("ca_certs", None)
            return host, pool

    with HostileProvider(["ok", "trickle-body"], tls=True) as provider, requests.Session() as session:
        session.trust_env = False
        session.mount("https://", Adapter())
        assert 200 == session.get(provider.url).status_code
        cut(session.get, provider.url)


def test_an_adapter_in_an_existing_session() -> None:
    """
    It does the same as the session.
    """
    with HostileProvider("trickle-body") as provider, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", DeadlineAdapter(pool_maxsize=2))
        cut(session.get, provider.url)


def test_what_requests_users_expect(session: Session) -> None:
    """
    The callee sees requests' own exceptions, and what it makes of them changes nothing for its caller.
    """
    seen: list[BaseException] = []

    def callee() -> str:
        try:
            session.get(provider.url)
        except requests.exceptions.RequestException as error:
            seen.append(error)
        return "a fallback, too late"

    with HostileProvider("silent") as provider:
        cut(callee)
        provider.play("stall-body")
        cut(callee)

    assert isinstance(seen[0], requests.exceptions.ReadTimeout)
    # So says requests of a body.
    assert isinstance(seen[1], requests.exceptions.ConnectionError)


def test_its_own_timeout_is_its_own(session: Session) -> None:
    """
    A timeout of requests that is shorter than the deadline raises as ever, and is no timeout of the guard's.
    """
    guard = guard_of(timeout=5.0)
    with HostileProvider(["silent", "ok"]) as provider:
        with pytest.raises(requests.exceptions.ReadTimeout):
            guard.call(session.get, provider.url, timeout=0.05)
        assert 200 == session.get(provider.url).status_code
    # Read off the exception: it was not the deadline.
    assert 1 == guard.snapshot().counts["timeout"]


def test_outside_of_a_guard_nothing_is_different(session: Session) -> None:
    """
    Also for a connection that a guarded call has used before.
    """
    with HostileProvider(["ok", "sleep:0.3", "silent"]) as provider:
        guard_of(timeout=0.2).call(session.get, provider.url)
        assert 200 == session.get(provider.url).status_code
        with pytest.raises(requests.exceptions.ReadTimeout):
            session.get(provider.url, timeout=0.05)
        assert 1 == provider.stats.opened


def test_connections_are_used_again(session: Session) -> None:
    """
    What ends in time goes back to the pool.
    """
    guard = guard_of(timeout=5.0)
    with HostileProvider("ok") as provider:
        for _ in range(5):
            guard.call(session.get, provider.url)
        assert 1 == provider.stats.opened


def test_a_stream(session: Session) -> None:
    """
    A body that is read piece by piece is cut between two of them.
    """
    pieces: list[bytes] = []

    def callee() -> None:
        with session.get(provider.url, stream=True) as response:
            pieces.extend(response.iter_content(1))

    with HostileProvider("trickle-body:0.03") as provider:
        cut(callee)
        assert provider.wait_closed(1.0)
    assert pieces


def test_nested_guards(session: Session) -> None:
    """
    The innermost deadline holds.
    """
    outer = guard_of(timeout=5.0)

    def callee() -> None:
        cut(session.get, provider.url)

    with HostileProvider("trickle-body") as provider:
        outer.call(callee)
    assert 1 == outer.snapshot().counts["success"]


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog swallows a connection there")
def test_every_address_of_a_name(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Three addresses that do not answer share one deadline.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        full = [socket.socket() for _ in range(8)]
        for sock in full:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        time.sleep(0.02)
        port = listener.getsockname()[1]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))] * 3
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
        try:
            cut(session.get, f"http://example.test:{port}")
        finally:
            for sock in full:
                sock.close()


def test_refused_and_unknown(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Other failures are told as requests tells them.
    """
    guard = guard_of(timeout=5.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(requests.exceptions.ConnectionError, match="Failed to establish a new connection"):
        guard.call(session.get, f"http://127.0.0.1:{port}")

    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(requests.exceptions.ConnectionError, match="Failed to resolve"):
        guard.call(session.get, "http://nowhere.test")
    assert 2 == guard.snapshot().counts["connection"]


def test_a_proxy(session: Session) -> None:
    """
    Requests through an HTTP proxy are cut as well; a SOCKS proxy is refused.
    """
    with HostileProvider("trickle-body") as provider:
        cut(session.get, "http://example.test/", proxies={"http": provider.url})
        assert provider.wait_closed(1.0)
    with pytest.raises(requests.exceptions.InvalidSchema, match="cannot hold its deadline over a SOCKS proxy"):
        session.get("http://example.test/", proxies={"http": "socks5://user:secret@127.0.0.1:1080"})


def test_a_worker_thread_too(session: Session) -> None:
    """
    With isolate="auto" the deadline on the wire comes first, and the receipt is clean.
    """
    with HostileProvider("trickle-body") as provider:
        with pytest.raises(CallTimeoutError) as caught:
            Guard("images", timeout=DEADLINE, grace=0.1).call(session.get, provider.url)
        assert "clean" == caught.value.receipt


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_async_caller_that_is_cancelled(session: Session, tls: bool) -> None:
    """
    Long before the deadline, the socket is found in the worker thread, and shut down.
    """
    guard = Guard("images", timeout=5.0, isolate="thread")

    async def main() -> None:
        with anyio.move_on_after(0.1):
            await guard.acall(session.get, provider.url)  # type: ignore[arg-type]  # What is refused.

    with HostileProvider("trickle-body", tls=tls) as provider:
        anyio.run(main)
        assert provider.wait_closed(1.0)
    assert (1, 0) == (guard.snapshot().counts["cancelled"], guard.snapshot().orphans)


def test_a_session_can_be_pickled(session: Session) -> None:
    """
    As requests' own can, and obeys deadlines afterwards.
    """
    import pickle

    with HostileProvider("trickle-body") as provider, pickle.loads(pickle.dumps(session)) as again:
        again.trust_env = False
        cut(again.get, provider.url)


def test_without_requests_it_says_what_to_install() -> None:
    """
    The extra is named.
    """
    program = "import sys; sys.modules['requests'] = None; import hungframe.transport.requests"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert "ImportError: hungframe.transport.requests needs requests: pip install 'hungframe[requests]'" in ran.stderr
