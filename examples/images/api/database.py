"""
What the API asks of its ports, which stand for a database: it is back in time, whatever the database does.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from typing_extensions import ParamSpec

from examples.images.api.problems import ProblemError
from hungframe import CallRejectedError, Guard

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_RETRY_AFTER = 5


class Database:
    """
    Call ports, and make what fails there a 503.

    Args:
        patience: Seconds that one call may take. A driver that is cancelled may wait for its server again, to cancel
            there, too: so that it is a guard that ends the call, and not a timeout alone.
    """

    def __init__(self, patience: float = 5.0) -> None:
        # No breaker: a pool that is empty refuses by itself, and each call may be the one that finds the server back.
        self._guard = Guard("images-api", breaker=None, budget=None, timeout=patience)

    async def ask(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Await `call(*args, **kwargs)`.

        Raises:
            ProblemError: If it fails or takes too long: 503, with Retry-After, and not a word of what the error says.
        """
        retry_after: float | None = None
        try:
            return await self._guard.acall(call, *args, **kwargs)
        except Exception as error:
            _log.error("%s failed, and is answered with 503: %s", _name(call), _said(error))
            if isinstance(error, CallRejectedError):
                retry_after = error.retry_after
        raise ProblemError(
            503,
            "the database is away; send the request again in a few seconds",
            kind="unavailable",
            headers={"Retry-After": str(math.ceil(retry_after or _RETRY_AFTER))},
        )


def _name(call: Callable[..., Any]) -> str:
    return getattr(call, "__qualname__", repr(call))


def _said(error: Exception) -> str:
    """
    Tell an error in one line without what it was about: the lines below a database's first one quote rows, prompts
    among them.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = f" (at {frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    first = str(error).partition("\n")[0][:300]
    return f"{type(error).__name__}: {first}{where}"
