"""
Who waits, and who is next: the more important first, and first come first served among equals.

Nothing here waits. Whoever does so keeps its ticket, and is woken by whoever
called the line on. One who has left, or was called, is in no line.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator

from hungframe._core import check


class Ticket:
    """
    Hold one's place in a line.

    Attributes:
        priority: The higher, the sooner.

        granted: What was waited for is there, and belongs to this ticket.

        shed: It had to give way to a more important one, and waits in vain.

        wake: What wakes whoever waits; set by them, and never called in here.
    """

    __slots__ = ("granted", "line", "priority", "shed", "wake")

    def __init__(self, priority: float = 0) -> None:
        self.priority = priority
        self.granted = False
        self.shed = False
        self.wake: Callable[[], object] | None = None
        # Where it stands.
        self.line: Line | None = None

    def __repr__(self) -> str:
        return f"Ticket({self.priority!r}, granted={self.granted!r}, shed={self.shed!r})"


class Line:
    """
    Keep tickets in the order in which they are served.

    Joining takes a search among the priorities that are waited with, all else
    the same time however many wait.

    >>> line = Line()
    >>> first, second, urgent = line.join(), line.join(), line.join(priority=1)
    >>> line.head is urgent, line.last() is second
    (True, True)
    >>> line.leave(urgent)
    >>> line.pop() is first, len(line)
    (True, 1)
    """

    __slots__ = ("_levels", "_priorities", "_waiting")

    def __init__(self) -> None:
        # An OrderedDict and no dict: that one finds its first key only after
        # it has passed over all that were removed before it.
        self._levels: dict[float, OrderedDict[Ticket, None]] = {}
        # The keys of the above, the least important first.
        self._priorities: list[float] = []
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def __iter__(self) -> Iterator[Ticket]:
        """
        All of them, the first first.
        """
        for priority in reversed(self._priorities):
            yield from self._levels[priority]

    def join(self, priority: float = 0) -> Ticket:
        """
        Stand in line, behind all that are at least as important.

        Raises:
            TypeError: If *priority* is no number.

            ValueError: If it is NaN or infinite.
        """
        ticket = Ticket(check.number("priority", priority))
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = OrderedDict()
            self._priorities.insert(bisect_left(self._priorities, priority), priority)
        level[ticket] = None
        ticket.line = self
        self._waiting += 1
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """
        Take a ticket out, wherever it stands; one that stands in no line, or in another, is left alone.
        """
        if ticket.line is not self:
            return
        ticket.line = None
        self._waiting -= 1
        level = self._levels[ticket.priority]
        del level[ticket]
        if not level:
            del self._levels[ticket.priority]
            del self._priorities[bisect_left(self._priorities, ticket.priority)]

    def pop(self) -> Ticket | None:
        """
        Take the first ticket out.
        """
        ticket = self.head
        if ticket is not None:
            self.leave(ticket)
        return ticket

    @property
    def head(self) -> Ticket | None:
        """
        Who is next.
        """
        return next(iter(self._levels[self._priorities[-1]])) if self._waiting else None

    def last(self) -> Ticket | None:
        """
        Find the least important ticket, of equals the newest.
        """
        return next(reversed(self._levels[self._priorities[0]])) if self._waiting else None
