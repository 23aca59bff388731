"""
Probe the provider in the background while the breaker is half-open, in a lane beside the users' calls.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hungframe._core.bucket import TokenBucket
from hungframe._core.probing import ProbeLane, checked_kind
from hungframe.abort.backend import in_trio
from hungframe.callees import body_of, is_stream
from hungframe.foreign import ForeignBudget
from hungframe.recovery.background import AsyncioTask, Background, Bell, LoopThread, TrioTask
from hungframe.recovery.probes import Probes

if TYPE_CHECKING:
    from hungframe.engine import Engine
    from hungframe.limits import Limits
    from hungframe.ports import Budget, Probe
    from hungframe.recovery.results import ProbeResult

_BUDGET = ("try_acquire", "give_back", "available", "retry_after", "pause")

# Seconds. A prober with nothing to do shows a sign of life as often as it
# probes, but not more often than this.
_LEAST_BEAT = 1.0

# However short the wait: a budget that refuses and names no wait must not spin.
_LEAST_WAIT = 0.01

# Beyond the grace, what a thread needs to come to its end.
_TO_STOP = 1.0


class Prober:
    """
    Find out that the provider is well again by requests of its own, so that no user's call has to.

    Give it to one guard, and enter it where the service runs: `async with
    prober:` on asyncio or trio, `with prober:` for a daemon thread. While it
    is entered, user calls are refused as long as the breaker is half-open,
    and probes close it. Left, or dead, it gives that back to user calls.

    Args:
        probe: A function without arguments, sync or async: a simple,
            deterministic request that raises where it failed.

        every: Least seconds between the starts of two probes, above 0. While
            the prober runs it takes the place of the breaker's `probe_every`.

        jitter: Share of *every* by which a probe comes later at most, in [0, 1].

        budget: A `Budget` port of its own; None: `TokenBucket(1, every)`.

        on_result: Called with the `ProbeResult` of each probe.

        random: Draws from [0, 1) for the jitter.

    Raises:
        TypeError: If an argument is of the wrong kind, or *probe* takes arguments.

        ValueError: If an argument is out of range.

    >>> from hungframe import Guard
    >>> prober = Prober(lambda: "a picture")
    >>> images = Guard("images", recovery=prober)
    >>> with prober:
    ...     images.call(str.upper, "a cat")
    'A CAT'
    """

    __slots__ = (
        "_background",
        "_beat_every",
        "_bell",
        "_budget",
        "_engine",
        "_grace",
        "_is_async",
        "_lane",
        "_on_result",
        "_probe",
        "_probes",
        "every",
    )

    def __init__(
        self,
        probe: Probe | Callable[[], object],
        every: float = 60.0,
        *,
        jitter: float = 0.1,
        budget: Budget | None = None,
        on_result: Callable[[ProbeResult], object] | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._is_async = _checked_probe(probe)
        self._probe = probe
        self._lane = ProbeLane(every, jitter, random)
        self.every = every
        if budget is None:
            budget = TokenBucket(capacity=1, refill_every=every)
        missing = [method for method in _BUDGET if not callable(getattr(budget, method, None))]
        if missing or isinstance(budget, type):
            raise TypeError(f"budget must be a TokenBucket, a Budget port or None, got {budget!r}")
        self._budget = budget
        taker: object = on_result
        if taker is not None and (not callable(taker) or inspect.iscoroutinefunction(taker)):
            raise TypeError(f"on_result must be a plain function of a ProbeResult, or None, got {on_result!r}")
        self._on_result = on_result
        if not callable(random):
            raise TypeError(f"random must be a function that draws from [0, 1), got {random!r}")
        self._beat_every = max(every, _LEAST_BEAT)
        self._engine: Engine | None = None
        self._probes: Probes | None = None
        self._grace = 0.0
        self._background: Background | None = None
        self._bell: Bell | None = None

    def __repr__(self) -> str:
        name = "" if self._engine is None else f" of {self._engine.name!r}"
        return f"<Prober{name}, every {self.every!r} s>"

    def _attach(self, engine: Engine, limits: Limits) -> None:
        """
        Belong to a guard.
        """
        if self._engine is not None:
            raise ValueError(
                f"recovery must be a prober of this guard alone, got that of guard {self._engine.name!r}; "
                "make a Prober for each guard"
            )
        self._engine = engine
        self._grace = limits.grace
        budget = self._budget
        if type(budget) is not TokenBucket:
            budget = ForeignBudget(budget, engine.faults)
        self._probes = Probes(
            engine, limits, self._lane, self._probe, self._is_async, budget, self._beat_every, self._on_result
        )
        engine.probe_lane = self._lane
        engine.want_probe = self._wake

    def _wake(self, kind: str) -> None:
        self._lane.kind = kind
        bell = self._bell
        if bell is not None:
            bell.ring()

    def schedule_probe(self, kind: str) -> None:
        """
        Have the provider probed as soon as that may be; the guard calls this when its breaker opens.

        Args:
            kind: Why: `timeout`, `burst` or `quota`.

        Raises:
            ValueError: If *kind* is none of these.

            RuntimeError: If it was given to no guard.
        """
        self._guarded()[0].schedule_probe(checked_kind(kind))

    def _guarded(self) -> tuple[Engine, Probes]:
        if self._engine is None or self._probes is None:
            raise RuntimeError("a prober probes for a guard; give it to one first: Guard(..., recovery=prober)")
        return self._engine, self._probes

    async def _serve(self, bell: Bell) -> None:
        engine, probes = self._guarded()
        while True:
            try:
                seconds = await probes.turn()
            except Exception:
                engine.faults.add("the prober")
                seconds = self._beat_every
            if bell.stopping:
                return
            await bell.wait(max(_LEAST_WAIT, min(seconds, self._beat_every)))

    # -- running ----------------------------------------------------------------

    def _start(self, make: Callable[[Callable[[Bell], Any]], Background]) -> None:
        _, probes = self._guarded()
        if self._background is not None:
            raise RuntimeError(f"{self!r} is running already; enter it once")
        probes.beat()
        try:
            self._background = make(self._serve)
        except BaseException:
            probes.leave()
            raise
        self._bell = self._background.bell

    def _stopped(self) -> None:
        self._background = self._bell = None
        self._guarded()[1].leave()

    def __enter__(self) -> Prober:
        self._start(LoopThread)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        background = self._background
        try:
            if isinstance(background, LoopThread):
                background.stop(self._grace + _TO_STOP)
        finally:
            self._stopped()

    async def __aenter__(self) -> Prober:
        self._start(TrioTask if in_trio() else AsyncioTask)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        background = self._background
        try:
            if isinstance(background, (AsyncioTask, TrioTask)):
                await background.stop()
        finally:
            self._stopped()


def _checked_probe(probe: Any) -> bool:
    """
    Tell whether *probe* is awaited.

    Raises:
        TypeError: If it is no function without arguments.
    """
    if inspect.iscoroutine(probe):
        probe.close()
        raise TypeError(f"probe must be a function without arguments, got {probe!r}, which can be awaited once only")
    given: object = probe
    if isinstance(given, type) or not callable(given):
        raise TypeError(f"probe must be a function without arguments, sync or async, got {probe!r}")
    body = body_of(probe)
    if is_stream(body):
        raise TypeError(f"probe must make one request, got the generator function {probe!r}")
    try:
        inspect.signature(probe).bind()
    except TypeError:
        raise TypeError(
            f"probe must be a function without arguments, got {probe!r}; `functools.partial` gives it some"
        ) from None
    except ValueError:
        # A builtin that has no signature.
        pass
    return inspect.iscoroutinefunction(body)
