"""
How the watched guards stand, as gauges.

Guards of one name are one: what can be added up is, and of times the longest is shown, as it
is done between processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import Gauge

from hungframe._core.states import BreakerState
from hungframe.snapshot import Snapshot
from hungframe.telemetry._families import Families, legible

STATES = tuple(state.value for state in BreakerState)


class Standing:
    """
    Set the gauges, and take back those of guards that are gone.
    """

    def __init__(self, families: Families, multiprocess: bool) -> None:
        self._families = families
        self._multiprocess = multiprocess
        self._shown: dict[Gauge, set[tuple[str, ...]]] = {}

    def show(self, snapshots: Iterable[Snapshot], heard: Iterable[tuple[str, str]]) -> None:
        """
        Show *snapshots*, and the states of the guards that are only heard of: pairs of name and state.
        """
        by_name: dict[str, list[Snapshot]] = {}
        for snapshot in snapshots:
            by_name.setdefault(snapshot.name, []).append(snapshot)
        values: dict[Gauge, dict[tuple[str, ...], float]] = {}
        for name, alike in by_name.items():
            for gauge, value in self._read(alike).items():
                if value is not None:
                    values.setdefault(gauge, {})[(name,)] = value
        states = values.setdefault(self._families.state, {})
        for name, alike in by_name.items():
            for state in STATES:
                states[name, state] = sum(snapshot.state == state for snapshot in alike)
        for name, heard_state in heard:
            if name not in by_name:
                for state in STATES:
                    states[name, state] = float(state == heard_state)
        self._set(values)

    def _read(self, alike: Sequence[Snapshot]) -> dict[Gauge, float | None]:
        of = self._families
        return {
            of.timeout: _largest(snapshot.timeout for snapshot in alike),
            of.p95: _largest(snapshot.p95 for snapshot in alike),
            of.budget: _sum(snapshot.budget for snapshot in alike),
            of.slots: _sum(snapshot.slots for snapshot in alike),
            of.in_flight: sum(snapshot.in_flight for snapshot in alike),
            of.waiting: sum(snapshot.waiting for snapshot in alike),
            of.suspects: sum(snapshot.suspects for snapshot in alike),
            of.orphans: sum(snapshot.orphans for snapshot in alike),
        }

    def _set(self, values: dict[Gauge, dict[tuple[str, ...], float]]) -> None:
        for gauge in {*values, *self._shown}:
            by_labels = {tuple(map(legible, labels)): value for labels, value in values.get(gauge, {}).items()}
            for labels, value in by_labels.items():
                gauge.labels(*labels).set(value)
            for gone in self._shown.get(gauge, set()) - by_labels.keys():
                # The files of several processes know no removal.
                if self._multiprocess:
                    gauge.labels(*gone).set(0)
                else:
                    gauge.remove(*gone)
            self._shown[gauge] = set(by_labels)


def _largest(numbers: Iterable[float | None]) -> float | None:
    return max((number for number in numbers if number is not None), default=None)


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
