"""
Where a callee hangs: file, line and function of its innermost frames, and no values.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, TracebackType
from typing import Any

# Innermost frames told; more is a traceback, not an answer. The outermost, the
# callee's own, is told as well.
_MOST_FRAMES = 4

# A chain of awaits longer than this is a loop.
_LONGEST_CHAIN = 200


class Where:
    """
    A place in the code; written out when somebody reads it, since a thousand calls may be aborted in one tick.
    """

    __slots__ = ("_frames",)

    def __init__(self, frames: list[tuple[CodeType, int]]) -> None:
        # Innermost first. Code and lines, and no frames, which would keep
        # every value of the callee alive.
        self._frames = frames

    def __str__(self) -> str:
        told = [f"{_short(code.co_filename)}:{line} in {code.co_name}" for code, line in self._frames]
        if len(told) > _MOST_FRAMES + 2:
            told[_MOST_FRAMES:-1] = ["..."]
        return " < ".join(told)


NOWHERE = Where([])


def frames_of(awaitable: Any, waits_for: Any = None) -> Iterator[FrameType]:
    """
    Follow the awaits of a suspended coroutine down to where it waits, outermost first.

    Args:
        awaitable: A coroutine, or what it was found to wait for.

        waits_for: What it has yielded to the event loop; a task is followed further.
    """
    return frames_in(links_of(awaitable, waits_for))


def frames_in(links: Iterable[Any]) -> Iterator[FrameType]:
    """
    The frames of a chain of awaits; what has ended has none.
    """
    for link in links:
        frame = _first(link, "cr_frame", "gi_frame", "ag_frame")
        if isinstance(frame, FrameType):
            yield frame


def links_of(awaitable: Any, waits_for: Any = None) -> Iterator[Any]:
    """
    The chain of awaits itself: coroutines and generators, outermost first.
    """
    for _ in range(_LONGEST_CHAIN):
        if awaitable is None:
            if waits_for is None:
                return
            awaitable, waits_for = _coroutine_of(waits_for)
            continue
        yield awaitable
        if type(awaitable) is CoroutineType:
            awaitable = awaitable.cr_await
        elif type(awaitable).__name__ in STEPS:
            # A step of an async generator tells its generator to the garbage
            # collector only.
            referents = gc.get_referents(awaitable)
            awaitable = next((each for each in referents if isinstance(each, AsyncGeneratorType)), None)
        else:
            awaitable = _first(awaitable, "gi_yieldfrom", "ag_await", "cr_await")


STEPS = frozenset({"async_generator_asend", "async_generator_athrow"})
"""What awaits an async generator, by the names of their types, which Python keeps to itself."""


def of_frames(frames: list[FrameType]) -> Where:
    """
    The place that the last of these *frames* is at.
    """
    # What of hungframe lies around the callee, or below it, hangs nowhere by itself.
    theirs = [frame for frame in frames if not frame.f_code.co_filename.startswith(_OURS)]
    return Where([(frame.f_code, frame.f_lineno) for frame in reversed(theirs)])


def of_stack(frame: FrameType | None) -> Where:
    """
    The place that the running code is at, from *frame* out to the guard around it.
    """
    frames: list[tuple[CodeType, int]] = []
    while frame is not None and len(frames) < _LONGEST_CHAIN:
        path = frame.f_code.co_filename
        if path in _GUARDS:
            break
        if not path.startswith(_OURS):
            frames.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return Where(frames)


def of_traceback(traceback: TracebackType | None) -> Where:
    """
    The place that an exception came from.
    """
    frames: list[tuple[CodeType, int]] = []
    while traceback is not None:
        frames.append((traceback.tb_frame.f_code, traceback.tb_lineno))
        traceback = traceback.tb_next
    return Where(frames[::-1])


def frame_of(ident: int | None) -> FrameType | None:
    """
    The innermost frame of a thread; None if it has ended.
    """
    # CPython 3.11 (seen on 3.11.7) looks at all threads under a lock of its
    # own; if the garbage collector comes by then, and a `__del__` lets another
    # thread run that begins or ends a third one, all of them wait for ever
    # (gh-106883). Later releases of 3.11 switch the collector off there, too.
    with _one_at_a_time:
        collecting = gc.isenabled()
        gc.disable()
        try:
            # The one way to another thread's stack; documented, in spite of
            # its name. Not kept: it has this very frame in it, too, which
            # would make a cycle.
            return sys._current_frames().get(ident or 0)  # pyright: ignore[reportPrivateUsage]
        finally:
            if collecting:
                gc.enable()


# So that nobody takes the collector for switched off by the user.
_one_at_a_time = threading.Lock()


def _after_fork() -> None:
    global _one_at_a_time
    # Another thread may have held it, and will never release it here.
    _one_at_a_time = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def of_thread(ident: int | None, stop_at: CodeType | None = None) -> Where:
    """
    The place that a thread is at, down to the frame of *stop_at*.
    """
    frame = frame_of(ident)
    frames: list[tuple[CodeType, int]] = []
    while frame is not None and frame.f_code is not stop_at and len(frames) < _LONGEST_CHAIN:
        # What of hungframe lies around the callee hangs nowhere.
        if not frame.f_code.co_filename.startswith(_OURS):
            frames.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return Where(frames)


_SOURCE = os.path.dirname(os.path.dirname(__file__))
_OURS = (os.path.join(_SOURCE, "abort", ""), os.path.join(_SOURCE, "transport", ""))
# Where a guard calls its callee.
_GUARDS = frozenset(
    os.path.join(_SOURCE, *place) for place in (("wrapping.py",), ("abort", "steps.py"), ("abort", "threads.py"))
)


def _coroutine_of(waits_for: Any) -> tuple[Any, Any]:
    """
    The coroutine behind a task, or behind the first unfinished child of a gather, and what that waits for.
    """
    for child in getattr(waits_for, "_children", ()):
        if not child.done():
            waits_for = child
            break
    get_coro = getattr(waits_for, "get_coro", None)
    return (get_coro(), getattr(waits_for, "_fut_waiter", None)) if get_coro is not None else (None, None)


def _first(thing: Any, *names: str) -> Any:
    for name in names:
        found = getattr(thing, name, None)
        if found is not None:
            return found
    return None


def _short(path: str) -> str:
    """
    A path from its package on, or its last two parts: `httpcore/_async/http11.py`, `app/images.py`.
    """
    path = path.replace("\\", "/")
    for library in _LIBRARIES:
        _, found, rest = path.rpartition(library)
        if found:
            return rest
    return "/".join(path.split("/")[-2:])


_LIBRARIES = ("/site-packages/", f"/python{sys.version_info.major}.{sys.version_info.minor}/")
