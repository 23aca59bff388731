"""
Every call ends, on time, and your service knows why.
"""

from importlib import import_module

# What type checkers take for true; the module `typing` costs as much as all that is below.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from hungframe._core.breaker import CircuitBreaker
    from hungframe._core.bucket import TokenBucket
    from hungframe._core.bulkhead import Bulkhead
    from hungframe._core.hedge import Hedge
    from hungframe._core.latency import AdaptiveTimeout
    from hungframe._core.outcome import Outcome
    from hungframe._core.retry import Retry
    from hungframe._core.states import BreakerState, Permit, Refusal
    from hungframe.abort.call import current_deadline, time_left
    from hungframe.errors import (
        BudgetExhaustedError,
        BulkheadFullError,
        CallRejectedError,
        CallTimeoutError,
        CircuitOpenError,
        HungframeError,
        RemoteError,
        ResponseTooLargeError,
        TooManyOrphansError,
        WorkerDiedError,
    )
    from hungframe.guard import Guard
    from hungframe.guard_set import GuardSet
    from hungframe.snapshot import Snapshot
    from hungframe.wire import WireReport

__all__ = [
    "AdaptiveTimeout",
    "BreakerState",
    "BudgetExhaustedError",
    "Bulkhead",
    "BulkheadFullError",
    "CallRejectedError",
    "CallTimeoutError",
    "CircuitBreaker",
    "CircuitOpenError",
    "Guard",
    "GuardSet",
    "Hedge",
    "HungframeError",
    "Outcome",
    "Permit",
    "Refusal",
    "RemoteError",
    "ResponseTooLargeError",
    "Retry",
    "Snapshot",
    "TokenBucket",
    "TooManyOrphansError",
    "WireReport",
    "WorkerDiedError",
    "current_deadline",
    "time_left",
]
__version__ = "0.1.0"

# A name is imported from its home when it is first asked for (PEP 562): a guard brings asyncio and much else, and who
# wants an error, a command or the testing kit's plugin need not wait for that.
_HOMES = {
    "_core.breaker": "CircuitBreaker",
    "_core.bucket": "TokenBucket",
    "_core.bulkhead": "Bulkhead",
    "_core.hedge": "Hedge",
    "_core.latency": "AdaptiveTimeout",
    "_core.outcome": "Outcome",
    "_core.retry": "Retry",
    "_core.states": "BreakerState Permit Refusal",
    "abort.call": "current_deadline time_left",
    "errors": "BudgetExhaustedError BulkheadFullError CallRejectedError CallTimeoutError CircuitOpenError"
    " HungframeError RemoteError ResponseTooLargeError TooManyOrphansError WorkerDiedError",
    "guard": "Guard",
    "guard_set": "GuardSet",
    "snapshot": "Snapshot",
    "wire": "WireReport",
}
_HOME_OF = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names.split()}

if not TYPE_CHECKING:  # So that a name which does not exist is told before the program runs.

    def __getattr__(name):
        if name in _HOME_OF:
            value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
            return value
        if name in ("errors", "events", "ports"):
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
