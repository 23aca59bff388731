"""
A sink that remembers.
"""

from __future__ import annotations

from hungframe.events import Event


class RecordingSink:
    """
    Keep every event, in order. Appending to a list is a single step, so threads may share one.

    >>> from hungframe import Guard
    >>> sink = RecordingSink()
    >>> Guard("images", sinks=[sink]).call(str.upper, "done")
    'DONE'
    >>> sink.names()
    ['gen.request', 'gen.success']
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def names(self) -> list[str]:
        """
        The `evt` of each event.
        """
        return [event.evt for event in self.events]

    def of(self, evt: str) -> list[Event]:
        """
        The events named *evt*.
        """
        return [event for event in self.events if event.evt == evt]

    def clear(self) -> None:
        """
        Forget them.
        """
        self.events.clear()
