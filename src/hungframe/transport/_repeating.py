"""
Which requests may be sent twice, and which guards fit into a client that would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hungframe.around import Around

# RFC 9110, 9.2.2: the safe methods, PUT and DELETE. Whatever they do is done as well when it is done twice.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

# draft-ietf-httpapi-idempotency-key-header: the provider knows the second by the key of the first.
_KEY = "idempotency-key"


def may_be_repeated(request: Any) -> bool:
    """
    Tell by a request's method and headers whether it may be sent twice; of one whose user has not said.
    """
    return str(request.method).upper() in _IDEMPOTENT or _KEY in request.headers


def check_around(around: Around | None, guard: object) -> None:
    """
    Make sure that a client can do what is put around the attempts of a call.

    Raises:
        ValueError: If it cannot: a second request beside the first would answer into a response that is handed on
            already, and instead of a response nothing else will do.
    """
    for name in ("hedge", "fallback"):
        if around is not None and getattr(around, name) is not None:
            raise ValueError(
                f"a client takes no guard with a {name}, got {guard!r}; decorate the function that calls the client, "
                f"or give the client a view without it: `using({name}=None)`"
            )
