"""
Count the events of guards for Prometheus, and show how the guards stand.

    sink = PrometheusSink()
    guard = Guard("images", sinks=[sink])
    sink.watch(guard)
"""

from __future__ import annotations

import itertools
import math
import re
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import cast

from hungframe._core import check
from hungframe.clock import SYSTEM_CLOCK
from hungframe.events import Event, QueueDeadletter
from hungframe.guard import Guard
from hungframe.guard_set import GuardSet
from hungframe.ports import Clock

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Metric
except ImportError as error:
    raise ImportError(
        "hungframe.telemetry.prometheus needs prometheus-client: pip install 'hungframe[prometheus]'"
    ) from error

from hungframe.telemetry._families import BUCKETS, Families, is_multiprocess
from hungframe.telemetry._refresher import Refresher
from hungframe.telemetry._series import COUNTING, OTHER, TURNING, AllSeries
from hungframe.telemetry._standing import Standing
from hungframe.telemetry._watched import Drops, Watched

__all__ = ["BUCKETS", "PrometheusSink"]

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

# The sinks of this process that write to files, by namespace.
_writing: weakref.WeakValueDictionary[str, PrometheusSink] = weakref.WeakValueDictionary()


class PrometheusSink:
    """
    A sink, and a collector of *registry*: one for all guards of a process.

    The series are few whatever the guards are called: no ids, known labels, and no more than *max_guards* names.
    Where `PROMETHEUS_MULTIPROC_DIR` is set it works across processes, as described in docs/reference/prometheus.md.

    Args:
        registry: A `prometheus_client.CollectorRegistry`, its `REGISTRY` by default.

        namespace: What the names begin with: letters, digits and `_`.

        max_guards: So many guards have series of their own; further ones are counted as "other".

        buckets: Upper bounds of the histogram of durations, in seconds, ascending.

        refresh_every: Seconds between two looks at the guards where several processes write (in one process they
            are looked at when the registry is read).

        clock: Measures how long a breaker is open.

    Raises:
        ValueError: If a setting is out of range, or *registry* has metrics of these names already.

        TypeError: If a setting is of another type.

    >>> from prometheus_client import CollectorRegistry
    >>> registry = CollectorRegistry()
    >>> sink = PrometheusSink(registry)
    >>> guard = Guard("images", sinks=[sink], timeout=20)
    >>> _ = sink.watch(guard)
    >>> guard.call(str.upper, "done")
    'DONE'
    >>> registry.get_sample_value("hungframe_results_total", {"guard": "images", "outcome": "success"})
    1.0
    >>> registry.get_sample_value("hungframe_timeout_seconds", {"guard": "images"})
    20.0

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        namespace: str = "hungframe",
        *,
        max_guards: int = 100,
        buckets: Sequence[float] = BUCKETS,
        refresh_every: float = 5.0,
        clock: Clock | None = None,
    ) -> None:
        if not _NAME.fullmatch(namespace):
            raise ValueError(f"namespace must be letters, digits and '_', such as 'hungframe', got {namespace!r}")
        # Its methods are attributes, which a type checker does not take for methods.
        self._clock = cast("Clock", SYSTEM_CLOCK) if clock is None else clock
        self._families = Families(namespace, _ascending(buckets))
        self._all = AllSeries(self._families, check.whole("max_guards", max_guards, at_least=1))
        self._watched = Watched()
        self._is_multiprocess = is_multiprocess()
        self._standing = Standing(self._families, self._is_multiprocess)
        # Reentrant, because a snapshot may find that the breaker has changed, which is told to us.
        self._lock = threading.RLock()
        self._refresher = Refresher(self, check.number("refresh_every", refresh_every, above=0))
        self._registry = REGISTRY if registry is None else _registry(registry)
        self._namespace = namespace
        self._register(namespace)

    def __repr__(self) -> str:
        return f"PrometheusSink({len(self._all.by_guard)} guards)"

    # -- a sink ---------------------------------------------------------------

    def __call__(self, event: Event, /) -> None:
        """
        Count one event.
        """
        if isinstance(event, QueueDeadletter):
            with self._lock:
                self._all.dead_letter(event.guard, event.reason).inc()
            return
        count = COUNTING.get(type(event))
        if count is None:
            return
        series = self._all.by_guard.get(event.guard)
        if series is None:
            with self._lock:
                series = self._all.of(event.guard)
        if type(event) in TURNING:
            with self._lock:
                count(series, event, self._clock.now())
        else:
            count(series, event, 0.0)
        if self._is_multiprocess:
            self._refresher.start()

    # -- what no event tells ----------------------------------------------------

    def watch(self, *watched: Guard | GuardSet | Drops) -> PrometheusSink:
        """
        Show how these stand, for as long as they exist: guards, guard sets, and queues of events that count what
        they drop (`hungframe.telemetry.QueuedSink`).

        A guard whose counters are to begin at 0 is watched before its first call. One that was decorated with and
        not kept is gone at once; give it a name.

        Raises:
            TypeError: If one is none of these.
        """
        for one in watched:
            if isinstance(one, (Guard, GuardSet)):
                self._watched.add(one)
                if isinstance(one, Guard):
                    with self._lock:
                        self._all.of(one.name)
            elif isinstance(getattr(one, "dropped", None), int):
                self._watched.add_queue(one)
            else:
                raise TypeError(f"watch() takes guards, guard sets and sinks that count what they drop, got {one!r}")
        return self

    def refresh(self) -> None:
        """
        Bring up to date what is not told by events. It is done when the registry is read, and every so often where
        several processes write.
        """
        # Taken without our lock: a snapshot takes the guard's.
        snapshots = self._watched.snapshots()
        now = self._clock.now()
        with self._lock:
            shown = [snapshot for snapshot in snapshots if self._all.of(snapshot.name).guard != OTHER]
            seen: dict[str, set[str]] = {}
            for snapshot in shown:
                seen.setdefault(snapshot.name, set()).add(snapshot.state)
            heard: list[tuple[str, str]] = []
            for name, series in self._all.by_guard.items():
                if series.openness is not None:
                    states, openness = seen.get(name), series.openness
                    series.open.inc(openness.take(now) if states is None else openness.correct(states, now))
                    heard.append((name, openness.state(now)))
            self._standing.show(shown, heard)
            for name, faults in self._watched.new_faults(snapshots):
                self._families.faults.labels(self._all.of(name).guard).inc(faults)
            self._families.dropped.inc(self._watched.newly_dropped())

    # -- a collector -------------------------------------------------------------

    def describe(self) -> Iterator[Metric]:
        """
        Tell the registry which names are taken.
        """
        for family in self._families:
            yield from family.describe()

    def collect(self) -> Iterator[Metric]:
        """
        Hand out all metrics, brought up to date. Where several processes write: none, because
        `prometheus_client.multiprocess.MultiProcessCollector` reads them all.
        """
        self.refresh()
        if not self._is_multiprocess:
            for family in self._families:
                yield from family.collect()

    def close(self) -> None:
        """
        Leave the registry, and look at no guard any more; events are counted still.
        """
        self._refresher.stop()
        if _writing.get(self._namespace) is self:
            del _writing[self._namespace]
        try:
            self._registry.unregister(self)
        except KeyError:
            # Closed before.
            pass

    def _register(self, namespace: str) -> None:
        if self._is_multiprocess and namespace in _writing:
            # Each keeps what it has counted in memory, and would write it over what the other has.
            raise ValueError(
                f"another PrometheusSink of this process has the namespace {namespace!r}, and in multiprocess mode "
                "both write to the same files: give one to all guards, or close it first"
            )
        try:
            self._registry.register(self)
        except ValueError as error:
            raise ValueError(
                f"the registry has metrics named {namespace}_... already: give one PrometheusSink to all guards, "
                "or this one another registry or another namespace"
            ) from error
        _writing[namespace] = self

    def after_fork(self) -> None:
        """
        Go on in a forked child, where what was counted until now is the parent's.
        """
        self._lock = threading.RLock()
        now = self._clock.now()
        for series in self._all.by_guard.values():
            if series.openness is not None:
                series.openness.forget(now)


def _registry(registry: CollectorRegistry) -> CollectorRegistry:
    if not callable(getattr(registry, "register", None)):
        raise TypeError(
            f"registry must be a prometheus_client.CollectorRegistry or None, got {registry!r}; "
            "what the metrics' names begin with is namespace="
        )
    return registry


def _ascending(buckets: Sequence[float]) -> Sequence[float]:
    bounds = [check.number("buckets", bound, finite=False) for bound in buckets]
    if bounds in ([], [math.inf]) or any(one >= following for one, following in itertools.pairwise(bounds)):
        raise ValueError(f"buckets must be seconds, at least one, each above the one before, got {buckets!r}")
    return bounds
