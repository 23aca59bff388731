"""
An engine with a bulkhead around its calls: each holds a slot from before it is sent until nothing of it runs any more.

An engine of its own, so that a call of a guard without one pays nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from hungframe._core.outcome import Outcome
from hungframe.abort.call import calls_here
from hungframe.engine import Engine
from hungframe.errors import BulkheadFullError, CallTimeoutError
from hungframe.waiting import NotYet, Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hungframe._core.bulkhead import Bulkhead
    from hungframe._core.line import Ticket
    from hungframe.abort.call import Call
    from hungframe.limits import Limits


class EngineWithBulkhead(Engine):
    """
    An engine whose calls need a slot as well.
    """

    __slots__ = ("bulkhead",)

    def __init__(self, name: str, bulkhead: Bulkhead, also_shared: Sequence[object] = (), **settings: Any) -> None:
        super().__init__(name, also_shared=(bulkhead, *also_shared), **settings)
        self.bulkhead = bulkhead
        # Before its first call: one may stand in line until then.
        self.put_right_after_fork()

    def begin(self, limits: Limits, waiting: Waiting | None = None) -> Call:
        """
        Take a slot, and ask every other policy.
        """
        if waiting is not None and waiting.slot:
            call = Engine.begin(self, limits, waiting)
            call.slot = waiting.slot
            return call
        bulkhead = self.bulkhead
        lock = self.lock
        lock.acquire()
        try:
            entered = bulkhead.try_acquire(priority=limits.priority)
        finally:
            lock.release()
        if not entered and not (self._free_stranded(limits.clock.now()) and self._enter(limits)):
            # Nobody stands in line for what is shut.
            self.refuse_if_open(limits)
            if waiting is not None and bulkhead.queue:
                raise NotYet
            self.refuse_slot(limits)
        try:
            call = Engine.begin(self, limits, waiting)
        except BaseException:
            self.free(bulkhead.era, limits.clock.now())
            raise
        call.slot = bulkhead.era
        return call

    def _enter(self, limits: Limits) -> bool:
        with self.lock:
            return self.bulkhead.try_acquire(priority=limits.priority)

    def _free_stranded(self, now: float) -> bool:
        """
        Take their slots from calls whose loop was closed under them; tell whether there were any.

        Their lane holds them until the guard is called on another loop, and for want of a slot it never would be.
        """
        stranded = [call for call in self.lanes.stranded() if call.slot]
        for call in stranded:
            call.ended = True
            self._over(call, Outcome.CANCELLED, now)
        return bool(stranded)

    def refuse_slot(self, limits: Limits, waited: float = 0.0) -> NoReturn:
        """
        Refuse a call for which there is no slot, or nothing behind it.
        """
        self.refuse_if_open(limits, waited)
        now = limits.clock.now()
        budget_before = self.budget_before(now) if self.sinks else None
        self.refuse(BulkheadFullError, "bulkhead_full", None, limits.timeout.current(now), budget_before, waited)

    def returned(self, call: Call, result: object) -> BaseException | None:
        """
        Settle a call whose callee returned, and free its slot.
        """
        try:
            return Engine.returned(self, call, result)
        finally:
            if call.slot and call.ended:
                # It was not settled, since it can change no decision.
                now = call.limits.clock.now() if self.bulkhead.is_adaptive else call.started_at
                self._over(call, Outcome.SUCCESS, now)

    def settle(
        self,
        call: Call,
        outcome: Outcome,
        now: float,
        timed_out: CallTimeoutError | None = None,
        ended: object = None,
    ) -> None:
        """
        Settle a call, and free its slot unless it has left an orphan behind.
        """
        try:
            super().settle(call, outcome, now, timed_out, ended)
        finally:
            # Also where a sink is interrupted from the keyboard.
            self._over(call, outcome, now)

    def orphan_ended(self, call: Call) -> None:
        """
        What held a slot for longer than its caller stayed has ended.
        """
        self.commons.outside_lock(self._over, call, Outcome.CANCELLED, call.limits.clock.now())

    def _over(self, call: Call, outcome: Outcome, now: float) -> None:
        bulkhead = self.bulkhead
        woken: Sequence[Ticket] = ()
        lock = self.lock
        lock.acquire()
        try:
            if bulkhead.is_adaptive and outcome is not Outcome.CANCELLED:
                woken = bulkhead.record(outcome, now - call.started_at, now, bulkhead.in_flight)
            if call.ended:
                slot, call.slot = call.slot, False
                # One that was taken before a fork is the parent's.
                if slot is bulkhead.era:
                    woken = [*woken, *freed] if (freed := bulkhead.release(now)) else woken
        finally:
            lock.release()
        if woken:
            self.wake(woken)

    def wake(self, tickets: Sequence[Ticket]) -> None:
        """
        Let those who hold *tickets* look again; outside of every lock. The slot of one whom nobody can wake goes on.
        """
        # Not by recursion: a loop may have been closed with a thousand of them.
        while tickets:
            gone = [ticket for ticket in tickets if ticket.wake is not None and ticket.wake() is False]
            if not gone:
                return
            now = self.clock.now()
            with self.lock:
                tickets = [each for ticket in gone for each in self.bulkhead.withdraw(ticket, now)]

    def withdraw(self, ticket: Ticket, era: object, now: float) -> None:
        """
        Leave the line that was joined in that era, or pass on the slot that was granted meanwhile.
        """
        with self.lock:
            woken = self.bulkhead.withdraw(ticket, now) if era is self.bulkhead.era else ()
        self.wake(woken)

    def after_fork(self) -> None:
        """
        Keep the slots of the calls around the code that forked, which go on in the child; the others are free there.
        """
        super().after_fork()
        bulkhead = self.bulkhead
        # Where several guards share it, once for each of them: no harm.
        before = bulkhead.forget()
        for call in calls_here():
            if call.slot is before:
                call.slot = bulkhead.era
                bulkhead.in_flight += 1

    def waiting(self) -> int:
        """
        How many calls wait to be let in, by the bulkhead or by the budget.
        """
        return super().waiting() + self.bulkhead.waiting

    def in_line(self) -> list[Ticket]:
        """
        The tickets of those who wait, for the bulkhead or for the budget.
        """
        return [*super().in_line(), *self.bulkhead.in_line()]

    @property
    def slots(self) -> int:
        """
        How many calls may run at once, now.
        """
        return self.bulkhead.limit

    def free(self, slot: object, now: float) -> None:
        """
        Give back a slot whose call was not sent.
        """
        with self.lock:
            woken = self.bulkhead.release(now) if slot is self.bulkhead.era else ()
        self.wake(woken)
