"""
Optional dependencies, and what to do where one is missing.
"""

from __future__ import annotations

import importlib
from typing import Any


def needed(module: str, *, extra: str) -> Any:
    """
    Import *module*, which the extra *extra* installs.

    Raises:
        ImportError: If it is missing; it says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            # It is there, and something that it needs is not.
            raise
        raise ImportError(
            f"this sink needs {module.partition('.')[0]}, which is not installed; "
            f"`pip install 'hungframe[{extra}]'` brings it",
            name=error.name,
        ) from error
