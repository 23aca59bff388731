"""
What each outcome weighs, in whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from hungframe._core import check
from hungframe._core.outcome import Outcome
from hungframe._core.window import Weight

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "success": 1.0,
    "timeout": 2.0,
    "quota": 0.5,
    "5xx": 1.0,
    "connection": 1.0,
    "unknown": 1.0,
}


@lru_cache(maxsize=64)
def scaled(min_weight: float, weights: tuple[tuple[str, float], ...]) -> tuple[int, int, dict[str, Weight]]:
    """
    Scale weights to whole numbers by their common denominator.

    Cached, so that breakers with the same weights share one table.

    Returns:
        The factor, the least weight, and for each outcome that counts what it weighs.
    """
    named = dict(DEFAULT_WEIGHTS)
    for name, weight in weights:
        outcome = Outcome(name)
        if outcome.value not in named:
            raise ValueError(f"weights must name outcomes that count, and {outcome.value!r} never does")
        named[outcome.value] = check.number(f"weights[{outcome.value!r}]", weight, at_least=0)
    exact = {name: check.as_written(weight) for name, weight in named.items()}
    least = check.as_written(min_weight)
    scale = math.lcm(*(weight.denominator for weight in exact.values()), least.denominator)
    return (
        scale,
        int(least * scale),
        {
            name: (int(weight * scale), 0 if name == "success" else int(weight * scale))
            for name, weight in exact.items()
        },
    )
