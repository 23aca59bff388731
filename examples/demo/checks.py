"""
Whether what the demo tells is what happened.

Each claim is a sentence and a look at what was recorded: the guard's snapshot and events, the callers' own notes, and
what the providers counted on their side of the wire.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from examples.demo import pace
from examples.demo.record import WORKERS, Record
from examples.demo.story import CALLERS, MEASURED_REFUSALS
from hungframe import CallTimeoutError, CircuitOpenError
from hungframe.events import BreakerChanged, GenCancelled, GenFail, GenReject, GenRequest, GenSuccess

_FIRST = len(pace.FIRST_IMAGES)
_LAST = len(pace.LAST_IMAGES)
_HUNG = len(WORKERS)

# A loaded machine is late; a broken guard is later.
_LATE = 1.5


@dataclass(frozen=True, slots=True)
class Check:
    """
    One claim, and what was found.
    """

    sentence: str
    holds: bool
    found: str


def check_all(record: Record) -> list[Check]:
    """
    Look at every claim.
    """
    return [Check(sentence, *look(record)) for sentence, look in CLAIMS]


Found = tuple[bool, str]


def _healthy(record: Record) -> Found:
    counts = [
        sum(call.ended is not None and call.ended <= record.hung_at for call in lane.ended("answered"))
        for lane in (record.guarded, record.naked)
    ]
    return counts == [_FIRST, _FIRST], f"answered {counts[0]} and {counts[1]}"


def _timeouts(record: Record) -> Found:
    counts = record.snapshot.counts if record.snapshot else {}
    errors = [call.error for call in record.guarded.ended("timeout")]
    elapsed = [error.elapsed for error in errors if isinstance(error, CallTimeoutError)]
    on_time = all(pace.TIMEOUT * 0.99 <= each <= pace.TIMEOUT + _LATE for each in elapsed)
    found = ", ".join(f"{each:.2f} s" for each in elapsed)
    return len(elapsed) == counts.get("timeout") == _HUNG and on_time, f"timed out after: {found or 'none'}"


def _receipts(record: Record) -> Found:
    errors = [call.error for call in record.guarded.ended("timeout")]
    told = [(error.receipt, error.where) for error in errors if isinstance(error, CallTimeoutError)]
    found = Counter(receipt for receipt, _ in told)
    return found == {"clean": _HUNG} and all(where for _, where in told), f"receipts {dict(found)}"


def _opened(record: Record) -> Found:
    timeouts_before = 0
    for event in record.events:
        if isinstance(event, GenFail) and event.kind == "timeout":
            timeouts_before += 1
        if isinstance(event, BreakerChanged) and event.state == "open":
            return timeouts_before <= _HUNG, f"opened, {timeouts_before} timeouts told before"
    return False, "never opened"


def _freed(record: Record) -> Found:
    guarded, naked = record.guarded.when_hung.open, record.naked.when_hung.open
    return (guarded, naked) == (0, pace.CONNECTIONS), f"{guarded} open with the guard, {naked} without"


def _refusals(record: Record) -> Found:
    """
    The bound is loose: what counts is that it does not wait.
    """
    count, took = len(record.refusals), record.refusal_took
    return count == MEASURED_REFUSALS and took < pace.TIMEOUT / 100, f"{count} refusals, median {took * 1e6:.1f} us"


def _not_sent(record: Record) -> Found:
    during = record.guarded.before_crowd.requests - record.guarded.when_hung.requests
    return during == 0, f"{during} requests"


def _one_of_the_crowd(record: Record) -> Found:
    crowd = record.crowd()
    outcomes = Counter(call.outcome for call in crowd)
    refused = [call.error for call in crowd if isinstance(call.error, CircuitOpenError)]
    told_when = all(error.retry_after is not None and error.retry_after > 0 for error in refused)
    return outcomes == {"answered": 1, "refused": CALLERS - 1} and told_when, f"of the crowd: {dict(outcomes)}"


def _closed(record: Record) -> Found:
    state = record.snapshot.state if record.snapshot else "unknown"
    states = record.state_events()
    return (state, states) == ("closed", ["open", "half_open", "closed"]), f"{' -> '.join(states)}, now {state}"


def _requests(record: Record) -> Found:
    seen = record.guarded.at_the_end.requests
    return seen == _FIRST + _HUNG + pace.GREENS + _LAST, f"{seen} requests"


def _each_told_once(record: Record) -> Found:
    asked = {event.id for event in record.events if isinstance(event, GenRequest)}
    ends = Counter(e.id for e in record.events if isinstance(e, (GenSuccess, GenFail, GenReject, GenCancelled)))
    return asked == set(ends) and set(ends.values()) == {1}, f"{len(asked)} calls, {ends.total()} endings"


def _counts(record: Record) -> Found:
    """
    The guard's own counts against the callers' notes.
    """
    if record.snapshot is None:
        return False, "no snapshot"
    lane = record.guarded
    noted = {
        "success": len(lane.ended("answered")),
        "timeout": len(lane.ended("timeout")),
        "rejected": len(lane.ended("refused")) + len(record.refusals),
    }
    counted = {outcome: count for outcome, count in record.snapshot.counts.items() if count}
    return noted == counted, f"the guard counted {counted}"


def _nothing_left(record: Record) -> Found:
    snapshot = record.snapshot
    if snapshot is None:
        return False, "no snapshot"
    left = (snapshot.in_flight, snapshot.orphans, record.tasks_left, snapshot.faults)
    return left == (0, 0, 0, 0), "in flight {}, orphans {}, tasks {}, faults {}".format(*left)


def _no_connection_left(record: Record) -> Found:
    return not record.guarded.left_open, "one is open" if record.guarded.left_open else "none is open"


def _naked_stood_still(record: Record) -> Found:
    after = record.naked.first_answer_after(record.hung_at)
    cut = record.naked.ended("cut off")
    return after is None and len(cut) == _HUNG + CALLERS, f"{len(cut)} calls were cut off"


def _guarded_went_on(record: Record) -> Found:
    after = record.guarded.first_answer_after(record.well_at)
    last = record.guarded.calls[-_LAST:]
    answered = sum(call.outcome == "answered" for call in last)
    found = "no answer" if after is None else f"first answer after {after:.1f} s"
    return after is not None and answered == _LAST, f"{found}, then {answered} images"


CLAIMS: tuple[tuple[str, Callable[[Record], Found]], ...] = (
    (f"While the provider was well, both services got their {_FIRST} images.", _healthy),
    (f"{_HUNG} calls hung, and each was ended at its deadline.", _timeouts),
    ("Each told where it hung, and left nothing running (receipt: clean).", _receipts),
    ("With the third timeout the breaker opened.", _opened),
    (f"The hung connections were closed; without hungframe all {pace.CONNECTIONS} stayed tied up.", _freed),
    (f"{MEASURED_REFUSALS} calls were refused, and none of them waited.", _refusals),
    ("Not one refused call reached the provider.", _not_sent),
    (
        f"Exactly 1 of {CALLERS} callers got through half-open; the others were told when to ask again.",
        _one_of_the_crowd,
    ),
    (f"After {pace.GREENS} greens the breaker closed, and it is closed now.", _closed),
    ("After that the guarded service drew images again.", _guarded_went_on),
    (f"The provider saw {_FIRST + _HUNG + pace.GREENS + _LAST} requests in all, and no other.", _requests),
    ("Each call ended in exactly one event.", _each_told_once),
    ("The guard counted what its callers saw.", _counts),
    ("Nothing is in flight; no orphan, no stray task, no fault.", _nothing_left),
    ("No connection is open on the provider's side.", _no_connection_left),
    ("Without hungframe not one call was answered after the hang began.", _naked_stood_still),
)
