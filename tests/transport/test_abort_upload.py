"""
An upload that nobody reads: gone on both sides with the deadline, and not minutes later.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from hungframe.testing import HostileProvider
from tests.transport.abort_helpers import (
    Side,
    body_generators,
    check_clean,
    check_told,
    each_kind,
    each_library,
    each_loop,
    ended,
    kernel_sockets,
    linux_only,
    plain_and_tls,
    port_of,
    until,
)

pytestmark = [body_generators, linux_only]

UPLOAD = bytes(20_000_000)

# The smaller one is with the kernel at once: it is the answer that does not come.
SIZES = [(1_000_000, "headers"), (20_000_000, "write")]


def check_forgotten(port: int, before: Counter[str]) -> None:
    """
    Check that the kernel knows no more of *port* than *before*, when another's socket may have had that number.
    """
    assert until(lambda: not kernel_sockets(port) - before, 0.2), f"{before} before, {kernel_sockets(port)} after"


@plain_and_tls
@each_kind
@each_library
@pytest.mark.parametrize(("size", "phase"), SIZES)
def test_nothing_of_it_is_left(size: int, phase: str, library: str, kind: str, tls: bool) -> None:
    """
    Neither with the server nor with the kernel, which would go on trying to send.
    """
    side = Side(library, kind)

    async def main() -> Any:
        before = kernel_sockets(port_of(provider))
        client = side.client()
        each = await ended(side, client.post, f"{provider.url}/x", content=bytes(size))
        check_forgotten(port_of(provider), before)
        assert provider.wait_closed(0.2)
        check_clean(client)
        await side.close(client)
        return each

    with HostileProvider("never-read", tls=tls) as provider:
        each = side.run(main)
        assert (1, 0) == (provider.stats.reset, provider.stats.closed_by_peer)
    error = check_told(each, phase)
    assert error.wire is not None
    assert (phase == "headers") == (error.wire.bytes_sent > size)


@each_loop
@each_library
@pytest.mark.parametrize("size", [1_000_000, 20_000_000])
def test_nothing_is_left_when_its_user_cancels_it(size: int, library: str, kind: str) -> None:
    """
    No deadline, and no guard: a scope around the request.
    """
    side = Side(library, kind)

    async def main() -> None:
        before = kernel_sockets(port_of(provider))
        client = side.client()
        with anyio.move_on_after(0.1):
            await client.post(f"{provider.url}/x", content=bytes(size))
        check_forgotten(port_of(provider), before)
        assert provider.wait_closed(0.2)
        check_clean(client)
        await client.aclose()

    with HostileProvider("never-read") as provider:
        side.run(main)
        assert (1, 0) == (provider.stats.reset, provider.stats.closed_by_peer)


@each_kind
@each_library
def test_what_has_ended_is_closed_and_not_reset(library: str, kind: str) -> None:
    """
    An idle connection says goodbye as ever.
    """
    side = Side(library, kind)

    async def main() -> None:
        client = side.client()
        assert 200 == (await side.do(client.post, f"{provider.url}/x", content=b"hi")).status_code
        await side.close(client)
        assert provider.wait_closed(1.0)

    with HostileProvider() as provider:
        side.run(main)
        assert (0, 1) == (provider.stats.reset, provider.stats.closed_by_peer)


@each_library
def test_what_stock_leaves(library: str) -> None:
    """
    Beside it, in the plain: closed, and still with the kernel and the server.
    """
    side = Side(library, "asyncio")

    async def main() -> Counter[str]:
        client = side.client(is_stock=True)
        with anyio.move_on_after(0.2):
            await client.post(f"{provider.url}/x", content=UPLOAD)
        await client.aclose()
        await anyio.sleep(0.2)
        return kernel_sockets(port_of(provider))

    with HostileProvider("never-read") as provider:
        left = side.run(main)
    if not left["FIN-WAIT-1"]:
        pytest.skip(f"the stock {library} has left {dict(left) or 'nothing'}")
    assert 1 == left["FIN-WAIT-1"]
