"""
From a name to a connection: several addresses, dead ones among them, IPv6, Unix sockets, a resolver that hangs.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hungframe import CallTimeoutError, Guard
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
    run_with,
)
from tests.transport.raw_server import OK, Connection, says, serving

NAME = "provider.test"


@contextlib.contextmanager
def black_hole(address: str = "127.0.0.1", family: int = socket.AF_INET) -> Iterator[socket.socket]:
    """
    An address that answers nothing: its backlog is full, and the kernel drops what comes.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind((address, 0) if family == socket.AF_INET else address)
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.01)
        yield listener


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """
    What NAME stands for: a list of addresses, or a function to call.
    """
    known: dict[str, Any] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in (NAME, NAME.encode()):
            return real(host, port, *args, **options)
        if (options.get("flags") or (args[3] if len(args) > 3 else 0)) & socket.AI_NUMERICHOST:
            # trio asks first whether a name is an address.
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = known["addresses"]
        if callable(found):
            found = found()
        return [
            (socket.AF_INET6 if ":" in each[0] else socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


async def get_text(face: Face, port: int = 80) -> str:
    return str((await face.get(f"http://{NAME}:{port}")).text)


@each_kind
@each_library
def test_the_first_refuses(library: Library, kind: Kind, names: dict[str, Any]) -> None:
    """
    The next is tried at once.
    """
    with serving(says(OK)) as gone:
        closed = gone.port

    with serving(says(OK)) as server:
        names["addresses"] = [("127.0.0.2", closed), ("127.0.0.3", closed), ("127.0.0.1", server.port)]
        began = time.monotonic()
        assert "ok" == run_with(kind, library.ours, get_text)
        assert time.monotonic() - began < 0.25


@each_kind
@each_library
def test_all_refuse(library: Library, kind: Kind, names: dict[str, Any]) -> None:
    """
    The library's ConnectError.
    """
    with serving(says(OK)) as gone:
        names["addresses"] = [("127.0.0.2", gone.port), ("127.0.0.1", gone.port)]

    async def scenario(face: Face) -> str:
        return await error_of(get_text(face))

    assert both(kind, library, scenario).endswith("ConnectError")


@each_kind
@each_library
def test_the_first_does_not_answer(library: Library, kind: Kind, names: dict[str, Any]) -> None:
    """
    An async client goes on to the next soon (RFC 8305); a sync one when its connect timeout has passed, as ever.
    """
    with black_hole() as hole, serving(says(OK)) as server:
        names["addresses"] = [hole.getsockname(), ("127.0.0.1", server.port)]
        began = time.monotonic()
        timeout = library.stock.Timeout(5, connect=0.15 if kind == "sync" else 4)
        assert "ok" == run_with(kind, library.ours, get_text, timeout=timeout)
        assert time.monotonic() - began < BACK_BY


@each_kind
@each_library
def test_none_answers(library: Library, kind: Kind, names: dict[str, Any]) -> None:
    """
    ConnectTimeout by the client's own timeout; within a guarded call, back at the deadline.
    """
    guard = Guard("images", timeout=DEADLINE)

    async def alone(face: Face) -> str:
        return await error_of(get_text(face))

    async def guarded(face: Face) -> None:
        began = time.monotonic()
        with pytest.raises(CallTimeoutError) as caught:
            await face.guarded(guard, get_text, face)
        assert time.monotonic() - began < BACK_BY
        assert "connect" == caught.value.phase

    with black_hole() as hole:
        names["addresses"] = [hole.getsockname()] * 2
        timeout = library.stock.Timeout(5, connect=0.1)
        assert run_with(kind, library.ours, alone, timeout=timeout).endswith("ConnectTimeout")
        run_with(kind, library.ours, guarded, timeout=10)


@each_kind
@each_library
def test_resolver_hangs(library: Library, kind: Kind, names: dict[str, Any]) -> None:
    """
    Nothing ends a resolver from outside; the caller is back at the deadline all the same.
    """
    over = threading.Event()

    def hangs() -> list[Any]:
        over.wait(5)
        return []

    guard = Guard("images", timeout=DEADLINE)

    async def scenario(face: Face) -> None:
        began = time.monotonic()
        try:
            with pytest.raises(CallTimeoutError) as caught:
                await face.guarded(guard, get_text, face)
            assert time.monotonic() - began < BACK_BY
            assert "connect" == caught.value.phase
        finally:
            over.set()

    names["addresses"] = hangs
    run_with(kind, library.ours, scenario, timeout=30)


@each_kind
@each_library
def test_unknown_name(library: Library, kind: Kind, names: dict[str, Any]) -> None:
    """
    ConnectError.
    """

    def unknown() -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def scenario(face: Face) -> str:
        return await error_of(get_text(face))

    names["addresses"] = unknown
    assert both(kind, library, scenario).endswith("ConnectError")


@each_kind
@each_library
@pytest.mark.parametrize("host", ["a" * 64, ("a" * 60 + ".") * 5])
def test_impossible_name(library: Library, kind: Kind, host: str) -> None:
    """
    Whatever the stock client makes of a name that cannot be, or a ConnectError.
    """
    name = library.stock.__name__

    async def scenario(face: Face) -> str:
        return await error_of(face.get(f"http://{host}/"))

    stock = run_with(kind, library.stock, scenario)
    assert run_with(kind, library.ours, scenario) in (stock, f"{name}.ConnectError")


@each_kind
@each_library
def test_ipv6(library: Library, kind: Kind) -> None:
    """
    A literal address in brackets.
    """

    async def scenario(face: Face) -> Any:
        response = await face.get(f"http://[::1]:{port}")
        return response.text

    try:
        context = serving(says(OK), family=socket.AF_INET6, at=("::1", 0))
        with context as server:
            port = server.port
            assert "ok" == both(kind, library, scenario)
    except OSError:
        pytest.skip("this machine has no IPv6")


def transport_of(library: Library, kind: Kind, **options: Any) -> Any:
    return (library.ours.GuardTransport if kind == "sync" else library.ours.AsyncGuardTransport)(**options)


@each_kind
@each_library
def test_unix_socket(library: Library, kind: Kind, tmp_path: Path) -> None:
    """
    `uds=` goes to a Unix socket.
    """

    async def scenario(face: Face) -> Any:
        return [(await face.get("http://docker/x")).text for _ in range(2)]

    path = str(tmp_path / "socket")
    with serving(says(OK), family=socket.AF_UNIX, at=path):
        texts = run_with(kind, library.ours, scenario, transport=transport_of(library, kind, uds=path))
        assert ["ok", "ok"] == texts
    gone = run_with(kind, library.ours, scenario_gone, transport=transport_of(library, kind, uds=path + "x"))
    assert gone.endswith("ConnectError")


async def scenario_gone(face: Face) -> str:
    return await error_of(face.get("http://docker/x"))


@each_kind
@each_library
def test_unix_socket_with_a_full_backlog(library: Library, kind: Kind, tmp_path: Path) -> None:
    """
    A busy Unix socket is waited for, as the stock sync client does.
    """

    async def scenario(face: Face) -> str:
        return str((await face.get("http://docker/x")).text)

    def drain() -> None:
        time.sleep(0.1)
        while not over.is_set():
            try:
                accepted.append(listener.accept()[0])
            except OSError:
                return
            accepted[-1].settimeout(0.2)
            with contextlib.suppress(OSError):
                connection = Connection(accepted[-1], 0)
                if connection.request():
                    connection.say(OK)

    accepted: list[socket.socket] = []
    over = threading.Event()
    path = str(tmp_path / "socket")
    with black_hole(path, socket.AF_UNIX) as listener:
        thread = threading.Thread(target=drain)
        thread.start()
        try:
            assert "ok" == run_with(kind, library.ours, scenario, transport=transport_of(library, kind, uds=path))
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in accepted:
                each.close()

    async def timed_out(face: Face) -> str:
        return await error_of(face.get("http://docker/x"))

    with black_hole(path + "2", socket.AF_UNIX):
        transport = transport_of(library, kind, uds=path + "2")
        raised = run_with(kind, library.ours, timed_out, transport=transport, timeout=0.1)
    assert raised.endswith("ConnectTimeout")


@each_kind
@each_library
def test_local_address_and_socket_options(library: Library, kind: Kind) -> None:
    """
    They are those of the socket.
    """
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 7)]

    async def scenario(face: Face) -> Any:
        async with face.stream("GET", server.url) as response:
            sock = response.extensions["network_stream"].get_extra_info("socket")
            told = [sock.getsockname()[0], *(sock.getsockopt(level, name) for level, name, _ in options)]
            told.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            await face.read(response)
        return told

    with serving(says(OK)) as server:
        transport = transport_of(library, kind, local_address="127.0.0.5", socket_options=options)
        address, *told, no_delay = run_with(kind, library.ours, scenario, transport=transport)
    assert ("127.0.0.5", [1, 7]) == (address, told)
    assert no_delay


@each_kind
@each_library
def test_local_address_that_is_not_ours(library: Library, kind: Kind) -> None:
    """
    ConnectError.
    """

    async def scenario(face: Face) -> str:
        return await error_of(face.get(server.url))

    with serving(says(OK)) as server:
        transport = transport_of(library, kind, local_address="203.0.113.1")
        assert run_with(kind, library.ours, scenario, transport=transport).endswith("ConnectError")
