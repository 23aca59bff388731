"""
Ctrl-C in the middle of each phase of a sync request: it comes through at once, and nothing is left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# In a process of its own: a test runner has its own mind about Ctrl-C.
PROGRAM = """
import json, signal, sys, threading, time
from hungframe import Guard
from hungframe.testing import HostileProvider
from tests.transport.abort_helpers import Side, entries, post, until

library, tls, isolate = sys.argv[1], sys.argv[2] == "tls", None if sys.argv[3] == "none" else sys.argv[3]
side = Side(library, "sync")
told = {}
with HostileProvider(tls=tls) as provider:
    client = side.client(max_response_bytes=None)
    post(client, provider, "ok")
    for mode in ["tls-stall", "never-read", "silent", "trickle-headers:0.02", "stall-body", "endless-body"]:
        guard = Guard("hostile", timeout=30.0 if isolate is None else 0.4, isolate=isolate, breaker=None)
        provider.play(mode)
        if mode in ("tls-stall", "never-read"):
            assert provider.wait_closed(1.0)
        content = bytes(20_000_000 if mode == "never-read" else 2)
        timer = threading.Timer(0.1, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
        timer.start()
        began = time.monotonic()
        try:
            guard.call(client.post, f"{provider.url}/x", content=content)
        except KeyboardInterrupt:
            seconds = time.monotonic() - began
        timer.join()
        # A worker that was left has its deadline still, and ends by that.
        assert provider.wait_closed(1.0), mode
        assert until(lambda: (0, 0) == entries(client)), mode
        counts = {name: count for name, count in guard.snapshot().counts.items() if count}
        provider.play("ok")
        status = post(client, provider, "ok").status_code
        told[mode] = [seconds, counts, status, guard.snapshot().in_flight]
    client.close()
    assert provider.wait_closed(1.0)
print(json.dumps(told))
"""


@pytest.mark.parametrize(
    ("library", "tls", "isolate"),
    [
        ("httpx", True, "thread"),
        ("httpx2", True, "none"),
    ],
)
def test_in_the_middle_of_a_phase(library: str, tls: bool, isolate: str) -> None:
    """
    The interrupt is the caller's: not counted against the provider, and the connection is gone.
    """
    command = [sys.executable, "-c", PROGRAM, library, "tls" if tls else "plain", isolate]
    ran = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=30, check=False)
    assert 0 == ran.returncode, ran.stderr
    for mode, (seconds, counts, status, in_flight) in json.loads(ran.stdout).items():
        assert 0.05 < seconds < 0.4, mode
        assert {"cancelled": 1} == counts, mode
        assert (200, 0) == (status, in_flight), mode
