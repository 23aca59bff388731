"""
Refuse a wrong setting where it is given, with its name, its value and what would do.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache


def number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    finite: bool = True,
) -> float:
    """
    Return *value* if it is a number within the bounds.

    Raises:
        TypeError: If *value* is no int or float; a bool counts as none, since
            `timeout=True` is a mistake and not one second.

        ValueError: If *value* is NaN, out of bounds, or infinite where that
            is not allowed.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        float(value)
    except OverflowError:
        raise ValueError(f"{name} must be {_range(above, at_least, at_most, finite)}, got {value!r}") from None
    fits = (
        not math.isnan(value)
        and (not finite or not math.isinf(value))
        and (above is None or value > above)
        and (at_least is None or value >= at_least)
        and (at_most is None or value <= at_most)
    )
    if not fits:
        raise ValueError(f"{name} must be {_range(above, at_least, at_most, finite)}, got {value!r}")
    return value


def whole(name: str, value: object, *, at_least: int) -> int:
    """
    Return *value* if it is an int of *at_least* or more.

    Raises:
        TypeError: If *value* is no int; a bool counts as none.

        ValueError: If *value* is too small.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value!r}")
    return value


def text(name: str, value: object) -> str:
    """
    Return *value* if it is a string with something in it.

    Raises:
        TypeError: If *value* is no string.

        ValueError: If it is empty or blank.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    if not value.strip():
        raise ValueError(f"{name} must not be empty, got {value!r}")
    return value


@lru_cache(maxsize=256)
def as_written(value: float) -> Fraction:
    """
    Read a number as the decimal that its author wrote.

    The float 0.1 is a little more than a tenth, so that one failure in ten
    would stay below it; who writes 0.1 means a tenth.
    """
    return Fraction(repr(value))


def _range(above: float | None, at_least: float | None, at_most: float | None, finite: bool) -> str:
    if at_most is not None and (above is not None or at_least is not None):
        low = f"({above:g}" if above is not None else f"[{at_least:g}"
        return f"in {low}, {at_most:g}]"
    if above is not None:
        bound = f"above {above:g}"
    elif at_least is not None:
        bound = f"at least {at_least:g}"
    elif at_most is not None:
        bound = f"at most {at_most:g}"
    else:
        bound = "a number"
    return f"{bound} and finite" if finite else bound
