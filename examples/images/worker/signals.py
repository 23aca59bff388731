"""
The first signal asks for an end, the second one insists.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator, Sequence

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def stop_at_signals(
    signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
) -> Iterator[asyncio.Event]:
    """
    Give an event that the first signal sets; the second one cancels the block, which is left without an error then.

    For the main thread, in a running asyncio loop. Where the platform's loop takes no signal handlers (Windows) it
    raises NotImplementedError.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    stop = asyncio.Event()
    insisted = False

    def on_signal(number: signal.Signals) -> None:
        nonlocal insisted
        if not stop.is_set():
            _log.info("%s: no new jobs, the running ones may end; once more to give them back at once", number.name)
            stop.set()
        elif not insisted:
            _log.info("%s again: the running jobs are given back", number.name)
            insisted = True
            task.cancel()

    installed: list[signal.Signals] = []
    try:
        for number in signals:
            loop.add_signal_handler(number, on_signal, number)
            installed.append(number)
        yield stop
    except asyncio.CancelledError:
        if not insisted:
            raise
        # From 3.11 on a task counts who cancelled it: this one is answered.
        if hasattr(task, "uncancel"):
            task.uncancel()
    finally:
        for number in installed:
            loop.remove_signal_handler(number)
