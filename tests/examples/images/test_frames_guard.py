"""
The guard on the read path, without a database: what a client may see of a row, and what becomes of the others.
"""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.images.frames.guard import Row, is_shown, part

AT = datetime(2026, 1, 1, tzinfo=timezone.utc)

GOOD = ["/images/1.png", "https://images.example/1.png?sig=a%20b", "http://x", "HTTPS://x/é.png"]
BAD = [
    None,
    "",
    " ",
    "\t",
    "\n",
    "\u00a0",
    "\u2003",
    "\u200b",
    "\ufeff",
    "1.png",
    "null",
    "//elsewhere.example/1.png",
    "http://",
    "https:/x",
    "javascript:alert(1)",
    "data:image/png;base64,",
    "/a b.png",
    " /1.png",
    "/1.png\n",
    "/\x00",
]

white = st.text(" \t\n\r\u00a0\u200b", max_size=3)
urls = st.one_of(st.sampled_from([*GOOD, *BAD]), white, st.text(max_size=8))


@pytest.mark.parametrize("image_url", GOOD)
def test_good_urls_are_shown(image_url: str) -> None:
    """
    Addresses of the web and paths of our own.
    """
    assert is_shown(image_url)


@pytest.mark.parametrize("image_url", BAD)
def test_bad_urls_are_not_shown(image_url: str | None) -> None:
    """
    Nothing, white space of any kind, and what a browser would not load an image from.
    """
    assert not is_shown(image_url)


@settings(deadline=None)
@given(st.lists(urls, max_size=12), st.integers(0, 5))
def test_a_part_is_good_and_nothing_is_left_out(image_urls: list[str | None], limit: int) -> None:
    """
    A part holds the first good rows in order, names each bad one before its end, and none behind it if there is more.
    """
    rows = [Row(number, None, image_url, AT) for number, image_url in enumerate(image_urls, 1)]
    good = [row.id for row in rows if is_shown(row.image_url)]

    found = part(rows, limit)

    assert good[:limit] == [frame.id for frame in found.frames]
    assert all(frame.image_url.strip() and is_shown(frame.image_url) for frame in found.frames)
    assert found.more == (len(good) > limit)
    end = max(good[:limit], default=0) if found.more else len(rows)
    assert [number for number in range(1, end + 1) if number not in good] == list(found.bad)
