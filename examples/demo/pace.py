"""
How fast time passes in the demo, and what the numbers of production are at that pace.

There is one scale, and it holds for everything: the provider, the guard, and the client's own timeout.
"""

from __future__ import annotations

import openai

from hungframe import AdaptiveTimeout, CircuitBreaker

MINUTE = 2.0
"""Seconds that a minute of production takes here."""

PRODUCTION_TIMEOUT = 60.0
PRODUCTION_OPEN_FOR = 60.0
PRODUCTION_PROBE_EVERY = 60.0
GREENS = 3
"""Probes in a row that close the breaker."""

CONNECTIONS = 3
"""Connections that a service may hold to its provider, as many as it has workers."""

# Seconds that an image takes in production. Each lane is served in this order.
FIRST_IMAGES = (21.0, 28.0, 35.0, 32.0, 24.0, 26.0)
PROBE_IMAGE = 24.0
LAST_IMAGES = (28.0, 34.0, 21.0, 25.0, 23.0, 32.0)


def here(seconds: float) -> float:
    """
    Tell how many seconds the demo takes for *seconds* of production.

    >>> here(60.0)
    2.0
    """
    return seconds * MINUTE / 60.0


TIMEOUT = here(PRODUCTION_TIMEOUT)


def takes(*seconds: float) -> list[str]:
    """
    Write a script for the provider: images that take so many seconds of production.

    >>> takes(60.0, 30.0)
    ['sleep:2', 'sleep:1']
    """
    return [f"sleep:{here(each):g}" for each in seconds]


def breaker() -> CircuitBreaker:
    """
    Make the default breaker, at this pace.
    """
    return CircuitBreaker(
        max_age=here(3600.0),
        open_for=here(PRODUCTION_OPEN_FOR),
        max_open_for=here(600.0),
        probe_every=here(PRODUCTION_PROBE_EVERY),
        close_after=GREENS,
    )


def timeout() -> AdaptiveTimeout:
    """
    Make the default timeout, at this pace: until it has seen 20 answers, it gives a call its `initial` 60 s.
    """
    return AdaptiveTimeout(
        margin=here(10.0), floor=here(45.0), ceiling=here(90.0), initial=TIMEOUT, max_age=here(3600.0)
    )


def production_client_timeout() -> float:
    """
    Ask the openai package how long it waits by default, in seconds.
    """
    default = openai.DEFAULT_TIMEOUT.read
    return 600.0 if default is None else default


def client_timeout() -> openai.Timeout:
    """
    Make the client's own default timeout, at this pace.
    """
    # To connect has nothing to do with how fast images are drawn, and keeps its seconds.
    return openai.Timeout(here(production_client_timeout()), connect=openai.DEFAULT_TIMEOUT.connect)
