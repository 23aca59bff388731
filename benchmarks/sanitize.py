"""Say why something failed, in one line that names no path of this machine."""

from __future__ import annotations

import re

_PATH = re.compile(r"\s*\(?['\"]?(?:[A-Za-z]:)?[/\\][^\s'\")]+['\"]?\)?")


def reason(error: BaseException) -> str:
    """Say what *error* is and says, shortened and without paths."""
    # A group, as trio's nurseries raise it, says nothing itself.
    inner: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    if inner:
        return reason(inner[0])
    if isinstance(error, ModuleNotFoundError):
        return f"not installed ({error.name})"
    lines = str(error).splitlines() or [""]
    said = _PATH.sub("", lines[0])[:160]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
