"""
The switch that turns a breaker's rejections off without a redeploy of code.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

VARIABLE = "GEN_BREAKER_ENABLED"

Enabled = bool | Callable[[], bool] | None

_logger = logging.getLogger("hungframe")

_WORDS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
    "": True,
}

# Values that nobody can read were told of once.
_told: set[str] = set()


def read(enabled: Enabled) -> bool:
    """
    Tell whether the breaker may refuse.

    Args:
        enabled: True or False; a function that is asked now; None reads the
            environment variable GEN_BREAKER_ENABLED now.

    Raises:
        Exception: What the function raises.
    """
    if enabled is None:
        return _from_environment()
    if isinstance(enabled, bool):
        return enabled
    return bool(enabled())


def _from_environment() -> bool:
    value = os.environ.get(VARIABLE)
    if value is None:
        return True
    word = _WORDS.get(value.strip().lower())
    if word is not None:
        return word
    if value not in _told:
        _told.add(value)
        _logger.warning("%s must be true or false, got %r; the breaker stays on", VARIABLE, value)
    return True
