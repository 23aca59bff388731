"""
Run many cells in a few processes.

A process is forked for each client, so that what one does to its process (orphans, hung threads, gigabytes of an
endless body) ends with it, and nothing is imported twice. Cells with hungframe run one after the other there, because
their lateness is measured; stock ones, which mostly wait to be cut off, all at once.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import Any, Final, cast

from benchmarks.clients.cell import CUT_OFF, Record, run_cell
from benchmarks.clients.situations import SITUATIONS, Situation
from benchmarks.clients.subjects import Subject

# Stock cells wait, mostly to be cut off; those whose lateness is measured must have a core to be late on.
_AT_ONCE: Final = {False: 6, True: 4}
# An endless body keeps a core busy at each end: two of them at once would measure each other.
_ALONE: Final = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn").Lock()
# Longer than any cell of a batch may take, several times over.
_PATIENCE: Final = 30.0


@dataclass(frozen=True)
class Batch:
    """
    Hold the cells of one process.
    """

    subject: Subject
    guarded: bool
    deadline: float
    repeat: int
    situations: tuple[Situation, ...] = tuple(SITUATIONS.values())

    @property
    def weight(self) -> float:
        """About how long it takes, so that the longest can begin first."""
        hanging = sum(situation.hangs for situation in self.situations)
        if not self.guarded:
            return CUT_OFF + hanging * 0.1
        return hanging * self.repeat * (self.deadline + (0.0 if self.subject.guards_sockets else 1.3))


def run_all(batches: Sequence[Batch], on_done: Callable[[Batch], None]) -> Iterator[Record]:
    """
    Run *batches*, a few at once, the stock ones first, and give what they showed as it comes.
    """
    _import_all(batches)
    # Else each child touches, and so copies, all that was imported.
    gc.collect()
    gc.freeze()
    for guarded, at_once in _AT_ONCE.items():
        left = sorted((batch for batch in batches if batch.guarded is guarded), key=lambda batch: batch.weight)
        yield from _run_some(left, at_once, on_done)


def _run_some(left: list[Batch], at_once: int, on_done: Callable[[Batch], None]) -> Iterator[Record]:
    fork = multiprocessing.get_context("fork")
    running: dict[Connection, tuple[Any, Batch, float]] = {}
    while left or running:
        while left and len(running) < at_once:
            batch = left.pop()
            ours, theirs = fork.Pipe(duplex=False)
            process = fork.Process(target=_run, args=(batch, theirs))
            process.start()
            theirs.close()
            running[ours] = process, batch, monotonic() + _PATIENCE + 4 * batch.weight
        for ours in cast("list[Connection]", wait(list(running), timeout=0.5)):
            record = _received(ours)
            if record is not None:
                yield record
                continue
            process, batch, _ = running.pop(ours)
            process.join()
            on_done(batch)
        for process, _, until in running.values():
            if monotonic() > until:
                process.kill()  # its pipe then ends, and what it did not tell is missing


def _received(ours: Connection) -> Record | None:
    try:
        record: Record = ours.recv()
    except EOFError:
        ours.close()
        return None
    return record


def _import_all(batches: Sequence[Batch]) -> None:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in {name for batch in batches for name in (batch.subject.needs, batch.subject.library)}:
            import_module(name)


def _run(batch: Batch, theirs: Connection) -> None:
    warnings.simplefilter("ignore")
    try:
        for record in _guarded(batch) if batch.guarded else _stock(batch):
            theirs.send(record)
    finally:
        theirs.close()
        # Hung threads are not to be waited for.
        os._exit(0)


def _guarded(batch: Batch) -> Iterator[Record]:
    for situation in batch.situations:
        yield _told(batch, situation)


def _stock(batch: Batch) -> Iterator[Record]:
    # Last, and alone, what fills the memory for as long as the process lives.
    endless = [situation for situation in batch.situations if situation.mode == "endless-body"]
    others = [situation for situation in batch.situations if situation not in endless]
    with ThreadPoolExecutor(len(others) + 1) as pool:
        yield from pool.map(lambda situation: _told(batch, situation), others)
    yield from (_told(batch, situation) for situation in endless)


def _told(batch: Batch, situation: Situation) -> Record:
    if situation.mode == "endless-body":
        with _ALONE:
            return _run_one(batch, situation)
    return _run_one(batch, situation)


def _run_one(batch: Batch, situation: Situation) -> Record:
    try:
        return run_cell(batch.subject, situation, guarded=batch.guarded, deadline=batch.deadline, repeat=batch.repeat)
    except Exception as error:
        broken = f"{type(error).__name__}: {error}"[:200]
        return Record(
            client=batch.subject.name,
            backend=batch.subject.backend,
            situation=situation.name,
            guarded=batch.guarded,
            guards_sockets=batch.subject.guards_sockets,
            deadline=batch.deadline,
            expected=batch.subject.expects(situation.outcome),
            expected_phase=situation.phase,
            broken=broken,
        )
