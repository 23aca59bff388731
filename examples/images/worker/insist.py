"""
Tell the queue how a job ended, again and again for as long as the job is held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from examples.images.ports import LeaseLostError, NoImageError
from examples.images.worker.pace import Pace
from examples.images.worker.waiting import one_line, within

T = TypeVar("T")

_log = logging.getLogger(__name__)

# With the waits of `Pace.backoff_after` that is about four seconds, and more where the database hangs.
MOST_TRIES = 6


class NotTakenError(Exception):
    """
    The database did not take it in time; its last error is the cause.
    """


async def insist(
    what: str,
    make: Callable[[], Coroutine[Any, Any, T]],
    pace: Pace,
    tries_until: Callable[[], float],
    draw: Callable[[], float],
) -> T:
    """
    Do *make*, and do it again while the database fails.

    Args:
        what: Is done there, for the log: "storing job 7".

        tries_until: Asked before each wait: the instant, on the loop's clock, after which it is not tried again.

    Raises:
        LeaseLostError: If the job is not this worker's any more.

        NoImageError: If the image was found to be none.

        NotTakenError: If it failed time and again, or until that instant.
    """
    clock = asyncio.get_running_loop().time
    for tried in range(1, MOST_TRIES + 1):
        try:
            return await within(pace.store_within, make(), what)
        except (LeaseLostError, NoImageError):
            raise
        except Exception as error:
            seconds = pace.backoff_after(tried, draw())
            if tried == MOST_TRIES or clock() + seconds >= tries_until():
                raise NotTakenError(f"{what} has failed {tried} times; at last: {one_line(error)}") from error
            _log.warning("%s has failed (%s); again in %.2f s", what, one_line(error), seconds)
        await asyncio.sleep(seconds)
    raise AssertionError("the last turn returns or raises")
