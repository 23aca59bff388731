"""
Budgets: what a call takes, what it gives back, and who is asked first (semantics 3 and 8).
"""

from __future__ import annotations

import sys

import anyio
import pytest

from hungframe import BudgetExhaustedError, CallTimeoutError, CircuitOpenError, Guard, TokenBucket
from hungframe.testing import VirtualClock, run_virtual
from tests.guard.fakes import Backend, StatusError, fail, on_each_backend, open_by_timeouts, sleeps


def test_default_bucket_grants_five_and_then_one_a_minute() -> None:
    """
    Five at once, the sixth is refused for 60 s and not a moment longer.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, budget=TokenBucket())
    for _ in range(5):
        guard.call(str)

    with pytest.raises(BudgetExhaustedError) as refused:
        guard.call(str)
    assert ("images", 60.0) == (refused.value.guard, refused.value.retry_after)
    clock.advance(59.9)
    with pytest.raises(BudgetExhaustedError):
        guard.call(str)
    clock.advance(0.1)

    guard.call(str)


def test_refused_call_was_never_made() -> None:
    """
    A callee that the budget refuses is not called, and counts as rejected alone.
    """
    guard = Guard("images", budget=TokenBucket(capacity=1), clock=VirtualClock())
    called: list[int] = []
    guard.call(called.append, 1)

    with pytest.raises(BudgetExhaustedError):
        guard.call(called.append, 2)

    assert [1] == called
    counts = guard.snapshot().counts
    assert (1, 1, 2) == (counts["success"], counts["rejected"], sum(counts.values()))


def test_waiting_as_told_is_enough() -> None:
    """
    The wait that a refusal names is the wait that it takes, again and again.
    """
    clock = VirtualClock(start=1e6)
    guard = Guard("images", clock=clock, budget=TokenBucket(capacity=2, refill_every=7.3))

    for _ in range(50):
        try:
            guard.call(str)
        except BudgetExhaustedError as refused:
            clock.advance(refused.retry_after or 0.0)
            guard.call(str)


def test_guard_has_no_budget_unless_one_is_given() -> None:
    """
    Only the user knows the provider's limit.
    """
    guard = Guard("images")

    for _ in range(1000):
        guard.call(str)

    assert None is guard.snapshot().budget
    assert guard.health.current_budget() >= sys.maxsize


@pytest.mark.parametrize(
    "error", [None, TimeoutError(), StatusError(429), StatusError(500), StatusError(404), ValueError()]
)
def test_a_call_that_was_sent_has_cost_its_token(error: Exception | None) -> None:
    """
    However it ends.
    """
    clock = VirtualClock()
    guard = Guard("images", budget=TokenBucket(capacity=2), clock=clock)

    if error is None:
        guard.call(str)
    else:
        fail(guard, error)
    # A 429 is followed by a pause.
    clock.advance(10)

    assert 1 == guard.snapshot().budget


def test_open_breaker_spends_no_token() -> None:
    """
    The breaker is asked before the budget: a hundred refusals, and every token is still there.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, budget=TokenBucket(capacity=5))
    open_by_timeouts(guard)
    assert 2 == guard.snapshot().budget

    for _ in range(100):
        with pytest.raises(CircuitOpenError):
            guard.call(str)

    assert 2 == guard.snapshot().budget


def test_open_breaker_is_told_before_an_empty_budget() -> None:
    """
    Where both would refuse, the breaker does.
    """
    guard = Guard("images", clock=VirtualClock(), budget=TokenBucket(capacity=3))
    open_by_timeouts(guard)

    with pytest.raises(CircuitOpenError):
        guard.acquire()


def test_empty_budget_gives_the_probe_back() -> None:
    """
    A half-open caller whom the budget refuses leaves the probe's place, and its period, to the next.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, budget=TokenBucket(capacity=3, refill_every=61.0))
    open_by_timeouts(guard)
    clock.advance(60)

    with pytest.raises(BudgetExhaustedError) as refused:
        guard.acquire()
    assert 1.0 == refused.value.retry_after
    clock.advance(1)

    guard.acquire().settle("success")


def test_permit_cancelled_before_sending_gives_its_token_back() -> None:
    """
    `permit.cancel()` says that nothing was sent: no token is gone.
    """
    guard = Guard("images", clock=VirtualClock(), budget=TokenBucket(capacity=1))

    for _ in range(10):
        guard.acquire().cancel()

    assert 1 == guard.snapshot().budget


def test_bucket_is_never_above_its_capacity() -> None:
    """
    Tokens given back into a bucket that has refilled since do not add up.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, budget=TokenBucket(capacity=2))
    permits = [guard.acquire(), guard.acquire()]
    clock.advance(3600)

    for permit in permits:
        permit.cancel()

    assert 2 == guard.snapshot().budget
    guard.call(str)
    guard.call(str)
    with pytest.raises(BudgetExhaustedError):
        guard.call(str)


@on_each_backend
def test_timed_out_call_has_cost_its_token(backend: Backend) -> None:
    """
    What was sent was sent.
    """
    guard = Guard("images", timeout=1, budget=TokenBucket(capacity=2))

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await guard.acall(sleeps, 10)
        assert 1 == guard.snapshot().budget

    run_virtual(main, backend=backend)


@on_each_backend
def test_a_hundred_tasks_share_five_tokens(backend: Backend) -> None:
    """
    A hundred callers at once: five calls are made.
    """
    made = 0

    async def main() -> None:
        guard = Guard("images", budget=TokenBucket())

        async def caller() -> None:
            nonlocal made
            try:
                await guard.acall(sleeps, 1)
            except BudgetExhaustedError:
                return
            made += 1

        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(caller)

    run_virtual(main, backend=backend)

    assert 5 == made


# -- several budgets -------------------------------------------------------------------------------------------------


def test_several_budgets_all_or_none() -> None:
    """
    A call that one budget refuses takes from no other.
    """
    wide, narrow = TokenBucket(capacity=10, refill_every=1.0), TokenBucket(capacity=1, refill_every=60.0)
    clock = VirtualClock()
    guard = Guard("images", clock=clock, budget=[wide, narrow])
    guard.call(str)

    for _ in range(100):
        with pytest.raises(BudgetExhaustedError):
            guard.call(str)

    assert (9, 0) == (wide.available(clock.now()), narrow.available(clock.now()))


@pytest.mark.parametrize("order", [1, -1])
def test_several_budgets_tell_the_longest_wait(order: int) -> None:
    """
    Whoever waits as told gets in: until the last of the budgets has a token.
    """
    clock = VirtualClock()
    buckets = [TokenBucket(capacity=1, refill_every=5.0), TokenBucket(capacity=1, refill_every=60.0)][::order]
    guard = Guard("images", clock=clock, budget=buckets)
    guard.call(str)

    with pytest.raises(BudgetExhaustedError) as refused:
        guard.call(str)
    assert 60.0 == refused.value.retry_after
    clock.advance(60)

    guard.call(str)


def test_several_budgets_show_the_scarcest() -> None:
    """
    What can be called now is what the scarcest allows.
    """
    guard = Guard("images", clock=VirtualClock(), budget=(TokenBucket(capacity=10), TokenBucket(capacity=3)))

    assert (3, 3) == (guard.snapshot().budget, guard.health.current_budget())


def test_cancelled_permit_gives_back_to_all() -> None:
    """
    All budgets get back what was not used.
    """
    clock = VirtualClock()
    buckets = [TokenBucket(capacity=1), TokenBucket(capacity=1)]
    guard = Guard("images", clock=clock, budget=buckets)

    guard.acquire().cancel()

    assert [1, 1] == [bucket.available(clock.now()) for bucket in buckets]


def test_available_is_a_whole_number_rounded_down() -> None:
    """
    A token and a half are one call.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, budget=TokenBucket(capacity=5))
    for _ in range(5):
        guard.call(str)

    clock.advance(90)

    assert 1 == guard.snapshot().budget
    assert isinstance(guard.health.current_budget(), int)
