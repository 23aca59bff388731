"""
What calls cost and what they used: every way to make a call, and every way to get it wrong.
"""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from types import SimpleNamespace
from typing import Any

import pytest

from hungframe import AdaptiveTimeout, BudgetExhaustedError, CallTimeoutError, Guard, TokenBucket, time_left
from hungframe._core.cost import ONE
from hungframe.testing import RecordingSink, VirtualClock, run_virtual
from tests.guard.fakes import Backend, StatusError, about, fail, on_each_backend, sleeps
from tests.guard.own_ports import Quota

NAN, INF = math.nan, math.inf


def size(text: str = "", *others: object, **named: object) -> int:
    """
    A cost of these tests: the length of what is asked.
    """
    return len(text)


def of_usage(answer: Any) -> float | None:
    """
    What the provider says was used, where it says so.
    """
    usage: float | None = answer["usage"]
    return usage


def limited(**settings: Any) -> tuple[Guard, TokenBucket, VirtualClock]:
    """
    A guard with a bucket of a hundred tokens, one back a second.
    """
    clock = VirtualClock()
    bucket = TokenBucket(100, 1.0, **settings)
    return Guard("llm", budget=bucket, clock=clock, isolate=None), bucket, clock


def left(bucket: TokenBucket, clock: VirtualClock) -> int:
    """
    Whole tokens in *bucket*.
    """
    return bucket.available(clock.now())


# -- what a call takes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "guard",
    [
        Guard("llm", budget=TokenBucket(100, cost=30), clock=VirtualClock()),
        Guard("llm", budget=TokenBucket(100), cost=30, clock=VirtualClock()),
        Guard("llm", budget=TokenBucket(100), cost=lambda *args: 30, clock=VirtualClock()),
        Guard("llm", budget=[TokenBucket(100)], cost=7, clock=VirtualClock()).using(cost=30),
        Guard("llm", budget=TokenBucket(100, cost=30), cost=7, clock=VirtualClock()).using(cost=8),
    ],
)
def test_a_bucket_says_or_the_guard_or_the_view(guard: Guard) -> None:
    """
    The bucket's own cost goes before the guard's, a view's in the place of the guard's.
    """
    for expected in (70, 40, 10):
        guard.call(str)
        assert expected == guard.snapshot().budget

    with pytest.raises(BudgetExhaustedError):
        guard.call(str)


def test_a_refusal_names_the_wait_for_what_was_asked() -> None:
    """
    30 tokens of 10 are 20 seconds; and waiting so long is enough.
    """
    guard, _, clock = limited(cost=size)
    guard.call(size, "x" * 90)

    with pytest.raises(BudgetExhaustedError) as refused:
        guard.call(size, "x" * 30)
    assert 20.0 == refused.value.retry_after
    guard.call(size, "x" * 10)
    clock.advance(30)

    assert 30 == guard.call(size, "x" * 30)


@on_each_backend
def test_every_kind_of_callee(backend: Backend) -> None:
    """
    Functions, coroutine functions, generators of both kinds, methods, and what is not decorated.
    """
    bucket = TokenBucket(1000, 1e6, cost=lambda *args, text: len(text))
    guard = Guard("llm", budget=bucket, clock=VirtualClock())

    class Studio:
        @guard
        async def ask(self, *, text: str) -> str:
            return text

    @guard
    def ask_sync(*, text: str) -> str:
        return text

    @guard
    async def items(*, text: str) -> AsyncGenerator[str, None]:
        yield text

    @guard
    def items_sync(*, text: str) -> Generator[str, None, None]:
        yield text

    async def undecorated(*, text: str) -> str:
        return text

    def undecorated_sync(*, text: str) -> str:
        return text

    async def main() -> None:
        await Studio().ask(text="x" * 100)
        assert 900 == bucket.available(0.0)
        ask_sync(text="x" * 200)
        assert 700 == bucket.available(0.0)
        assert ["x"] == [each async for each in items(text="x")]
        assert 699 == bucket.available(0.0)
        assert ["xx"] == list(items_sync(text="xx"))
        assert 697 == bucket.available(0.0)
        await guard.acall(undecorated, text="x" * 97)
        assert 600 == bucket.available(0.0)
        guard.call(undecorated_sync, text="x" * 100)
        assert 500 == bucket.available(0.0)
        assert ["xx"] == list(guard.call(items_sync.__wrapped__, text="xx"))  # type: ignore[attr-defined]
        assert 498 == bucket.available(0.0)

    run_virtual(main, backend=backend)
    assert 7 == guard.snapshot().counts["success"]


def test_a_timeout_for_each_key_and_a_cost_for_each_call() -> None:
    """
    Both are asked of the same arguments, and neither gets in the way of the other.
    """
    clock = VirtualClock()
    timeout = AdaptiveTimeout.per(lambda text, model: model, initial=50.0, min_samples=1)
    bucket = TokenBucket(100, 1e6)
    guard = Guard("llm", timeout=timeout, budget=bucket, cost=size, used=len, clock=clock, isolate=None)

    def ask(text: str, model: str) -> str:
        clock.advance(70.0 if model == "large" else 1.0)
        return text[:2]

    for model in ("large", "small"):
        guard.call(ask, "x" * 10, model)
    assert (80.0, 45.0) == (timeout.of("large").current(clock.now()), timeout.of("small").current(clock.now()))
    assert 96 == left(bucket, clock)
    seen: list[float | None] = []

    def look(text: str, model: str) -> str:
        seen.append(time_left())
        return text

    guard.call(look, "x" * 20, "small")
    assert ([about(45.0)], 76) == (seen, left(bucket, clock))


def test_two_guards_of_one_bucket_have_the_buckets_cost() -> None:
    """
    The key's limit, of two models; what either used is owed by both.
    """
    clock = VirtualClock()
    key = TokenBucket(100, 1.0, cost=size, used=of_usage)
    small, large = (Guard(name, budget=key, clock=clock) for name in ("small", "large"))

    small.call(lambda text: {"usage": 130}, "x" * 40)

    with pytest.raises(BudgetExhaustedError) as refused:
        large.call(size, "x" * 20)
    assert 50.0 == refused.value.retry_after
    assert 0 == small.snapshot().budget == large.snapshot().budget


def test_threads_settle_to_the_token() -> None:
    """
    Eight threads, a hundred calls each: what is left is what was not used.
    """
    bucket = TokenBucket(100_000, 1e6, cost=20, used=of_usage)
    guards = [Guard(name, budget=bucket, isolate=None) for name in ("small", "large")]

    def many(number: int) -> None:
        for nth in range(100):
            guards[nth % 2].call(lambda: {"usage": number})

    threads = [threading.Thread(target=many, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 100_000 - 100 * sum(range(8)) == guards[0].snapshot().budget


# -- several limits, as LLM providers have them ----------------------------------------------------------------------


def test_requests_and_tokens_a_minute() -> None:
    """
    500 requests and 30,000 tokens a minute: whichever is scarce refuses, and usage settles the tokens alone.
    """
    clock = VirtualClock()
    requests = TokenBucket(500, 60 / 500)
    tokens = TokenBucket(
        30_000,
        60 / 30_000,
        cost=lambda prompt, max_tokens=1000: len(prompt) // 4 + max_tokens,
        used=lambda answer: answer.usage.total_tokens,
    )
    guard = Guard("llm", budget=[requests, tokens], clock=clock, isolate=None)

    @guard
    def ask(prompt: str, max_tokens: int = 1000) -> SimpleNamespace:
        return SimpleNamespace(usage=SimpleNamespace(total_tokens=len(prompt) // 4 + 500))

    for _ in range(19):
        ask("x" * 4000)
    assert (481, 1500) == (left(requests, clock), left(tokens, clock))
    with pytest.raises(BudgetExhaustedError) as refused:
        ask("x" * 4000)
    assert about(1.0) == refused.value.retry_after
    # Nothing of either was taken.
    assert (481, 1500) == (left(requests, clock), left(tokens, clock))
    clock.advance(refused.value.retry_after or 0.0)
    ask("x" * 4000)
    assert 500 == left(tokens, clock)


# -- how a call ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("usage", "expected"), [(0, 100), (5, 95), (20, 80), (100, 0), (130, 0), (None, 80)])
def test_a_success_is_settled_to_what_it_used(usage: float | None, expected: int) -> None:
    """
    Less goes back, more is owed, and None leaves what was taken.
    """
    guard, bucket, clock = limited(cost=20, used=of_usage)

    guard.call(lambda: {"usage": usage})

    assert expected == left(bucket, clock)
    assert 0 == guard.snapshot().faults
    if usage == 130:
        clock.advance(50)
        assert 20 == left(bucket, clock)


@pytest.mark.parametrize("error", [TimeoutError(), StatusError(429), StatusError(500), StatusError(404), ValueError()])
def test_a_failure_has_cost_what_it_took(error: Exception) -> None:
    """
    It was sent; what it used nobody has told.
    """
    guard, bucket, clock = limited(cost=20, used=of_usage)

    fail(guard, error)
    # A 429 is followed by a pause, of less than one more token.
    assert left(bucket, clock) == (0 if isinstance(error, StatusError) and error.status_code == 429 else 80)


def test_a_result_that_is_no_success_has_cost_what_it_took() -> None:
    """
    A response that says 503 is not asked for its usage.
    """
    guard, bucket, clock = limited(cost=20, used=lambda answer: 1 / 0)

    guard.call(lambda: SimpleNamespace(status_code=503))

    assert (80, 0) == (left(bucket, clock), guard.snapshot().faults)


@on_each_backend
def test_async_calls_are_settled_too(backend: Backend) -> None:
    """
    Whether they suspend or not; one that times out has cost what it took.
    """
    bucket = TokenBucket(100, 1e6, cost=20, used=len)
    guard = Guard("llm", budget=bucket, timeout=5)

    async def at_once() -> str:
        return "four"

    async def main() -> None:
        await guard.acall(at_once)
        assert 96 == guard.snapshot().budget
        await guard.acall(sleeps, 1)
        assert 92 == guard.snapshot().budget
        with pytest.raises(CallTimeoutError):
            await guard.acall(sleeps, 10)
        assert 72 == guard.snapshot().budget

    run_virtual(main, backend=backend)


def test_a_sync_generator_is_settled_by_what_it_returns() -> None:
    """
    By the value of its `return`; where there is none, and for who leaves early, the estimate stands.
    """
    guard, bucket, clock = limited(cost=20, used=of_usage)

    @guard
    def pieces(usage: int | None) -> Generator[str, None, dict[str, int] | None]:
        yield "a"
        yield "b"
        return None if usage is None else {"usage": usage}

    list(pieces(7))
    assert 93 == left(bucket, clock)
    list(pieces(None))
    assert 73 == left(bucket, clock)
    for _ in pieces(7):
        break
    assert (53, 0) == (left(bucket, clock), guard.snapshot().faults)


@on_each_backend
def test_an_async_generator_keeps_its_estimate(backend: Backend) -> None:
    """
    It has no final value, so `used` is not asked.
    """
    guard, bucket, clock = limited(cost=20, used=lambda answer: 1 / 0)

    @guard
    async def pieces() -> AsyncGenerator[str, None]:
        yield "a"

    async def main() -> None:
        assert ["a"] == [each async for each in pieces()]

    run_virtual(main, backend=backend)
    assert (80, 0) == (left(bucket, clock), guard.snapshot().faults)


def test_a_stream_by_hand_is_settled_by_what_done_was_given() -> None:
    """
    Its cost is given by hand, or by what the functions are asked with; one that was never asked gives all back.
    """
    guard, bucket, clock = limited(cost=size, used=of_usage)
    stream = guard.open_stream(cost=20)
    stream.step_sync(lambda: "headers", item=False)
    stream.done({"usage": 5})
    stream.done({"usage": 50})
    assert 95 == left(bucket, clock)

    stream = guard.open_stream("x" * 30)
    assert 65 == left(bucket, clock)
    stream.leave()
    assert 95 == left(bucket, clock)

    with pytest.raises(TypeError, match="pass cost="):
        guard.open_stream()


def test_a_result_told_during_a_step_is_settled_after_it() -> None:
    """
    `done` from within a step waits for its end, and keeps what it was given.
    """
    guard, bucket, clock = limited(cost=20, used=of_usage)
    stream = guard.open_stream()

    stream.step_sync(lambda: stream.done({"usage": 5}))

    assert 95 == left(bucket, clock)
    assert 1 == guard.snapshot().counts["success"]


# -- by hand ---------------------------------------------------------------------------------------------------------


def test_a_permit_takes_the_cost_it_is_given() -> None:
    """
    A number where a function would ask the arguments; more of it is given back, or owed, when it is settled.
    """
    guard, bucket, clock = limited(cost=size)

    guard.acquire(cost=30).settle("success")
    assert 70 == left(bucket, clock)
    guard.acquire(cost=30).settle("success", used=10)
    assert 60 == left(bucket, clock)
    guard.acquire(cost=30).settle("5xx", used=0)
    assert 60 == left(bucket, clock)
    guard.acquire(cost=30).settle("success", used=70)
    assert 0 == left(bucket, clock)
    clock.advance(20)
    guard.acquire(cost=10).cancel()
    assert 10 == left(bucket, clock)
    with guard.acquire(cost=0):
        pass
    assert 10 == left(bucket, clock)


def test_a_free_call_takes_nothing() -> None:
    """
    It does not wait for tokens that are owed.
    """
    guard = limited(cost=size)[0]
    guard.acquire(cost=30).settle("success", used=170)

    assert 0 == guard.call(size, "")
    with pytest.raises(BudgetExhaustedError) as refused:
        guard.call(size, "x")

    assert 71.0 == refused.value.retry_after


def test_a_permit_does_not_ask_for_usage() -> None:
    """
    It has no result: `used=` tells it.
    """
    guard, bucket, clock = limited(cost=20, used=lambda answer: 1 / 0)

    with guard.acquire():
        pass
    guard.acquire().settle("success", used=3)
    with guard.attempt():
        pass

    with guard.using(classify=lambda ended: None).attempt():
        pass

    assert (100 - 20 - 3 - 20 - 20, 0) == (left(bucket, clock), guard.snapshot().faults)


def test_without_arguments_a_cost_function_cannot_be_asked() -> None:
    """
    The error says what to pass; nothing was taken.
    """
    guard, bucket, clock = limited(cost=size)

    for ask in (guard.acquire, guard.attempt, guard.open_stream):
        with pytest.raises(TypeError, match="the cost is a function of a call's arguments, and .*; pass cost="):
            ask()

    assert 100 == left(bucket, clock)
    assert 0 == sum(guard.snapshot().counts.values())


@on_each_backend
def test_a_block_takes_the_cost_it_is_given(backend: Backend) -> None:
    """
    Async and sync.
    """
    guard, bucket, clock = limited(cost=size)

    async def main() -> None:
        async with guard.attempt(cost=30):
            pass

    run_virtual(main, backend=backend)
    with guard.attempt(cost=10):
        pass

    assert 60 == left(bucket, clock)


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (NAN, ValueError), (INF, ValueError), (True, TypeError), ("5", TypeError)]
)
def test_a_wrong_number_by_hand_is_refused(value: Any, error: type[Exception]) -> None:
    """
    Of cost and of used; the permit can still be settled.
    """
    guard, bucket, clock = limited(cost=size)
    for ask in (guard.acquire, guard.attempt, guard.open_stream):
        with pytest.raises(error, match=f"cost must be .*, got {value!r}"):
            ask(cost=value)
    permit = guard.acquire(cost=20)

    with pytest.raises(error, match=f"used must be .*, got {value!r}"):
        permit.settle("success", used=value)

    permit.settle("success", used=10)
    assert 90 == left(bucket, clock)


def test_more_than_the_bucket_holds_is_refused_by_hand() -> None:
    """
    It would never be granted.
    """
    with pytest.raises(ValueError, match="cost must be at most the capacity of the bucket, 100, got 101"):
        limited()[0].acquire(cost=101)


def test_a_cancelled_permit_has_used_nothing() -> None:
    """
    Both at once is a mistake, and the permit is still there.
    """
    guard, bucket, clock = limited()
    permit = guard.acquire()

    with pytest.raises(ValueError, match="used must not be told of a call that was cancelled, got 5"):
        permit.settle("cancelled", used=5)

    permit.settle("cancelled")
    assert 100 == left(bucket, clock)


# -- views -----------------------------------------------------------------------------------------------------------


def test_a_view_changes_one_and_keeps_the_other() -> None:
    """
    Cost and used are two settings, and None is no `used`.
    """
    guard = Guard("llm", budget=TokenBucket(100, 1e6), cost=20, used=len, clock=VirtualClock())

    for view, used in [
        (guard, 4),
        (guard.using(cost=30), 4),
        (guard.using(used=None), 20),
        (guard.using(grace=0.1), 4),
    ]:
        before = guard.snapshot().budget or 0
        view.call(str, "four")
        assert before - used == guard.snapshot().budget


def test_a_view_back_to_a_number() -> None:
    """
    A view with a number needs no arguments any more.
    """
    guard = Guard("llm", budget=TokenBucket(100), cost=size, clock=VirtualClock())

    guard.using(cost=5).acquire().settle("success")

    assert 95 == guard.snapshot().budget


def test_guards_without_a_cost_share_theirs() -> None:
    """
    A guard for each of 100,000 keys has no settings of its own to weigh.
    """
    assert ONE is Guard("a")._limits.cost is Guard("b").using(timeout=5)._limits.cost


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (NAN, ValueError),
        (INF, ValueError),
        (101, ValueError),
        (True, TypeError),
        ("5", TypeError),
        (None, TypeError),
    ],
)
def test_a_wrong_cost_is_refused_where_it_is_given(value: Any, error: type[Exception]) -> None:
    """
    By the guard and by the view.
    """
    with pytest.raises(error, match=f"cost must be .*, got {value!r}"):
        Guard("llm", budget=TokenBucket(100), cost=value)
    with pytest.raises(error, match=f"cost must be .*, got {value!r}"):
        limited()[0].using(cost=value)


@pytest.mark.parametrize("value", [5, "usage", True])
def test_a_wrong_used_is_refused_where_it_is_given(value: Any) -> None:
    """
    Likewise, with or without a budget.
    """
    with pytest.raises(TypeError, match=f"used must be a function of the call's result, or None, got {value!r}"):
        Guard("llm", used=value)
    with pytest.raises(TypeError, match=f"used must be a function of the call's result, or None, got {value!r}"):
        limited()[0].using(used=value)


def raises(error: BaseException) -> Callable[..., float]:
    """
    A function that raises *error*.
    """

    def broken(*args: object, **kwargs: object) -> float:
        raise error

    return broken


@on_each_backend
def test_a_cost_function_that_raises_costs_nothing(backend: Backend) -> None:
    """
    Its exception is the caller's, untouched; the callee was not called, nothing taken, nothing counted.
    """
    error = LookupError("no such model")
    guard, bucket, clock = limited(cost=raises(error))
    called: list[str] = []

    async def ask(text: str) -> None:
        called.append(text)

    @guard
    async def pieces(text: str) -> AsyncGenerator[str, None]:
        called.append(text)
        yield text

    async def main() -> None:
        with pytest.raises(LookupError) as raised:
            await guard.acall(ask, "a cat")
        assert error is raised.value
        with pytest.raises(LookupError):
            await pieces("a cat").__anext__()

    run_virtual(main, backend=backend)
    with pytest.raises(LookupError):
        guard.call(called.append, "a cat")

    assert ([], 100) == (called, left(bucket, clock))
    assert (0, 0, 0) == (sum(guard.snapshot().counts.values()), guard.snapshot().in_flight, guard.snapshot().faults)


@pytest.mark.parametrize("value", [None, NAN, -1, "5", True, 101])
def test_a_cost_function_that_tells_no_cost_costs_nothing(value: Any) -> None:
    """
    A mistake of the program is told to the program.
    """
    guard, bucket, clock = limited(cost=lambda *args: value)

    with pytest.raises(
        ValueError, match=r"must return a finite number from 0 to the capacity of the bucket, 100, got "
    ):
        guard.call(str, "a cat")

    assert (100, 0) == (left(bucket, clock), sum(guard.snapshot().counts.values()))


@pytest.mark.parametrize(
    "used",
    [raises(ValueError()), *(lambda answer, value=value: value for value in (NAN, -1, INF, "5", True, 1e308))],
)
def test_a_used_that_fails_harms_no_call(caplog: pytest.LogCaptureFixture, used: Any) -> None:
    """
    The answer arrives, the estimate stands, and it is counted each time and told once.
    """
    clock, sink = VirtualClock(), RecordingSink()
    bucket = TokenBucket(100, 60.0, cost=20, used=used)
    guard = Guard("llm", budget=bucket, clock=clock, sinks=[sink])

    assert ["an answer"] * 2 == [guard.call(lambda: "an answer") for _ in range(2)]

    assert (60, 2) == (left(bucket, clock), guard.snapshot().faults)
    assert 2 == guard.snapshot().counts["success"]
    assert 1 == len([record for record in caplog.records if "used()" in record.getMessage()])


def test_nothing_is_asked_where_there_is_no_budget() -> None:
    """
    A cost that nobody charges is not worked out.
    """
    guard = Guard("llm", cost=raises(ValueError()), used=raises(ValueError()))

    assert "A CAT" == guard.call(str.upper, "a cat")
    guard.acquire(cost=3).settle("success", used=5)

    assert 0 == guard.snapshot().faults


# -- budgets of the user's own ---------------------------------------------------------------------------------------


class Owing(Quota):
    """
    A budget that can owe.
    """

    def charge(self, tokens: float, now: float) -> None:
        self.left -= int(tokens)


@pytest.mark.parametrize(("quota", "expected"), [(Quota(30), 0), (Owing(30), -10), (Quota(100), 60)])
def test_a_port_is_charged_as_far_as_it_goes(quota: Quota, expected: int) -> None:
    """
    By its own `charge`, else by what it still grants.
    """
    guard = Guard("llm", budget=quota, cost=20, used=of_usage)

    guard.call(lambda: {"usage": 40})

    assert (expected, 0) == (quota.left, guard.snapshot().faults)


def test_a_subclass_of_the_bucket_has_its_own_cost() -> None:
    """
    It is a port like any other, and its settings are those of a bucket.
    """

    class Half(TokenBucket):
        def available(self, now: float) -> int:
            return super().available(now) // 2

    bucket = Half(100, cost=20, used=len)
    guard = Guard("llm", budget=[bucket, Quota(100)], clock=VirtualClock())

    guard.call(lambda: "x" * 40)

    assert 30 == guard.snapshot().budget
    with pytest.raises(ValueError, match="cost must be at most the capacity"):
        Guard("llm", budget=Half(100), cost=101)
