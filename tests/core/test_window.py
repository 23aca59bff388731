"""What the sliding window promises, one sentence a test."""

import math

from hungframe._core.window import Window


def filled(*weights: int, size: int = 25, max_age: float = 3600.0) -> Window:
    """
    Fill a window at the seconds 0, 1, 2 and so on; negative weights are failures.
    """
    window = Window(size=size, max_age=max_age)
    for now, weight in enumerate(weights):
        window.add((abs(weight), abs(min(weight, 0))), float(now))
    return window


def test_a_fresh_window_is_empty() -> None:
    """
    Nothing held, nothing weighed.
    """
    window = filled()

    assert (0, 0, 0) == (len(window), window.total, window.failed)


def test_sums_are_of_all_and_of_failures() -> None:
    """
    The total is of everything held, failed of what failed.
    """
    window = filled(1, -2, 3, -4)

    assert (4, 10, 6) == (len(window), window.total, window.failed)


def test_the_oldest_makes_room() -> None:
    """
    A window of three holds the last three, also after many more.
    """
    window = filled(*[-7] * 1000, 1, -2, 4, size=3)

    assert (3, 7, 2) == (len(window), window.total, window.failed)


def test_an_entry_of_exactly_max_age_is_held() -> None:
    """
    An entry counts at max_age, and no more a moment later.
    """
    window = filled(-1, max_age=60.0)
    window.expire(60.0)
    assert 1 == len(window)

    window.expire(math.nextafter(60.0, math.inf))

    assert (0, 0, 0) == (len(window), window.total, window.failed)


def test_only_the_old_expire() -> None:
    """
    Entries leave in the order in which they came.
    """
    window = filled(1, -2, 3, -4, max_age=60.0)
    window.expire(61.5)

    assert (2, 7, 4) == (len(window), window.total, window.failed)


def test_an_empty_window_expires_quietly() -> None:
    """
    There is nothing to drop, however late it is.
    """
    window = filled()
    window.expire(1e18)

    assert 0 == len(window)


def test_clear_forgets_everything() -> None:
    """
    A cleared window is as good as new.
    """
    window = filled(1, -2, 3)
    window.clear()
    assert (0, 0, 0) == (len(window), window.total, window.failed)

    window.add((5, 5), 3.0)

    assert (1, 5, 5) == (len(window), window.total, window.failed)


def test_an_age_without_end() -> None:
    """
    With an infinite age only the size limits a window.
    """
    window = filled(1, -2, 3, size=2, max_age=math.inf)
    window.expire(1e18)

    assert (2, 5, 2) == (len(window), window.total, window.failed)


def test_a_clock_that_stepped_back_keeps_nothing_for_ever() -> None:
    """
    An entry told at an earlier instant than the one before it still ages out.
    """
    window = filled(max_age=60.0)
    window.add((1, 0), 100.0)
    window.add((2, 2), 50.0)
    window.expire(161.0)

    assert (0, 0, 0) == (len(window), window.total, window.failed)
