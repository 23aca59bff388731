"""
A deadline before there is a connection, and on one that was used before.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from hungframe.testing import HostileProvider
from tests.transport.abort_helpers import (
    DEADLINE,
    Ended,
    Side,
    body_generators,
    check_clean,
    check_on_time,
    check_told,
    each_kind,
    each_library,
    ended,
    linux_only,
    nothing_left,
    plain_and_tls,
    post,
    timely,
)

pytestmark = body_generators


@contextmanager
def full_backlog() -> Iterator[int]:
    """
    A port that listens and takes no connection any more: the kernel drops each SYN.
    """
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.02)
        yield listener.getsockname()[1]


@linux_only
@plain_and_tls
@each_kind
@each_library
def test_a_backlog_that_is_full(library: str, kind: str, tls: bool) -> None:
    """
    Nothing was connected; the phase is `connect`, and no socket is left.
    """
    side = Side(library, kind)

    async def main() -> list[Ended]:
        client = side.client()
        url = f"http{'s' if tls else ''}://127.0.0.1:{port}/"
        results = await side.at_once([lambda: ended(side, client.get, url)] * 5)
        check_clean(client)
        await side.close(client)
        return results

    with full_backlog() as port, nothing_left():
        results = timely(lambda: side.run(main), list)
    check_on_time(results)
    for each in results:
        error = check_told(each, "connect")
        assert error.wire is not None
        assert (0, 0, None, 0) == (
            error.wire.bytes_sent,
            error.wire.bytes_received,
            error.wire.connection_age,
            error.wire.connection_uses,
        )
        assert "no connection for 0." in str(error)


def has_black_hole() -> bool:
    """
    Tell whether packets to TEST-NET-1 (RFC 5737) vanish here; some networks refuse them at once.
    """
    with socket.socket() as sock:
        sock.settimeout(0.1)
        try:
            sock.connect(("192.0.2.1", 80))
        except TimeoutError:
            return True
        except OSError:
            return False
        return False


@each_kind
@each_library
def test_a_black_hole(library: str, kind: str) -> None:
    """
    An address that nobody answers for.
    """
    if not has_black_hole():
        pytest.skip("this network answers for addresses that do not exist")
    side = Side(library, kind)

    async def main() -> list[Ended]:
        client = side.client()
        results = [await ended(side, client.get, "http://192.0.2.1/")]
        check_clean(client)
        await side.close(client)
        return results

    with nothing_left():
        results = timely(lambda: side.run(main), list)
    check_on_time(results)
    check_told(results[0], "connect")


@each_kind
@each_library
def test_a_resolver_that_hangs(library: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nothing ends a lookup from outside; its caller leaves it, and its thread ends when it does.
    """
    looked_up = []

    def hangs(host: Any, *args: Any, **named: Any) -> Any:
        if host in ("slow.example", b"slow.example"):
            # trio first asks whether it is an address.
            if len(args) > 4 and args[4] & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "not an address")
            looked_up.append(host)
            time.sleep(DEADLINE * 2)
            raise socket.gaierror("no such host")
        return getaddrinfo(host, *args, **named)

    getaddrinfo = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    side = Side(library, kind)

    async def main() -> list[Ended]:
        client = side.client()
        results = [await ended(side, client.get, "http://slow.example/")]
        check_clean(client)
        await side.close(client)
        return results

    results = timely(lambda: side.run(main), list)
    check_on_time(results)
    error = results[0].error
    assert looked_up
    assert "connect" == getattr(error, "phase", None)
    assert {"timeout": 1} == results[0].counted


@each_kind
@each_library
def test_several_addresses_share_the_deadline(library: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Five addresses of which none answers are not five deadlines.
    """
    getaddrinfo = socket.getaddrinfo

    def five(host: Any, service: Any, *args: Any, **named: Any) -> Any:
        if host in ("five.example", b"five.example"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))] * 5
        return getaddrinfo(host, service, *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", five)
    side = Side(library, kind)

    async def main() -> list[Ended]:
        client = side.client()
        results = [await ended(side, client.get, "http://five.example/")]
        check_clean(client)
        await side.close(client)
        return results

    with full_backlog() as port, nothing_left():
        results = timely(lambda: side.run(main), list)
    check_on_time(results)
    check_told(results[0], "connect")


@each_kind
@each_library
def test_no_free_connection(library: str, kind: str) -> None:
    """
    Who waits for the pool has no phase yet, and the sentence says what is missing.
    """
    side = Side(library, kind)

    async def main() -> tuple[Ended, Ended]:
        client = side.client(limits=side.stock.Limits(max_connections=1))

        async def second() -> Ended:
            await side.sleep(0.05)
            return await ended(side, post, client, provider, "ok")

        async def first() -> Ended:
            return await ended(side, post, client, provider, "silent", settings={"timeout": DEADLINE + 0.2})

        results = await side.at_once([first, second])
        check_clean(client)
        assert 200 == (await side.do(post, client, provider, "ok")).status_code
        await side.close(client)
        return results[0], results[1]

    with HostileProvider() as provider:
        holds, waits = side.run(main)
    check_told(holds, "headers")
    error = check_told(waits, None)
    assert "no free connection in the client's pool for 0." in str(error)
    assert abs(waits.late) < 0.15


@plain_and_tls
@each_kind
@each_library
def test_a_connection_that_was_used_before(library: str, kind: str, tls: bool) -> None:
    """
    Its age and its uses are told: a provider that hangs on old connections only is known by that.
    """
    side = Side(library, kind)

    async def main() -> Ended:
        client = side.client()
        for _ in range(2):
            assert 200 == (await side.do(post, client, provider, "ok")).status_code
        await side.sleep(0.15)
        return_ = await ended(side, post, client, provider, "silent")
        assert provider.wait_closed(1.0)
        check_clean(client)
        await side.close(client)
        return return_

    with HostileProvider(tls=tls) as provider:
        each = side.run(main)
        assert 1 == provider.stats.opened
    error = check_told(each, "headers")
    assert error.wire is not None
    assert 3 == error.wire.connection_uses
    assert error.wire.connection_age is not None
    assert 0.35 < error.wire.connection_age < 1.0
    # The two requests before are not counted again.
    assert error.wire.bytes_sent < 500
    assert 0 == error.wire.bytes_received
    assert "as request 3 on a connection" in str(error)
