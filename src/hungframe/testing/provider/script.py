"""
Which mode comes next.

A script is used on the server's thread only; to change the play, it is
replaced by another one.
"""

from __future__ import annotations

from collections.abc import Iterable

from .modes import Mode


class Script:
    """
    Hand out modes in order, and the last one again and again.
    """

    def __init__(self, modes: str | Iterable[str]) -> None:
        texts = [modes] if isinstance(modes, str) else list(modes)
        if not texts:
            raise ValueError("a script must have at least one mode, got none")
        self._modes = [Mode.parse(text) for text in texts]
        self._next = 0

    @property
    def begins_at_connection(self) -> bool:
        """
        Tell whether the next mode must be met by a new connection.
        """
        return self._modes[self._next].at_connection

    def take(self) -> Mode:
        """
        Take the next mode, for one request.
        """
        mode = self._modes[self._next]
        self._next = min(self._next + 1, len(self._modes) - 1)
        return mode

    def take_at_connection(self) -> Mode | None:
        """
        Take the next mode if it is one for a connection just accepted.
        """
        return self.take() if self.begins_at_connection else None
