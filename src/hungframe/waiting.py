"""
A call that waits to be let in, as the policies see it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hungframe._core.line import Ticket


class Waiting:
    """
    Who asks for a call and may wait for it.

    Args:
        began_at: When it first asked, on the guard's clock.

        ends_at: When the call that it waits for must be over; infinite for no limit.
    """

    __slots__ = ("began_at", "ends_at", "slot", "ticket")

    def __init__(self, began_at: float, ends_at: float = math.inf) -> None:
        self.began_at = began_at
        self.ends_at = ends_at
        # Where a slot of the bulkhead is its own already: the era in which
        # that was taken, as in Call.
        self.slot: object = False
        # Its place in the line for the budget.
        self.ticket: Ticket | None = None


class NotYet(Exception):  # It never leaves the guard: it says to wait.
    """
    What was asked for comes by itself.

    Args:
        retry_after: Seconds until then; None where nobody can tell.
    """

    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__()
        self.retry_after = retry_after


# Who asks for the first time, and has waited for nothing yet.
WILLING = Waiting(math.inf)
