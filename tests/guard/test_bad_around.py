"""
What is wrong with the policies around a call is refused where it is given, in a guard and in a view.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest

from hungframe import Bulkhead, Guard, Hedge, Retry
from tests.guard.test_bad_input import INF, NAN, NO_SECONDS, refused


def refused_everywhere(error: type[Exception], name: str, value: object) -> None:
    """
    Check that a guard and a view refuse *value* with a message that names the argument.
    """
    refused(error, name, value, lambda: Guard("images", **{name: value}))  # type: ignore[arg-type]  # What is refused.
    refused(error, name, value, lambda: Guard("images").using(**{name: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["Wait", "", "queue", True, 1, None, [], b"wait", math.nan])
def test_on_empty(value: Any) -> None:
    """
    One of two words.
    """
    refused_everywhere(ValueError, "on_empty", value)


@pytest.mark.parametrize(("value", "error"), NO_SECONDS)
def test_max_wait(value: Any, error: type[Exception]) -> None:
    """
    Seconds of 0 or more, and finite: None is for no limit.
    """
    refused_everywhere(error, "max_wait", value)


@pytest.mark.parametrize("value", [3, 0, True, "3", [], Retry, Hedge(), {"attempts": 3}])
def test_retry(value: Any) -> None:
    """
    A Retry, and not how many.
    """
    refused_everywhere(TypeError, "retry", value)


@pytest.mark.parametrize("value", [1, 0.5, True, "p95", [], Hedge, Retry()])
def test_hedge(value: Any) -> None:
    """
    A Hedge, and not after how long.
    """
    refused_everywhere(TypeError, "hedge", value)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (1.5, TypeError),
        (NAN, TypeError),
        (INF, TypeError),
        (True, TypeError),
        (False, TypeError),
        ("adaptive", TypeError),
        ([], TypeError),
        (Bulkhead, TypeError),
        (Retry(), TypeError),
    ],
)
def test_bulkhead(value: Any, error: type[Exception]) -> None:
    """
    A Bulkhead, or how many calls at once: 1 or more.
    """
    refused(error, "bulkhead", value, lambda: Guard("images", bulkhead=value))


def test_view_has_the_bulkhead_of_its_guard() -> None:
    """
    It is state, which a view shares.
    """
    with pytest.raises(TypeError, match="bulkhead"):
        Guard("images").using(bulkhead=1)  # type: ignore[call-arg]  # What is refused.


@pytest.mark.parametrize("value", ["yes", "", 1, 0, [], {"GET"}, math.nan])
def test_idempotent(value: Any) -> None:
    """
    A bool or a function; what is only true or false is neither.
    """
    refused_everywhere(TypeError, "idempotent", value)


async def _says_yes(*_: Any) -> bool:
    return True


class _SaysYes:
    async def __call__(self) -> bool:
        return True


@pytest.mark.parametrize("value", [_says_yes, functools.partial(_says_yes, 1), _SaysYes(), _SaysYes().__call__])
def test_idempotent_that_must_be_awaited(value: Any) -> None:
    """
    Its coroutine would be true for every call.
    """
    refused_everywhere(TypeError, "idempotent", value)


@pytest.mark.parametrize(
    ("value", "error"),
    [(NAN, ValueError), (INF, ValueError), (True, TypeError), ("high", TypeError), (None, TypeError), (1j, TypeError)],
)
def test_priority(value: Any, error: type[Exception]) -> None:
    """
    A number, of either sign.
    """
    refused_everywhere(error, "priority", value)


GOOD: list[Callable[[], dict[str, Any]]] = [
    lambda: {"on_empty": "wait"},
    lambda: {"max_wait": 0},
    lambda: {"max_wait": None},
    lambda: {"retry": Retry(1)},
    lambda: {"hedge": Hedge(0.001)},
    lambda: {"idempotent": lambda *_, **__: True},
    lambda: {"idempotent": False},
    lambda: {"priority": -1.5},
    lambda: {"fallback": ...},
    lambda: {"fallback": object},
    lambda: {"fallback": NAN},
]


@pytest.mark.parametrize("good", GOOD)
def test_what_is_right_is_taken(good: Callable[[], dict[str, Any]]) -> None:
    """
    Each at the edge of what it may be, with a call that is none the worse for it.
    """
    for guard in (Guard("images", **good()), Guard("images").using(**good())):
        assert "" == guard.call(str)
        assert "" == guard(lambda: "")()
