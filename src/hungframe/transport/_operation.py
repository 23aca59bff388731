"""
One operation on a socket, in no more time than the client and the guarded call around it allow.

Written once for sync and async code: a generator that yields what it waits for,
and is told whether that has come. The drivers below are all that differs.

The client's own timeout holds from when an operation begins to wait. The
deadline is that of the innermost guarded call, asked for each operation anew.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from hungframe.abort.call import Call, running_call
from hungframe.abort.cut import cut
from hungframe.transport import _waiting
from hungframe.transport._waiting import READ, Waiters

if TYPE_CHECKING:
    import socket

    from hungframe.abort.wire import Wire

T = TypeVar("T")

# An async call is cancelled at its deadline by its guard, which knows more of
# it than an operation does. What escapes that, a task of its own for one, is
# ended by the operation, so many seconds later.
BEHIND = 0.05

# A wait is so many seconds at least, so that a clock which a loop takes for
# coarser than it is does not make it spin.
_LEAST = 0.0005

current_wire: ContextVar[Wire | None] = ContextVar("hungframe_current_wire", default=None)
"""The record of the request in which an operation is made."""

Wait = tuple["socket.socket", str, float | None]
"""The socket, what to wait for, and for how many seconds at most."""


class Errors(NamedTuple):
    """
    What an operation raises: classes of the client's own library.
    """

    timed_out: type[Exception]
    failed: type[Exception]


def operation(
    attempt: Callable[..., T],
    argument: Any,
    sock: socket.socket,
    want: str,
    timeout: float | None,
    errors: Errors,
    behind: float = 0.0,
) -> Generator[Wait, bool, T]:
    """
    Attempt something on a socket until it is done, the time is up, or it fails.

    Args:
        attempt: Tries once; see `_channel` for what it raises where it would block.

        argument: What it is called with.

        sock: What is waited for.

        want: READ or WRITE: what is waited for unless TLS wants the other.

        timeout: The client's own, in seconds; None: no limit.

        errors: What to raise.

        behind: Seconds to leave to the guard for ending the call itself.
    """
    call = running_call()
    # Also where it never waits: a provider that sends without end never lets it.
    if call is not None and call.deadline + behind <= call.limits.clock.now():
        _deadline(call, errors)
    waited_until: float | None = None
    while True:
        try:
            return attempt(argument)
        except ssl.SSLWantReadError:
            wants = READ
        except ssl.SSLWantWriteError:
            wants = _waiting.WRITE
        except (BlockingIOError, InterruptedError):
            wants = want
        except OSError as error:
            raise errors.failed(str(error)) from error
        seconds: float | None = None
        if timeout is not None and timeout < _FOREVER:
            now = time.monotonic()
            if waited_until is None:
                waited_until = now + timeout
            seconds = max(waited_until - now, 0.0)
        is_deadline = False
        if call is not None:
            left = call.deadline + behind - call.limits.clock.now()
            if seconds is None or left < seconds:
                # Infinite where the call has no deadline.
                seconds = max(left, _LEAST) if left < _FOREVER else None
                is_deadline = True
        if not (yield sock, wants, seconds):
            if is_deadline and call is not None:
                _deadline(call, errors)
            raise errors.timed_out(f"no answer from the socket within the client's timeout ({timeout:g} s)")


# Seconds; longer than any wait that a system call takes.
_FOREVER = 1e6


def _deadline(call: Call, errors: Errors) -> None:
    cut(call)
    raise errors.timed_out("the deadline of the guarded call has passed")


def run(operation: Generator[Wait, bool, T]) -> T:
    """
    Run an operation in this thread.
    """
    try:
        sock, want, seconds = next(operation)
        while True:
            sock, want, seconds = operation.send(_waiting.wait(sock, want, seconds))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        operation.close()


async def arun(operation: Generator[Wait, bool, T], waiters: Waiters) -> T:
    """
    Run an operation in this task; it suspends only where it has to wait.
    """
    try:
        sock, want, seconds = next(operation)
        while True:
            sock, want, seconds = operation.send(await waiters.wait(sock, want, seconds))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        operation.close()
