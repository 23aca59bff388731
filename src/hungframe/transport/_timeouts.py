"""
A deadline that has passed in a client with a guard: what the guard raises and what the library raises, in one.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from hungframe.errors import CallTimeoutError


class DeadlineTimeout(CallTimeoutError):
    """
    A `CallTimeoutError` that is a timeout of the client's library, too: its SDKs know what that is.
    """

    # The library's own, which its constructor would have set.
    _request: Any = None

    @classmethod
    def of(cls, error: CallTimeoutError) -> DeadlineTimeout:
        """
        The same facts as *error*'s.
        """
        same = cls.__new__(cls)
        vars(same).update(vars(error))
        return same


def classes_of(library: ModuleType, module: str) -> dict[str | None, type[DeadlineTimeout]]:
    """
    Such a class for each phase; they can be pickled, being found in *module*.
    """
    named = {
        None: ("PoolDeadline", library.PoolTimeout),
        "connect": ("ConnectDeadline", library.ConnectTimeout),
        "write": ("WriteDeadline", library.WriteTimeout),
        "headers": ("ReadDeadline", library.ReadTimeout),
    }
    made: dict[str | None, type[DeadlineTimeout]] = {
        phase: type(name, (DeadlineTimeout, kind), {"__module__": module, "__doc__": DeadlineTimeout.__doc__})
        for phase, (name, kind) in named.items()
    }
    return {**made, "tls": made["connect"], "body": made["headers"]}
