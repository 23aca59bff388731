"""
What is put around the attempts of a call, as settings: it is hedged, tried again, and falls back.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hungframe.callees import body_of

if TYPE_CHECKING:
    from hungframe._core.hedge import Hedge
    from hungframe._core.retry import Retry
    from hungframe.engine import Engine

# Whether the work may be done twice: always, never, or as the call's arguments say.
Idempotent = bool | Callable[..., bool]


class Around:
    """
    The policies around an attempt.

    Args:
        retry: Tries again what has failed; None: one attempt.

        hedge: Sends another attempt beside one that takes long; None: none.

        fallback: What the caller gets when a call has failed for good: a
            value, or a function of the error; None: the error is raised.

        idempotent: Whether the work may be done twice, or a function of the
            call's arguments that tells. None where nobody has said: then what
            is called is taken to be, and a client asks its requests.
    """

    __slots__ = ("fallback", "fallback_is_async", "hedge", "idempotent", "retry")

    def __init__(
        self,
        retry: Retry | None = None,
        hedge: Hedge | None = None,
        fallback: Any = None,
        idempotent: Idempotent | None = None,
    ) -> None:
        self.retry = retry
        self.hedge = hedge
        self.fallback = fallback
        # Only who awaits its answer can have that of a coroutine function.
        self.fallback_is_async = is_async(fallback)
        self.idempotent = idempotent

    @property
    def needs_p95(self) -> bool:
        """
        Whether it must be known how long a call takes, for a hedge to be sent after that.
        """
        return self.hedge is not None and self.hedge.delay(None) is None

    def called(self, engine: Engine, now: float) -> str | None:
        """
        Count a call, of which only a share may be tried again.

        Returns:
            What names it in the events of its attempts; None where nobody listens.
        """
        retry = self.retry
        if retry is not None and retry.retry_budget is not None:
            lock = engine.lock
            lock.acquire()
            try:
                retry.called(now)
            finally:
                lock.release()
        return engine.teller.begin_attempts() if engine.sinks else None

    def may_repeat(self, engine: Engine, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """
        Tell whether the work may be done twice.
        """
        idempotent = self.idempotent
        if idempotent is None:
            return True
        if not callable(idempotent):
            return idempotent
        # Who cannot say that it may has not allowed it.
        return engine.faults.attempt("idempotent()", False, _tells, idempotent, args, kwargs)


def is_async(fn: object) -> bool:
    """
    Tell whether *fn* is a coroutine function, or an object that is called like one.
    """
    return callable(fn) and inspect.iscoroutinefunction(body_of(fn))


def _tells(idempotent: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    answer = idempotent(*args, **kwargs)
    if inspect.iscoroutine(answer):
        # True as any object is, and has told nothing.
        answer.close()
        raise TypeError("idempotent must tell at once, and returned a coroutine")
    return bool(answer)
