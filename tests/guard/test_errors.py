"""
What a caller can catch, read, log and send to another process (semantics 6).
"""

from __future__ import annotations

import copy
import math
import pickle

import pytest

from hungframe import (
    BudgetExhaustedError,
    BulkheadFullError,
    CallRejectedError,
    CallTimeoutError,
    CircuitOpenError,
    Guard,
    HungframeError,
    TokenBucket,
    TooManyOrphansError,
)
from hungframe.testing import VirtualClock, hostile, run_virtual
from tests.guard.fakes import Backend, about, on_each_backend, opened_guard, sleeps

REJECTIONS = [CallRejectedError, CircuitOpenError, BudgetExhaustedError, BulkheadFullError, TooManyOrphansError]


def timeout_error(receipt: str = "clean", timeout: float = 0.8) -> CallTimeoutError:
    """
    An error as a guard makes it.
    """
    return CallTimeoutError(
        guard="payments", timeout=timeout, elapsed=0.81, receipt=receipt, phase="headers", where="app/pay.py:7 in pay"
    )


# -- hierarchy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", REJECTIONS)
def test_each_rejection_is_caught_as_one(kind: type[CallRejectedError]) -> None:
    """
    Whoever does not care which of them refused catches `CallRejectedError`; none of them is a timeout.
    """
    assert issubclass(kind, HungframeError)
    assert CallRejectedError in kind.__mro__
    assert not issubclass(kind, TimeoutError)


def test_timeout_is_a_timeout_error() -> None:
    """
    Code that knows nothing of hungframe catches it as `TimeoutError`; it is no rejection, since the callee ran.
    """
    assert issubclass(CallTimeoutError, HungframeError) and issubclass(CallTimeoutError, TimeoutError)
    assert not issubclass(CallTimeoutError, CallRejectedError)


# -- pickling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", REJECTIONS)
@pytest.mark.parametrize("retry_after", [4.2, None, math.inf])
def test_rejection_survives_pickling(kind: type[CallRejectedError], retry_after: float | None, protocol: int) -> None:
    """
    Class, message and attributes are what they were.
    """
    error = kind("payments", retry_after)

    again = pickle.loads(pickle.dumps(error, protocol))

    assert (kind, str(error), "payments", retry_after) == (type(again), str(again), again.guard, again.retry_after)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("receipt", ["clean", "late", "orphan"])
def test_timeout_survives_pickling(receipt: str, protocol: int) -> None:
    """
    Class, message and attributes are what they were.
    """
    error = timeout_error(receipt)

    again = pickle.loads(pickle.dumps(error, protocol))

    assert (CallTimeoutError, str(error)) == (type(again), str(again))
    for name in ("guard", "timeout", "elapsed", "receipt", "phase", "where"):
        assert getattr(error, name) == getattr(again, name)


def test_pickled_orphan_keeps_the_receipt_of_its_time() -> None:
    """
    An error of an orphan can be pickled, although its receipt goes on changing here.
    """
    guard = Guard("payments", timeout=0.02, grace=0.01)
    with pytest.raises(CallTimeoutError) as aborted:
        guard.call(hostile.blocks, 0.2)

    again = pickle.loads(pickle.dumps(aborted.value))

    assert "orphan" == again.receipt
    assert aborted.value.where == again.where


@pytest.mark.parametrize("error", [timeout_error(), CircuitOpenError("payments", 4.2)])
def test_error_can_be_copied(error: HungframeError) -> None:
    """
    `copy` and `deepcopy` make an error that says the same.
    """
    for again in (copy.copy(error), copy.deepcopy(error)):
        assert (type(error), str(error)) == (type(again), str(again))


class PaymentsDownError(CircuitOpenError):
    """
    A user's own.
    """


def test_subclass_of_the_user_survives_pickling() -> None:
    """
    A user's subclass is restored as itself.
    """
    assert PaymentsDownError is type(pickle.loads(pickle.dumps(PaymentsDownError("payments", 1.0))))


# -- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CircuitOpenError("payments", 4.2), "guard 'payments': circuit is open; retry in 4.2 s"),
        (BudgetExhaustedError("payments", 60.0), "guard 'payments': budget is exhausted; retry in 60 s"),
        (BudgetExhaustedError("payments", 3600.0), "guard 'payments': budget is exhausted; retry in 3600 s"),
        (CircuitOpenError("payments", 1234.5), "guard 'payments': circuit is open; retry in 1234 s"),
        (TooManyOrphansError("payments"), "guard 'payments': too many abandoned calls still run"),
        (BulkheadFullError("payments", 0.0123), "guard 'payments': bulkhead is full; retry in 0.0123 s"),
        (CallRejectedError("it's", None), 'guard "it\'s": call refused'),
        (CallTimeoutError(guard="p", timeout=0.8, elapsed=0.8), "guard 'p': no answer within 0.8 s"),
        (CallTimeoutError(guard="p", timeout=60.0, elapsed=60.0), "guard 'p': no answer within 60 s"),
        (CallTimeoutError(guard="p", timeout=3600, elapsed=3600), "guard 'p': no answer within 3600 s"),
        (
            CallTimeoutError(guard="p", timeout=0.8, elapsed=0.8, receipt="orphan"),
            "guard 'p': no answer within 0.8 s; callee abandoned and still running",
        ),
    ],
)
def test_message_is_one_clear_line(error: HungframeError, message: str) -> None:
    """
    Who, what, how much, and what next.
    """
    assert message == str(error)


def test_message_stays_one_line() -> None:
    """
    Also for a name that is none.
    """
    assert 1 == len(str(CircuitOpenError("pay\nments", 1.0)).splitlines())
    assert 1 == len(str(timeout_error("orphan")).splitlines())


def test_repr_says_something() -> None:
    """
    A log that shows an error's `repr` tells whose it was and how long it took.
    """
    assert "payments" in repr(CircuitOpenError("payments", 4.2)) and "4.2" in repr(CircuitOpenError("payments", 4.2))
    assert "payments" in repr(timeout_error()) and "0.8" in repr(timeout_error())


# -- as a guard raises them ------------------------------------------------------------------------------------------


def test_circuit_open_error_of_a_guard() -> None:
    """
    A float with the seconds to wait; None where an operator holds it open.
    """
    guard, clock = opened_guard()
    clock.advance(17.5)
    with pytest.raises(CircuitOpenError) as refused:
        guard.call(str)
    assert ("images", 42.5) == (refused.value.guard, refused.value.retry_after)

    guard.force_open()
    with pytest.raises(CircuitOpenError) as refused:
        guard.call(str)
    assert None is refused.value.retry_after


def test_rejection_has_no_cause() -> None:
    """
    A rejection is no consequence of another error: nothing of the guard's own shows in its traceback.
    """
    guard = Guard("images", budget=TokenBucket(capacity=1), clock=VirtualClock())
    guard.call(str)

    with pytest.raises(BudgetExhaustedError) as refused:
        guard.call(str)

    assert (None, None) == (refused.value.__cause__, refused.value.__context__)


@on_each_backend
def test_timeout_error_of_a_guard(backend: Backend) -> None:
    """
    Seconds given, seconds taken, the guard's name; no cause, no context.
    """

    async def main() -> None:
        guard = Guard("images", timeout=1.5)
        with pytest.raises(CallTimeoutError) as aborted:
            await guard.acall(sleeps, 10)
        error = aborted.value

        assert ("images", 1.5, 1.5, "clean", None) == (
            error.guard,
            error.timeout,
            about(error.elapsed),
            error.receipt,
            error.phase,
        )
        assert (None, None) == (error.__cause__, error.__context__)

    run_virtual(main, backend=backend)


@on_each_backend
def test_timeout_error_says_where_the_callee_hung(backend: Backend) -> None:
    """
    Of the frames that it names, one at least is the callee's own and not the event loop's.
    """

    async def main() -> None:
        with pytest.raises(CallTimeoutError) as aborted:
            await Guard("images", timeout=1.5).acall(sleeps, 10)

        assert "in sleeps" in aborted.value.where

    run_virtual(main, backend=backend)
