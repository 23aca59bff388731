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
    ended,
    kernel_sockets,
    linux_only,
    plain_and_tls,
    port_of,
    until,
)

pytestmark = [body_generators, linux_only]

UPLOAD = bytes(20_000_000)


@plain_and_tls
@each_kind
@each_library
def test_nothing_of_it_is_left(library: str, kind: str, tls: bool) -> None:
    """
    Neither with the server nor with the kernel, which would go on trying to send.
    """
    side = Side(library, kind)

    async def main() -> Any:
        client = side.client()
        each = await ended(side, client.post, f"{provider.url}/x", content=UPLOAD)
        assert until(lambda: not kernel_sockets(port_of(provider)), 0.2), kernel_sockets(port_of(provider))
        assert provider.wait_closed(0.2)
        check_clean(client)
        await side.close(client)
        return each

    with HostileProvider("never-read", tls=tls) as provider:
        each = side.run(main)
        assert (1, 0) == (provider.stats.reset, provider.stats.closed_by_peer)
    error = check_told(each, "write")
    assert error.wire is not None
    assert 0 < error.wire.bytes_sent < len(UPLOAD)


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
