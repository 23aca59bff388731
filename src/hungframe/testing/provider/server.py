"""
The provider as a test sees it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from types import TracebackType

from .conversation import Stage
from .host import Host
from .script import Script
from .stats import Ledger, ProviderStats, RequestRecord
from .tls import client_context, server_context

_LOOPBACK = "127.0.0.1"


class HostileProvider:
    """
    Serve failures of every kind on a real socket of the loopback interface.

    A provider runs in a thread of its own, so sync and async code under test
    can share one, and a test that blocks its event loop does not block it::

        with HostileProvider(["ok", "silent", "ok"]) as provider:
            client = OpenAI(base_url=provider.base_url, api_key="none", max_retries=0)
            ...
            assert provider.wait_closed(timeout=1.0)
            assert 0 == provider.stats.reset

    Each request takes the next mode of the script; the last one repeats. A
    request may choose for itself, and then takes none, with the header
    ``X-Hostile-Mode: silent`` or the query ``?mode=silent``. All modes are
    in :data:`MODES` and in the documentation of this package.

    A client that closes its socket, or only its sending side, is taken to
    be gone, and the connection is closed.

    Args:
        modes: A mode for every request, or a script of modes.

        tls: Serve HTTPS, with a certificate that only
            :meth:`ssl_context` trusts.

        port: 0 for any free one.

    Raises:
        ValueError: If a mode is unknown or the script is empty.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        modes: str | Iterable[str] = "ok",
        *,
        tls: bool = False,
        port: int = 0,
    ) -> None:
        self._script = Script(modes)
        self._tls = tls
        self._port = port
        self._ledger = Ledger()
        self._host: Host | None = None
        self._closed = False

    def start(self) -> HostileProvider:
        """
        Begin to listen; :attr:`url` is valid and served from here on.

        Raises:
            OSError: If the port is taken.

            RuntimeError: If it was started or closed before.
        """
        if self._closed or self._host:
            state = "closed" if self._closed else "running already"
            raise RuntimeError(f"HostileProvider is {state}; make a new one to serve again")
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.bind((_LOOPBACK, self._port))
        except OSError:
            listener.close()
            raise
        scheme = "https" if self._tls else "http"
        stage = Stage(
            script=self._script,
            ledger=self._ledger,
            url=f"{scheme}://{_LOOPBACK}:{listener.getsockname()[1]}",
            tls=server_context() if self._tls else None,
        )
        self._host = Host(listener, stage)
        self._host.start()
        return self

    def close(self) -> None:
        """
        End all connections, whatever hangs in them, and the thread.

        Harmless when called again. What was counted can still be read.
        """
        self._closed = True
        host, self._host = self._host, None
        if host:
            host.stop()

    def __enter__(self) -> HostileProvider:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._host:
            return f"<HostileProvider at {self._host.stage.url}>"
        state = "closed" if self._closed else "not started"
        return f"<HostileProvider, {state}>"

    @property
    def url(self) -> str:
        """
        Name scheme, host and port: ``http://127.0.0.1:54321``.
        """
        return self._running().stage.url

    @property
    def base_url(self) -> str:
        """
        Name what an OpenAI client takes as its ``base_url``.
        """
        return f"{self.url}/v1"

    @property
    def stats(self) -> ProviderStats:
        """
        Take the counts of this instant. Any thread may ask.

        What a client did before, it has been counted: a socket that was
        closed is closed here too.
        """
        if self._host:
            self._host.settle()
        return self._ledger.stats()

    @property
    def requests(self) -> list[RequestRecord]:
        """
        List the requests so far, oldest first, at most the last 10,000.
        """
        if self._host:
            self._host.settle()
        return self._ledger.records()

    def play(self, modes: str | Iterable[str]) -> None:
        """
        Replace the script, from the next request on.

        What is being answered goes on as it began. If the new script begins
        with a connection-level mode, connections kept alive are closed, so
        that the next request has to open one and meets the mode.

        Raises:
            ValueError: If a mode is unknown or the script is empty; the old
                script then goes on.

            RuntimeError: If the provider does not run.
        """
        host, script = self._running(), Script(modes)

        def replace_script() -> None:
            host.stage.script = script
            if script.begins_at_connection:
                host.finish_idle()

        if not host.call(replace_script):
            raise RuntimeError("HostileProvider was closed meanwhile")

    def wait_closed(self, timeout: float = 1.0) -> bool:
        """
        Wait until no connection is open, at most *timeout* seconds.

        This blocks the thread that asks. A client whose event loop runs on
        that thread cannot close anything meanwhile: there, ask from another,
        as in ``await asyncio.to_thread(provider.wait_closed)``.

        Returns:
            Whether none is open.
        """
        if self._host:
            self._host.settle()
        return self._ledger.wait_until_none_open(timeout)

    def ssl_context(self) -> ssl.SSLContext:
        """
        Make a context for clients of a provider with ``tls=True``.

        It trusts the certificate of this package, and nothing else.
        """
        return client_context()

    def _running(self) -> Host:
        if not self._host:
            state = "closed" if self._closed else "not started"
            advice = "make a new one" if self._closed else "use it in a with, or call start()"
            raise RuntimeError(f"HostileProvider is {state}; {advice}")
        return self._host
