"""What headers say of when to ask again, one sentence a test."""

import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hungframe._core.retry_after import LONGEST, retry_after

# 2026-01-01.
WALL = 1_767_225_600.0


def http_date(wall: float) -> str:
    """
    Write an instant as RFC 9110 does.
    """
    return format_datetime(datetime.fromtimestamp(wall, timezone.utc), usegmt=True)


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """
    A machine that is not in UTC.
    """
    if not hasattr(time, "tzset"):
        pytest.skip("this system sets no time zone")
    before = os.environ.get("TZ")
    os.environ["TZ"] = "XXX+09"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        (" 2 ", 2.0),
        ("0.5", 0.5),
        ("1000000000000", LONGEST),
        ("9" * 400, LONGEST),
        ("9" * 10_000, LONGEST),
        ("0", None),
        ("-5", None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("1_000", None),
        ("1e3", None),
        ("0x10", None),
        ("٣", None),  # A three, but not an ASCII one.
        ("²", None),
        ("2, 2", None),
        ("2 s", None),
        (http_date(WALL + 30), 30.0),
        (http_date(WALL - 30), None),
        (http_date(0.0), None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
        ("Fri, 32 Dec 2026 23:59:59 GMT", None),
        ("Thu, 01 Jan 99999999999999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """
    Whole or decimal seconds, or a date; all else is as if nothing were said.
    """
    assert seconds == retry_after({"retry-after": value}, WALL)


def test_a_date_is_held_against_the_answers_own() -> None:
    """
    A provider whose clock is an hour ahead, or behind, is understood all the same.
    """
    for skew in (-3600.0, 0.0, 3600.0, -(WALL - 100.0)):
        headers = {"retry-after": http_date(WALL + skew + 20), "date": http_date(WALL + skew)}
        assert 20.0 == retry_after(headers, WALL)


@pytest.mark.parametrize("date", ["now", "", "Fri, 32 Dec 2026 23:59:59 GMT"])
def test_a_date_that_nobody_can_read(date: str) -> None:
    """
    Then this machine's clock must do.
    """
    assert 20.0 == retry_after({"retry-after": http_date(WALL + 20), "date": date}, WALL)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("date", ["Thu, 01 Jan 2026 00:00:30 -0000", "Thu Jan  1 00:00:30 2026"])
def test_a_date_without_a_zone_is_in_utc(date: str) -> None:
    """
    RFC 9110 says so; it is not in the zone of whoever reads it.
    """
    assert 30.0 == retry_after({"retry-after": date}, WALL)


@pytest.mark.parametrize("bad", ["-5", "nan", "soon", ""])
def test_what_is_good_counts_beside_what_is_not(bad: str) -> None:
    """
    A broken retry-after-ms does not hide a good Retry-After, nor that a reset.
    """
    assert 2.0 == retry_after({"retry-after-ms": bad, "retry-after": "2"}, WALL)
    assert 3.0 == retry_after({"retry-after": bad, "x-ratelimit-reset-tokens": "3s"}, WALL)
    assert 1.5 == retry_after({"retry-after-ms": "1500", "retry-after": bad}, WALL)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("6m0s", 360.0),
        ("1h2m3s", LONGEST),
        ("1.5s", 1.5),
        ("20ms", 0.02),
        ("9" * 400 + "h", LONGEST),
        ("1m-5s", None),
        ("s", None),
        ("-1s", None),
        ("٣s", None),
    ],
)
def test_resets_of_limits(value: str, seconds: float | None) -> None:
    """
    Durations as Go writes them.
    """
    said = retry_after({"x-ratelimit-reset-requests": value}, WALL)

    assert said == (None if seconds is None else pytest.approx(seconds))


def test_only_names_that_begin_so_are_resets() -> None:
    """
    A proxy's own header about somebody else's limit is not the provider's.
    """
    assert retry_after({"proxied-x-ratelimit-reset-requests": "3s"}, WALL) is None


@pytest.mark.parametrize("value", [["2"], 2, None, b"2", object()])
def test_values_that_are_no_strings(value: Any) -> None:
    """
    They say nothing, and break nothing.
    """
    for name in ("retry-after", "retry-after-ms", "x-ratelimit-reset-requests", "date"):
        assert retry_after({name: value}, WALL) is None
    assert 20.0 == retry_after({"retry-after": http_date(WALL + 20), "date": value}, WALL)


TEXTS = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"-?[0-9]{0,400}\.?[0-9]{0,5}(h|m|s|ms)?", fullmatch=True),
    st.builds(
        "{}, {} {} {} {}:{}:{} {}".format,
        st.sampled_from(["Mon", "Sun", "", "Ж"]),
        st.integers(-1, 99),
        st.sampled_from(["Jan", "Feb", "Dec", "0", "Foo"]),
        st.one_of(st.integers(-10, 10_000), st.integers()),
        *[st.integers(-1, 100)] * 3,
        st.sampled_from(["GMT", "-0000", "+2359", "-9999", "+99999999999", "", "XYZ"]),
    ),
    st.datetimes(timezones=st.just(timezone.utc)).map(lambda when: format_datetime(when, usegmt=True)),
    st.datetimes(timezones=st.just(timezone(timedelta(hours=-23)))).map(format_datetime),
)
NAMES = ["retry-after", "retry-after-ms", "date", "x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"]


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), TEXTS), st.floats(-1e12, 1e12))
@example({"retry-after": "Mon, 1"}, 0.0)
@example({"retry-after": "\x00"}, 0.0)
def test_no_header_does_harm(headers: dict[str, str], wall: float) -> None:
    """
    Whatever is said: seconds above 0, an hour at most, or nothing.
    """
    said = retry_after(headers, wall)

    assert said is None or 0 < said <= LONGEST
