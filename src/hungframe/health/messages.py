"""
A request and its reply, as both servers know them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

MOST_BODY = 4096
"""Bytes of a request's body that are read; the page's form has 200."""


@dataclass(frozen=True)
class Request:
    """
    One request; *path* is relative to where the page is mounted, and empty for the mount without a slash.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes = b""
    root: str = ""
    """Where the page is mounted."""
    client: str = ""
    """The address that it came from."""
    secure: bool = False


@dataclass(frozen=True)
class Reply:
    """
    What is answered; a stream has no body of its own, its server writes the feed's messages.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: bytes = b""
    is_stream: bool = False


def json_reply(status: int, content: object) -> Reply:
    """
    Answer with a JSON object.
    """
    return Reply(status, [("Content-Type", "application/json")], json.dumps(content).encode())
