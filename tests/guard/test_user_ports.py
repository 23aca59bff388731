"""
Ports of the user's own, written from the contract alone: nothing inherited, nothing but the methods it names.
"""

from __future__ import annotations

import anyio
import pytest

from hungframe import (
    BudgetExhaustedError,
    CallTimeoutError,
    CircuitOpenError,
    Guard,
    Outcome,
    Permit,
    Refusal,
    TokenBucket,
)
from hungframe.ports import Breaker, Budget, Classifier, Clock, EventSink, Probe, TimeoutPolicy
from hungframe.testing import VirtualClock, run_virtual
from tests.guard.fakes import Backend, StatusError, about, fail, on_each_backend, sleeps
from tests.guard.own_ports import (
    Counter,
    CountingBreaker,
    Halving,
    HandClock,
    PlainPermits,
    Quota,
    ask_for_a_shape,
    by_text,
)


def test_each_is_its_port() -> None:
    """
    The type checkers agree: what is assigned here has the shape that the port asks for.
    """
    clock: Clock = HandClock()
    breaker: Breaker = CountingBreaker()
    budget: Budget = Quota(1)
    timeout: TimeoutPolicy = Halving()
    classify: Classifier = by_text
    sink: EventSink = Counter()
    probe: Probe = ask_for_a_shape

    pairs: list[tuple[object, type]] = [
        (clock, Clock),
        (breaker, Breaker),
        (budget, Budget),
        (timeout, TimeoutPolicy),
    ]
    for own, port in pairs:
        assert isinstance(own, port)
    for function in (classify, sink, probe):
        assert callable(function)


def test_all_together() -> None:
    """
    A guard made of nothing but the user's own.
    """
    clock, breaker, budget, timeout, sink = HandClock(), CountingBreaker(), Quota(4), Halving(), Counter()
    guard = Guard(
        "images", clock=clock, breaker=breaker, budget=budget, timeout=timeout, classify=by_text, sinks=[sink]
    )

    guard.call(str)
    with guard.acquire() as permit:
        assert (8.0, 58.0) == (permit.timeout, permit.deadline)
        clock.at += 3
    fail(guard, StatusError(500))
    guard.call(lambda: "slow down")
    with pytest.raises(CircuitOpenError) as refused:
        guard.call(str)

    assert 7.0 == refused.value.retry_after
    assert [Outcome.SUCCESS, Outcome.SUCCESS, Outcome.SERVER_ERROR, Outcome.QUOTA] == [
        outcome for _, outcome in breaker.recorded
    ]
    assert [(0.0, True), (3.0, True)] == timeout.told
    snapshot = guard.snapshot()
    assert ("open", 0, 8.0, 0) == (snapshot.state, snapshot.budget, snapshot.timeout, snapshot.faults)
    assert 5 == sink.seen.count("gen.request")
    assert 1 == sink.seen.count("breaker.state")


def test_breaker_gets_back_the_permits_that_it_gave() -> None:
    """
    Each of them, once, and none that it never gave: recorded, or released where the call was not sent or cancelled.
    """
    breaker = CountingBreaker()
    guard = Guard("images", breaker=breaker, budget=Quota(3))

    guard.call(str)
    guard.acquire().cancel()
    fail(guard, KeyboardInterrupt())
    guard.call(str)
    with pytest.raises(BudgetExhaustedError):
        guard.call(str)

    returned = [permit for permit, _ in breaker.recorded] + breaker.released
    assert 5 == len(breaker.given)
    assert {id(permit) for permit in breaker.given} == {id(permit) for permit in returned}
    assert (2, 3) == (len(breaker.recorded), len(breaker.released))


@pytest.mark.parametrize("generation", [0, 1, -1])
def test_breaker_numbers_its_permits_as_it_likes(generation: int) -> None:
    """
    Whatever is in a permit that the user's breaker gave, what comes of it is told.
    """
    breaker = PlainPermits()
    breaker.generation = generation
    guard = Guard("images", breaker=breaker)

    guard.call(str)
    guard.acquire().cancel()
    fail(guard, StatusError(500))

    assert (2, 1) == (len(breaker.recorded), len(breaker.released))


def test_breaker_that_is_switched_off_is_told_of_no_permit_that_it_never_gave() -> None:
    """
    A call that the flag alone lets through has no permit of the breaker's to report.
    """
    breaker = CountingBreaker()
    guard = Guard("images", breaker=breaker, enabled=False)
    fail(guard, StatusError(500), StatusError(500))

    guard.call(str)
    fail(guard, StatusError(500))
    guard.acquire().cancel()

    told = [permit for permit, _ in breaker.recorded] + breaker.released
    assert all(any(permit is given for given in breaker.given) for permit in told)


def test_breaker_is_told_how_long_the_call_may_take() -> None:
    """
    Deadline and grace: after that a permit that has not come back is lost.
    """
    breaker = CountingBreaker()

    Guard("images", breaker=breaker, timeout=5, grace=0.5).call(str)

    assert [5.5] == breaker.timeouts


class OwnRefusal(Refusal):
    """
    A refusal that knows more.
    """


class OwnPermit(Permit):
    """
    A permit that knows more.
    """


def test_subclasses_of_permit_and_refusal() -> None:
    """
    A breaker may answer with its own kinds of either.
    """
    breaker = CountingBreaker()
    answers: list[Permit | Refusal] = [OwnPermit(1), OwnRefusal("own_reason", 2.0)]
    breaker.acquire = lambda now, *, timeout: answers.pop(0)  # type: ignore[method-assign]  # as a user's class would
    guard = Guard("images", breaker=breaker)

    guard.call(str)
    with pytest.raises(CircuitOpenError) as refused:
        guard.call(str)

    assert 2.0 == refused.value.retry_after
    assert OwnPermit is type(breaker.recorded[0][0])


def test_open_breaker_that_names_no_time() -> None:
    """
    A port is not asked when it will let somebody through: the snapshot says that no time can be named, not "now".
    """
    guard = Guard("images", breaker=CountingBreaker())
    fail(guard, StatusError(500), StatusError(500))

    assert ("open", None) == (guard.snapshot().state, guard.snapshot().retry_after)
    assert guard.health.should_open_circuit()


def test_breaker_that_cannot_be_steered() -> None:
    """
    Steering is not in the port; who asks for it is told.
    """
    guard = Guard("images", breaker=CountingBreaker())

    with pytest.raises(TypeError, match="force_open"):
        guard.force_open()


def test_budget_of_the_user() -> None:
    """
    Asked for one token a call; it refuses with its own wait, and gets back what was not used.
    """
    quota = Quota(2)
    guard = Guard("images", budget=quota)

    guard.acquire().cancel()
    assert 2 == quota.left
    guard.call(str)
    guard.call(str)
    with pytest.raises(BudgetExhaustedError) as refused:
        guard.call(str)

    assert 3.0 == refused.value.retry_after


def test_budget_of_the_user_beside_one_of_the_house() -> None:
    """
    All or none, whoever wrote them.
    """
    clock, bucket, quota = VirtualClock(), TokenBucket(capacity=5), Quota(1)
    guard = Guard("images", clock=clock, budget=[bucket, quota])

    guard.call(str)
    for _ in range(3):
        with pytest.raises(BudgetExhaustedError):
            guard.call(str)

    assert (4, 0) == (bucket.available(clock.now()), quota.left)


@on_each_backend
def test_timeout_policy_of_the_user(backend: Backend) -> None:
    """
    It is asked before each call, and told how each ended that says something of latency.
    """
    policy = Halving()
    guard = Guard("images", timeout=policy)

    async def main() -> None:
        for seconds in (8.0, 4.0):
            began_at = anyio.current_time()
            with pytest.raises(CallTimeoutError):
                await guard.acall(sleeps, 100)
            assert about(seconds) == anyio.current_time() - began_at
        await guard.acall(sleeps, 1)

    run_virtual(main, backend=backend)

    assert [(8.0, False), (4.0, False), (1.0, True)] == [(about(s), done) for s, done in policy.told]
