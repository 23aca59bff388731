"""
What cannot be guarded is refused where it is handed over.
"""

from __future__ import annotations

from typing import Any

import pytest

from hungframe import Guard
from tests.guard.test_bad_input import refused


class Plain:
    """
    A class.
    """


@pytest.mark.parametrize("value", [Plain, int, 5, "draw", None, [], Plain(), property(lambda self: 1)])
def test_decorating_what_cannot_be_decorated(value: Any) -> None:
    """
    A class, and what cannot be called are refused with a word of what would do.
    """
    refused(TypeError, "guard", value, lambda: Guard("images")(value))


@pytest.mark.parametrize("value", [5, None, "draw", Plain()])
def test_calling_what_cannot_be_called(value: Any) -> None:
    """
    It is a mistake of the caller's: refused before the guard is asked, and no failure of the provider's.
    """
    guard = Guard("images")

    with pytest.raises(TypeError):
        guard.call(value)

    assert 0 == sum(guard.snapshot().counts.values())
