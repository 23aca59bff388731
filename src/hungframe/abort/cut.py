"""
How a guarded transport ends a call at its deadline.

A transport that has ended an operation because the call's time was up says so
here: the guard then knows that it was the deadline, whatever error the client
makes of it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hungframe.abort import asyncio_driver, where
from hungframe.abort.wire import freeze

if TYPE_CHECKING:
    from hungframe.abort.call import Call


def cut(call: Call) -> None:
    """
    Tell that an operation below *call* was ended because its deadline has passed.
    """
    if call.aborting or call.ended:
        return
    if call.lane is not None:
        asyncio_driver.disturb(call)
    call.aborting = call.disturbed = True
    call.where = where.of_stack(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
    freeze(call)
