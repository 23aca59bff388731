"""
What is wrong with a guard set is refused where it is given, with what would do.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from hungframe import AdaptiveTimeout, CircuitBreaker, Guard, GuardSet, TokenBucket
from hungframe.each_key import GuardSettings

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("setting", "value", "error", "text"),
    [
        ("max_guards", 0, ValueError, "max_guards must be at least 1, got 0"),
        ("max_guards", -1, ValueError, "max_guards must be at least 1, got -1"),
        ("max_guards", 2.5, TypeError, "max_guards must be a whole number, got 2.5"),
        ("max_guards", True, TypeError, "max_guards must be a whole number, got True"),
        ("max_guards", None, TypeError, "max_guards must be a whole number, got None"),
        ("explore_every", 0, ValueError, "explore_every must be above 0"),
        ("explore_every", NAN, ValueError, "explore_every must be above 0"),
        ("explore_every", INF, ValueError, "explore_every must be above 0 and finite"),
        ("explore_every", "60", TypeError, "explore_every must be a number"),
        ("panic_threshold", 1.5, ValueError, "panic_threshold must be in"),
        ("panic_threshold", -0.1, ValueError, "panic_threshold must be in"),
        ("panic_threshold", NAN, ValueError, "panic_threshold must be in"),
        ("panic_threshold", True, TypeError, "panic_threshold must be a number"),
        ("key", "region", TypeError, "key must be a function of the call's arguments, got 'region'"),
        ("random", 0.5, TypeError, r"random must be a function that gives numbers in \[0, 1\), got 0.5"),
        ("timeuot", 5, TypeError, "timeuot"),
        ("timeout", -1, ValueError, "timeout must be above 0"),
        ("timeout", "5", TypeError, "timeout must be a number"),
        ("grace", NAN, ValueError, "grace"),
        ("isolate", "fork", ValueError, "isolate must be"),
        ("sinks", print, TypeError, "sinks must be a sequence"),
        ("breaker", 5, TypeError, "breaker must be a CircuitBreaker"),
        ("budget", 5, TypeError, "budget must be a TokenBucket"),
    ],
)
def test_settings_out_of_range(setting: str, value: Any, error: type[Exception], text: str) -> None:
    """
    At once, also those that are passed on to every guard.
    """
    with pytest.raises(error, match=text):
        GuardSet("images", **{setting: value})


@pytest.mark.parametrize("name", ["", "  "])
def test_a_set_has_a_name(name: str) -> None:
    """
    Its guards are named by it.
    """
    with pytest.raises(ValueError, match="name must not be empty"):
        GuardSet(name)


@pytest.mark.parametrize(
    ("setting", "value", "instead"),
    [
        ("breaker", CircuitBreaker(), r"breaker=lambda: CircuitBreaker\(...\)"),
        ("timeout", AdaptiveTimeout(), r"timeout=lambda: AdaptiveTimeout\(...\)"),
        ("timeout", AdaptiveTimeout.per(lambda model: model), r"timeout=lambda: AdaptiveTimeout\(...\)"),
    ],
)
def test_one_object_cannot_learn_of_every_key(setting: str, value: Any, instead: str) -> None:
    """
    The error says what to write.
    """
    with pytest.raises(TypeError, match=f"{setting} must be made for each key.*{instead}.*all keys would share"):
        GuardSet("images", **{setting: value})


def test_a_factory_that_makes_nonsense_is_told_of_by_the_guard() -> None:
    """
    With its first key; another attempt tells it again.
    """

    def wrong() -> Any:
        return "5"

    guards = GuardSet("images", timeout=wrong)

    for _ in range(2):
        with pytest.raises(TypeError, match="timeout must be a number, got '5'"):
            guards["eu"]
    assert [] == list(guards)


def test_what_a_factory_raises_is_the_callers() -> None:
    """
    And nothing is kept of it.
    """
    guards = GuardSet("images", timeout=lambda key: {"eu": 5.0}[key])

    with pytest.raises(KeyError, match="us"):
        guards["us"]
    assert ["images[eu]"] == [guards["eu"].name]
    assert ["eu"] == list(guards)


def test_grace_is_held_to_the_timeout_of_each_key() -> None:
    """
    A grace that is too long for the default is fine where the factory gives more, and refused where it gives less.
    """
    guards = GuardSet("images", timeout=lambda key: {"eu": 300.0, "us": 10.0}[key], grace=100)

    assert 300 == guards["eu"].snapshot().timeout
    with pytest.raises(ValueError, match="grace must be at most the timeout"):
        guards["us"]


def test_a_key_that_cannot_be_hashed() -> None:
    """
    Told with the set's name, whoever gives it.
    """
    guards = GuardSet("images", key=lambda prompt: [prompt])  # type: ignore[arg-type,return-value]  # What is refused.

    with pytest.raises(TypeError, match=r"guard set 'images': a key must be hashable, got \['eu'\]"):
        guards[["eu"]]  # type: ignore[index]  # What is refused.
    with pytest.raises(TypeError, match="a key must be hashable"):
        guards.call(str, "eu")
    with pytest.raises(TypeError, match="hashable"):
        guards.choose([["eu"]])  # type: ignore[type-var]  # What is refused.


def test_calls_need_a_key_function() -> None:
    """
    Without one a set is asked by hand.
    """
    guards = GuardSet("images")

    with pytest.raises(TypeError, match=r"cannot tell the key of a call; give it key=.*guards\[key\]"):
        guards(str)
    with pytest.raises(TypeError, match="cannot tell the key"):
        guards.call(str)
    assert "5" == guards["eu"].call(str, 5)


@pytest.mark.parametrize(("callee", "text"), [(5, "cannot be called"), (GuardSet, "decorates functions and methods")])
def test_what_no_guard_would_take(callee: Any, text: str) -> None:
    """
    Is refused when it is decorated.
    """
    with pytest.raises(TypeError, match=text):
        GuardSet("images", key=lambda: 1)(callee)


def test_an_async_generator_and_a_thread() -> None:
    """
    Likewise: the settings of all guards are known.
    """

    async def numbers() -> Any:
        yield 1

    with pytest.raises(TypeError, match="takes no async generator function"):
        GuardSet("images", key=lambda: 1, isolate="thread")(numbers)


@pytest.mark.parametrize(
    ("keys", "error", "text"),
    [
        ("eu", TypeError, "keys must be several keys, got 'eu'; one key leaves no choice"),
        (5, TypeError, "keys must be several keys, got 5"),
        ([], ValueError, "keys must name at least one key"),
        (iter(()), ValueError, "keys must name at least one key"),
    ],
)
def test_keys_to_choose_among(keys: Any, error: type[Exception], text: str) -> None:
    """
    One string would be its letters.
    """
    with pytest.raises(error, match=text):
        GuardSet("images").choose(keys)


def test_no_keys_known_yet() -> None:
    """
    There is nothing to choose among.
    """
    with pytest.raises(ValueError, match="knows no key yet"):
        GuardSet("images").choose()


def test_a_callable_budget_is_a_budget() -> None:
    """
    What has a policy's methods is a policy, whether or not it can be called.
    """

    class Callable(TokenBucket):
        def __call__(self) -> None:
            raise AssertionError

    budget = Callable(capacity=1, refill_every=1e6)
    guards = GuardSet("images", budget=budget)
    guards["eu"].acquire().settle("success")
    assert 0 == guards["us"].snapshot().budget


def test_every_setting_of_a_guard_is_one_of_a_set() -> None:
    """
    Also to a type checker, which reads them off `GuardSettings`.
    """
    guards = set(inspect.signature(Guard).parameters) - {"name"}

    assert guards == set(GuardSettings.__annotations__)
