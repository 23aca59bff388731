"""
No more calls at once than a provider can take; the next ones wait in line, or are refused.

Whoever waits, waits because no slot is free: a slot that comes free is handed
to the first in line at once, in the same step. So nobody can overtake, and a
free slot can be taken without a look at the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from hungframe._core import check
from hungframe._core.concurrency import AdaptiveLimit
from hungframe._core.line import Line, Ticket
from hungframe._core.outcome import Outcome

_NOBODY: Sequence[Ticket] = ()
_LEAST, _MOST = 1, 100


class Bulkhead:
    """
    Let *limit* calls run at once, and *queue* more wait for one of them to end.

    Give it to a guard: `Guard(bulkhead=Bulkhead(20, queue=50))`, or to several,
    which share it then. How long a call may wait in the queue is the guard's
    `max_wait`; how important it is, its `priority`.

    A call holds its slot until it has ended, also where its caller has long
    gone: what still runs still takes the provider's capacity.

    Args:
        limit: Calls at once, 1 or more; or "adaptive", to learn it from how
            long calls take and how many time out; it begins at 10.

        queue: Calls that may wait, 0 or more; 0 if not given. Where it is full,
            a call that is more important than the least important one takes
            its place.

        min: The least that "adaptive" goes down to, 1 or more; 1 if not given.

        max: The most that it goes up to; 100 if not given.

    Raises:
        TypeError: If an argument is of the wrong kind.

        ValueError: If an argument is out of range, or *min* or *max* is given
            with a limit that is a number.

    >>> bulkhead = Bulkhead(1, queue=1)
    >>> bulkhead.try_acquire(), bulkhead.try_acquire()
    (True, False)
    >>> ticket, _ = bulkhead.enqueue(now=0.0)
    >>> bulkhead.release(now=1.0) == [ticket], ticket.granted
    (True, True)
    """

    __slots__ = ("_learner", "_limit", "_line", "era", "in_flight", "queue", "shared_under")

    def __init__(
        self,
        limit: int | Literal["adaptive"],
        queue: int = 0,
        *,
        min: int = _LEAST,
        max: int = _MOST,
    ) -> None:
        self._learner: AdaptiveLimit | None = None
        if isinstance(limit, str):
            if limit != "adaptive":
                raise ValueError(f'limit must be a whole number or "adaptive", got {limit!r}')
            self._learner = AdaptiveLimit(min, max)
            self._limit = self._learner.limit
        else:
            self._limit = check.whole("limit", limit, at_least=1)
            if (min, max) != (_LEAST, _MOST):
                raise ValueError(f'min and max bound a limit that is "adaptive", got limit={limit!r}')
        self.queue = check.whole("queue", queue, at_least=0)
        self._line = Line()
        # Slots that are taken, those included that were handed over to a
        # ticket whose owner has not woken yet.
        self.in_flight = 0
        # Kept by who has a slot or a place in line, to tell after `forget`
        # that it has none any more.
        self.era: object = object()
        # Taken by nobody here: whoever composes it with others between threads
        # leaves here the lock that it does so under, for the next to use.
        self.shared_under: Any = None

    def __repr__(self) -> str:
        if self._learner is None:
            return f"Bulkhead({self._limit!r}, queue={self.queue!r})"
        least, most = self._learner.least, self._learner.most
        return f"Bulkhead('adaptive', queue={self.queue!r}, min={least!r}, max={most!r})"

    @property
    def limit(self) -> int:
        """
        How many calls may run at once, now.
        """
        return self._limit

    @property
    def waiting(self) -> int:
        """
        How many calls wait in line.
        """
        return len(self._line)

    @property
    def is_adaptive(self) -> bool:
        """
        Whether the limit is learned.
        """
        return self._learner is not None

    def in_line(self) -> list[Ticket]:
        """
        The tickets of those who wait, the first first.
        """
        return list(self._line)

    def try_acquire(self, now: float = 0.0, *, priority: float = 0) -> bool:
        """
        Take a slot if one is free. Then nobody waits, whatever the priority.

        Raises:
            TypeError: If *priority* is no number.

            ValueError: If it is NaN or infinite.
        """
        if priority != 0:
            check.number("priority", priority)
        if self.in_flight < self._limit:
            self.in_flight += 1
            return True
        return False

    def enqueue(self, now: float, *, priority: float = 0) -> tuple[Ticket | None, Sequence[Ticket]]:
        """
        Stand in line for a slot; it is granted at once where one is free.

        Returns:
            A ticket, or None where the queue is full of calls at least as
            important; and who must be woken, because its place was taken: it
            was `shed`.

        Raises:
            TypeError: If *priority* is no number.

            ValueError: If it is NaN or infinite.
        """
        if self.try_acquire(now, priority=priority):
            ticket = Ticket(priority)
            ticket.granted = True
            return ticket, _NOBODY
        line = self._line
        woken = _NOBODY
        if len(line) >= self.queue:
            least = line.last()
            if least is None or least.priority >= priority:
                return None, _NOBODY
            line.leave(least)
            least.shed = True
            woken = [least]
        return line.join(priority), woken

    def withdraw(self, ticket: Ticket, now: float) -> Sequence[Ticket]:
        """
        Give a ticket back that is no longer wanted, before its call has begun; twice does no harm.

        A slot that was granted meanwhile goes to the next in line.

        Returns:
            Who must be woken.
        """
        if ticket.granted:
            ticket.granted = False
            return self.release(now)
        self._line.leave(ticket)
        return _NOBODY

    def release(self, now: float) -> Sequence[Ticket]:
        """
        Give a slot back, to the first in line if somebody waits.

        Returns:
            Who must be woken: they were `granted` a slot.

        Raises:
            RuntimeError: If no slot is taken.
        """
        if self.in_flight <= 0:
            raise RuntimeError("release() gives back a slot, and none is taken")
        self.in_flight -= 1
        return self._grant() if self._line else _NOBODY

    def forget(self) -> object:
        """
        Take every slot and every place in line for free, since who had them is gone, as the parent's threads in a fork.

        Returns:
            The era that has ended.
        """
        before, self.era = self.era, object()
        self.in_flight = 0
        self._line = Line()
        return before

    def record(self, outcome: Outcome, seconds: float, now: float, in_flight: int) -> Sequence[Ticket]:
        """
        Learn from a call that has ended; a limit that is fixed learns nothing.

        Args:
            seconds: How long the call ran, without its wait in line.

            in_flight: How many were when it ended: itself, and those which
                nobody waits for any more.

        Returns:
            Who must be woken: the limit has grown, and they were `granted` a slot.
        """
        learner = self._learner
        if learner is None or not learner.record(outcome, seconds, now, in_flight):
            return _NOBODY
        # A limit that shrank takes no slot away; it grants none until enough have ended.
        self._limit = learner.limit
        return self._grant() if self._line else _NOBODY

    def _grant(self) -> Sequence[Ticket]:
        granted: list[Ticket] = []
        while self.in_flight < self._limit:
            ticket = self._line.pop()
            if ticket is None:
                break
            ticket.granted = True
            self.in_flight += 1
            granted.append(ticket)
        return granted
