"""
Wrong numbers of breaker, bucket and timeout are refused where they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hungframe import AdaptiveTimeout, CircuitBreaker, TokenBucket
from tests.guard.test_bad_input import INF, NAN, NO_COUNT, NO_SECONDS, ZERO, refused


@pytest.mark.parametrize("value", [0, 0.0, 1.5, -0.1, NAN, INF, -1])
def test_failure_rate(value: float) -> None:
    """
    A share in (0, 1].
    """
    refused(ValueError, "failure_rate", value, lambda: CircuitBreaker(failure_rate=value))


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        (CircuitBreaker, "min_weight"),
        (CircuitBreaker, "open_for"),
        (CircuitBreaker, "max_open_for"),
        (CircuitBreaker, "slow_call"),
        (TokenBucket, "capacity"),
        (TokenBucket, "refill_every"),
        (AdaptiveTimeout, "floor"),
        (AdaptiveTimeout, "ceiling"),
        (AdaptiveTimeout, "initial"),
    ],
)
@pytest.mark.parametrize(("value", "error"), [*NO_SECONDS, *ZERO])
def test_numbers_of_the_policies(policy: Callable[..., object], name: str, value: Any, error: type[Exception]) -> None:
    """
    Above 0 and finite.
    """
    refused(error, name, value, lambda: policy(**{name: value}))


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        (CircuitBreaker, "window"),
        (CircuitBreaker, "close_after"),
        (AdaptiveTimeout, "window"),
        (AdaptiveTimeout, "min_samples"),
    ],
)
@pytest.mark.parametrize(("value", "error"), NO_COUNT)
def test_counts_of_the_policies(policy: Callable[..., object], name: str, value: Any, error: type[Exception]) -> None:
    """
    Whole numbers of 1 or more.
    """
    refused(error, name, value, lambda: policy(**{name: value}))


@pytest.mark.parametrize(
    "weights", [{"timeot": 2.0}, {"timeout": -1}, {"timeout": NAN}, {"timeout": "2"}, {"4xx": 1.0}]
)
def test_weights(weights: Any) -> None:
    """
    Of outcomes that there are and that count, numbers of 0 or more.
    """
    with pytest.raises((ValueError, TypeError), match=r"weights|outcome"):
        CircuitBreaker(weights=weights)
