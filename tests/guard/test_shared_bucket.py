"""
One bucket of two guards: one limit, whoever asks.
"""

from __future__ import annotations

import sys
import threading

from hungframe import BudgetExhaustedError, Guard, TokenBucket


def test_two_guards_never_spend_more_than_one_bucket_holds() -> None:
    """
    Twenty threads, half of them with each guard, get as many calls through as there are tokens, and no more.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        bucket = TokenBucket(capacity=500, refill_every=1e6)
        guards = [Guard(name, budget=bucket, isolate=None) for name in ("small", "large")]
        refused: list[str] = []

        def many(guard: Guard) -> None:
            for _ in range(50):
                try:
                    guard.call(str)
                except BudgetExhaustedError as error:
                    refused.append(error.guard)

        threads = [threading.Thread(target=many, args=(guards[number % 2],)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert 500 == sum(guard.snapshot().counts["success"] for guard in guards)
    assert 500 == len(refused)
    assert 0 == guards[0].health.current_budget() == guards[1].health.current_budget()


def test_guards_that_share_a_bucket_share_its_lock() -> None:
    """
    A token is taken under one lock, alone or among several; guards that share nothing do not wait for each other.
    """
    bucket = TokenBucket()

    first, second, other = Guard("a", budget=bucket), Guard("b", budget=[bucket, TokenBucket()]), Guard("c")

    assert first._engine.lock is second._engine.lock
    assert first._engine.lock is not other._engine.lock
