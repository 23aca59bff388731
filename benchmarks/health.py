"""
How many may watch the health page: ``python -m benchmarks.health [--viewers N] [--events N] [--seconds S]``.

A service with uvicorn in a process of its own tells 1,000 events a second; 200 viewers follow its stream over loopback.
Told are messages a viewer, how old a message is when it comes, and what processor time and memory the service takes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def service(port: int, events: int) -> None:
    """Serve a page of three guards, and call them as often as wanted: two events a call."""
    import uvicorn

    from hungframe import Guard, TokenBucket
    from hungframe.health import app

    guards = [Guard(name, timeout=5, budget=TokenBucket(10**6, 0.001)) for name in ("images", "texts", "sounds")]
    quick = [guard.using(isolate=None) for guard in guards]

    def calls() -> None:
        begun, told = time.monotonic(), 0
        while True:
            for guard in quick:
                guard.call(str)
                told += 2
            time.sleep(max(0.0, begun + told / events - time.monotonic()))

    if events:
        threading.Thread(target=calls, daemon=True).start()
    uvicorn.run(app(*guards), host="127.0.0.1", port=port, log_level="error")


class Viewer:
    """One who follows the stream."""

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.ages: list[float] = []

    async def watch(self, port: int) -> None:
        """Follow it until cancelled."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        try:
            writer.write(b"GET /events HTTP/1.1\r\nHost: bench\r\n\r\n")
            while line := await reader.readline():
                self.bytes += len(line)
                if line.startswith(b"data: {"):
                    self.messages += 1
                    at = line.find(b'"ts":') + 5
                    self.ages.append(time.time() - float(line[at : line.find(b",", at)]))
        finally:
            writer.close()


def taken(pid: int) -> tuple[float, float]:
    """Processor seconds and resident megabytes of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return (int(fields[11]) + int(fields[12])) / TICKS, resident / 2**20


async def measure(port: int, pid: int, viewers: int, seconds: float) -> None:
    """Watch, and tell."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        break
    await asyncio.sleep(1)
    cpu, before = taken(pid)
    await asyncio.sleep(seconds / 2)
    alone = (taken(pid)[0] - cpu) / (seconds / 2)
    everybody = [Viewer() for _ in range(viewers)]
    tasks = [asyncio.create_task(viewer.watch(port)) for viewer in everybody]
    await asyncio.sleep(1)
    for viewer in everybody:
        viewer.messages = viewer.bytes = 0
        viewer.ages.clear()
    (cpu, early), begun = taken(pid), time.monotonic()
    await asyncio.sleep(seconds)
    (spent, late), lasted = taken(pid), time.monotonic() - begun
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(1)
    ages = sorted(age for viewer in everybody for age in viewer.ages)
    rates = [viewer.messages / lasted for viewer in everybody]
    print(f"viewers {viewers}, {lasted:.0f} s; load average {os.getloadavg()[0]:.1f}")
    print(f"messages a second a viewer: {min(rates):.1f} to {max(rates):.1f}")
    print(f"bytes a message: {sum(v.bytes for v in everybody) / max(1, sum(v.messages for v in everybody)):,.0f}")
    if ages:
        print(f"age of a message, ms: median {ages[len(ages) // 2] * 1000:.0f}, worst {ages[-1] * 1000:.0f}")
    print(f"processor, cores: {alone:.2f} without viewers, {(spent - cpu) / lasted:.2f} with them")
    print(f"memory, MB: {before:.1f} before, {early:.1f} to {late:.1f} with them, {taken(pid)[1]:.1f} after")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--events", type=int, default=1000, help="a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        service(options.serve, options.events)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.health", "--serve", str(port), "--events", str(options.events)]
    process = subprocess.Popen(command)
    try:
        asyncio.run(measure(port, process.pid, options.viewers, options.seconds))
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
