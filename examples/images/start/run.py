"""
All processes of the example on one machine, started in their order and stopped in the reverse.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from examples.images.start import children
from examples.images.start.postgres import database
from examples.images.start.provider import provider
from examples.images.start.visitor import Visitor

# What is set where nothing is: the real numbers are in minutes, and somebody watches.
_PACE: Mapping[str, str] = {
    "IMAGES_BUDGET": "10",
    "IMAGES_REFILL_SECONDS": "1",
    "IMAGES_TIMEOUT_SECONDS": "4",
    "IMAGES_OPEN_SECONDS": "6",
    "IMAGES_PROBE_SECONDS": "3",
    "IMAGES_LEASE_SECONDS": "5",
    "IMAGES_DRAIN_SECONDS": "3",
}
_USUAL_PORT = 8000
_LOOPBACK = "127.0.0.1"
_ANSWERS_WITHIN = 20.0
_STOPS_WITHIN = 8.0
_AGAIN_AFTER = 1.0


class DidNotStartError(Exception):
    """
    A part of the example did not start; the message says which, and its own output why.
    """


@dataclass
class Part:
    """
    One process, which is started again when it dies.
    """

    name: str
    environ: Mapping[str, str]
    say: Callable[[str], object]
    process: subprocess.Popen[bytes] | None = None
    again_at: float = field(default=0.0)

    def start(self) -> None:
        argv = [sys.executable, "-m", "examples.images", self.name]
        self.process = children.spawn(argv, when_we_die=signal.SIGTERM, environ=self.environ)

    def look_after(self, now: float) -> None:
        """
        Start it again if it has died a moment ago.
        """
        if self.process is None:
            if now >= self.again_at:
                self.start()
        elif (status := self.process.poll()) is not None:
            self.say(f"the {self.name} has ended with status {status}; it is started again")
            self.process, self.again_at = None, now + _AGAIN_AFTER

    def stop(self) -> None:
        if self.process is not None:
            children.stop(self.process, signal.SIGTERM, _STOPS_WITHIN)


def run(environ: Mapping[str, str], say: Callable[[str], object]) -> None:
    """
    Start it all, and stop it at Ctrl-C or SIGTERM.

    Args:
        environ: With `DATABASE_URL` that database is used, with `OPENAI_API_KEY` that provider.

        say: Told what happens, in lines for a person.

    Raises:
        DidNotStartError: If a part of it did not start; all others are stopped.
    """
    ends = threading.Event()
    with _until_told(ends), contextlib.ExitStack() as stack:
        url = stack.enter_context(database(environ.get("DATABASE_URL")))
        say(f"Postgres is at {url}" if not environ.get("DATABASE_URL") else "Postgres is that of DATABASE_URL")
        drawn_by = stack.enter_context(provider(environ, say))
        say(f"the provider is at {drawn_by.get('OPENAI_BASE_URL', 'OpenAI')}")
        port = environ.get("IMAGES_PORT") or str(_free_port())
        known = {**_PACE, **environ, **drawn_by, "DATABASE_URL": url, "IMAGES_PORT": port}
        host = environ.get("IMAGES_HOST") or _LOOPBACK
        address = f"http://{host}:{port}"
        if subprocess.run([sys.executable, "-m", "examples.images", "migrate"], env=known, check=False).returncode:
            raise DidNotStartError("the migrations failed")
        parts = [Part(name, known, say) for name in ("worker", "api")]
        for part in parts:
            part.start()
            stack.callback(part.stop)
        _wait_until_it_answers(address, parts, ends)
        say(f"look at {address} - and stop it with Ctrl-C")
        if drawn_by:
            # Where images cost money nobody but you asks for them.
            stack.enter_context(Visitor(address))
        while not ends.wait(0.2):
            for part in parts:
                part.look_after(time.monotonic())
        say("stopping")


def _wait_until_it_answers(address: str, parts: list[Part], ends: threading.Event) -> None:
    until = time.monotonic() + _ANSWERS_WITHIN
    while not ends.wait(0.05):
        for part in parts:
            if part.process is not None and (status := part.process.poll()) is not None:
                raise DidNotStartError(f"the {part.name} ended with status {status}")
        if time.monotonic() > until:
            raise DidNotStartError(f"the API does not answer at {address}")
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            continue
        return


@contextlib.contextmanager
def _until_told(ends: threading.Event) -> Iterator[None]:
    """
    Let SIGINT and SIGTERM set *ends*, for as long as the block lasts.
    """
    told = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: ends.set()) for number in told]
    try:
        yield
    finally:
        for number, handler in zip(told, before, strict=True):
            signal.signal(number, handler)


def _free_port() -> int:
    """
    The usual port, or any other if that is taken.
    """
    for wanted in (_USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_LOOPBACK, wanted))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
            return port
    raise DidNotStartError(f"no port is free at {_LOOPBACK}")


def main() -> int:
    """
    Run it from a terminal.
    """

    def say(line: str) -> None:
        print(f"  {line}", flush=True)

    try:
        run(os.environ, say)
    except (DidNotStartError, ModuleNotFoundError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
