"""
Names as a page shows them: no key and no address, whatever stands around it, and no time spent on it.
"""

from __future__ import annotations

import time

import pytest

from hungframe.health.names import shown


@pytest.mark.parametrize(
    "name, as_shown",
    [
        ("images[sk-proj-4f9a8b7c6d5e4f3a2b1c]", "images[sk-...b8d3]"),
        ("openai-images[us-central1-a/gpt-image-1]", "openai-images[us-central1-a/gpt-image-1]"),
        ("images[aVeryLongNameWithoutAnyDigit]", "images[aVeryLongNameWithoutAnyDigit]"),
        ("images[20260131000000000000]", "images[20260131000000000000]"),
        ("images @ home", "images @ home"),
    ],
)
def test_what_is_shown(name: str, as_shown: str) -> None:
    """
    Only what looks like a key is made short.
    """
    assert as_shown == shown(name)


@pytest.mark.parametrize("around", ["{}", "eu/{}", "user={}&x", "[{}]", "é-{}", "a@b.example+{}", "{}@{}"])
@pytest.mark.parametrize("secret", ["4f9a8b7c6d5e4f3a2b1c", "jane.doe@example.org"])
def test_what_is_hidden(around: str, secret: str) -> None:
    """
    A key or an address is not shown, whatever stands beside it.
    """
    told = shown(around.replace("{}", secret))

    assert secret not in told and "8b7c" not in told and "doe" not in told and "example.org" not in told


@pytest.mark.parametrize("piece", ["x", "1", "x1", "x.", "a@", "@", "x-", "=~/"])
def test_long_names_take_no_time(piece: str) -> None:
    """
    A key of a set may be as long as somebody likes who sends it: 100,000 characters are read in a moment.
    """
    begun_at = time.process_time()
    shown(f"images[{piece * (100_000 // len(piece))}]")

    assert time.process_time() - begun_at < 1.0
