"""
Clients and transports for httpx2 whose every socket operation obeys the deadline of the guarded call around it.

They take what httpx2's own take, and raise what httpx2's own raise.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypedDict

from typing_extensions import Self, Unpack

from hungframe.guard import Guard
from hungframe.transport import _faces, _pool
from hungframe.transport._body import AsyncBody, SyncBody
from hungframe.transport._carrier import MAX_RESPONSE_BYTES, AsyncCarrier, SyncCarrier
from hungframe.transport._guarded import GuardedAsyncBody, GuardedSyncBody, Timeouts
from hungframe.transport._timeouts import classes_of

if TYPE_CHECKING:
    import httpx2
    from httpx2 import _types as types  # pyright: ignore[reportPrivateUsage]
else:
    httpx2 = _faces.library("httpx2")

__all__ = ["AsyncClient", "AsyncGuardTransport", "Client", "GuardTransport"]

_NEEDS = "install httpx2 2.14 or newer"
_pool.check_library(httpx2, (httpx2.HTTPTransport, httpx2.AsyncHTTPTransport), _NEEDS)


class TransportOptions(TypedDict, total=False):
    """
    What `httpx2.HTTPTransport` takes.
    """

    verify: ssl.SSLContext | str | bool
    cert: types.CertTypes | None
    trust_env: bool
    http1: bool
    http2: bool
    limits: httpx2.Limits
    proxy: types.ProxyTypes | None
    uds: str | None
    local_address: str | None
    retries: int
    socket_options: Sequence[tuple[int, int, int] | tuple[int, int, bytes | bytearray]] | None


class _CommonOptions(TypedDict, total=False):
    auth: types.AuthTypes | None
    params: types.QueryParamTypes | None
    headers: types.HeaderTypes | None
    cookies: types.CookieTypes | None
    verify: ssl.SSLContext | str | bool
    cert: types.CertTypes | None
    trust_env: bool
    http1: bool
    http2: bool
    proxy: types.ProxyTypes | None
    timeout: types.TimeoutTypes
    follow_redirects: bool
    limits: httpx2.Limits
    max_redirects: int
    event_hooks: Mapping[str, list[Callable[..., Any]]] | None
    base_url: httpx2.URL | str
    default_encoding: str | Callable[[bytes], str | None]


class ClientOptions(_CommonOptions, total=False):
    """
    What `httpx2.Client` takes.
    """

    mounts: Mapping[str, httpx2.BaseTransport | None] | None
    transport: httpx2.BaseTransport | None


class AsyncClientOptions(_CommonOptions, total=False):
    """
    What `httpx2.AsyncClient` takes.
    """

    mounts: Mapping[str, httpx2.AsyncBaseTransport | None] | None
    transport: httpx2.AsyncBaseTransport | None


class _Body(SyncBody, httpx2.SyncByteStream):
    pass


class _GuardedBody(GuardedSyncBody, httpx2.SyncByteStream):
    pass


class _AsyncBody(AsyncBody, httpx2.AsyncByteStream):
    pass


class _GuardedAsyncBody(GuardedAsyncBody, httpx2.AsyncByteStream):
    pass


_TIMEOUTS = classes_of(httpx2, __name__)
# Where pickle finds them.
globals().update({each.__name__: each for each in _TIMEOUTS.values()})


class GuardTransport(SyncCarrier, httpx2.BaseTransport):
    """
    A transport for an existing `httpx2.Client`, or for one of its mounts.

    Args:
        transport: What carries the requests; made from the options if None.
            Connections that an `HTTPTransport` makes from now on obey.

        guard: Ask this guard before each request, and tell it how the
            response ended; None: the guarded call around the request is asked
            for its deadline, and that is all.

        max_response_bytes: Most bytes of one response's body, as they come
            over the wire; None: no limit. 256 MiB if not given.

        options: What `httpx2.HTTPTransport` takes.

    Raises:
        TypeError: If *transport* is not one of httpx2's, or options are given beside it.
    """

    _response = httpx2.Response
    _bytes = httpx2.ByteStream
    _body = _Body
    _guarded_body = _GuardedBody
    _timeouts = Timeouts(_TIMEOUTS)
    _connect_timeout = httpx2.ConnectTimeout

    def __init__(
        self,
        transport: httpx2.BaseTransport | None = None,
        *,
        guard: Guard | None = None,
        max_response_bytes: int | None = MAX_RESPONSE_BYTES,
        **options: Unpack[TransportOptions],
    ) -> None:
        if transport is None:
            transport = httpx2.HTTPTransport(**options)
        else:
            _faces.checked_transport(transport, httpx2.BaseTransport, {**options})
        super().__init__(transport, guard=guard, max_response_bytes=max_response_bytes)

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._inner.__exit__(exc_type, exc_value, traceback)


class AsyncGuardTransport(AsyncCarrier, httpx2.AsyncBaseTransport):
    """
    A transport for an existing `httpx2.AsyncClient`, or one of its mounts; like `GuardTransport`, on asyncio and trio.
    """

    _response = httpx2.Response
    _bytes = httpx2.ByteStream
    _body = _AsyncBody
    _guarded_body = _GuardedAsyncBody
    _timeouts = Timeouts(_TIMEOUTS)
    _connect_timeout = httpx2.ConnectTimeout

    def __init__(
        self,
        transport: httpx2.AsyncBaseTransport | None = None,
        *,
        guard: Guard | None = None,
        max_response_bytes: int | None = MAX_RESPONSE_BYTES,
        **options: Unpack[TransportOptions],
    ) -> None:
        if transport is None:
            transport = httpx2.AsyncHTTPTransport(**options)
        else:
            _faces.checked_transport(transport, httpx2.AsyncBaseTransport, {**options})
        super().__init__(transport, guard=guard, max_response_bytes=max_response_bytes)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc_value, traceback)


class Client(httpx2.Client):
    """
    A `httpx2.Client` whose every socket operation obeys the deadline of the guarded call around it.

    Args:
        guard: The whole guard in the client: asked before each request, and
            told how its response ended.

        max_response_bytes: Most bytes of one response's body, as they come
            over the wire; None: no limit. 256 MiB if not given.

        options: What `httpx2.Client` takes.

    >>> from hungframe import Guard
    >>> Client(guard=Guard("images", timeout=20)).is_closed
    False
    """

    def __init__(
        self,
        *,
        guard: Guard | None = None,
        max_response_bytes: int | None = MAX_RESPONSE_BYTES,
        **options: Unpack[ClientOptions],
    ) -> None:
        super().__init__(**options)

        def wrap(transport: httpx2.BaseTransport) -> GuardTransport:
            return GuardTransport(transport, guard=guard, max_response_bytes=max_response_bytes)

        _faces.guarded(self, wrap, httpx2.BaseTransport)


class AsyncClient(httpx2.AsyncClient):
    """
    A `httpx2.AsyncClient` whose every socket operation obeys the deadline of the guarded call around it; on asyncio
    and trio.

    Args:
        guard: The whole guard in the client: asked before each request, and
            told how its response ended.

        max_response_bytes: Most bytes of one response's body, as they come
            over the wire; None: no limit. 256 MiB if not given.

        options: What `httpx2.AsyncClient` takes.

    >>> from hungframe import Guard
    >>> AsyncClient(guard=Guard("images", timeout=20)).is_closed
    False
    """

    def __init__(
        self,
        *,
        guard: Guard | None = None,
        max_response_bytes: int | None = MAX_RESPONSE_BYTES,
        **options: Unpack[AsyncClientOptions],
    ) -> None:
        super().__init__(**options)

        def wrap(transport: httpx2.AsyncBaseTransport) -> AsyncGuardTransport:
            return AsyncGuardTransport(transport, guard=guard, max_response_bytes=max_response_bytes)

        _faces.guarded(self, wrap, httpx2.AsyncBaseTransport)
