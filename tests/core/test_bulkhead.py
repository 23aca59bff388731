"""What the bulkhead promises, one sentence a test."""

import math
from typing import Any

import pytest

from hungframe import Bulkhead, Outcome


def full(limit: int = 2, queue: int = 2) -> Bulkhead:
    """
    Take all slots.
    """
    bulkhead = Bulkhead(limit, queue)
    assert all(bulkhead.try_acquire(0.0) for _ in range(limit))
    return bulkhead


def test_no_more_than_the_limit_at_once() -> None:
    """
    With two slots, the third call gets none until one has ended.
    """
    bulkhead = Bulkhead(2)

    assert [True, True, False] == [bulkhead.try_acquire() for _ in range(3)]
    assert [] == list(bulkhead.release(1.0))
    assert [True, False] == [bulkhead.try_acquire() for _ in range(2)]
    assert (2, 2, 0, False) == (bulkhead.limit, bulkhead.in_flight, bulkhead.waiting, bulkhead.is_adaptive)


def test_no_queue_by_default() -> None:
    """
    Without a queue nobody waits, however important.
    """
    assert (None, ()) == full(queue=0).enqueue(0.0, priority=9)


def test_a_slot_goes_to_the_first_in_line_and_nobody_overtakes() -> None:
    """
    The slot that comes free is never free: between the release and the waking nobody can take it.
    """
    bulkhead = full()
    first, _ = bulkhead.enqueue(0.0)
    second, _ = bulkhead.enqueue(0.0)

    assert [first] == bulkhead.release(1.0)
    assert first is not None and first.granted
    assert not bulkhead.try_acquire(1.0, priority=9)
    assert [second] == bulkhead.release(1.0)
    assert (2, 0) == (bulkhead.in_flight, bulkhead.waiting)


def test_a_slot_that_came_free_before_one_stood_in_line_is_taken() -> None:
    """
    Who asks, is told no, and stands in line after a slot came free is not left waiting beside it.
    """
    bulkhead = full()
    assert not bulkhead.try_acquire(0.0)
    bulkhead.release(0.0)
    ticket, woken = bulkhead.enqueue(0.0)

    assert ticket is not None and ticket.granted and [] == list(woken)
    assert (2, 0) == (bulkhead.in_flight, bulkhead.waiting)


def test_a_full_queue_refuses_equals_and_sheds_the_less_important() -> None:
    """
    The least important one gives way, of equals the one that came last; it is told.
    """
    bulkhead = full()
    (old, _), (new, _) = bulkhead.enqueue(0.0), bulkhead.enqueue(0.0)
    assert (None, ()) == bulkhead.enqueue(0.0)
    urgent, woken = bulkhead.enqueue(0.0, priority=1)

    assert [new] == woken
    assert new is not None and new.shed and not new.granted
    assert [urgent] == bulkhead.release(1.0) and [old] == bulkhead.release(1.0)


def test_a_shed_ticket_can_be_withdrawn() -> None:
    """
    Who was shed and gives the ticket back takes nothing from anybody.
    """
    bulkhead = full(queue=1)
    shed, _ = bulkhead.enqueue(0.0)
    bulkhead.enqueue(0.0, priority=1)
    assert shed is not None

    assert [] == list(bulkhead.withdraw(shed, 1.0))
    assert (2, 1) == (bulkhead.in_flight, bulkhead.waiting)


def test_a_slot_granted_to_one_who_has_gone_is_passed_on_once() -> None:
    """
    A call that is cancelled in the instant of its waking passes the slot on, and only once.
    """
    bulkhead = full()
    (gone, _), (stays, _) = bulkhead.enqueue(0.0), bulkhead.enqueue(0.0)
    bulkhead.release(1.0)
    assert gone is not None and stays is not None

    assert [stays] == bulkhead.withdraw(gone, 1.0)
    assert [] == list(bulkhead.withdraw(gone, 1.0))
    assert 2 == bulkhead.in_flight
    assert [] == list(bulkhead.withdraw(stays, 1.0))
    assert 1 == bulkhead.in_flight


def test_a_slot_that_nobody_took_cannot_be_given_back() -> None:
    """
    One release too many would let one call too many in, for ever.
    """
    with pytest.raises(RuntimeError, match="none is taken"):
        Bulkhead(1).release(0.0)


def test_a_fixed_limit_learns_nothing() -> None:
    """
    Whatever becomes of calls, a number stays what it is.
    """
    bulkhead = full()
    for outcome in Outcome:
        assert () == bulkhead.record(outcome, 9.0, 10.0, 2)
    assert 2 == bulkhead.limit


def test_a_limit_that_shrinks_takes_no_slot_away() -> None:
    """
    After a 429 ten calls go on, and a new one gets in only when no more than six are left.
    """
    bulkhead = Bulkhead("adaptive", queue=1)
    assert bulkhead.is_adaptive and 10 == bulkhead.limit
    assert all(bulkhead.try_acquire(0.0) for _ in range(10))
    ticket, _ = bulkhead.enqueue(0.0)
    assert [] == list(bulkhead.record(Outcome.QUOTA, 0.5, 1.0, 10))

    assert (7, 10) == (bulkhead.limit, bulkhead.in_flight)
    assert [[], [], [], [ticket]] == [list(bulkhead.release(1.0)) for _ in range(4)]
    assert 7 == bulkhead.in_flight


def test_a_limit_that_grows_lets_in_who_waits() -> None:
    """
    Who waits gets the new slot at once.
    """
    bulkhead = Bulkhead("adaptive", queue=5)
    assert all(bulkhead.try_acquire(0.0) for _ in range(10))
    tickets = [bulkhead.enqueue(0.0)[0] for _ in range(5)]
    woken = [each for _ in range(4) for each in bulkhead.record(Outcome.SUCCESS, 5.0, 5.0, bulkhead.in_flight)]

    assert bulkhead.limit == bulkhead.in_flight > 10
    assert woken == tickets[: len(woken)] and len(woken) == bulkhead.limit - 10


def test_the_bounds_hold() -> None:
    """
    It goes neither below min nor above max.
    """
    bulkhead = Bulkhead("adaptive", min=4, max=12)
    for second in range(100):
        bulkhead.record(Outcome.SUCCESS, 0.5, float(second), bulkhead.limit)
    assert 12 == bulkhead.limit
    for second in range(100, 200):
        bulkhead.record(Outcome.QUOTA, 0.5, float(second), bulkhead.limit)
    assert 4 == bulkhead.limit
    assert 3 == Bulkhead("adaptive", max=3).limit
    assert 20 == Bulkhead("adaptive", min=20).limit


@pytest.mark.parametrize("limit", [2.5, math.nan, True, None])
def test_a_limit_that_is_no_whole_number_is_refused(limit: Any) -> None:
    """
    Half a call cannot run.
    """
    with pytest.raises(TypeError, match="limit must be a whole number, got"):
        Bulkhead(limit)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"limit": -1}, "limit must be at least 1, got -1"),
        ({"limit": "adaptiv"}, "limit must be a whole number or \"adaptive\", got 'adaptiv'"),
        ({"limit": 1, "queue": -1}, "queue must be at least 0, got -1"),
        ({"limit": 1, "max": 5}, 'min and max bound a limit that is "adaptive", got limit=1'),
        ({"limit": 1, "min": 2}, 'min and max bound a limit that is "adaptive", got limit=1'),
        ({"limit": "adaptive", "min": 0}, "min must be at least 1, got 0"),
        ({"limit": "adaptive", "min": 5, "max": 4}, "max must be at least min, got min=5 and max=4"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments: Any, message: str) -> None:
    """
    The error says the name, the value and what would do.
    """
    with pytest.raises(ValueError, match=message):
        Bulkhead(**arguments)


@pytest.mark.parametrize("arguments", [{"queue": 1.5}, {"queue": True}, {"min": 1.0}, {"max": True}])
def test_what_is_no_whole_number_is_refused(arguments: Any) -> None:
    """
    Counts are whole.
    """
    with pytest.raises(TypeError, match="must be a whole number, got"):
        Bulkhead("adaptive", **arguments)


def test_a_priority_that_is_nan_is_refused_also_where_a_slot_is_free() -> None:
    """
    A mistake shows at the first call, and not on the first busy day.
    """
    bulkhead = Bulkhead(1, queue=1)
    with pytest.raises(ValueError, match="priority"):
        bulkhead.try_acquire(0.0, priority=math.nan)
    bulkhead.try_acquire(0.0)
    with pytest.raises(ValueError, match="priority"):
        bulkhead.enqueue(0.0, priority=math.nan)
    assert (1, 0) == (bulkhead.in_flight, bulkhead.waiting)


def test_its_repr_makes_it_anew() -> None:
    """
    What is printed can be pasted.
    """
    for bulkhead in (Bulkhead(3, queue=2), Bulkhead("adaptive", queue=2, min=2, max=9)):
        assert repr(bulkhead) == repr(eval(repr(bulkhead)))
