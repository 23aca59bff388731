"""
A library in which something is missing that is not public is refused when it is imported, not in the middle of a call.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import httpx
import pytest

from hungframe.transport import _faces, _pool


class OldPool:
    """
    The pool of httpcore 1.0.2 and before, as far as it matters.
    """

    _network_backend = None
    _requests: tuple[Any, ...] = ()


class OldTransport:
    def __init__(self, **options: Any) -> None:
        self._pool = OldPool()


def test_an_older_release() -> None:
    """
    It says what is missing, where, and what to install.
    """
    library = ModuleType("httpx")
    library.__version__ = "0.26.0"  # type: ignore[attr-defined]

    with pytest.raises(ImportError) as caught:
        _pool.check_library(library, (OldTransport,), "install httpx 0.27 or newer")

    said = str(caught.value)
    assert "httpx 0.26.0, in which OldTransport has no _assign_requests_to_connections, _connections" in said
    assert said.endswith("install httpx 0.27 or newer")


def test_this_release() -> None:
    """
    The one that is installed has it all.
    """
    _pool.check_library(httpx, (httpx.HTTPTransport, httpx.AsyncHTTPTransport), "install another")


def test_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One that is not installed: the extra that brings it.
    """
    monkeypatch.setitem(sys.modules, "httpx2", None)

    with pytest.raises(ImportError, match=r"pip install 'hungframe\[httpx2\]'"):
        _faces.library("httpx2")
