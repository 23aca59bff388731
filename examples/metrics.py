"""
Metrics to look at: a hostile provider, guarded calls that end in every way, and `/metrics` for Prometheus.

    python -m examples.metrics --port 9464

Calls go on until the program is stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import time
from collections.abc import Iterator

import httpx
from prometheus_client import CollectorRegistry, start_http_server

from hungframe import AdaptiveTimeout, Bulkhead, CircuitBreaker, Guard, Hedge, Retry, TokenBucket
from hungframe.events import QueueDeadletter
from hungframe.recovery import Prober
from hungframe.telemetry.prometheus import PrometheusSink
from hungframe.testing import HostileProvider, hostile

# What the provider does to each call of a round, and so how it ends.
MODES = (
    *["ok"] * 10,
    "silent",  # timeout
    "reset-before-headers",  # connection
    "500",  # 5xx
    "404",  # 4xx
)


class Demo:
    """
    Guards of every kind, and calls through them.
    """

    def __init__(self, provider: HostileProvider, sink: PrometheusSink) -> None:
        self._url = provider.url
        self._client = httpx.Client()
        self._sink = sink
        # Sees every way in which a call can end, because nothing stops it.
        self.images = Guard(
            "images",
            breaker=None,
            timeout=AdaptiveTimeout(initial=0.15, floor=0.05, ceiling=0.3, margin=0.05, min_samples=5),
            grace=0.01,
            budget=TokenBucket(capacity=1000),
            bulkhead=Bulkhead(20),
            sinks=[sink],
        )
        # Its provider is down from time to time, and a prober finds out when it is back.
        self.prober = Prober(self._probe, every=0.1)
        self.videos = Guard(
            "videos",
            breaker=CircuitBreaker(open_for=0.2, probe_every=0.1, close_after=1),
            timeout=0.1,
            grace=0.01,
            recovery=self.prober,
            sinks=[sink],
        )
        # Has more to do than it may.
        self.captions = Guard("captions", timeout=0.1, grace=0.01, budget=TokenBucket(capacity=3), sinks=[sink])
        # Tries again, sends beside, falls back.
        self.sounds = Guard(
            "sounds",
            breaker=None,
            timeout=0.5,
            retry=Retry(attempts=2, base=0.01),
            hedge=Hedge(after=0.02),
            idempotent=True,
            fallback="silence",
            sinks=[sink],
        )
        sink.watch(self.images, self.videos, self.captions, self.sounds)

    def _probe(self) -> None:
        self.ask(next(_probe_modes))

    def ask(self, mode: str) -> str:
        """
        Ask the provider, which answers in *mode*.
        """
        return self._client.get(self._url, params={"mode": mode}).raise_for_status().text

    def round(self) -> None:
        """
        Make calls that end in every way; takes about half a second.
        """
        with self.prober:
            for mode in MODES:
                _try(self.images, self.ask, mode)
            # A thread that does not listen to anybody: an orphan for a while.
            _try(self.images, hostile.blocks, 0.6)
            # Asks for a pause, so what comes behind it is refused.
            for mode in ("429:0.05", "ok"):
                _try(self.images, self.ask, mode)
            for mode in ("ok", "500", "500", "500", "500", "500", "500", "ok"):
                _try(self.videos, self.ask, mode)
            for _ in range(5):
                _try(self.captions, self.ask, "ok")
            for mode in ("ok", "500", "sleep:0.05"):
                _try(self.sounds, self.ask, mode)
            self._sink(QueueDeadletter(time.time(), "images", "job-1", "no-image-url"))
            time.sleep(0.3)

    def close(self) -> None:
        """
        Close the client.
        """
        self._client.close()


_probe_modes = itertools.cycle(["500", "ok"])


def _try(guard: Guard, ask: object, word: object) -> None:
    # How it ends is what the metrics are for.
    with contextlib.suppress(Exception):
        guard.call(ask, word)  # type: ignore[arg-type]  # Each fits the word beside it.


@contextlib.contextmanager
def serving(port: int) -> Iterator[tuple[Demo, int]]:
    """
    Serve `/metrics` on *port* of the loopback interface, 0 for any; give the demo and the port.
    """
    registry = CollectorRegistry()
    sink = PrometheusSink(registry)
    server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    try:
        with HostileProvider() as provider:
            demo = Demo(provider, sink)
            try:
                yield demo, server.server_port
            finally:
                demo.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    """
    Go on until stopped.
    """
    parser = argparse.ArgumentParser(prog="examples.metrics", description=__doc__)
    parser.add_argument("--port", type=int, default=9464, help="where /metrics is served (%(default)s; 0: any)")
    args = parser.parse_args()
    with serving(args.port) as (demo, port), contextlib.suppress(KeyboardInterrupt):
        print(f"http://127.0.0.1:{port}/metrics", flush=True)
        while True:
            demo.round()


if __name__ == "__main__":
    main()
