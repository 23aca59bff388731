"""
Which kind of event loop runs the code that asks, and what differs between the two.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any


def in_trio() -> bool:
    """
    Tell whether the code that asks runs in a task of trio.
    """
    trio: Any = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        # Also in guest mode, where an asyncio loop runs around trio.
        return bool(trio.lowlevel.in_trio_task())
    except AttributeError:
        # trio is being imported right now, or is older than the function.
        try:
            trio.lowlevel.current_task()
        except (AttributeError, RuntimeError):
            return False
        return True


async def sleep(seconds: float) -> None:
    """
    Sleep on asyncio or trio.
    """
    if in_trio():
        import trio

        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)
