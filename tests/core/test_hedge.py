"""What a hedge promises, one sentence a test."""

import math
from typing import Any

import pytest

from hungframe import Hedge


def test_after_the_p95_once_it_is_known() -> None:
    """
    Nothing is sent before anything was learned.
    """
    assert Hedge().delay(None) is None
    assert 1.25 == Hedge().delay(1.25)


@pytest.mark.parametrize("p95", [0.0, -1.0, math.nan, math.inf])
def test_a_p95_that_is_none(p95: float) -> None:
    """
    After no time at all each call would be sent twice; an infinite one is not known.
    """
    assert Hedge().delay(p95) is None


def test_after_a_number_of_seconds() -> None:
    """
    Whatever was learned.
    """
    assert [3.0] * 3 == [Hedge(after=3.0).delay(p95) for p95 in (None, 1.0, 10.0)]


def test_what_it_is_made_of() -> None:
    """
    One additional attempt by default.
    """
    assert 1 == Hedge().max
    assert 2 == Hedge(max=2).max
    assert "Hedge(after='p95', max=1)" == repr(Hedge())
    assert "Hedge(after=3.0, max=2)" == repr(Hedge(3.0, 2))


@pytest.mark.parametrize("settings", [{"after": 0}, {"after": -1.0}, {"after": math.nan}, {"after": math.inf}])
def test_seconds_out_of_range(settings: dict[str, Any]) -> None:
    """
    Above 0, and finite: a hedge that is never sent is none.
    """
    with pytest.raises(ValueError, match="after must be above 0 and finite, got"):
        Hedge(**settings)


def test_another_quantile() -> None:
    """
    Only the P95 has a name.
    """
    with pytest.raises(ValueError, match="after must be 'p95' or seconds above 0, got 'p99'"):
        Hedge(after="p99")  # type: ignore[arg-type]  # What is refused.


@pytest.mark.parametrize(
    ("settings", "error"),
    [({"after": None}, TypeError), ({"after": True}, TypeError), ({"max": 1.5}, TypeError), ({"max": 0}, ValueError)],
)
def test_wrong_settings(settings: dict[str, Any], error: type[Exception]) -> None:
    """
    What is of the wrong kind or too small is refused by its name.
    """
    with pytest.raises(error, match=f"^{next(iter(settings))} must be"):
        Hedge(**settings)
