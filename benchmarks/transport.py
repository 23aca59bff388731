"""
What a healthy request costs over the guarded clients: `python -m benchmarks.transport`.

Stock, ours, and ours within a guarded call, for each library, sync, on asyncio and on trio: small JSON answers over a
connection that is kept alive, from a server in another process. All take turns within one run, a few requests each, so
that what disturbs the machine disturbs all of them alike; each round is compared with the stock client's beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import multiprocessing
import socket
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import trio

from hungframe import Guard

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n" + b'{"answer": 42}\n'
SUBJECTS = ("stock", "ours", "ours, guarded")


def serve(told: Connection) -> None:
    """
    Answer each request on each connection with the same bytes, as fast as Python can.
    """

    class Answers(asyncio.Protocol):
        transport: asyncio.Transport

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            # Requests without a body, never two at a time.
            if data.endswith(b"\r\n\r\n"):
                self.transport.write(ANSWER)

    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        server = await asyncio.get_running_loop().create_server(Answers, sock=listener)
        told.send(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        await server.serve_forever()

    asyncio.run(main())


Ask = Callable[[], Any]


def asks(library: str, kind: str, url: str, clients: list[Any]) -> dict[str, Ask]:
    """
    One request, as each subject makes it; awaitable where *kind* is not sync.
    """
    stock = importlib.import_module(library)
    ours = importlib.import_module(f"hungframe.transport.{library}")
    guard = Guard("bench", timeout=60, isolate=None)
    plain, guarded = (
        getattr(module, "Client" if kind == "sync" else "AsyncClient")(trust_env=False) for module in (stock, ours)
    )
    clients += [plain, guarded]
    if kind == "sync":
        call = lambda: guard.call(guarded.get, url)  # noqa: E731
    else:
        call = lambda: guard.acall(guarded.get, url)  # noqa: E731
    return {"stock": lambda: plain.get(url), "ours": lambda: guarded.get(url), "ours, guarded": call}


Rounds = dict[str, list[float]]
"""For each subject the median of each of its rounds, in seconds."""


def sync_rounds(library: str, url: str, rounds: int, each: int) -> Rounds:
    clients: list[Any] = []
    by_name = asks(library, "sync", url, clients)
    medians: Rounds = {name: [] for name in by_name}
    for turn in range(rounds + 1):
        for name in in_order(turn):
            ask, took = by_name[name], []
            for _ in range(each):
                began = time.perf_counter()
                ask()
                took.append(time.perf_counter() - began)
            medians[name].append(statistics.median(took))
    for client in clients:
        client.close()
    return medians


async def async_rounds(library: str, url: str, rounds: int, each: int) -> Rounds:
    clients: list[Any] = []
    by_name = asks(library, "async", url, clients)
    medians: Rounds = {name: [] for name in by_name}
    for turn in range(rounds + 1):
        for name in in_order(turn):
            ask, took = by_name[name], []
            for _ in range(each):
                began = time.perf_counter()
                await ask()
                took.append(time.perf_counter() - began)
            medians[name].append(statistics.median(took))
    for client in clients:
        await client.aclose()
    return medians


def against_stock(medians: Rounds, name: str) -> float:
    """
    The median ratio to the stock client's round beside it: what slows the machine for a while slows both.
    """
    # The first round opens the connections.
    pairs = zip(medians[name][1:], medians["stock"][1:], strict=True)
    return statistics.median(mine / stock for mine, stock in pairs)


def in_order(turn: int) -> tuple[str, ...]:
    """
    Each subject comes first as often as the others.
    """
    first = turn % len(SUBJECTS)
    return SUBJECTS[first:] + SUBJECTS[:first]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--each", type=int, default=5, help="requests of a subject before the next one's turn")
    given = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    server.start()
    url = here.recv()
    gc.freeze()
    print(f"{'p50 on loopback':18} {'stock':>9} {'ours':>9} {'guarded':>9} {'ours/stock':>11} {'guarded/stock':>14}")
    for library in ("httpx", "httpx2"):
        for kind in ("sync", "asyncio", "trio"):
            if kind == "sync":
                took = sync_rounds(library, url, given.rounds, given.each)
            elif kind == "asyncio":
                took = asyncio.run(async_rounds(library, url, given.rounds, given.each))
            else:
                took = trio.run(async_rounds, library, url, given.rounds, given.each)
            stock, ours, guarded = (statistics.median(took[name][1:]) for name in SUBJECTS)
            print(
                f"{library + ' ' + kind:18} {stock * 1e6:6.0f} us {ours * 1e6:6.0f} us {guarded * 1e6:6.0f} us"
                f" {against_stock(took, 'ours'):11.3f} {against_stock(took, 'ours, guarded'):14.3f}"
            )
    server.terminate()
    server.join()


if __name__ == "__main__":
    main()
