"""
By hand, in two phases: acquire, then settle or cancel, once.
"""

from __future__ import annotations

import gc
import threading
import warnings

import pytest

from hungframe import CallRejectedError, CircuitBreaker, Guard, Outcome, TokenBucket
from hungframe.testing import VirtualClock
from tests.guard.fakes import StatusError, in_flight, open_by_timeouts


def test_permit_names_its_deadline() -> None:
    """
    Seconds, and the instant on the guard's clock.
    """
    clock = VirtualClock(start=1000.0)
    guard = Guard("images", clock=clock, timeout=5)

    with guard.acquire() as permit:
        assert (5.0, 1005.0) == (permit.timeout, permit.deadline)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_settle_takes_an_outcome_or_its_name(outcome: Outcome) -> None:
    """
    Both count the same, once.
    """
    for given in (outcome, outcome.value):
        guard = Guard("images")

        guard.acquire().settle(given)

        assert {outcome.value: 1} == {name: count for name, count in guard.snapshot().counts.items() if count}


def test_three_permits_settled_as_timeouts_open() -> None:
    """
    What is reported by hand counts as what is called.
    """
    guard = Guard("images")

    for _ in range(3):
        guard.acquire().settle("timeout")

    assert "open" == guard.snapshot().state


def test_latency_of_a_permit_is_learned() -> None:
    """
    From acquire to settle is what the call took.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock)

    for _ in range(20):
        permit = guard.acquire()
        clock.advance(50)
        permit.settle("success")

    assert (50.0, 60.0) == (guard.snapshot().p95, guard.snapshot().timeout)


@pytest.mark.parametrize("first", ["settle", "cancel", "block"])
@pytest.mark.parametrize("second", ["settle", "cancel"])
def test_settling_twice_is_a_mistake(first: str, second: str) -> None:
    """
    The second time raises RuntimeError with the guard's name, and changes nothing.
    """
    guard = Guard("images", budget=TokenBucket(capacity=5), clock=VirtualClock())
    permit = guard.acquire()
    if first == "block":
        with permit:
            pass
    else:
        permit.settle("success") if first == "settle" else permit.cancel()
    before = guard.snapshot()

    with pytest.raises(RuntimeError, match="guard 'images'"):
        permit.settle("timeout") if second == "settle" else permit.cancel()

    assert before == guard.snapshot()


def test_of_two_threads_that_settle_one_is_told() -> None:
    """
    A race to settle is won by one, and counted once.
    """
    guard = Guard("images")
    failed: list[int] = []
    for _ in range(200):
        permit = guard.acquire()
        together = threading.Barrier(2)

        def settle(permit: object = permit, together: threading.Barrier = together) -> None:
            together.wait()
            try:
                permit.settle("success")  # type: ignore[attr-defined]  # bound to this turn of the loop
            except RuntimeError:
                failed.append(1)

        threads = [threading.Thread(target=settle) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert (200, 200) == (guard.snapshot().counts["success"], len(failed))


@pytest.mark.parametrize("outcome", ["succes", "", "SUCCESS", None, 429, b"timeout", [], object()])
def test_unknown_outcome_leaves_the_permit_open(outcome: object) -> None:
    """
    A typo is refused with the value and all that would do, and the permit may still be settled.
    """
    guard = Guard("images")
    permit = guard.acquire()

    with pytest.raises((ValueError, TypeError)) as refused:
        permit.settle(outcome)  # type: ignore[arg-type]  # that is the point

    assert repr(outcome) in str(refused.value) and "quota" in str(refused.value)
    permit.settle("success")
    assert 1 == guard.snapshot().counts["success"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(None, "success"), (StatusError(429), "quota"), (TimeoutError(), "timeout"), (KeyboardInterrupt(), "cancelled")],
)
def test_block_settles_by_what_leaves_it(error: BaseException | None, outcome: str) -> None:
    """
    Nothing is a success; an error is counted by its kind and goes on as the same object.
    """
    guard = Guard("images")
    left: BaseException | None = None

    try:
        with guard.acquire():
            if error is not None:
                raise error
    except BaseException as raised:
        left = raised

    assert error is left
    assert 1 == guard.snapshot().counts[outcome]


@pytest.mark.parametrize("how", ["settle", "cancel"])
def test_block_that_settles_itself(how: str) -> None:
    """
    What the block has said stands, whatever leaves it afterwards.
    """
    guard = Guard("images")

    with pytest.raises(ValueError, match="x"), guard.acquire() as permit:
        permit.settle("quota") if how == "settle" else permit.cancel()
        raise ValueError("x")

    counts = guard.snapshot().counts
    assert (1, 1) == (counts["quota" if how == "settle" else "cancelled"], sum(counts.values()))


def test_block_uses_the_classifier() -> None:
    """
    A block is read like a call.
    """
    guard = Guard("images", classify=lambda ended: "quota" if isinstance(ended, KeyError) else None)

    with pytest.raises(KeyError), guard.acquire():
        raise KeyError

    assert 1 == guard.snapshot().counts["quota"]


def test_acquire_never_waits() -> None:
    """
    It raises where it would have to.
    """
    guard = Guard("images", budget=TokenBucket(capacity=1), clock=VirtualClock())
    guard.call(str)

    with pytest.raises(CallRejectedError):
        guard.acquire()


def test_dropped_permit_is_cancelled_and_told() -> None:
    """
    Whoever loses a permit is warned, and takes nothing away for good.
    """
    guard = Guard("images", budget=TokenBucket(capacity=1), clock=VirtualClock())
    permit = guard.acquire()

    with pytest.warns(ResourceWarning, match="guard 'images'"):
        del permit

    assert (1, 0) == (guard.snapshot().budget, guard.snapshot().in_flight)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_dropped_permit_is_cancelled_where_warnings_are_errors() -> None:
    """
    With `-W error` the warning raises: that must not lose the permit.
    """
    guard = Guard("images", budget=TokenBucket(capacity=1), clock=VirtualClock())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        permit = guard.acquire()
        del permit
        gc.collect()

    assert (1, 0) == (guard.snapshot().budget, guard.snapshot().in_flight)


def test_dropped_probe_gives_its_place_back() -> None:
    """
    Also in half-open, where its place is the only one.
    """
    clock = VirtualClock()
    guard = Guard("images", clock=clock, breaker=CircuitBreaker(close_after=1))
    open_by_timeouts(guard)
    clock.advance(60)
    probe = guard.acquire()
    with pytest.warns(ResourceWarning):
        del probe

    guard.acquire().settle("success")

    assert "closed" == guard.snapshot().state


def test_permits_in_hand_are_in_flight() -> None:
    """
    From acquire until settled.
    """
    guard = Guard("images")

    with in_flight(guard, 3) as permits:
        assert 3 == guard.snapshot().in_flight
        permits[0].settle("success")
        permits[1].cancel()
        assert 1 == guard.snapshot().in_flight
    assert 0 == guard.snapshot().in_flight
