"""
What a user's port has besides the port's methods is the user's own, whatever it is called.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from hungframe import (
    Guard,
)
from tests.guard.fakes import StatusError, fail
from tests.guard.own_ports import (
    CountingBreaker,
    Halving,
)


@pytest.mark.parametrize("extra", ["p95", "seconds_per_call", "unmoved_up_to", "floor"])
def test_timeout_policy_with_attributes_of_its_own(extra: str) -> None:
    """
    A policy may keep a number under any name; the guard does not take it for a method of its own kind.
    """
    policy = Halving()
    setattr(policy, extra, 12.0)
    guard = Guard("images", timeout=policy)

    guard.call(str)
    fail(guard, TimeoutError(), TimeoutError())

    assert "open" == guard.snapshot().state


@pytest.mark.parametrize(
    "extra", ["failure_rate", "weight", "retry_after", "generation", "shared_permit", "suspect", "unmoved_up_to"]
)
def test_breaker_with_attributes_of_its_own(extra: str) -> None:
    """
    A breaker may keep a number under any name; neither a call nor a look is harmed by it.
    """
    breaker = CountingBreaker()
    setattr(breaker, extra, 0.5)
    guard = Guard("images", breaker=breaker)

    guard.call(str)
    fail(guard, StatusError(500), StatusError(500))

    assert "open" == guard.snapshot().state
    assert 0 == guard.snapshot().faults


def test_breaker_with_methods_of_its_own() -> None:
    """
    Methods that happen to have a name of ours, and raise, harm neither.
    """

    def raises(*_: object, **__: object) -> None:
        raise RuntimeError("not for you")

    breaker = CountingBreaker()
    for name in ("failure_rate", "weight", "retry_after"):
        setattr(breaker, name, raises)
    guard = Guard("images", breaker=breaker)

    guard.call(str)
    fail(guard, StatusError(500), StatusError(500))

    assert "open" == guard.snapshot().state


def test_ports_made_of_namespaces() -> None:
    """
    Any object with the methods will do.
    """
    budget: Any = SimpleNamespace(
        try_acquire=lambda tokens, now: True,
        give_back=lambda tokens, now: None,
        available=lambda now: sys.maxsize,
        retry_after=lambda tokens, now: 0.0,
        pause=lambda until: None,
    )

    assert "done" == Guard("images", budget=budget).call(lambda: "done")
