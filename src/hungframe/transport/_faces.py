"""
What the two modules of clients ask before they stand.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from hungframe.transport._carrier import Carrier


def library(name: str) -> ModuleType:
    """
    Import an optional HTTP library.

    Raises:
        ImportError: If it is not installed, with the extra that brings it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"hungframe.transport.{name} needs {name}, which is not installed: pip install 'hungframe[{name}]'"
        ) from error


def checked_transport(transport: object, kind: type, options: dict[str, Any]) -> None:
    """
    Make sure that *transport* is one of the library's, and stands alone.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(transport, kind):
        told = f"transport must be a {_library_of(kind)}.{kind.__name__}, got {transport!r}"
        theirs = _library_of(type(transport))
        if theirs not in (None, _library_of(kind)):
            told += f"; that is what hungframe.transport.{theirs} is for (pip install 'hungframe[{theirs}]')"
        raise TypeError(told)
    if options:
        raise TypeError(f"{', '.join(options)} would make a transport, and one was given: set it there")


def _library_of(kind: type) -> str | None:
    """
    The library whose transport a class is; not by its module's name, which SDKs change.
    """
    for name in ("httpx", "httpx2"):
        found = sys.modules.get(name)
        if found is not None and issubclass(kind, (found.BaseTransport, found.AsyncBaseTransport)):
            return name
    return None


def guarded(client: Any, wrap: Any, kind: type) -> None:
    """
    Put a guarded transport around each that a client has made or was given, those of its proxies and mounts included.
    """
    missing = [name for name in ("_transport", "_mounts") if not hasattr(client, name)]
    if missing:
        raise RuntimeError(f"hungframe.transport does not know this release: its client has no {', '.join(missing)}")
    client._transport = _around(client._transport, wrap, kind)
    client._mounts = {
        pattern: None if transport is None else _around(transport, wrap, kind)
        for pattern, transport in client._mounts.items()
    }


def _around(transport: Any, wrap: Any, kind: type) -> Any:
    if isinstance(transport, Carrier):
        return transport
    checked_transport(transport, kind, {})
    return wrap(transport)
