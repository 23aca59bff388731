"""
What hungframe touches of httpcore's pools that is not public, all of it.

httpcore takes a network backend, and httpx hands it none; so it is put in
here. A pool of httpcore 1 that is cancelled at the wrong moment keeps a
connection, or a request, that nobody will ever end, and is full one day
(encode/httpcore#1093); so after each request that did not end well the pool is
looked through.
"""

from __future__ import annotations

import importlib
import ssl
from types import ModuleType
from typing import Any

# On the transport, and on its pool.
_OF_TRANSPORT = ("_pool",)
_OF_POOL = (
    "_assign_requests_to_connections",
    "_connections",
    "_network_backend",
    "_optional_thread_lock",
    "_requests",
)


def check_library(library: ModuleType, transports: tuple[type, ...], needs: str) -> None:
    """
    Make sure that what is not public is there.

    Raises:
        ImportError: If it is not, with the releases that have it.
    """
    for transport in transports:
        # A context of its own: the default one takes 20 ms to make.
        made: Any = transport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        pool = getattr(made, "_pool", None)
        missing = [name for name in _OF_TRANSPORT if not hasattr(made, name)]
        missing += [name for name in _OF_POOL if not hasattr(pool, name)]
        if missing:
            raise ImportError(
                f"hungframe.transport cannot work with {library.__name__} {library.__version__}, in which "
                f"{transport.__name__} has no {', '.join(missing)}; {needs}"
            )


def pool_of(transport: Any) -> Any:
    """
    The pool of a transport; None for one of another kind: a mock's, an ASGI app's, a user's own.
    """
    pool = getattr(transport, "_pool", None)
    return pool if all(hasattr(pool, name) for name in _OF_POOL) else None


def core_of(pool: Any) -> ModuleType:
    """
    The httpcore that a pool belongs to: its exceptions are those that the client knows.
    """
    return importlib.import_module(type(pool).__module__.partition(".")[0])


def use_backend(pool: Any, backend: Any) -> None:
    """
    Let the connections that *pool* makes from now on use *backend*.
    """
    pool._network_backend = backend


def speaks_http2_only(pool: Any) -> bool:
    """
    Tell whether each connection of *pool* is HTTP/2, without having been agreed on in TLS.
    """
    return bool(getattr(pool, "_http2", False)) and not getattr(pool, "_http1", True)


def heal(pool: Any, extensions: object) -> list[Any]:
    """
    Take out of *pool* what nobody will ever end: the request that has failed, and connections without a request that
    are neither idle nor closed.

    Args:
        pool: A connection pool of httpcore, sync or async.

        extensions: Those of the request that has failed; no other request has this object.

    Returns:
        The connections that are to be closed.
    """
    with pool._optional_thread_lock:
        requests = pool._requests
        kept = [each for each in requests if each.request.extensions is not extensions]
        changed = len(kept) < len(requests)
        if changed:
            requests[:] = kept
        held = {id(each.connection) for each in kept}
        lost = [
            each for each in pool._connections if id(each) not in held and not each.is_idle() and not each.is_closed()
        ]
        for each in lost:
            pool._connections.remove(each)
        if changed or lost:
            lost += pool._assign_requests_to_connections()
    return lost


def close(connections: list[Any]) -> None:
    """
    Close connections of a sync pool.
    """
    for each in connections:
        each.close()


def close_now(connections: list[Any]) -> None:
    """
    Close connections of an async pool without awaiting: their streams never wait when they are closed.
    """
    for each in connections:
        closing = each.aclose()
        try:
            closing.send(None)
        except StopIteration:
            pass
        finally:
            closing.close()
