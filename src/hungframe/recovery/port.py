"""
The recovery port of a guard, and what may be given to a guard as one.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from hungframe._core.no_breaker import NoBreaker
from hungframe._core.probing import checked_kind
from hungframe.recovery.prober import Prober

if TYPE_CHECKING:
    from hungframe.engine import Engine
    from hungframe.limits import Limits


class Recovery:
    """
    The recovery port of a guard.
    """

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def schedule_probe(self, kind: str) -> None:
        """
        Have the provider probed: by the guard's prober or recovery port, or else by the next call that is let through.

        Args:
            kind: Why: `timeout`, `burst` or `quota`.

        Raises:
            ValueError: If *kind* is none of these.
        """
        self._engine.schedule_probe(checked_kind(kind))


def attach(recovery: object, engine: Engine, limits: Limits) -> None:
    """
    Give a guard who recovers it: a `Prober`, or a port of the user's own.

    Raises:
        TypeError: If *recovery* is neither.

        ValueError: If there is nothing to recover, or it is the prober of another guard.
    """
    if isinstance(engine.breaker, NoBreaker):
        raise ValueError(f"recovery must be None where breaker is None, got {recovery!r}: nothing opens, or recovers")
    if isinstance(recovery, Prober):
        recovery._attach(engine, limits)  # pyright: ignore[reportPrivateUsage]
        return
    schedule: Any = getattr(recovery, "schedule_probe", None)
    if isinstance(recovery, type):
        raise TypeError(
            f"recovery must be a Prober, a RecoveryPort or None, got the class {recovery!r}; make one of it"
        )
    if not callable(schedule):
        raise TypeError(f"recovery must be a Prober, a RecoveryPort or None, got {recovery!r}, without schedule_probe")
    if inspect.iscoroutinefunction(schedule):
        raise TypeError(f"schedule_probe must be a plain function, got {schedule!r}; start a task in it")
    engine.want_probe = schedule
