"""Who waits, and who is next."""

import math
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hungframe._core.line import Line, Ticket


def test_first_come_first_served() -> None:
    """
    Equals are served in the order of their coming.
    """
    line = Line()
    tickets = [line.join() for _ in range(5)]

    assert tickets == [line.pop() for _ in range(5)]


def test_the_more_important_first() -> None:
    """
    Whoever has the higher priority is served before all with a lower one.
    """
    line = Line()
    low, middle, high, also_high = (line.join(priority) for priority in (-1.5, 0, 7, 7.0))

    assert line.last() is low
    assert [high, also_high, middle, low] == [line.pop() for _ in range(4)]


def test_nobody_in_line() -> None:
    """
    A line without anybody has no first and no last.
    """
    line = Line()

    assert (None, None, None, 0) == (line.head, line.pop(), line.last(), len(line))


def test_leaving_twice_does_no_harm() -> None:
    """
    Who has left, was called or stands in another line takes nobody's place away.
    """
    line, other = Line(), Line()
    first, second, third = line.join(), line.join(), line.join()
    line.leave(second)
    line.leave(second)
    line.leave(other.join())
    line.leave(Ticket())
    assert first is line.pop()
    line.leave(first)

    assert third is line.head and 1 == len(line) == len(other)


@pytest.mark.parametrize("priority", [math.nan, math.inf, -math.inf, 10**400])
def test_a_priority_that_is_no_place_is_refused(priority: float) -> None:
    """
    NaN compares with nothing, so it has no place in an order.
    """
    line = Line()

    with pytest.raises(ValueError, match="priority must be a number and finite, got"):
        line.join(priority)
    assert 0 == len(line)


@pytest.mark.parametrize("priority", ["high", None, True])
def test_a_priority_that_is_no_number_is_refused(priority: Any) -> None:
    """
    Words have no order that their author had in mind.
    """
    with pytest.raises(TypeError, match="priority must be a number, got"):
        Line().join(priority)


ACTIONS = st.one_of(
    st.tuples(st.just("join"), st.sampled_from([0, 0, 0, 1, -1, 2.5])),
    st.tuples(st.just("leave"), st.integers(0, 30)),
    st.tuples(st.just("pop"), st.just(0)),
)


@given(st.lists(ACTIONS, max_size=60))
def test_it_is_a_list_that_is_sorted_each_time(actions: list[tuple[str, float]]) -> None:
    """
    Whatever comes and goes, the order is that of a list sorted by priority, which keeps equals as they came.
    """
    line = Line()
    model: list[Ticket] = []
    ever: list[Ticket] = []
    for what, value in actions:
        if what == "join":
            ever.append(line.join(value))
            model.append(ever[-1])
            model.sort(key=lambda ticket: -ticket.priority)
        elif what == "leave" and ever:
            ticket = ever[int(value) % len(ever)]
            line.leave(ticket)
            model = [each for each in model if each is not ticket]
        elif what == "pop":
            assert line.pop() is (model.pop(0) if model else None)
        assert line.head is (model[0] if model else None)
        assert line.last() is (model[-1] if model else None)
        assert len(line) == len(model)


@pytest.mark.parametrize("levels", [1, 10_000])
def test_ten_times_as_many_take_ten_times_as_long(levels: int) -> None:
    """
    100,000 who wait cost no more each than 10,000 do, give or take; a quadratic line would cost ten times as much.
    """

    def each(tickets: int) -> float:
        least = math.inf
        for _ in range(3):
            line = Line()
            began = perf_counter()
            waiting = [line.join(nth * 7919 % levels) for nth in range(tickets)]
            for ticket in waiting[::3]:
                line.leave(ticket)
            while line.pop() is not None:
                line.last()
            least = min(least, (perf_counter() - began) / tickets)
        return least

    assert each(100_000) < 5 * each(10_000)
