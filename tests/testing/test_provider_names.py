"""
How modes are written.
"""

import pytest

from hungframe.testing import provider as package
from hungframe.testing.provider import MODES, HostileProvider


def test_every_mode_is_documented() -> None:
    """
    The package's documentation shows each mode as it is written.
    """
    for usage in MODES:
        assert f"``{usage}``" in str(package.__doc__)


@pytest.mark.parametrize(
    "mode",
    [
        "",
        "sielnt",
        "OK",
        "ok:1",
        "sleep",
        "sleep:soon",
        "sleep:-1",
        "sleep:inf",
        "sleep:nan",
        "sleep:1:2",
        "sleep:",
        "stream",
        "stream:1.5",
        "stream:1:2:3",
        "200",
        "600",
        "429:",
        "429-date",
        "<4xx or 5xx>",
        " ok",
    ],
)
def test_unknown_mode_is_refused_at_once(mode: str) -> None:
    """
    The error names the value and every mode there is.
    """
    with pytest.raises(ValueError, match="mode must be one of ok, ") as caught:
        HostileProvider(["ok", mode])

    assert f"got {mode!r}" in str(caught.value)
    for usage in MODES:
        assert usage in str(caught.value)
