"""
Looks at a page again and again, in a thread, while the screen is redrawn; a page that hangs holds up no clock.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import sleep as wait
from types import FrameType
from typing import Any

from rich.console import Console
from rich.live import Live

from hungframe.cli.top.asking import HealthPage, NoAnswerError
from hungframe.cli.top.reading import Reading, read
from hungframe.cli.top.screen import Scene

_REDRAW_EVERY = 0.25


class Watch:
    """
    What is known of a page.

    Args:
        page: Who is asked.

        interval: Seconds between two questions.
    """

    def __init__(self, page: HealthPage, interval: float) -> None:
        self._page = page
        self._interval = interval
        self.changed = threading.Event()
        self.document: dict[str, Any] | None = None
        self.error: NoAnswerError | None = None
        self._known: tuple[Reading, float] | None = None
        self._away_since = 0.0

    def ask(self) -> None:
        """
        Ask once.
        """
        began = time.time()
        try:
            document = self._page.ask()
        except NoAnswerError as error:
            if self.error is None:
                self._away_since = began
            self.document, self.error = None, error
        else:
            self._known = read(document), time.monotonic()
            self.document, self.error = document, None
        self.changed.set()

    def ask_on(self) -> None:
        """
        Ask for as long as the process lives.
        """
        while True:
            next_at = time.monotonic() + self._interval
            self.ask()
            wait(max(0.0, next_at - time.monotonic()))

    def scene(self) -> Scene:
        """
        How it looks now.
        """
        known, error = self._known, self.error
        return Scene(
            url=self._page.shown,
            reading=None if known is None else known[0],
            age=0.0 if known is None else time.monotonic() - known[1],
            now=time.time(),
            away=None if error is None else str(error),
            away_since=self._away_since,
        )


def watch(page: HealthPage, interval: float, *, once: bool, as_json: bool) -> int:
    """
    Show *page* until somebody presses Ctrl-C, or once.

    Returns:
        The exit code: 0, or 1 where there is nothing to show.
    """
    console = Console(highlight=False)
    watch = Watch(page, interval)
    with _ends_by_signal():
        try:
            if once or as_json or not console.is_terminal or console.is_dumb_terminal:
                return _write(watch, interval, once, _as_line if as_json else lambda watch: _as_text(watch, console))
            return _show(watch, console)
        except KeyboardInterrupt:
            # How one leaves what would go on for ever.
            return 0


def _write(watch: Watch, interval: float, once: bool, written: Callable[[Watch], str]) -> int:
    """
    Write each look below the last.
    """
    is_first = True
    while True:
        next_at = time.monotonic() + interval
        watch.ask()
        if watch.error is None:
            sys.stdout.write(written(watch))
            sys.stdout.flush()
        else:
            print(f"hungframe top: {watch.scene().url}: {watch.error}", file=sys.stderr, flush=True)
            if once or (is_first and watch.error.is_lasting):
                return 1
        if once:
            return 0
        is_first = False
        wait(max(0.0, next_at - time.monotonic()))


def _as_line(watch: Watch) -> str:
    return json.dumps(watch.document, separators=(",", ":")) + "\n"


def _as_text(watch: Watch, console: Console) -> str:
    with console.capture() as told:
        console.print(watch.scene())
    # rich fills lines up with spaces, which in a file or a pipe are only in the way.
    return "".join(line.rstrip() + "\n" for line in told.get().splitlines()) + "\n"


def _show(watch: Watch, console: Console) -> int:
    """
    Redraw the screen, until it is left.
    """
    threading.Thread(target=watch.ask_on, name="hungframe top", daemon=True).start()
    # What is answered at once is seen at once, and a slip in the URL needs no screen.
    watch.changed.wait(_REDRAW_EVERY)
    if not _is_slip(watch):
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not _is_slip(watch):
                watch.changed.clear()
                live.update(watch.scene(), refresh=True)
                watch.changed.wait(_REDRAW_EVERY)
    print(f"hungframe top: {watch.scene().url}: {watch.error}", file=sys.stderr)
    return 1


def _is_slip(watch: Watch) -> bool:
    """
    Tell whether the first answer says that there will never be a page.
    """
    return watch.scene().reading is None and watch.error is not None and watch.error.is_lasting


@contextmanager
def _ends_by_signal() -> Generator[None, None, None]:
    """
    Leave by SIGTERM and SIGHUP as by an exception, so that the terminal is given back as it was.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
