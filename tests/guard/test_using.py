"""
`using`: a view with other settings for its calls, over the same state.
"""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from hungframe import BudgetExhaustedError, CallTimeoutError, CircuitOpenError, Guard, TokenBucket
from hungframe.testing import VirtualClock, run_virtual
from tests.guard.fakes import Backend, about, fail, on_each_backend, sleeps


@on_each_backend
def test_other_timeout(backend: Backend) -> None:
    """
    The view's calls have the view's timeout, the guard's calls the guard's.
    """
    guard = Guard("images")

    async def main() -> None:
        with pytest.raises(CallTimeoutError) as aborted:
            await guard.using(timeout=5).acall(sleeps, 10)
        assert 5.0 == aborted.value.timeout
        assert "done" == await guard.acall(sleeps, 10)
        assert "done" == await guard.using(timeout=None).acall(sleeps, 1000)
        assert "done" == await guard.using(timeout=5).using(timeout=20).acall(sleeps, 10)

    run_virtual(main, backend=backend)


def test_all_state_is_shared() -> None:
    """
    Breaker, budget and counts are one: what a view finds out, the guard knows, and the other way round.
    """
    guard = Guard("images", budget=TokenBucket(capacity=4), clock=VirtualClock())
    view = guard.using(timeout=5)
    view.call(str)
    assert (1, 3) == (guard.snapshot().counts["success"], guard.snapshot().budget)

    fail(view, TimeoutError(), TimeoutError())

    with pytest.raises(CircuitOpenError):
        guard.call(str)
    guard.reset()
    guard.call(str)
    with pytest.raises(BudgetExhaustedError):
        view.call(str)
    assert view.snapshot().counts == guard.snapshot().counts


def test_view_steers_the_guard() -> None:
    """
    Forcing a view open forces the guard open.
    """
    guard = Guard("images")

    guard.using(timeout=5).force_open()

    assert "forced_open" == guard.snapshot().state


@pytest.mark.parametrize(
    ("settings", "timeout"),
    [
        ({"grace": 0.1}, 4.0),
        ({"timeout": 3}, 3.0),
        ({"timeout": 60}, 4.0),
        ({"timeout": None}, 4.0),
        ({"total_timeout": 4.5}, 4.5),
        ({"total_timeout": 60}, 5.0),
        ({"total_timeout": None}, 5.0),
    ],
)
def test_what_is_not_said_stays(settings: dict[str, Any], timeout: float) -> None:
    """
    A view changes what it names, and nothing else: neither the total timeout nor the timeout goes with the other.
    """
    guard = Guard("images", timeout=5, total_timeout=4)

    with guard.using(**settings).acquire() as permit:
        assert timeout == permit.timeout


def test_name_is_shared() -> None:
    """
    A view is the same guard in errors and events.
    """
    guard = Guard("images").using(timeout=5)

    assert ("images", "images") == (guard.name, guard.snapshot().name)
    assert "images" in repr(guard)


def test_snapshot_of_a_view_tells_its_timeout() -> None:
    """
    What its next call would be given.
    """
    guard = Guard("images")

    assert (5, 60.0) == (guard.using(timeout=5).snapshot().timeout, guard.snapshot().timeout)


def test_other_classifier() -> None:
    """
    A view may read results in its own way.
    """
    guard = Guard("images")

    guard.using(classify=lambda _: "5xx").call(str)
    guard.call(str)

    assert (1, 1) == (guard.snapshot().counts["5xx"], guard.snapshot().counts["success"])


@on_each_backend
def test_other_grace(backend: Backend) -> None:
    """
    A callee that swallows its cancellation is left after the view's grace.
    """
    guard = Guard("images", timeout=5)

    async def clings() -> None:
        try:
            await anyio.sleep(60)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(10)

    async def main() -> None:
        began_at = anyio.current_time()
        with pytest.raises(CallTimeoutError):
            await guard.using(grace=2).acall(clings)
        assert 7 == about(anyio.current_time() - began_at)

    run_virtual(main, backend=backend)


class Recording:
    """
    A timeout policy that remembers what it was told.
    """

    def __init__(self) -> None:
        self.told: list[tuple[float, bool]] = []

    def current(self, now: float) -> float:
        return 5.0

    def observe(self, seconds: float, now: float, *, completed: bool) -> None:
        self.told.append((seconds, completed))


@on_each_backend
def test_policy_of_a_view_learns_from_its_calls(backend: Backend) -> None:
    """
    A policy that says how long calls may take is told how long they took, in a view as in a guard.
    """

    async def main() -> None:
        first, second = Recording(), Recording()
        for guard in (Guard("images", timeout=first), Guard("images").using(timeout=second)):
            await guard.acall(sleeps, 2)
            with pytest.raises(CallTimeoutError):
                await guard.acall(sleeps, 10)

        expected = [(about(2), True), (about(5), False)]
        assert (expected, expected) == (first.told, second.told)

    run_virtual(main, backend=backend)


def test_decorating_with_a_view() -> None:
    """
    A view decorates like a guard.
    """
    guard = Guard("images")

    @guard.using(timeout=5)
    def draw() -> str:
        return "done"

    assert "done" == draw()
    assert 1 == guard.snapshot().counts["success"]


def test_grace_that_outlasts_the_views_timeout_is_refused() -> None:
    """
    A grace that was given and is longer than the view's timeout is the mistake that it is in a guard.
    """
    guard = Guard("images", timeout=5, grace=2)

    with pytest.raises(ValueError, match="grace"):
        guard.using(timeout=1)
    with pytest.raises(ValueError, match="grace"):
        guard.using(grace=6)
