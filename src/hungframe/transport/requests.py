"""
A `requests.Session` whose every socket operation obeys the deadline of the guarded call around it.

requests' own timeouts hold for each operation, so a server that sends a byte a
second is never cut. Here each connect (to each address of a name), TLS
handshake, read and write is given what is left of the innermost guarded call's
deadline, or its own timeout where that is shorter. No thread is needed, so
`isolate=None` will do. Outside of a guarded call nothing is different.

What is cut raises what a timeout of requests' own raises, and its connection
is closed. Not covered, since no socket is waited on: looking up a name, waiting
for a connection of a full pool (`pool_block=True`), and the pauses between
retries (`max_retries`); leave retries to one layer.

urllib3 2 is needed. Of its private names these are used, and looked for when
this is imported: `HTTPConnection._new_conn`, and `_dns_host` within it.
"""

from __future__ import annotations

import math
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any, TypeVar

from hungframe.abort.call import running_call
from hungframe.abort.cut import cut

try:
    import requests
    import requests.adapters
    import requests.exceptions
    import urllib3
    import urllib3.connection
    import urllib3.connectionpool
    import urllib3.exceptions
    import urllib3.util.connection
    import urllib3.util.ssl_
except ImportError as error:
    raise ImportError("hungframe.transport.requests needs requests: pip install 'hungframe[requests]'") from error

__all__ = ["DeadlineAdapter", "Session"]

T = TypeVar("T")

_version = metadata.version("urllib3")
if int(_version.split(".")[0]) < 2 or not hasattr(urllib3.connection.HTTPConnection, "_new_conn"):
    raise ImportError(
        f"hungframe.transport.requests is written for urllib3 2, and does not fit urllib3 {_version}: "
        "pip install 'urllib3>=2,<3'"
    )

_NO_LINGER = struct.pack("ii", 1, 0) if sys.platform != "win32" else struct.pack("hh", 1, 0)

# A socket gives up by so much before its time.
_EARLY = 0.001


# -- sockets ---------------------------------------------------------------------


class _Clipped(socket.socket):
    """
    A socket that knows its own timeout apart from the one that is set for the operation at hand.
    """

    _own: float | None = None

    def settimeout(self, value: float | None, /) -> None:
        self._own = value
        super().settimeout(value)

    def gettimeout(self) -> float | None:
        return self._own

    def setblocking(self, flag: bool, /) -> None:
        self.settimeout(None if flag else 0.0)

    def _within_deadline(self, operation: Callable[..., T], *args: Any, writes: bool = False) -> T:
        """
        Do one operation with the time that there is for it.
        """
        own = self._own
        call = running_call()
        if call is None or call.deadline == math.inf or own == 0.0:
            super().settimeout(own)
            return operation(*args)
        clock = call.limits.clock
        left = call.deadline - clock.now()
        if left > 0:
            super().settimeout(left if own is None else min(left, own))
            try:
                return operation(*args)
            except TimeoutError:
                if call.deadline - clock.now() > _EARLY:
                    # Its own.
                    raise
        if writes:
            # What nobody reads would stay in the kernel for minutes after
            # this is closed.
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        cut(call)
        raise TimeoutError("timed out")


class _Socket(_Clipped):
    """
    A plain one. `sendall` takes its timeout for all of it, `makefile` reads by `recv_into`.
    """

    def connect(self, address: Any, /) -> None:
        self._within_deadline(super().connect, address)

    def recv(self, *args: Any) -> bytes:
        return self._within_deadline(super().recv, *args)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        return self._within_deadline(super().recv_into, buffer, nbytes, flags)

    def send(self, *args: Any) -> int:
        return self._within_deadline(super().send, *args, writes=True)

    def sendall(self, *args: Any) -> None:
        self._within_deadline(super().sendall, *args, writes=True)


class _TlsSocket(_Clipped, ssl.SSLSocket):
    """
    One with TLS. All that it receives it `read`s, and `sendall` is many a `send`.
    """

    def do_handshake(self, block: bool = False) -> None:
        self._within_deadline(super().do_handshake, block)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        return self._within_deadline(super().read, len, buffer)  # pyright: ignore[reportDeprecated]

    def send(self, data: Any, flags: int = 0) -> int:
        return self._within_deadline(super().send, data, flags, writes=True)


# -- urllib3 ---------------------------------------------------------------------


class _HTTPConnection(urllib3.connection.HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)


class _HTTPSConnection(urllib3.connection.HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)

    def connect(self) -> None:
        if not self.ssl_context:
            self.ssl_context = _default_context(self)
        # A documented attribute. Outside of guarded calls such a socket is like any other, should the context be
        # used elsewhere, too.
        self.ssl_context.sslsocket_class = _TlsSocket
        super().connect()


def _connected(connection: urllib3.connection.HTTPConnection) -> socket.socket:
    """
    Connect to one address after another, as `HTTPConnection._new_conn` does, and with the same errors.
    """
    try:
        sock = _first_that_connects(connection)
    except socket.gaierror as error:
        raise urllib3.exceptions.NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise urllib3.exceptions.ConnectTimeoutError(
            connection, f"Connection to {connection.host} timed out. (connect timeout={connection.timeout})"
        ) from error
    except OSError as error:
        raise urllib3.exceptions.NewConnectionError(
            connection, f"Failed to establish a new connection: {error}"
        ) from error
    sys.audit("http.client.connect", connection, connection.host, connection.port)
    return sock


def _first_that_connects(connection: urllib3.connection.HTTPConnection) -> socket.socket:
    failed: OSError | None = None
    try:
        for family, kind, protocol, address in _addresses(connection):
            sock = _Socket(family, kind, protocol)
            try:
                for option in connection.socket_options or ():
                    sock.setsockopt(*option)
                # Or a token that stands for the default.
                timeout: Any = connection.timeout
                given = timeout is None or isinstance(timeout, (int, float))
                sock.settimeout(timeout if given else socket.getdefaulttimeout())
                if connection.source_address:
                    sock.bind(connection.source_address)
                sock.connect(address)
            except OSError as error:
                failed = error
                sock.close()
            else:
                return sock
        raise failed or OSError("getaddrinfo returns an empty list")
    finally:
        # A frame that holds the exception which holds the frame is a cycle.
        failed = None


def _addresses(connection: Any) -> Iterator[tuple[Any, Any, int, Any]]:
    host: str = getattr(connection, "_dns_host", connection.host).strip("[]")
    try:
        host.encode("idna")
    except UnicodeError:
        raise urllib3.exceptions.LocationParseError(f"{host!r}, label empty or too long") from None
    family = urllib3.util.connection.allowed_gai_family()
    for found in socket.getaddrinfo(host, connection.port, family, socket.SOCK_STREAM):
        family, kind, protocol, _, address = found
        yield family, kind, protocol, address


def _default_context(connection: urllib3.connection.HTTPSConnection) -> ssl.SSLContext:
    """
    The context that urllib3 would make for itself.
    """
    context = urllib3.util.ssl_.create_urllib3_context(
        ssl_version=urllib3.util.ssl_.resolve_ssl_version(connection.ssl_version),
        ssl_minimum_version=connection.ssl_minimum_version,
        ssl_maximum_version=connection.ssl_maximum_version,
        cert_reqs=urllib3.util.ssl_.resolve_cert_reqs(connection.cert_reqs),
    )
    if not (connection.ca_certs or connection.ca_cert_dir or connection.ca_cert_data):
        context.load_default_certs()
    return context


class _HTTPConnectionPool(urllib3.connectionpool.HTTPConnectionPool):
    # The protocol that it is declared by does not fit urllib3's own classes either.
    ConnectionCls = _HTTPConnection  # pyright: ignore[reportAssignmentType]


class _HTTPSConnectionPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection  # pyright: ignore[reportAssignmentType]


_POOLS = {"http": _HTTPConnectionPool, "https": _HTTPSConnectionPool}


# -- requests --------------------------------------------------------------------


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """
    An adapter for an existing session; takes what `requests.adapters.HTTPAdapter` takes.

    >>> session = requests.Session()
    >>> session.mount("https://", DeadlineAdapter(pool_maxsize=20))
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """
        Make the pool manager; called by the constructor.
        """
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """
        Make the pool manager for a proxy.

        Raises:
            requests.exceptions.InvalidSchema: If it is a SOCKS proxy, whose sockets are not ours.
        """
        if proxy.lower().startswith("socks"):
            raise requests.exceptions.InvalidSchema(
                f"a DeadlineAdapter cannot hold its deadline over a SOCKS proxy, got {proxy.split('@')[-1]!r}; "
                "use an HTTP proxy, or requests' own adapter and a guard with isolate='thread'"
            )
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class Session(requests.Session):
    """
    A session that obeys the deadlines of guarded calls; in all else `requests.Session`.

    >>> from hungframe import Guard
    >>> guard = Guard("images", isolate=None)
    >>> session = Session()
    >>> @guard
    ... def fetch(url: str) -> bytes:
    ...     return session.get(url).content
    """

    def __init__(self) -> None:
        super().__init__()
        self.mount("https://", DeadlineAdapter())
        self.mount("http://", DeadlineAdapter())
