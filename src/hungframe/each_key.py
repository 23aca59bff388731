"""
The settings of a guard set: those that all its guards share, and those that are made for each key.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from typing_extensions import TypedDict

from hungframe import flag
from hungframe._core.budgets import Unlimited
from hungframe._core.bulkhead import Bulkhead
from hungframe._core.cost import Asks, Used
from hungframe._core.hedge import Hedge
from hungframe._core.retry import Retry
from hungframe.around import Idempotent
from hungframe.guard import Guard
from hungframe.ports import Breaker, Budget, Classifier, Clock, EventSink, RecoveryPort, TimeoutPolicy
from hungframe.settings import Isolate, OnEmpty

BreakerFactory = Callable[[], Breaker | None] | Callable[[Any], Breaker | None]
BudgetFactory = Callable[[], Budget | None] | Callable[[Any], Budget | None]
TimeoutFactory = Callable[[], TimeoutPolicy | float | None] | Callable[[Any], TimeoutPolicy | float | None]
RecoveryFactory = Callable[[], RecoveryPort | None] | Callable[[Any], RecoveryPort | None]


class GuardSettings(TypedDict, total=False):
    """
    What may be said of every guard in a set; what is left out is as `Guard` has it.
    """

    breaker: BreakerFactory | None
    budget: Budget | BudgetFactory | Sequence[Budget | BudgetFactory] | None
    cost: Asks
    used: Used | None
    timeout: TimeoutFactory | float | None
    grace: float
    max_orphans: int
    isolate: Isolate
    on_empty: OnEmpty
    max_wait: float | None
    total_timeout: float | None
    first_item: float | None
    between_items: float | None
    retry: Retry | Callable[..., Retry | None] | None
    hedge: Hedge | Callable[..., Hedge | None] | None
    bulkhead: Bulkhead | int | Callable[..., Bulkhead | int | None] | None
    fallback: Any
    idempotent: Idempotent
    priority: float
    classify: Classifier | None
    sinks: Sequence[EventSink]
    enabled: flag.Enabled
    recovery: RecoveryFactory | None
    clock: Clock | None


# Settings that may be made for each key. What else is callable is called by
# the guard, and not by us: a classifier, a switch, a fallback.
_MADE = ("breaker", "budget", "timeout", "bulkhead", "retry", "hedge", "recovery")

# What one of these learns is true of one key only.
_NEVER_SHARED = {
    "breaker": "CircuitBreaker(...)",
    "timeout": "AdaptiveTimeout(...)",
    "recovery": "Prober(...)",
}

# For what other settings are checked against: a grace must be no longer than
# the timeout, and a cost needs a budget.
_STAND_INS: Mapping[str, Any] = {"timeout": None, "budget": Unlimited()}

_MAKES = Callable[[Hashable], object]


class EachKey:
    """
    Make the guard of a key.

    Args:
        name: Of the set; the guard of the key "eu" is called "name[eu]".

        settings: As for `Guard`. A policy may be a factory, which is called for
            each key, with the key if it takes an argument.

    Raises:
        TypeError: If there is no such setting, one is of the wrong kind, or one object would stand for every key.

        ValueError: If a setting is out of range.
    """

    __slots__ = ("_factories", "_name", "_settings", "shared")

    def __init__(self, name: str, settings: Mapping[str, object]) -> None:
        self._name = name
        self._settings: dict[str, Any] = {}
        self._factories: dict[str, Callable[[Hashable], object]] = {}
        self.shared: tuple[object, ...] = ()
        for setting, value in settings.items():
            makes = _factory_of(setting, value)
            if makes is None:
                self._settings[setting] = value
            else:
                self._factories[setting] = makes
        budget = settings.get("budget")
        parts = tuple(budget) if isinstance(budget, Sequence) else (budget,)
        self.shared = tuple(each for each in parts if each is not None and not _is_factory(each))

    def make(self, key: Hashable) -> Guard:
        """
        Make the guard of *key*.

        Raises:
            Exception: What a factory raises, and what `Guard` raises if the factory's policy will not do.
        """
        made: dict[str, Any] = {setting: makes(key) for setting, makes in self._factories.items()}
        return Guard(f"{self._name}[{key}]", **self._settings, **made)

    def sample(self) -> Guard:
        """
        Make a guard without what is made for each key: it refuses the settings that are wrong for every key.
        """
        stand_ins: dict[str, Any] = {
            setting: _STAND_INS[setting] for setting in self._factories if setting in _STAND_INS
        }
        return Guard(self._name, **self._settings, **stand_ins)


# An object with one of these is a policy, whether or not it can be called.
_VERBS = ("acquire", "try_acquire", "current", "schedule_probe")


def _factory_of(setting: str, value: Any) -> _MAKES | None:
    """
    The function of the key that makes a setting; None where the value stands for every key.
    """
    if setting not in _MADE or value is None:
        return None
    if isinstance(value, Sequence) and not isinstance(value, str):
        parts = tuple(value)
        if not any(map(_is_factory, parts)):
            return None
        made = [_by_key(each) if _is_factory(each) else None for each in parts]
        return lambda key: [part if makes is None else makes(key) for part, makes in zip(parts, made, strict=True)]
    if _is_factory(value):
        return _by_key(value)
    if setting in _NEVER_SHARED and not isinstance(value, (int, float, str)):
        example = _NEVER_SHARED[setting]
        raise TypeError(
            f"{setting} must be made for each key, since what it learns is true of one: "
            f"{setting}=lambda: {example}; got {value!r}, which all keys would share"
        )
    return None


def _is_factory(value: object) -> TypeGuard[Callable[..., object]]:
    # A class is one, too: it makes its object with the defaults.
    return callable(value) and (isinstance(value, type) or not any(hasattr(value, verb) for verb in _VERBS))


def _by_key(factory: Callable[..., object]) -> _MAKES:
    """
    Make *factory* a function of the key, whether or not it asks for it.
    """
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        # Written in C; it tells nothing of its arguments.
        return lambda key: factory()
    try:
        signature.bind()
    except TypeError:
        return factory
    return lambda key: factory()


def several(keys: Any) -> list[Hashable]:
    """
    Read the keys to choose among, each once.

    Raises:
        TypeError: If they are no keys, or one string, which is one key.

        ValueError: If there is none.
    """
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
        raise TypeError(f"keys must be several keys, got {keys!r}; one key leaves no choice")
    read = list(dict.fromkeys(keys))
    if not read:
        raise ValueError(f"keys must name at least one key, got {keys!r}")
    return read
