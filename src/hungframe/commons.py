"""
What guards share that have a bucket in common: one lock, and the lines of calls that wait for its tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hungframe._core.line import Line, Ticket
    from hungframe.ports import Budget


# Who waits this many seconds for a guard's lock holds it: the garbage
# collector has come by in the very thread that took it.
_HELD_BY_OURSELVES = 0.05


class Commons:
    """
    One lock for all guards that share a policy, and for each set of budgets the calls that wait for it.
    """

    __slots__ = ("lines", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # By the identities of the budgets. Empty where nobody waits.
        self.lines: dict[tuple[int, ...], Line] = {}

    def call_on(self, key: tuple[int, ...]) -> None:
        """
        Let the first in a line look again: its token may be there. One whom nobody can wake any more is passed over.
        """
        while True:
            with self.lock:
                line = self.lines.get(key)
                first = None if line is None else line.head
            if line is None or first is None or first.wake is None or first.wake() is not False:
                return
            self.leave(key, line, first)

    def leave(self, key: tuple[int, ...], line: Line, ticket: Ticket) -> bool:
        """
        Take a ticket out of its line; tell whether that was the first.
        """
        with self.lock:
            was_first = line.head is ticket
            line.leave(ticket)
            if line.head is None and self.lines.get(key) is line:
                del self.lines[key]
        return was_first

    def outside_lock(self, do: Callable[..., object], *args: Any) -> None:
        """
        Do something that takes the lock, and that the garbage collector may ask for: also in the thread that holds it.
        """
        lock = self.lock
        if lock.acquire(timeout=_HELD_BY_OURSELVES):
            lock.release()
            do(*args)
            return
        try:
            threading.Thread(target=do, args=args, daemon=True).start()
        except RuntimeError:
            # The interpreter is on its way out, and asks nobody any more.
            return

    def after_fork(self) -> None:
        """
        Go on in a forked child, where only the thread that forked runs.
        """
        # Another thread may have held it, and will never release it here.
        self.lock = threading.Lock()
        self.lines = {}


def commons_of(budget: Budget | Sequence[Budget] | None, *others: Any) -> Commons:
    """
    The commons of a new guard: those of the guard which has the same bucket, or another policy of it.

    A key with one limit and two models is two guards and one bucket. Where
    several policies come from guards that share none, the commons of the
    first are taken: a policy belongs to one group of guards.
    """
    policies = [*(budget if isinstance(budget, Sequence) else [budget]), *others]
    shared: list[Any] = [each for each in policies if hasattr(type(each), "shared_under")]
    held = [each.shared_under for each in shared if each.shared_under is not None]
    commons: Commons = held[0] if held else Commons()
    for each in shared:
        each.shared_under = commons
    return commons
