"""
What a caller can catch: rejected (the callee never ran), or past the deadline (it ran and did not finish).
"""

from __future__ import annotations

from typing import Any, Protocol

from hungframe.wire import WireReport

__all__ = [
    "BudgetExhaustedError",
    "BulkheadFullError",
    "CallRejectedError",
    "CallTimeoutError",
    "CircuitOpenError",
    "HungframeError",
    "RemoteError",
    "ResponseTooLargeError",
    "TooManyOrphansError",
    "WorkerDiedError",
]


class Receipt(Protocol):
    """What became of an aborted callee, as far as is known when asked."""

    @property
    def state(self) -> str:
        """Tell `clean`, `late` or `orphan`."""
        ...


def _seconds(seconds: float) -> str:
    """
    A duration as a person writes it.
    """
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"


class HungframeError(Exception):
    """
    The base of what hungframe raises about a call.

    >>> isinstance(CircuitOpenError("images"), HungframeError), isinstance(TimeoutError(), HungframeError)
    (True, False)
    """

    guard: str
    """Name of the guard."""


class CallTimeoutError(HungframeError, TimeoutError):
    """
    The callee ran and had not finished at its deadline.

    Args:
        guard: Name of the guard.

        timeout: Seconds that the call was given.

        elapsed: Seconds until the caller was back.

        receipt: What became of the callee, see `receipt`.

        phase: Where a guarded transport was: `connect`, `tls`, `write`,
            `headers`, `body`; None where no such transport carried the call,
            or where it had no connection yet. Taken from *wire*, if given.

        wire: How far a guarded transport had come; None where none carried
            the call.

        where: The callee's innermost frames at the deadline.

        missing: What did not come within *timeout*: `answer`, or of a stream
            its `first item` or the `next item`.

    >>> print(CallTimeoutError(guard="images", timeout=60.0, elapsed=60.25, receipt="orphan"))
    guard 'images': no answer within 60 s; callee abandoned and still running
    """

    def __init__(
        self,
        *,
        guard: str,
        timeout: float,
        elapsed: float,
        receipt: Receipt | str = "clean",
        phase: str | None = None,
        where: object = "",
        wire: WireReport | None = None,
        missing: str = "answer",
    ) -> None:
        self.guard = guard
        self.timeout = timeout
        self.elapsed = elapsed
        self.phase = phase if wire is None else wire.phase
        self.wire = wire
        self.missing = missing
        self._where = where
        self._receipt = receipt
        super().__init__()

    @property
    def receipt(self) -> str:
        """
        `clean`: the callee had ended when the caller came back. `late`: it was abandoned, and has ended
        since. `orphan`: it was abandoned, and still runs. Asked again later, an orphan may have become late.
        """
        receipt = self._receipt
        return receipt if isinstance(receipt, str) else receipt.state

    @property
    def where(self) -> str:
        """
        The callee's innermost frames at the deadline: file, line and function, and no values.
        """
        return str(self._where)

    def __str__(self) -> str:
        told = f"guard {self.guard!r}: no {self.missing} within {_seconds(self.timeout)}"
        if self.wire is not None:
            told += f" ({self.wire})"
        receipt = self.receipt
        if receipt == "orphan":
            told += "; callee abandoned and still running"
        elif receipt == "late":
            told += "; callee abandoned"
        return f"{told}; it hung in {self.where}" if self.where else told

    def __repr__(self) -> str:
        return f"{type(self).__name__}(guard={self.guard!r}, timeout={self.timeout!r}, receipt={self.receipt!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_timeout, (
            type(self),
            self.guard,
            self.timeout,
            self.elapsed,
            self.receipt,
            self.phase,
            self.where,
            self.wire,
            self.missing,
        )


def _restore_timeout(
    cls: type[CallTimeoutError],
    guard: str,
    timeout: float,
    elapsed: float,
    receipt: str,
    phase: str | None,
    where: str,
    wire: WireReport | None,
    missing: str,
) -> CallTimeoutError:
    return cls(
        guard=guard,
        timeout=timeout,
        elapsed=elapsed,
        receipt=receipt,
        phase=phase,
        where=where,
        wire=wire,
        missing=missing,
    )


class CallRejectedError(HungframeError):
    """
    The guard refused; the callee never ran.

    Args:
        guard: Name of the guard.

        retry_after: Seconds until it is worth asking again; None where no
            time can be named.

    >>> from hungframe import Guard
    >>> guard = Guard("images")
    >>> guard.force_open()
    >>> try:
    ...     guard.call(str.upper, "a cat")
    ... except CallRejectedError as error:
    ...     print(error)
    guard 'images': circuit is open
    """

    _because = "call refused"

    def __init__(self, guard: str, retry_after: float | None = None) -> None:
        # Exception.__new__ has kept the arguments, for pickling.
        self.guard = guard
        self.retry_after = retry_after

    def __str__(self) -> str:
        told = f"guard {self.guard!r}: {self._because}"
        # An infinite wait is one that asking again does not end.
        if self.retry_after is None or self.retry_after == float("inf"):
            return told
        return f"{told}; retry in {_seconds(self.retry_after)}"


class CircuitOpenError(CallRejectedError):
    """
    The circuit breaker is open, or half-open with its probe taken.

    >>> print(CircuitOpenError("images", retry_after=41.2))
    guard 'images': circuit is open; retry in 41.2 s
    """

    _because = "circuit is open"


class BudgetExhaustedError(CallRejectedError):
    """
    The budget has no token left, or calls are paused, with a budget or without; with `on_empty="wait"`, no token comes
    in time.

    Args:
        guard: Name of the guard.

        retry_after: Seconds until so many tokens are there, or the pause is over.

        paused: Whether it is a pause: the provider has answered 429, or somebody has called `Guard.pause`.

    >>> print(BudgetExhaustedError("images", retry_after=12.0))
    guard 'images': budget is exhausted; retry in 12 s
    """

    def __init__(self, guard: str, retry_after: float | None = None, paused: bool = False) -> None:
        super().__init__(guard, retry_after)
        self.paused = paused

    @property
    def _because(self) -> str:  # type: ignore[override]  # A constant in the others.
        return "calls are paused, after a 429 or by hand" if self.paused else "budget is exhausted"


class BulkheadFullError(CallRejectedError):
    """
    As many calls are in flight as the bulkhead admits, and the queue is full, or no slot came free in time, or a more
    important call took the place in it. `retry_after` is None: nobody knows when a call will end.

    >>> from hungframe import Guard
    >>> guard = Guard("images", bulkhead=1)
    >>> with guard.acquire():
    ...     guard.acquire()
    Traceback (most recent call last):
    hungframe.errors.BulkheadFullError: guard 'images': bulkhead is full
    """

    _because = "bulkhead is full"


class TooManyOrphansError(CallRejectedError):
    """
    As many abandoned callees still run as the guard tolerates (`max_orphans`). `retry_after` is None.

    >>> print(TooManyOrphansError("images"))
    guard 'images': too many abandoned calls still run
    """

    _because = "too many abandoned calls still run"


class ResponseTooLargeError(HungframeError):
    """
    A response was larger than a guarded client takes; the connection was closed.

    Args:
        guard: Name of the guard in the client; empty where it has none.

        limit: The client's `max_response_bytes`.

        announced: The response's Content-Length where that was too large already; None where more bytes came.

    >>> print(ResponseTooLargeError("", limit=1000, announced=5000))
    a response of 5,000 bytes is over max_response_bytes (1,000); give the client more, or None for no limit
    """

    def __init__(self, guard: str, limit: int, announced: int | None = None) -> None:
        # Exception.__new__ has kept the arguments, for pickling.
        self.guard = guard
        self.limit = limit
        self.announced = announced

    def __str__(self) -> str:
        whose = f"guard {self.guard!r}: " if self.guard else ""
        size = (
            "the response is larger than"
            if self.announced is None
            else f"a response of {self.announced:,} bytes is over"
        )
        return f"{whose}{size} max_response_bytes ({self.limit:,}); give the client more, or None for no limit"


class WorkerDiedError(HungframeError):
    """
    The worker process that ran the callee has died, and not by its deadline.

    Args:
        guard: Name of the guard.

        callee: Name of the callee.

        exit_code: Of the process; negative for the signal that killed it.

        signal: Name of that signal; None where none did.

        began: Whether the callee had begun.

    >>> print(WorkerDiedError("images", "resize", -11, "SIGSEGV"))
    guard 'images': the worker process was killed by SIGSEGV while it ran resize
    """

    def __init__(
        self, guard: str, callee: str, exit_code: int, signal: str | None = None, *, began: bool = True
    ) -> None:
        self.guard = guard
        self.callee = callee
        self.exit_code = exit_code
        self.signal = signal
        self.began = began
        super().__init__()

    def __str__(self) -> str:
        how = f"exited with {self.exit_code}" if self.signal is None else f"was killed by {self.signal}"
        if self.signal == "SIGKILL":
            how += " (by somebody else, or for want of memory)"
        when = f"while it ran {self.callee}" if self.began else f"before it could run {self.callee}"
        return f"guard {self.guard!r}: the worker process {how} {when}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_died, (type(self), self.guard, self.callee, self.exit_code, self.signal, self.began)


def _restore_died(
    cls: type[WorkerDiedError], guard: str, callee: str, exit_code: int, signal: str | None, began: bool
) -> WorkerDiedError:
    return cls(guard, callee, exit_code, signal, began=began)


class RemoteError(HungframeError):
    """
    The callee raised an exception in its worker process that could not be brought back.

    Args:
        guard: Name of the guard.

        callee: Name of the callee.

        error: Name of the exception's class.

        text: What it said.

        reason: Why it could not be brought back.

        status_code: Its `status_code`, if it had one, so that its outcome is known.

    >>> print(RemoteError("images", "resize", "Odd", "too odd", "it holds a lock"))
    guard 'images': resize raised Odd: too odd; the exception itself cannot be pickled (it holds a lock)
    """

    def __init__(
        self, guard: str, callee: str, error: str, text: str, reason: str, status_code: int | None = None
    ) -> None:
        self.guard = guard
        self.callee = callee
        self.error = error
        self.text = text
        self.reason = reason
        self.status_code = status_code

    def __str__(self) -> str:
        return (
            f"guard {self.guard!r}: {self.callee} raised {self.error}: {self.text}; "
            f"the exception itself cannot be pickled ({self.reason})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.guard, self.callee, self.error, self.text, self.reason, self.status_code)
