"""
Where a callee hangs: file, line and function of its innermost frames, and no values.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any

# Innermost frames told; more is a traceback, not an answer.
_MOST_FRAMES = 5

# A chain of awaits longer than this is a loop.
_LONGEST_CHAIN = 200


def of_awaitable(awaitable: Any, waits_for: Any = None) -> str:
    """
    Follow the awaits of a suspended coroutine down to where it waits.

    Args:
        awaitable: A coroutine, or what it was found to wait for.

        waits_for: What it has yielded to the event loop; a task is followed further.
    """
    frames: list[tuple[CodeType, int]] = []
    for _ in range(_LONGEST_CHAIN):
        if awaitable is None:
            if waits_for is None:
                break
            awaitable, waits_for = _coroutine_of(waits_for), None
            continue
        frame = _first(awaitable, "cr_frame", "gi_frame", "ag_frame")
        if isinstance(frame, FrameType):
            frames.append((frame.f_code, frame.f_lineno))
        awaitable = _first(awaitable, "cr_await", "gi_yieldfrom", "ag_await")
    return _tell(reversed(frames))


def of_thread(ident: int | None, stop_at: CodeType | None = None) -> str:
    """
    Read the stack of a thread, innermost first, down to the frame of *stop_at*.
    """
    # The one way to another thread's stack; documented, in spite of its name.
    stacks = sys._current_frames()  # pyright: ignore[reportPrivateUsage]
    frame = stacks.get(ident) if ident is not None else None
    frames: list[tuple[CodeType, int]] = []
    while frame is not None and frame.f_code is not stop_at and len(frames) < _MOST_FRAMES:
        frames.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return _tell(frames)


def _coroutine_of(waits_for: Any) -> Any:
    """
    The coroutine behind a task, or behind the first unfinished child of a gather.
    """
    for child in getattr(waits_for, "_children", ()):
        if not child.done():
            waits_for = child
            break
    get_coro = getattr(waits_for, "get_coro", None)
    return get_coro() if get_coro is not None else None


def _first(thing: Any, *names: str) -> Any:
    for name in names:
        found = getattr(thing, name, None)
        if found is not None:
            return found
    return None


def _tell(frames: Any) -> str:
    innermost = list(frames)[:_MOST_FRAMES]
    return " < ".join(f"{_short(code.co_filename)}:{line} in {code.co_name}" for code, line in innermost)


def _short(path: str) -> str:
    """
    The last two parts of a path, which tell `asyncio/tasks.py` from `app/tasks.py`.
    """
    return "/".join(path.replace("\\", "/").split("/")[-2:])
