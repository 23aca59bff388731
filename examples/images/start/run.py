"""
All processes of the example on one machine, started in their order and stopped in the reverse.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from examples.images.settings import SettingsError, read_settings
from examples.images.start import children
from examples.images.start.port import NoPortError, port
from examples.images.start.postgres import database
from examples.images.start.provider import provider
from examples.images.start.visitor import Visitor

# Whoever says Ctrl-C does not wait for images: after so many seconds the worker gives its jobs back.
_DRAIN = "3"

# In the order in which they are started.
PARTS = ("worker", "api")

_LOOPBACK = "127.0.0.1"
_ANSWERS_WITHIN = 60.0
# On top of what the worker's jobs may take to end.
_STOPS_WITHIN = 8.0
_AGAIN_AFTER = 1.0

# Nothing between us and the loopback interface, whatever proxy this machine is told to use.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


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
    stops_within: float
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
            children.stop(self.process, signal.SIGTERM, self.stops_within)


def run(environ: Mapping[str, str], say: Callable[[str], object]) -> None:
    """
    Start it all, and stop it at Ctrl-C or SIGTERM.

    Args:
        environ: With `DATABASE_URL` that database is used, with `OPENAI_API_KEY` that provider.

        say: Told what happens, in lines for a person.

    Raises:
        SettingsError: If something is set that cannot be used; nothing was started.

        NoPortError: If there is none to listen on; nothing was started.

        DidNotStartError: If a part of it did not start; all others are stopped.
    """
    # What is empty is not set.
    environ = {"IMAGES_DRAIN_SECONDS": _DRAIN, **{name: value for name, value in environ.items() if value}}
    settings = read_settings({**_to_come(environ), **environ})
    host = settings.images_host
    # Who listens everywhere is looked at here.
    seen = {"0.0.0.0": _LOOPBACK, "::": "::1"}.get(host, host)
    with _until_told() as ends, contextlib.ExitStack() as stack:
        # Without one the example takes what is free.
        number = stack.enter_context(port(host, settings.images_port if environ.get("IMAGES_PORT") else 0))
        url = stack.enter_context(database(environ.get("DATABASE_URL")))
        say(f"Postgres is at {url}" if not environ.get("DATABASE_URL") else "Postgres is that of DATABASE_URL")
        drawn_by = stack.enter_context(provider(environ, say))
        known = {**drawn_by, **environ, **_no_proxy(environ), "DATABASE_URL": url, "IMAGES_PORT": str(number)}
        say(f"the provider is at {_shown(known.get('OPENAI_BASE_URL')) or 'OpenAI'}")
        address = f"http://{f'[{seen}]' if ':' in seen else seen}:{number}"
        _migrate(known, ends)
        parts = [Part(name, known, say, _STOPS_WITHIN + settings.images_drain_seconds) for name in PARTS]
        for part in parts:
            if not ends.is_set():
                part.start()
                stack.callback(part.stop)
        _wait_until_it_answers(address, parts, ends)
        if not ends.is_set():
            say(f"look at {address} - and stop it with Ctrl-C")
        if drawn_by:
            # Where images cost money nobody but you asks for them.
            stack.enter_context(Visitor(address))
        while not ends.wait(0.2):
            for part in parts:
                part.look_after(time.monotonic())
        say("stopping")


def _to_come(environ: Mapping[str, str]) -> Mapping[str, str]:
    """
    Name what need not be set, for it is started here, so that all else can be checked before.
    """
    to_come = {"DATABASE_URL": "postgresql://to-come"}
    return to_come if environ.get("OPENAI_BASE_URL") else {**to_come, "OPENAI_API_KEY": "to-come"}


def _shown(url: str | None) -> str:
    """
    Leave out of a URL what may be secret: user and password, and the query.
    """
    parts = urlsplit(url or "")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _no_proxy(environ: Mapping[str, str]) -> Mapping[str, str]:
    """
    Keep the way to a provider on this machine free of the proxy that leads to others.
    """
    names = ",".join(filter(None, [environ.get("no_proxy") or environ.get("NO_PROXY"), _LOOPBACK]))
    return {"no_proxy": names, "NO_PROXY": names}


def _migrate(environ: Mapping[str, str], ends: threading.Event) -> None:
    migrating = children.spawn(
        [sys.executable, "-m", "examples.images", "migrate"], when_we_die=signal.SIGTERM, environ=environ
    )
    try:
        while migrating.poll() is None:
            if ends.wait(0.02):
                return
        if migrating.returncode:
            raise DidNotStartError("the migrations failed")
    finally:
        children.stop(migrating, signal.SIGTERM, _STOPS_WITHIN)


def _wait_until_it_answers(address: str, parts: list[Part], ends: threading.Event) -> None:
    until = time.monotonic() + _ANSWERS_WITHIN
    while not ends.wait(0.05):
        for part in parts:
            if part.process is not None and (status := part.process.poll()) is not None:
                raise DidNotStartError(f"the {part.name} ended with status {status}")
        if time.monotonic() > until:
            raise DidNotStartError(f"the API does not answer at {address}")
        try:
            _direct.open(address, timeout=2).close()
        except OSError:
            continue
        return


@contextlib.contextmanager
def _until_told() -> Iterator[threading.Event]:
    """
    Give an event that Ctrl-C, SIGTERM and the end of the terminal set, for as long as the block lasts.
    """
    ends = threading.Event()
    told = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32":
        told.append(signal.SIGHUP)
    before = [signal.signal(number, lambda *_: ends.set()) for number in told]
    try:
        yield ends
    finally:
        for number, handler in zip(told, before, strict=True):
            signal.signal(number, handler)


def main() -> int:
    """
    Run it from a terminal.
    """

    def say(line: str) -> None:
        print(f"  {line}", flush=True)

    try:
        run(os.environ, say)
    except SettingsError as error:
        # One for each variable.
        told = str(error).splitlines()
    except (NoPortError, DidNotStartError, ModuleNotFoundError, RuntimeError) as error:
        told = [str(error)]
    else:
        return 0
    for line in told:
        print(f"error: {line}", file=sys.stderr)
    return 1
