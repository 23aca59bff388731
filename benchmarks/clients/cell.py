"""
One cell of the matrix: one client, in one situation, with hungframe or without.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from importlib import import_module
from time import monotonic
from typing import Any, Final

import anyio.to_thread

from benchmarks.clients.situations import Situation
from benchmarks.clients.subjects import PLENTY, Made, Subject, Wanted
from hungframe import CallTimeoutError, Guard
from hungframe.testing import HostileProvider

CLOSED_WITHIN: Final = 1.0
"""Seconds for the provider to see that the socket is closed."""

ON_TIME: Final = 50.0
"""Milliseconds after the deadline within which a caller should be back."""

GRACE: Final = 0.25
"""Seconds that a guard gives a callee after the deadline before it abandons it."""

CUT_OFF: Final = 3.0
"""Seconds after which a stock client counts as hung."""

# The first answer and the first error of an SDK import half of it: 70 ms with litellm.
# A stock client with a short timeout may not get through on a busy machine; the row "ok" shows that it can.
_WARM_UP: Final = ("503", "ok", "ok")
_UPLOAD: Final = "x" * 6_000_000
# A stock client puts all of an endless body into memory: 0.5 to 1 GB a second.
_CUT_OFF_ENDLESS: Final = 0.5


@dataclass
class Record:
    """
    Hold what one cell showed.

    Args:
        client: The subject's name.

        backend: Where it ran.

        situation: The situation's name.

        guarded: Whether hungframe was there.

        guards_sockets: Whether it has a transport for this client.

        deadline: Seconds that the call was given.

        back: Seconds until the caller was back, once a repetition; infinite where it never was.

        outcomes: What the guard counted, once a repetition.

        expected: What it should have counted.

        error: The name of the exception that reached the caller, "" for none, the last time.

        phases: How far the call had come, where the deadline ended it.

        expected_phase: How far it should have come; None where the transport does not tell.

        receipts: What became of the callee, where the deadline ended it.

        closed: Whether the provider saw the socket closed within a second, each time; None where it is good for the
            next request.

        broken: Why there is no figure, where the harness failed.
    """

    client: str
    backend: str
    situation: str
    guarded: bool
    guards_sockets: bool
    deadline: float
    expected: str
    expected_phase: str | None
    back: list[float] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    error: str = ""
    phases: list[str | None] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)
    closed: bool | None = None
    broken: str = ""

    @property
    def hung(self) -> bool:
        """Whether the caller was not back when the harness went on."""
        return any(math.isinf(seconds) for seconds in self.back)

    @property
    def right(self) -> bool:
        """Whether the guard counted what it should have, each time."""
        return bool(self.outcomes) and {self.expected} == set(self.outcomes)

    @property
    def allowed(self) -> float:
        """Milliseconds after the deadline that are promised: the grace, where only a thread can be abandoned."""
        return ON_TIME + (0.0 if self.guards_sockets else GRACE * 1e3)

    @property
    def phase_right(self) -> bool:
        """Whether the call knew how far it had come, each time."""
        return {self.expected_phase} == set(self.phases)

    def late(self, q: float) -> float:
        """
        Milliseconds after the deadline, nearest rank; 0 for a caller that was back before.
        """
        ordered = sorted(self.back)
        seconds = ordered[max(math.ceil(q * len(ordered)) - 1, 0)]
        return max(seconds - self.deadline, 0.0) * 1e3


def run_cell(
    subject: Subject,
    situation: Situation,
    *,
    guarded: bool = True,
    deadline: float = 0.3,
    repeat: int = 1,
) -> Record:
    """
    Run one cell against a provider of its own, and tell what it showed.

    With hungframe this returns when the calls do. A stock client runs in a daemon thread and is left there when it
    hangs, so a process that has run such cells ends with ``os._exit``.
    """
    record = Record(
        client=subject.name,
        backend=subject.backend,
        situation=situation.name,
        guarded=guarded,
        guards_sockets=subject.guards_sockets,
        deadline=deadline,
        expected=subject.expects(situation.outcome),
        expected_phase=situation.phase if subject.tells_phase else None,
    )
    provider = HostileProvider(tls=situation.tls).start()
    run = _Run(record, subject, situation, provider, deadline, repeat, guarded)
    if guarded:
        try:
            run.here()
        finally:
            provider.close()
    else:
        run.in_thread()
        if not record.hung:
            provider.close()
    return record


@dataclass
class _Run:
    """
    Carry what the functions below share.
    """

    record: Record
    subject: Subject
    situation: Situation
    provider: HostileProvider
    deadline: float
    repeat: int
    guarded: bool
    began: float = math.inf

    def here(self) -> None:
        if self.subject.backend == "sync":
            self._sync()
        elif self.subject.backend == "asyncio":
            asyncio.run(self._async())
        else:
            main: Callable[[], Coroutine[Any, Any, None]] = self._async
            import_module("trio").run(main)

    def in_thread(self) -> None:
        ready = threading.Event()
        broken: list[BaseException] = []

        def target() -> None:
            try:
                self.here()
            except BaseException as error:
                broken.append(error)
            finally:
                ready.set()

        threading.Thread(target=target, daemon=True).start()
        limit = self.deadline + _CUT_OFF_ENDLESS if self.situation.mode == "endless-body" else CUT_OFF
        # Until it is ready to ask, it may take its time.
        while not ready.wait(0.02):
            if monotonic() - self.began > limit:
                self.record.back = [math.inf]
                return
        if broken and not self.record.back:
            raise broken[0]

    def _made(self) -> Made:
        timeout = PLENTY if self.guarded else self.deadline
        tls = self.provider.ssl_context() if self.situation.tls else None
        on_wire = self.guarded and self.subject.guards_sockets
        return self.subject.make(Wanted(self.provider.url, tls, timeout, on_wire))

    def _guard(self) -> Guard:
        # A fresh one each time: after a 429 it would not let the next call through.
        return Guard(
            "matrix",
            breaker=None,
            timeout=self.deadline,
            grace=min(GRACE, self.deadline),  # More than the timeout is refused.
            isolate=None if self.subject.guards_sockets else "auto",
        )

    def _sync(self) -> None:
        made, prompt = self._made(), self._prompt()
        try:
            for mode in _WARM_UP:
                self.provider.play(mode)
                with contextlib.suppress(Exception):
                    made.ask("hello", self.situation.stream)
            self._play()
            for _ in range(self.repeat):
                guard = self._guard()
                self.began = monotonic()
                try:
                    if self.guarded:
                        guard.call(made.ask, prompt, self.situation.stream)
                    else:
                        made.ask(prompt, self.situation.stream)
                except Exception as error:
                    self._ended(error)
                else:
                    self._ended(None)
                if self.guarded:
                    self._counted(guard)
                    # An orphan keeps its socket; there is nothing to wait for.
                    within = 0.0 if "orphan" in self.record.receipts else CLOSED_WITHIN
                    self._closed(self.situation.keeps_open or self.provider.wait_closed(within))
        finally:
            if not self.record.receipts or self.subject.guards_sockets:
                made.close()

    async def _async(self) -> None:
        made, prompt = self._made(), self._prompt()
        try:
            for mode in _WARM_UP:
                self.provider.play(mode)
                with contextlib.suppress(Exception):
                    await made.ask("hello", self.situation.stream)
            self._play()
            for _ in range(self.repeat):
                guard = self._guard()
                self.began = monotonic()
                try:
                    if self.guarded:
                        await guard.acall(made.ask, prompt, self.situation.stream)
                    else:
                        await made.ask(prompt, self.situation.stream)
                except Exception as error:
                    self._ended(error)
                else:
                    self._ended(None)
                if self.guarded:
                    self._counted(guard)
                    closed = self.situation.keeps_open or await anyio.to_thread.run_sync(
                        self.provider.wait_closed, CLOSED_WITHIN
                    )
                    self._closed(closed)
        finally:
            await made.close()

    def _play(self) -> None:
        self.provider.play(self.situation.mode)
        if self.situation.at_connection:
            # Connections kept alive have been closed; a client that has not seen it yet would send on one.
            self.provider.wait_closed(CLOSED_WITHIN)

    def _prompt(self) -> str:
        return _UPLOAD if self.situation.upload else "hello"

    def _ended(self, error: Exception | None) -> None:
        self.record.back.append(monotonic() - self.began)
        self.record.error = "" if error is None else type(error).__name__
        if isinstance(error, CallTimeoutError):
            self.record.phases.append(error.phase)
            self.record.receipts.append(error.receipt)

    def _counted(self, guard: Guard) -> None:
        counts = guard.snapshot().counts
        self.record.outcomes.append(" + ".join(name for name, count in counts.items() if count) or "nothing")

    def _closed(self, closed: bool) -> None:
        if not self.situation.keeps_open:
            self.record.closed = closed and self.record.closed is not False
