"""Histories in which successes that move nothing are learned in batches, against the same one by one."""

from hypothesis import given
from hypothesis import strategies as st

from hungframe import AdaptiveTimeout, CircuitBreaker, Permit

from .models.breaker import BreakerRules
from .models.latency import TimeoutRules
from .models.times import HISTORIES, Step, histories, starts
from .test_breaker_machine import Acquire, Call, End, Life, Operate, Suspect, lives
from .test_breaker_machine import rules as breaker_rules
from .test_latency_machine import LATENCIES
from .test_latency_machine import rules as timeout_rules


class Twins:
    """
    Two breakers: *prompt* learns each success at once, *late* learns what moves nothing when it must.
    """

    def __init__(self, rules: BreakerRules) -> None:
        self.prompt = CircuitBreaker(**vars(rules))
        self.late = CircuitBreaker(**vars(rules))
        self.given: list[tuple[Permit, Permit]] = []
        self.pending: list[tuple[Permit, float, float]] = []

    def catch_up(self) -> None:
        """
        Let the late one learn what waits.
        """
        if self.pending:
            permits, seconds, at = zip(*self.pending, strict=True)
            self.late.record_unmoved(permits, seconds, at)
            self.pending = []

    def acquire(self, now: float, timeout: float) -> bool:
        """
        Ask both.
        """
        prompt, late = self.prompt.acquire(now, timeout=timeout), self.late.acquire(now, timeout=timeout)
        assert repr(prompt) == repr(late)
        if isinstance(prompt, Permit) and isinstance(late, Permit):
            self.given.append((prompt, late))
            return True
        return False

    def end(self, end: End, now: float) -> None:
        """
        Let a call end, for the late one without a word where it says that nothing moves.
        """
        if end.nth >= len(self.given):
            return
        prompt, late = self.given.pop(-1 - end.nth)
        seconds = end.seconds or 0.0
        if end.outcome is None:
            self.prompt.release(prompt, now)
            self.late.release(late, now)
            return
        self.prompt.record(prompt, end.outcome, now, seconds=seconds)
        is_success = end.outcome == "success" and late is self.late.shared_permit
        if is_success and seconds <= self.late.unmoved_up_to():
            self.pending.append((late, seconds, now))
        else:
            self.catch_up()
            self.late.record(late, end.outcome, now, seconds=seconds)

    def do(self, action: object, now: float) -> None:
        """
        Do the same to both.
        """
        if isinstance(action, Acquire):
            self.acquire(now, action.timeout)
        elif isinstance(action, Call):
            if self.acquire(now, 90.0):
                self.end(End(0, action.outcome, action.seconds), now)
        elif isinstance(action, End):
            self.end(action, now)
        elif isinstance(action, Suspect):
            self.catch_up()
            self.prompt.suspect(action.count, now)
            self.late.suspect(action.count, now)
        elif isinstance(action, Operate):
            self.catch_up()
            getattr(self.prompt, action.order)(now)
            getattr(self.late, action.order)(now)
        assert self.prompt.state(now) == self.late.state(now)
        assert self.prompt.generation == self.late.generation
        if not self.pending:
            assert self.prompt.weight(now) == self.late.weight(now)
            assert self.prompt.failure_rate(now) == self.late.failure_rate(now)


@HISTORIES
@given(breaker_rules(), starts(), lives())
def test_a_breaker_learns_from_a_batch_what_it_learns_one_by_one(
    rules: BreakerRules, now: float, history: Life
) -> None:
    """
    Successes that it says will move nothing may come late, and together.
    """
    twins = Twins(rules)
    for step, action in history:
        now = step(now, [])
        twins.do(action, now)
    twins.catch_up()

    assert twins.prompt.weight(now) == twins.late.weight(now)
    assert twins.prompt.failure_rate(now) == twins.late.failure_rate(now)


@HISTORIES
@given(timeout_rules(), starts(), histories(LATENCIES), st.sampled_from([1, 3, 50]))
def test_a_timeout_learns_from_a_batch_what_it_learns_one_by_one(
    rules: TimeoutRules, now: float, history: list[tuple[Step, float | None]], most: int
) -> None:
    """
    Successes that it says will move nothing may come late, and together.
    """
    prompt, late = AdaptiveTimeout(**vars(rules)), AdaptiveTimeout(**vars(rules))
    pending: list[tuple[float, float]] = []
    unmoved_up_to = late.unmoved_up_to(now)
    for step, seconds in [*history, (Step(0.0), None)]:
        now = step(now, [])
        if seconds is not None:
            prompt.observe(seconds, now)
            if seconds <= unmoved_up_to:
                pending.append((seconds, now))
        if pending and (seconds is None or seconds > unmoved_up_to or len(pending) >= most):
            late.observe_unmoved([taken for taken, _ in pending], [at for _, at in pending])
            pending = []
        if seconds is not None and seconds > unmoved_up_to:
            late.observe(seconds, now)
        if not pending:
            unmoved_up_to = late.unmoved_up_to(now)
            assert prompt.p95(now) == late.p95(now)
            assert prompt.current(now) == late.current(now)
