"""
What a probe is while it runs, and what it has brought: nothing that may be stored.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CurrentProbe:
    """
    The probe that the code which asks is a part of.

    >>> CurrentProbe("images", "timeout").no_store
    True
    """

    guard: str
    """The guard whose provider is probed."""
    kind: str
    """Why: `timeout`, `burst` or `quota`."""
    no_store: bool = True
    """Always true: what it brings is not to be stored."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """
    How a probe ended.

    >>> ProbeResult("images", "timeout", "success", seconds=2.5, value="a picture").no_store
    True
    """

    guard: str
    """The guard whose provider was probed."""
    kind: str
    """Why: `timeout`, `burst` or `quota`."""
    outcome: str
    """As of any call: `success`, `timeout`, `quota` and so on."""
    seconds: float
    """What it took."""
    value: object = None
    """What the probe returned; None if it failed."""
    error: BaseException | None = None
    """What it raised; None if it returned, or was cut off at its deadline."""
    no_store: bool = True
    """Always true: the value is not to be stored."""


running: ContextVar[CurrentProbe | None] = ContextVar("hungframe_current_probe", default=None)


def current_probe() -> CurrentProbe | None:
    """
    The probe within which the code that asks is running, also in a worker thread of it; None outside of any.

    Code that stores results asks this before it does.

    >>> current_probe() is None
    True
    """
    return running.get()
