"""
What is left after ten thousand aborted requests: of ours at their guard's deadline, of the stock client under
`asyncio.timeout`, which does what it can.

    python -m benchmarks.leftovers [aborts]     # 10,000 if not said; writes docs/reference/leftovers.md

Each client is measured in a process of its own, its provider in another. What
a request meets, and when it is cut, is drawn with the same seed for all.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import platform
import random
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import anyio

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "leftovers.md"

ABORTS = 10_000
AT_ONCE, POOL = 25, 10
WARM_UP = 300

# Each an endless wait; an upload that nobody reads is one in twenty.
MODES = ["silent", "stall-body", "trickle-headers:0.005", "trickle-body:0.005"] * 5 + ["never-read"]

# One for all: a thousand of its kind would be what the memory went to.
UPLOAD = bytes(1_000_000)

PROVIDER = """
import sys
from hungframe.testing import HostileProvider
with HostileProvider(tls=sys.argv[1] == "tls") as provider:
    print(provider.url, flush=True)
    sys.stdin.read()
"""

STATES = {
    "01": "ESTABLISHED",
    "04": "FIN-WAIT-1",
    "05": "FIN-WAIT-2",
    "06": "TIME-WAIT",
    "08": "CLOSE-WAIT",
}

FIGURES = ["descriptors", "tasks", "threads", *STATES.values(), "RSS in MB", "pool: in use", "next request"]

Row = dict[str, float]


def kernel_sockets(port: int) -> Counter[str]:
    """
    The kernel's sockets between us and *port*, both ends, by state.
    """
    states: Counter[str] = Counter()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if f"{port:04X}" in (fields[1].rpartition(":")[2], fields[2].rpartition(":")[2]):
            states[STATES.get(fields[3], fields[3])] += 1
    return states


async def look(client: Any, url: str) -> Row:
    """
    Take all figures of this instant.
    """
    next_request = 0
    try:
        asked = client.post(f"{url}/x", content=b"hi", headers={"X-Hostile-Mode": "ok"})
        next_request = int((await within(2.0, asked)).status_code == 200)
    except Exception as error:
        print(f"the next request: {error!r}", file=sys.stderr)
    gc.collect()
    transport = client._transport
    pool = getattr(transport, "_inner", transport)._pool
    in_use = [each for each in pool._connections if not each.is_idle() and not each.is_closed()]
    states = kernel_sockets(int(url.rpartition(":")[2]))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        **{state: states[state] for state in STATES.values()},
        "RSS in MB": round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1),
        "pool: in use": len(in_use) + len(pool._requests),
        "next request": next_request,
    }


async def within(seconds: float, awaitable: Any) -> Any:
    """
    Await something as `asyncio.timeout` allows.
    """
    if sys.version_info >= (3, 11):
        async with asyncio.timeout(seconds):
            return await awaitable
    # There is none in 3.10, and `wait_for` starts a task.
    with anyio.fail_after(seconds):
        return await awaitable


async def abort_many(client: Any, url: str, is_stock: bool, aborts: int, chance: random.Random) -> None:
    """
    Abort so many requests, 25 at once.
    """
    from hungframe import CallTimeoutError, Guard

    guard = Guard("leftovers", breaker=None, max_orphans=100)
    tickets = asyncio.Semaphore(AT_ONCE)

    async def one(mode: str, seconds: float) -> None:
        content = UPLOAD if mode == "never-read" else b"hi"
        headers = {"X-Hostile-Mode": mode}
        async with tickets:
            try:
                if is_stock:
                    await within(seconds, client.post(f"{url}/x", content=content, headers=headers))
                else:
                    await guard.using(timeout=seconds).acall(client.post, f"{url}/x", content=content, headers=headers)
            except (CallTimeoutError, TimeoutError):
                return

    for first in range(0, aborts, 1000):
        drawn = [(chance.choice(MODES), chance.uniform(0.001, 0.03)) for _ in range(min(1000, aborts - first))]
        await asyncio.gather(*(one(mode, seconds) for mode, seconds in drawn))


def worker(library: str, scheme: str, whose: str, aborts: int) -> tuple[Row, Row]:
    """
    Measure one client: before, and after.
    """
    from hungframe.testing import HostileProvider

    warnings.simplefilter("ignore")
    module = importlib.import_module(library if whose == "stock" else f"hungframe.transport.{library}")
    limits = importlib.import_module(library).Limits(max_connections=POOL, max_keepalive_connections=POOL)
    command = [sys.executable, "-c", PROVIDER, scheme]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as provider:
        assert provider.stdout is not None
        url = provider.stdout.readline().strip()

        async def main() -> tuple[Row, Row]:
            def client() -> Any:
                verify = HostileProvider(tls=True).ssl_context()
                return module.AsyncClient(timeout=None, limits=limits, verify=verify, trust_env=False)

            # What is made once is there before it is counted, in a client of its own.
            first = client()
            await abort_many(first, url, whose == "stock", WARM_UP if whose == "ours" else 0, random.Random(0))
            await first.aclose()
            measured = client()
            before = await look(measured, url)
            await abort_many(measured, url, whose == "stock", aborts, random.Random(1))
            # Time for both ends to hear of it.
            await asyncio.sleep(0.5)
            return before, await look(measured, url)

        try:
            return asyncio.run(main())
        finally:
            provider.kill()


def measure(library: str, scheme: str, whose: str, aborts: int) -> tuple[Row, Row]:
    """
    The same, in a process of its own.
    """
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.leftovers", library, scheme, whose, str(aborts)]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    before, after = json.loads(ran.stdout)
    return before, after


def table(scheme: str, aborts: int) -> list[str]:
    """
    One figure a row, before and after, ours and stock, of both libraries.
    """
    columns = [(library, whose) for library in ("httpx", "httpx2") for whose in ("ours", "stock")]
    measured = [measure(library, scheme, whose, aborts) for library, whose in columns]
    told = {"ours": "hungframe.transport.{}", "stock": "{} alone"}
    lines = ["| | " + " | ".join(told[whose].format(library) for library, whose in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for figure in FIGURES:
        cells = [f"{before[figure]:g} -> {after[figure]:g}" for before, after in measured]
        if figure == "next request":
            cells = ["succeeds" if after[figure] else "times out" for _, after in measured]
        lines.append(f"| {figure} | " + " | ".join(cells) + " |")
    return lines


def page(aborts: int) -> str:
    """
    The whole page.
    """
    began = time.monotonic()
    plain, tls = table("plain", aborts), table("tls", aborts)
    versions = ", ".join(f"{name} {importlib.import_module(name).__version__}" for name in ("httpx", "httpx2"))
    minutes = (time.monotonic() - began) / 60
    return f"""# What an abort leaves behind

Measured by `python -m benchmarks.leftovers`: {aborts:,} requests, {AT_ONCE} at once through a pool of {POOL}, against a
provider that never answers, stalls, trickles, or does not read a 1 MB upload. Each is cut after 1 to 30 ms, so in every
phase: ours by its guard's deadline, the client alone by `asyncio.timeout`. Before -> after; the kernel's sockets are
those of both ends, and each end has one that the next request came through on. A pool that is worn out early opens few
sockets from then on.

## Plain

{_lines(plain)}

## TLS

{_lines(tls)}

Python {platform.python_version()}, {versions}, {platform.system()}; {minutes:.1f} minutes.
"""


def _lines(of: list[str]) -> str:
    return "\n".join(of)


def main() -> None:
    """
    Measure all, print it, write it; or measure one, for another process.
    """
    if len(sys.argv) == 5:
        library, scheme, whose, aborts = sys.argv[1:]
        print(json.dumps(worker(library, scheme, whose, int(aborts))))
        # What the stock client has left may keep an exit waiting.
        sys.stdout.flush()
        os._exit(0)
    told = page(int(sys.argv[1]) if len(sys.argv) > 1 else ABORTS)
    print(told)
    PAGE.write_text(told)


if __name__ == "__main__":
    main()
