"""
A health page of a service's guards: JSON for probes, and a live page for people.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hungframe._core import check
from hungframe.guard import Guard
from hungframe.guard_set import GuardSet
from hungframe.health.asgi import HealthApp
from hungframe.health.feed import Feed, Ready
from hungframe.health.operator import Operator
from hungframe.health.routes import Routes
from hungframe.health.server import HealthServer

__all__ = ["HealthApp", "HealthServer", "app", "serve"]


def app(
    *guards: Guard | GuardSet,
    ready: Ready | None = None,
    operator_token: str | None = None,
    label: Callable[[str], str] | None = None,
    most: int = 50,
) -> HealthApp:
    """
    Make an ASGI application that shows how *guards* stand: mount it where only your own people come, such as
    at /internal/gen-health.

    From now on it listens to them, so that the page can show what was before it is opened.

    Args:
        guards: Guards and guard sets, at least one.

        ready: A function of all their snapshots that tells whether who
            does not ask for HTML, such as an orchestrator's readiness probe, is
            answered with 200, or else with 503; None: not ready while the
            breaker of every guard is open.

        operator_token: Lets those who know it set breakers by hand; at least 16
            characters. None: nobody.

        label: A function of a guard's name that tells what is shown; None: the
            name, with what looks like a key or an address made short. A guard for
            which it raises is shown by its id.

        most: Guards of a set that are shown: those used last.

    Raises:
        TypeError: If an argument is of the wrong kind.

        ValueError: If there is no guard, or an argument is out of range.

    >>> from hungframe import Guard
    >>> health = app(Guard("images"))
    >>> health.viewers
    0
    """
    feed, routes = _parts(guards, ready, operator_token, label, most)
    return HealthApp(feed, routes)


def serve(
    *guards: Guard | GuardSet,
    host: str = "127.0.0.1",
    port: int = 0,
    ready: Ready | None = None,
    operator_token: str | None = None,
    label: Callable[[str], str] | None = None,
    most: int = 50,
) -> HealthServer:
    """
    Serve the same without an ASGI server, from a daemon thread of its own.

    Args:
        host: The address to listen at.

        port: The port; 0: any that is free, see `HealthServer.url`.

    Raises:
        OSError: If the port is taken, or *host* is no address of this machine; it names both.

        TypeError, ValueError: As of `app`.

    >>> import urllib.request
    >>> from hungframe import Guard
    >>> with serve(Guard("images")) as server:
    ...     urllib.request.urlopen(server.url).status
    200
    """
    check.text("host", host)
    check.number("port", check.whole("port", port, at_least=0), at_least=0, at_most=65_535)
    feed, routes = _parts(guards, ready, operator_token, label, most)
    try:
        return HealthServer(feed, routes, host, port)
    except OSError:
        feed.close()
        raise


def _parts(
    guards: tuple[Any, ...],
    ready: Ready | None,
    operator_token: str | None,
    label: Callable[[str], str] | None,
    most: int,
) -> tuple[Feed, Routes]:
    if not guards:
        raise ValueError("there is no guard to show; give those of your service: app(guard, ...)")
    for guard in guards:
        if not isinstance(guard, (Guard, GuardSet)):
            raise TypeError(f"guards must be Guards and GuardSets, got {guard!r}")
    for name, function in (("ready", ready), ("label", label)):
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be a function or None, got {function!r}")
    check.whole("most", most, at_least=1)
    # What is refused is refused before anything listens.
    feed = Feed(guards, ready, label, most)
    try:
        operator = None if operator_token is None else Operator(feed, operator_token)
    except BaseException:
        feed.close()
        raise
    return feed, Routes(feed, operator)
