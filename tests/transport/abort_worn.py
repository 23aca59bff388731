"""
Wear out a client's pool: many requests, each cancelled after a time of its own, and a look at what the pool then knows.

As a program it prints that of one client, in a process of its own: the sockets that a stock client leaves are
complained of when they are collected, which may be at any time later.

    python -m tests.transport.abort_worn httpx asyncio tls stock
"""

from __future__ import annotations

import json
import random
import sys
from typing import NamedTuple

import anyio

from hungframe.testing import HostileProvider
from tests.transport.abort_helpers import Side, check_clean, entries, pool_of

CALLS, AT_ONCE, POOL = 1000, 25, 10


class Told(NamedTuple):
    """
    What a pool knows after it all, and whether its next request came through.
    """

    active: int
    requests: int
    connections: int
    next_request: bool
    server_open: int


async def cancelled_often(side: Side, provider: HostileProvider, is_stock: bool, calls: int = CALLS) -> Told:
    """
    Cancel *calls* requests, each after a time of its own, and look at the pool.
    """
    client = side.client(is_stock, limits=side.stock.Limits(max_connections=POOL, max_keepalive_connections=POOL))
    limiter = anyio.CapacityLimiter(AT_ONCE)
    after = random.Random(1)

    async def one() -> None:
        async with limiter:
            with anyio.move_on_after(after.uniform(0.0, 0.02)):
                await client.post(f"{provider.url}/x", content=b"x" * 1000)

    async with anyio.create_task_group() as group:
        for _ in range(calls):
            group.start_soon(one)
    active, requests = entries(client)
    connections = len(pool_of(client)._connections)
    next_request = False
    with anyio.move_on_after(2.0 if not is_stock else 0.5):
        response = await client.post(f"{provider.url}/x", content=b"hi", headers={"X-Hostile-Mode": "ok"})
        next_request = 200 == response.status_code
    if not is_stock:
        check_clean(client)
    server_open = provider.stats.open
    with anyio.move_on_after(1.0):
        await client.aclose()
    return Told(active, requests, connections, next_request, server_open)


def main() -> None:
    """
    Print what the pool of one client knows.
    """
    library, kind, tls, whose = sys.argv[1:]
    side = Side(library, kind)
    with HostileProvider("sleep:0.01", tls=tls == "tls") as provider:
        told = side.run(lambda: cancelled_often(side, provider, is_stock=whose == "stock"))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
