"""
Starting, ending, and leaving nothing behind.
"""

import functools
import gc
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import httpx
import pytest

from hungframe.testing.provider import HostileProvider

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
# Without this, httpx reads the system's certificates for each call: 18 ms.
get = functools.partial(httpx.get, verify=False)
HANGING = [
    "sleep:60",
    "silent",
    "trickle-body:60",
    "stall-body",
    "endless-body",
    "never-read",
    "tls-stall",
    "slow-accept:60",
    "stream-stall",
]


def connect(provider: HostileProvider, send: bytes = b"") -> socket.socket:
    url = httpx.URL(provider.url)
    sock = socket.create_connection((url.host, url.port or 0), timeout=10.0)
    sock.sendall(send)
    return sock


def descriptors() -> int:
    """
    Count open file descriptors, or say 0 where that cannot be done.
    """
    folder = "/dev/fd"
    return len(os.listdir(folder)) if os.path.isdir(folder) else 0


@pytest.mark.parametrize("mode", HANGING)
def test_close_is_quick_whatever_hangs(mode: str) -> None:
    """
    Fifty connections that hang do not hold up the end.
    """
    threads = threading.active_count()
    with HostileProvider(mode) as provider, ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(connect(provider, REQUEST))
        assert 50 == provider.stats.open

        closed_at = time.monotonic()
        provider.close()
        seconds = time.monotonic() - closed_at

    assert seconds < 0.5
    assert threads == threading.active_count()
    assert 0 == provider.stats.open


def test_close_frees_the_clients() -> None:
    """
    A client that waits in silence is told by the end of its connection.
    """
    with HostileProvider("silent") as provider:
        with connect(provider, REQUEST) as sock:
            while not provider.stats.requests:
                pass
            provider.close()
            assert b"" == sock.recv(1)


def test_nothing_is_left_after_100_connections() -> None:
    """
    Descriptors and threads are where they were, while it runs and after.
    """
    gc.collect()
    before = descriptors(), threading.active_count()
    with HostileProvider(["ok", "silent"]) as provider:
        connect(provider, REQUEST).close()
        assert provider.wait_closed()
        running = descriptors(), threading.active_count()
        for _ in range(100):
            connect(provider, REQUEST).close()
        assert provider.wait_closed()
        assert running == (descriptors(), threading.active_count())
    gc.collect()

    assert before == (descriptors(), threading.active_count())


def test_nothing_is_said_on_the_way_out() -> None:
    """
    In development mode, with clients in every state, Python finds no task,
    socket or coroutine to complain about.
    """
    script = f"""
import gc, socket
from hungframe.testing.provider import HostileProvider

for tls in (False, True):
    for mode in ("ok", "reset-in-body", *{HANGING!r}):
        provider = HostileProvider(mode, tls=tls).start()
        port = int(provider.url.rpartition(":")[2])
        socks = [
            socket.create_connection(("127.0.0.1", port)) for _ in range(10)
        ]
        for sock in socks[:5]:
            sock.sendall({REQUEST!r})
        if mode == "ok":
            provider.stats
        provider.close()
        for sock in socks:
            sock.close()
for count in range(40):
    # Closed at once, some clients are still being accepted.
    provider = HostileProvider().start()
    port = int(provider.url.rpartition(":")[2])
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    provider.close()
    for sock in socks:
        sock.close()
gc.collect()
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "always", "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert ("", "", 0) == (done.stdout, done.stderr, done.returncode)


def test_a_provider_that_is_never_closed_does_not_hold_the_process() -> None:
    """
    A test run that forgets to close ends all the same.
    """
    script = """
from hungframe.testing.provider import HostileProvider
HostileProvider("silent").start()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert ("", 0) == (done.stderr, done.returncode)


def test_a_thousand_connections() -> None:
    """
    A thousand clients at once are all accepted and answered.
    """
    count = 1_000
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        wanted = max(limits[0], 2 * count + 200)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, limits[1]))
    except (ValueError, OSError):
        pytest.skip("too few file descriptors")
    try:
        with HostileProvider() as provider, ExitStack() as stack:
            socks = [stack.enter_context(connect(provider)) for _ in range(count)]
            for sock in socks:
                sock.sendall(REQUEST)
            for sock in socks:
                assert sock.recv(1_000).endswith(b'{"ok": true}')
            stats = provider.stats
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert count == stats.open == stats.requests


def test_start_and_close_by_hand() -> None:
    """
    Without a with block it is the same, and closing again is harmless.
    """
    provider = HostileProvider().start()
    url = provider.url
    assert {"ok": True} == get(url).json()
    provider.close()
    provider.close()

    with pytest.raises(httpx.ConnectError):
        get(url)


@pytest.mark.parametrize(
    "use",
    [
        lambda provider: provider.url,
        lambda provider: provider.base_url,
        lambda provider: provider.play("ok"),
        lambda provider: provider.start(),
    ],
)
def test_use_after_close_is_a_clear_error(use: Callable[[HostileProvider], object]) -> None:
    """
    What needs a running provider says that it is closed.
    """
    with HostileProvider() as provider:
        pass

    with pytest.raises(RuntimeError, match="HostileProvider is closed; make"):
        use(provider)


def test_use_before_start_is_a_clear_error() -> None:
    """
    There is no address before there is a socket.
    """
    with pytest.raises(RuntimeError, match=r"HostileProvider is not started; use it in a with, or call start\(\)"):
        print(HostileProvider().url)


def test_start_twice_is_a_clear_error() -> None:
    """
    A provider has one socket.
    """
    with HostileProvider() as provider:
        with pytest.raises(RuntimeError, match="is running already"):
            provider.start()


def test_closed_before_it_started() -> None:
    """
    To close what never started is harmless.
    """
    HostileProvider().close()


def test_port_can_be_chosen() -> None:
    """
    A fixed port is served; a taken one is the system's error.
    """
    with HostileProvider() as first:
        port = httpx.URL(first.url).port or 0
        with pytest.raises(OSError, match="in use|one usage"):
            HostileProvider(port=port).start()


def test_repr_says_where() -> None:
    """
    A provider shows its address, or why it has none.
    """
    provider = HostileProvider()
    assert "<HostileProvider, not started>" == repr(provider)
    with provider:
        assert f"<HostileProvider at {provider.url}>" == repr(provider)
    assert "<HostileProvider, closed>" == repr(provider)
