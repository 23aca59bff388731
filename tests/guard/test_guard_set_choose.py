"""
`guards.choose(keys)`: what it reads of the guards, that it takes nothing, and that nobody is shut out for ever.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import Any

import pytest

from hungframe import AdaptiveTimeout, CallRejectedError, CircuitBreaker, GuardSet, TokenBucket
from hungframe.testing import RecordingSink, VirtualClock
from tests.guard.fakes import in_flight, open_by_timeouts

KEYS = ("eu", "us", "asia")


def guard_set(clock: VirtualClock, *, seed: int = 1, **settings: Any) -> GuardSet:
    """
    Guards of three regions that are known, and have called nothing.
    """
    guards = GuardSet("images", clock=clock, random=random.Random(seed).random, isolate=None, **settings)
    for key in KEYS:
        guards[key]
    return guards


def learned(clock: VirtualClock, **seconds: float) -> GuardSet:
    """
    Guards that have learned how long their regions take.
    """
    guards = guard_set(clock, timeout=lambda: AdaptiveTimeout(min_samples=2))
    for key, each in seconds.items():
        for _ in range(2):
            guards[key].call(clock.advance, each)
    return guards


def chosen(guards: GuardSet, times: int = 300, keys: tuple[str, ...] = KEYS) -> dict[str, float]:
    """
    The share of choices that each region gets at one instant.
    """
    counts = Counter(guards.choose(keys) for _ in range(times))
    return {key: round(counts[key] / times, 2) for key in keys if counts[key]}


def half_opened(guards: GuardSet, clock: VirtualClock, *keys: str) -> None:
    """
    Open the breakers of these regions, and wait until they are half-open.
    """
    for key in keys:
        open_by_timeouts(guards[key])
    clock.advance(60)


# -- what is chosen --------------------------------------------------------------------------------------------------


def test_equals_share_alike() -> None:
    """
    Also regions that have no guard yet; and none is made for being looked at.
    """
    guards = GuardSet("images", random=random.Random(1).random)

    assert pytest.approx({"eu": 0.33, "us": 0.33, "asia": 0.33}, abs=0.03) == chosen(guards, 3000)
    assert [] == list(guards)


def test_an_open_one_is_passed_over() -> None:
    """
    By itself, or by an operator's hand.
    """
    guards = guard_set(VirtualClock())
    open_by_timeouts(guards["eu"])
    guards["asia"].force_open()

    assert {"us": 1.0} == chosen(guards)


def test_one_whose_budget_is_spent_is_passed_over() -> None:
    """
    Or paused, as its provider asked.
    """
    guards = guard_set(VirtualClock(), budget=lambda: TokenBucket(capacity=1))
    guards["eu"].acquire().settle("success")
    guards["us"].pause(20)

    assert {"asia": 1.0} == chosen(guards)


def test_one_with_too_many_orphans_is_passed_over() -> None:
    """
    It refuses, and nobody knows for how long.
    """
    guards = guard_set(VirtualClock(), max_orphans=1)
    guards["eu"]._engine.orphans.add(0.0, "somewhere", None)  # type: ignore[arg-type]

    assert "eu" not in chosen(guards)


def test_closed_before_half_open() -> None:
    """
    A breaker that has just become half-open waits behind those that are well.
    """
    clock = VirtualClock()
    guards = guard_set(clock)
    half_opened(guards, clock, "eu")

    assert pytest.approx({"us": 0.5, "asia": 0.5}, abs=0.1) == chosen(guards)


def test_the_quicker_one_of_two() -> None:
    """
    The quickest region has two thirds of the calls, the slowest none.
    """
    guards = learned(VirtualClock(), eu=3.0, us=1.0, asia=2.0)

    assert pytest.approx({"us": 0.67, "asia": 0.33}, abs=0.05) == chosen(guards, 2000)


def test_calls_in_flight_count() -> None:
    """
    A region that does not answer is left before anything has timed out.
    """
    guards = learned(VirtualClock(), eu=1.0, us=1.0, asia=1.0)
    with in_flight(guards["eu"], 1):
        assert "eu" not in chosen(guards)
    assert "eu" in chosen(guards)


def test_what_switches_the_breaker_off_is_obeyed() -> None:
    """
    Who may refuse nobody is as good as closed.
    """
    guards = guard_set(VirtualClock(), enabled=False)
    guards["eu"].force_open()

    assert "eu" in chosen(guards)


def test_without_keys_it_is_among_those_known() -> None:
    """
    Each of them.
    """
    guards = guard_set(VirtualClock())

    assert set(KEYS) == {guards.choose() for _ in range(100)}


def test_a_key_that_is_named_twice_has_no_more_of_the_calls() -> None:
    """
    Nor is it drawn against itself.
    """
    guards = learned(VirtualClock(), eu=3.0, us=1.0)

    assert {"us"} == {guards.choose(["eu", "us", "eu", "eu"]) for _ in range(100)}


def test_one_key_is_that_key() -> None:
    """
    Whatever its state.
    """
    guards = guard_set(VirtualClock())
    guards["eu"].force_open()

    assert "eu" == guards.choose(["eu"])


# -- it takes nothing ------------------------------------------------------------------------------------------------


def test_it_takes_no_token_and_no_probe_and_makes_no_call() -> None:
    """
    All that it read is as it was.
    """
    clock = VirtualClock()
    guards = guard_set(clock, budget=lambda: TokenBucket(capacity=9))
    half_opened(guards, clock, "eu")
    before = guards.snapshot()

    chosen(guards)

    assert before == guards.snapshot()
    assert 0.0 == guards["eu"].snapshot().retry_after
    guards["eu"].acquire().cancel()


def test_it_is_no_use_of_a_guard() -> None:
    """
    What is dropped is what was called the longest time ago.
    """
    guards = GuardSet("images", max_guards=2, random=lambda: 0.0)
    guards["eu"], guards["us"]
    assert "eu" == guards.choose(["eu", "us"])

    guards["asia"]

    assert ["us", "asia"] == list(guards)


# -- nobody is shut out for ever -------------------------------------------------------------------------------------


def test_a_half_open_one_is_given_one_call_by_and_by() -> None:
    """
    After a minute behind the others one caller is sent to find out; the next ones are not.
    """
    clock = VirtualClock()
    guards = guard_set(clock)
    half_opened(guards, clock, "eu")
    chosen(guards)
    clock.advance(60)

    assert 1 == Counter(guards.choose(KEYS) for _ in range(200))["eu"]


def test_it_closes_again_with_nobody_but_choosers() -> None:
    """
    Three probes, a minute apart: a region that is well again is back within five minutes of its opening.
    """
    clock = VirtualClock()
    guards = guard_set(clock)
    open_by_timeouts(guards["eu"])
    refused = 0
    closed_at = None
    for _ in range(900):
        clock.advance(0.5)
        try:
            guards[guards.choose(KEYS)].call(str)
        except CallRejectedError:
            refused += 1
        if closed_at is None and guards["eu"].snapshot().state == "closed":
            closed_at = clock.now()

    assert 0 == refused
    assert closed_at is not None and closed_at <= 300


def test_a_slow_one_is_looked_at_once_in_a_while() -> None:
    """
    So that it is found out if it has become quick; one call a minute, and of ten calls at most one.
    """
    clock = VirtualClock()
    guards = learned(clock, eu=3.0, us=1.0, asia=1.0)
    chosen(guards)
    often: Counter[str] = Counter()
    for _ in range(600):
        clock.advance(1)
        often[guards.choose(KEYS)] += 1
    seldom: Counter[str] = Counter()
    for _ in range(90):
        clock.advance(30)
        seldom[guards.choose(KEYS)] += 1

    assert 8 <= often["eu"] <= 10
    assert 1 <= seldom["eu"] <= 9


def test_it_is_not_looked_at_while_its_last_call_is_out() -> None:
    """
    That call will tell.
    """
    clock = VirtualClock()
    guards = learned(clock, eu=3.0, us=1.0, asia=1.0)
    chosen(guards)
    clock.advance(61)
    with in_flight(guards["eu"], 1):
        assert "eu" not in chosen(guards)


def test_exploring_can_be_turned_off() -> None:
    """
    Then a slow one is left alone, however long.
    """
    clock = VirtualClock()
    guards = guard_set(clock, timeout=lambda: AdaptiveTimeout(min_samples=2), explore_every=None)
    for key, seconds in (("eu", 3.0), ("us", 1.0), ("asia", 1.0)):
        for _ in range(2):
            guards[key].call(clock.advance, seconds)

    for _ in range(100):
        clock.advance(20)
        assert "eu" != guards.choose(KEYS)


def test_of_many_threads_one_takes_the_turn() -> None:
    """
    However many ask at once.
    """
    clock = VirtualClock()
    guards = GuardSet("images", clock=clock, isolate=None)
    for key in KEYS:
        guards[key]
    half_opened(guards, clock, "eu")
    chosen(guards)
    clock.advance(60)
    got: list[str] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        got.extend(guards.choose(KEYS) for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == got.count("eu")


# -- panic -----------------------------------------------------------------------------------------------------------


def test_where_all_refuse_it_is_the_one_that_does_so_for_the_shortest_time() -> None:
    """
    So that the caller is told the shortest wait there is; `choose` itself refuses nobody.
    """
    clock = VirtualClock()
    guards = guard_set(clock, breaker=None, budget=lambda: TokenBucket(capacity=1))
    for key in ("us", "eu", "asia"):
        guards[key].acquire().settle("success")
        clock.advance(1)

    assert {"us": 1.0} == chosen(guards)


def test_two_of_three_that_are_half_open_share_with_the_last_one() -> None:
    """
    More than half have tripped: nobody waits for a turn, so that the one that is left need not carry all.
    """
    clock = VirtualClock()
    guards = guard_set(clock)
    half_opened(guards, clock, "eu", "us")

    assert pytest.approx({"eu": 0.33, "us": 0.33, "asia": 0.33}, abs=0.1) == chosen(guards)


def test_never_are_all_shut_out_at_once() -> None:
    """
    When the last breaker opens, one of them is half-open before its time: one call goes through, and finds out.
    """
    clock, sink = VirtualClock(), RecordingSink()
    guards = guard_set(clock, sinks=[sink])
    for key in KEYS:
        open_by_timeouts(guards[key])
        clock.advance(1)

    key = guards.choose(KEYS)

    assert "eu" == key
    assert "half_open" == guards["eu"].snapshot().state
    guards[key].call(str)
    assert 1 == guards["eu"].snapshot().counts["success"]


def test_a_panic_lets_one_call_through_in_five_seconds() -> None:
    """
    It looks for somebody who answers; it does not send the crowd.
    """
    clock = VirtualClock()
    guards = guard_set(clock)
    for key in KEYS:
        open_by_timeouts(guards[key])
    through: list[float] = []
    for _ in range(200):
        try:
            permit = guards[guards.choose(KEYS)].acquire()
        except CallRejectedError:
            pass
        else:
            through.append(clock.now())
            permit.settle("timeout")
        clock.advance(0.1)

    assert pytest.approx([0.0, 5.0, 10.0, 15.0], abs=0.5) == through


@pytest.mark.parametrize(
    "settings",
    [{"panic_threshold": 1}, {"breaker": lambda: CircuitBreaker(open_for=60)}],
)
def test_without_a_panic_breakers_keep_their_word(settings: dict[str, Any]) -> None:
    """
    With a threshold of 1 there is none; and an operator who has shut the door keeps it shut.
    """
    clock = VirtualClock()
    guards = guard_set(clock, **settings)
    for key in KEYS:
        if "panic_threshold" in settings:
            open_by_timeouts(guards[key])
        else:
            guards[key].force_open()
    before = {key: each.state for key, each in guards.snapshot().items()}

    chosen(guards)

    assert before == {key: each.state for key, each in guards.snapshot().items()}


def test_a_breaker_of_the_users_own_is_not_hurried() -> None:
    """
    A port has no way to say so.
    """
    clock = VirtualClock()

    class Own(CircuitBreaker):
        pass

    guards = guard_set(clock, breaker=Own)
    for key in KEYS:
        open_by_timeouts(guards[key])

    chosen(guards)

    assert {"open"} == {each.state for each in guards.snapshot().values()}
