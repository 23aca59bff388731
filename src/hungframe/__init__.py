"""
Every call ends, on time, and your service knows why.
"""

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
