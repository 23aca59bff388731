"""
What is wrong is refused where it is given, with the argument's name and the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from hungframe import AdaptiveTimeout, CircuitBreaker, Guard, TokenBucket
from hungframe.testing import VirtualClock

NAN, INF = float("nan"), float("inf")


def refused(error: type[Exception], name: str, value: object, make: Callable[[], object]) -> None:
    """
    Check that *make* is refused with a message that names the argument and shows the value.
    """
    with pytest.raises(error) as raised:
        make()

    assert re.search(rf"\b{re.escape(name)}\b", str(raised.value))
    assert repr(value) in str(raised.value)


# Each is a number that cannot be: with the kind of error.
NO_SECONDS: list[tuple[Any, type[Exception]]] = [
    (-1, ValueError),
    (-0.001, ValueError),
    (NAN, ValueError),
    (INF, ValueError),
    (-INF, ValueError),
    (True, TypeError),
    ("5", TypeError),
    ([5], TypeError),
    (5j, TypeError),
]
ZERO: list[tuple[Any, type[Exception]]] = [(0, ValueError), (0.0, ValueError)]
NO_COUNT: list[tuple[Any, type[Exception]]] = [
    (0, ValueError),
    (-1, ValueError),
    (1.5, TypeError),
    (NAN, TypeError),
    (INF, TypeError),
    (True, TypeError),
    ("5", TypeError),
    (None, TypeError),
]


# -- numbers of a guard ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["timeout", "total_timeout", "first_item", "between_items"])
@pytest.mark.parametrize(("value", "error"), [*NO_SECONDS, *ZERO])
def test_timeouts_of_a_guard(name: str, value: Any, error: type[Exception]) -> None:
    """
    Seconds above 0 and finite, in a guard and in a view.
    """
    refused(error, name, value, lambda: Guard("images", **{name: value}))
    refused(error, name, value, lambda: Guard("images").using(**{name: value}))


@pytest.mark.parametrize(("value", "error"), [*NO_SECONDS, (None, TypeError)])
def test_grace(value: Any, error: type[Exception]) -> None:
    """
    Seconds of 0 or more and finite.
    """
    refused(error, "grace", value, lambda: Guard("images", grace=value))
    refused(error, "grace", value, lambda: Guard("images").using(grace=value))


@pytest.mark.parametrize(
    ("timeout", "grace"), [(1, 1.5), (0.1, 0.2), (AdaptiveTimeout(), 45.5), (AdaptiveTimeout(initial=5.0), 6)]
)
def test_grace_above_the_timeout(timeout: Any, grace: float) -> None:
    """
    A grace is at most the shortest timeout.
    """
    refused(ValueError, "grace", grace, lambda: Guard("images", timeout=timeout, grace=grace))


def test_grace_that_is_the_timeout() -> None:
    """
    As long as the timeout, or nothing, is allowed; the default suits any timeout.
    """
    Guard("images", timeout=1, grace=1)
    Guard("images", timeout=1, grace=0)
    Guard("images", timeout=0.01)


@pytest.mark.parametrize(("value", "error"), NO_COUNT)
def test_max_orphans(value: Any, error: type[Exception]) -> None:
    """
    A whole number of 1 or more.
    """
    refused(error, "max_orphans", value, lambda: Guard("images", max_orphans=value))


@pytest.mark.parametrize(("value", "error"), [*NO_SECONDS, *ZERO, (None, TypeError)])
def test_watch_loop(value: Any, error: type[Exception]) -> None:
    """
    Seconds above 0 and finite.
    """
    refused(error, "blocked_after", value, lambda: Guard("images").watch_loop(value))


def test_number_too_large_for_a_float() -> None:
    """
    Also a number that no clock can reach is refused by name.
    """
    with pytest.raises(ValueError, match="timeout"):
        Guard("images", timeout=10**400)


# -- what is no number -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error"),
    [("", ValueError), ("  ", ValueError), ("\n", ValueError), (None, TypeError), (5, TypeError), (b"x", TypeError)],
)
def test_name(value: Any, error: type[Exception]) -> None:
    """
    A string with something in it.
    """
    refused(error, "name", value, lambda: Guard(value))


@pytest.mark.parametrize("value", ["x", "AUTO", True, 1, [], "none"])
def test_isolate(value: Any) -> None:
    """
    One of the words that there are.
    """
    refused(ValueError, "isolate", value, lambda: Guard("images", isolate=value))
    refused(ValueError, "isolate", value, lambda: Guard("images").using(isolate=value))


@pytest.mark.parametrize("value", [5, "quota", [str]])
def test_classify(value: Any) -> None:
    """
    A function.
    """
    refused(TypeError, "classify", value, lambda: Guard("images", classify=value))
    refused(TypeError, "classify", value, lambda: Guard("images").using(classify=value))


@pytest.mark.parametrize("value", [print, "stdout", 5, None, [5], [print, None]])
def test_sinks(value: Any) -> None:
    """
    A sequence of callables, one also in brackets.
    """
    with pytest.raises(TypeError, match="sinks"):
        Guard("images", sinks=value)


@pytest.mark.parametrize("value", [5, "true", 0, 1.0, []])
def test_enabled(value: Any) -> None:
    """
    A bool, a function or None: no word, and no number.
    """
    refused(TypeError, "enabled", value, lambda: Guard("images", enabled=value))


# -- ports -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["breaker", "budget", "clock"])
@pytest.mark.parametrize("value", [5, "x", object(), True])
def test_port_that_is_none(name: str, value: Any) -> None:
    """
    What lacks the methods of a port is no port.
    """
    with pytest.raises(TypeError, match=name):
        Guard("images", **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("breaker", CircuitBreaker), ("budget", TokenBucket), ("clock", VirtualClock), ("timeout", AdaptiveTimeout)],
)
def test_class_given_as_a_port(name: str, value: Any) -> None:
    """
    Forgotten parentheses are noticed.
    """
    refused(TypeError, name, value, lambda: Guard("images", **{name: value}))


def test_class_given_as_the_timeout_of_a_view() -> None:
    """
    Also in a view.
    """
    value: Any = AdaptiveTimeout
    refused(TypeError, "timeout", value, lambda: Guard("images").using(timeout=value))


def test_class_among_several_budgets() -> None:
    """
    Also in a list.
    """
    buckets: Any = [TokenBucket(), TokenBucket]
    refused(TypeError, "budget", TokenBucket, lambda: Guard("images", budget=buckets))


class HalfABudget:
    """
    A budget that somebody has not finished writing.
    """

    def try_acquire(self, tokens: float, now: float) -> bool:
        return True


def test_port_that_lacks_a_method() -> None:
    """
    The error says which.
    """
    unfinished: Any = HalfABudget()

    with pytest.raises(TypeError, match="budget .* give_back, available, retry_after, pause"):
        Guard("images", budget=unfinished)


@pytest.mark.parametrize("value", [[], (), iter(())])
def test_empty_budget(value: Any) -> None:
    """
    No budget is None; an empty list is a mistake.
    """
    with pytest.raises(ValueError, match="budget .*None"):
        Guard("images", budget=value)


def test_unknown_argument() -> None:
    """
    A typo is Python's own TypeError.
    """
    wrong: Any = {"timeuot": 5}

    with pytest.raises(TypeError, match="timeuot"):
        Guard("images", **wrong)
