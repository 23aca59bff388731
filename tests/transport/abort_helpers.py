"""
One way to write what is done with a client, sync or on either loop, and what a machine shows of the sockets it had.

A test is written once, with `await`. On the sync side nothing that it awaits
ever suspends, so it runs without a loop, and what is to run at once gets
threads.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import os
import ssl
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
import trio

from hungframe import CallTimeoutError, Guard
from hungframe.events import GenFail, GenRequest
from hungframe.testing import HostileProvider, RecordingSink

T = TypeVar("T")

LIBRARIES = ("httpx", "httpx2")
KINDS = ("sync", "asyncio", "trio")

DEADLINE = 0.2
# What is promised, and what one call of many may be late on two busy cores.
LATE = 0.05
LATEST = 0.15

each_library = pytest.mark.parametrize("library", LIBRARIES)
each_kind = pytest.mark.parametrize("kind", KINDS)
each_loop = pytest.mark.parametrize("kind", ["asyncio", "trio"])
plain_and_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
# httpx and httpx2 iterate over the bodies of requests and responses with async
# generators, one within the other, and do not close the inner ones where a
# write is cut or a response is left in its middle. trio complains of each that
# it meets, also without hungframe; nothing of them is open but bytes.
body_generators = pytest.mark.filterwarnings(
    "ignore:Async generator '(http(x|core)2?[.]|hungframe.transport._body.AsyncBody)[A-Za-z0-9._]*' was garbage "
    "collected:ResourceWarning"
)
linux_only = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc/net/tcp")


@functools.cache
def trusting() -> ssl.SSLContext:
    """
    One context for all clients: to make one costs more than a request.
    """
    return HostileProvider(tls=True).ssl_context()


class Side:
    """
    A library, and how its client is used: sync, on asyncio, on trio.
    """

    def __init__(self, library: str, kind: str) -> None:
        self.library, self.kind = library, kind
        self.stock: Any = importlib.import_module(library)
        self.ours: Any = importlib.import_module(f"hungframe.transport.{library}")

    def __repr__(self) -> str:
        return f"{self.library} {self.kind}"

    @property
    def name(self) -> str:
        """
        What the client is called.
        """
        return "Client" if self.kind == "sync" else "AsyncClient"

    def client(self, is_stock: bool = False, **options: Any) -> Any:
        """
        A client without a timeout of its own, ours unless told otherwise.
        """
        made = getattr(self.stock if is_stock else self.ours, self.name)
        return made(**{"timeout": None, "verify": trusting(), "trust_env": False, **options})

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """
        Run *main* to its end.
        """
        if self.kind == "sync":
            return drive(main())
        if self.kind == "trio":
            return trio.run(main)
        return asyncio.run(main())

    async def call(self, guard: Guard, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """
        Make a guarded call.
        """
        if self.kind == "sync":
            return guard.call(function, *args, **named)
        return await guard.acall(function, *args, **named)

    async def do(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """
        Make a call of a client's, unguarded.
        """
        result = function(*args, **named)
        return result if self.kind == "sync" else await result

    async def close(self, client: Any) -> None:
        """
        Close a client.
        """
        await self.do(client.close if self.kind == "sync" else client.aclose)

    async def sleep(self, seconds: float) -> None:
        """
        Let time pass.
        """
        if self.kind == "sync":
            time.sleep(seconds)
        else:
            await anyio.sleep(seconds)

    async def at_once(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """
        Run all of *jobs* at once; their results in order.
        """
        results: dict[int, T] = {}
        failures: list[BaseException] = []

        async def run(index: int) -> None:
            try:
                results[index] = await jobs[index]()
            except BaseException as error:
                failures.append(error)

        if self.kind == "sync":
            threads = [threading.Thread(target=lambda i=index: drive(run(i))) for index in range(len(jobs))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            async with anyio.create_task_group() as group:
                for index in range(len(jobs)):
                    group.start_soon(run, index)
        if failures:
            raise failures[0]
        return [results[index] for index in range(len(jobs))]


def drive(coro: Coroutine[Any, Any, T]) -> T:
    """
    Run a coroutine that never suspends.
    """
    try:
        coro.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coro.close()
    raise AssertionError("it suspended, on the sync side")


@dataclass
class Ended:
    """
    How a guarded call ended.
    """

    guard: Guard
    sink: RecordingSink
    seconds: float
    result: Any
    error: BaseException | None

    @property
    def late(self) -> float:
        """
        Seconds behind the deadline.
        """
        return self.seconds - DEADLINE

    @property
    def counted(self) -> dict[str, int]:
        """
        The outcomes that were counted.
        """
        return {name: count for name, count in self.guard.snapshot().counts.items() if count}

    def timeout(self) -> CallTimeoutError:
        """
        The error, checked for all that holds of each call that was cut on the wire.
        """
        assert type(self.error) is CallTimeoutError, repr(self.error)
        assert {"timeout": 1} == self.counted
        assert (0, 0) == (self.guard.snapshot().in_flight, self.guard.snapshot().orphans)
        assert "clean" == self.error.receipt
        return self.error


async def ended(side: Side, function: Callable[..., Any], *args: Any, settings: Any = None, **named: Any) -> Ended:
    """
    Make a call under a guard of its own, and tell how it ended.
    """
    sink = RecordingSink()
    guard = Guard("hostile", **{"timeout": DEADLINE, "isolate": None, "sinks": [sink], **(settings or {})})
    return await ended_under(side, guard, sink, function, *args, **named)


async def ended_under(
    side: Side, guard: Guard, sink: RecordingSink, function: Callable[..., Any], *args: Any, **named: Any
) -> Ended:
    """
    Make a call under *guard*, and tell how it ended.
    """
    result, error = None, None
    began = time.monotonic()
    try:
        result = await side.call(guard, function, *args, **named)
    except BaseException as raised:
        error = raised
    return Ended(guard, sink, time.monotonic() - began, result, error)


TRIES = 3


def timely(measure: Callable[[], T], all_of: Callable[[T], Sequence[Ended]]) -> T:
    """
    Measure again where callers were late, at most `TRIES` times: a machine that is busy makes a caller late that was
    brought back in time, and what is late by itself is late every time.
    """
    measured = measure()
    for _ in range(TRIES - 1):
        late = [each.late for each in all_of(measured)]
        if max(late) < LATE:
            break
        measured = measure()
    return measured


def check_on_time(all_of: Sequence[Ended]) -> None:
    """
    Check that callers were back in time: most within what is promised, the last within what noise explains.
    """
    late = sorted(each.late for each in all_of)
    assert statistics.median(late) < LATE, late
    assert late[-1] < LATEST, late
    assert late[0] > -0.01, late


def check_told(each: Ended, phase: str | None) -> CallTimeoutError:
    """
    Check that error, sentence and event say the same of one aborted call.
    """
    error = each.timeout()
    wire = error.wire
    assert wire is not None
    assert phase == error.phase == wire.phase
    assert str(wire) in str(error)
    assert 0 <= wire.silent_for <= each.seconds
    request, fail = each.sink.events
    assert isinstance(request, GenRequest)
    assert isinstance(fail, GenFail)
    assert ("timeout", "clean", phase) == (fail.kind, fail.receipt, fail.phase)
    assert (wire.bytes_sent, wire.bytes_received) == (fail.bytes_sent, fail.bytes_received)
    assert (wire.connection_uses, round(wire.silent_for * 1000)) == (fail.connection_uses, fail.silent_ms)
    return error


def post(client: Any, provider: HostileProvider, mode: str, **named: Any) -> Any:
    """
    Post something that is answered in *mode*.
    """
    return client.post(f"{provider.url}/x", **{"content": b"hi", "headers": {"X-Hostile-Mode": mode}, **named})


def pool_of(client: Any) -> Any:
    """
    The connection pool of a client, ours or the stock one.
    """
    transport = client._transport
    return getattr(transport, "_inner", transport)._pool


def entries(client: Any) -> tuple[int, int]:
    """
    What a client's pool knows: connections in use, and requests.
    """
    pool = pool_of(client)
    active = [each for each in pool._connections if not each.is_idle() and not each.is_closed()]
    return len(active), len(pool._requests)


def check_clean(client: Any) -> None:
    """
    Check that the pool knows nothing that is in use.
    """
    assert (0, 0) == entries(client), repr(pool_of(client))


def descriptors() -> int:
    """
    Open file descriptors of this process; 0 where they cannot be counted.
    """
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0


_STATES = {
    "01": "ESTABLISHED",
    "02": "SYN-SENT",
    "03": "SYN-RECV",
    "04": "FIN-WAIT-1",
    "05": "FIN-WAIT-2",
    "06": "TIME-WAIT",
    "07": "CLOSE",
    "08": "CLOSE-WAIT",
    "09": "LAST-ACK",
    "0A": "LISTEN",
    "0B": "CLOSING",
}


def kernel_sockets(port: int) -> Counter[str]:
    """
    The kernel's sockets that have to do with *port*, by state, but for the one that listens.
    """
    states: Counter[str] = Counter()
    wanted = f"{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if wanted in (fields[1].rpartition(":")[2], fields[2].rpartition(":")[2]):
            states[_STATES[fields[3]]] += 1
    del states["LISTEN"]
    return states


def port_of(provider: HostileProvider) -> int:
    """
    The port that a provider listens on.
    """
    return int(provider.url.rpartition(":")[2])


def until(met: Callable[[], bool], seconds: float = 1.0) -> bool:
    """
    Wait for something that happens in another thread, or in the kernel.
    """
    end = time.monotonic() + seconds
    while not met():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


@contextmanager
def nothing_left() -> Iterator[None]:
    """
    Check that the block leaves no descriptor and no thread behind.
    """
    gc.collect()
    before = descriptors(), _threads()
    yield
    assert until(lambda: before[0] >= descriptors()), f"{before[0]} descriptors before, {descriptors()} after"
    assert until(lambda: before[1] >= _threads()), f"{before[1]} threads before, {threading.enumerate()} after"


def _threads() -> int:
    # Not the guard's workers and the loops' own, which wait for their next job.
    return len([each for each in threading.enumerate() if "worker" not in each.name and "Trio" not in each.name])
