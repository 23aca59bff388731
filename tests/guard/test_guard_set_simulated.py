"""
One of three endpoints hangs, or becomes slow: how many calls notice. The table is in docs/how-to.
"""

from __future__ import annotations

import pytest

from benchmarks.choosing import at_random, chosen, failed_after, hangs, is_slow, not_refusing, noticed, run, sent_later


@pytest.mark.parametrize("seed", [1, 2])
def test_few_calls_notice_that_one_of_three_hangs(seed: int) -> None:
    """
    A third of them where endpoints are picked at random; one in thirty at most where the guards choose, less than
    half of what breakers alone let through; none once it is over, and the endpoint has its share again.
    """
    by_choice, by_breaker = run(chosen, hangs, seed=seed), run(not_refusing, hangs, seed=seed)

    assert noticed(run(at_random, hangs, seed=seed)) > 0.3
    assert noticed(by_choice) <= 0.033
    assert noticed(by_choice) < noticed(by_breaker) / 2
    assert 0 == failed_after(by_choice)
    assert 0.25 <= sent_later(by_choice) <= 0.45


def test_few_calls_notice_that_one_of_three_is_slow() -> None:
    """
    No breaker opens then, and it still has less than half of its share.
    """
    made = run(chosen, is_slow)

    assert noticed(made) <= 0.15
    assert 0 == failed_after(made)
