"""Histories of the circuit breaker against a model of its rules."""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from hungframe import CircuitBreaker, Outcome, Permit, Refusal

from .models.breaker import BreakerModel, BreakerRules, ModelPermit, ModelRefusal
from .models.times import BACK_AND_FORTH, FEWER, HISTORIES, STAY, STEPS, TICK, Step, histories, starts

# -- what is done to a breaker ---------------------------------------------


@dataclass(frozen=True)
class Acquire:
    """
    Ask to be admitted for at most *timeout* seconds.
    """

    timeout: float


@dataclass(frozen=True)
class End:
    """
    Tell how the call of the *nth* latest permit ended; None releases it.
    """

    nth: int
    outcome: Outcome | None
    seconds: float | None = None


@dataclass(frozen=True)
class Call:
    """
    Ask to be admitted and, where it is, end at once.
    """

    outcome: Outcome
    seconds: float | None = None


@dataclass(frozen=True)
class Suspect:
    """
    Tell that *count* calls in flight are suspects.
    """

    count: int


@dataclass(frozen=True)
class Operate:
    """
    Give an operator's order.
    """

    order: str


LOOK = "look"
Action = Acquire | End | Call | Suspect | Operate | str

SUCCESS, TIMEOUT, QUOTA = Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.QUOTA
FAILURES = (
    TIMEOUT,
    Outcome.SERVER_ERROR,
    QUOTA,
    Outcome.CONNECTION,
    Outcome.UNKNOWN,
)
UNCOUNTED = (Outcome.CLIENT_ERROR, Outcome.CANCELLED, Outcome.REJECTED)

CALLS: list[Action] = [
    *[Call(SUCCESS)] * 4,
    *[Call(outcome) for outcome in (TIMEOUT, TIMEOUT, *FAILURES, *UNCOUNTED)],
    *[Call(SUCCESS, seconds) for seconds in (7.5, 7.5 + TICK)],
    *[Acquire(timeout) for timeout in (90.0, 90.0, 7.5, 7.5, 7.5, 0.25)],
    *[End(0, SUCCESS), End(0, None)] * 3,
    *[End(0, TIMEOUT), End(1, SUCCESS), End(1, None)] * 2,
    *[End(0, outcome) for outcome in UNCOUNTED],
    *[End(2, SUCCESS), End(1, TIMEOUT), End(2, QUOTA), End(5, None)],
    *map(Suspect, (1, 2, 3, 4, 0)),
    LOOK,
]
ORDERS: list[Action] = [*map(Operate, ("reset", "reset", "disable", "force_open"))]

Life = list[tuple[Step, Action]]
AT_EDGE = Step(0.0, to_edge=True)
BEGINNINGS: list[Life] = [[], [(STAY, Suspect(50)), (AT_EDGE, LOOK)]]
"""From the start, or from where an outage has just led to half-open."""


def lives(steps: Sequence[Step] = STEPS) -> st.SearchStrategy[Life]:
    """
    Draw the life of a breaker; half of them without an operator.
    """
    middle = st.one_of(histories(CALLS, steps), histories(CALLS + ORDERS, steps))
    return st.builds(list[tuple[Step, Action]].__add__, st.sampled_from(BEGINNINGS), middle)


@st.composite
def rules(draw: st.DrawFn) -> BreakerRules:
    """
    Draw breakers that open easily, with weights that no float can hold.
    """
    defaults = BreakerRules()
    weight = st.sampled_from([0.1, 0.2, 0.3, 0.5, 1.0, 2.0])
    return BreakerRules(
        window=draw(st.one_of(st.integers(1, 6), st.just(25))),
        max_age=draw(st.sampled_from([7.5, 60.0, 3600.0])),
        failure_rate=draw(st.sampled_from([0.5, 0.1, 0.3, 0.6, 0.7, 1.0])),
        min_weight=draw(st.sampled_from([0.3, 1.0, 2.5, 5.0])),
        open_for=draw(st.sampled_from([60.0, 1.0])),
        max_open_for=draw(st.sampled_from([600.0, 60.0])),
        backoff=draw(st.sampled_from([1.0, 1.5, 2.0])),
        probe_every=draw(st.sampled_from([60.0, 60.0, 7.5, 0.25])),
        close_after=draw(st.sampled_from([3, 1, 2])),
        slow_call=draw(st.sampled_from([None, 7.5])),
        weights=draw(
            st.one_of(
                st.just(defaults.weights),
                st.fixed_dictionaries(dict.fromkeys(defaults.weights, weight)),
            )
        ),
    )


# -- doing it --------------------------------------------------------------


@dataclass(eq=False)
class Given:
    """
    A permit of the code beside the permit of the model for the same call.
    """

    permit: Permit
    twin: ModelPermit
    reports: int = 0


class History:
    """
    Do to a breaker and to its model the same, and compare them after each step.
    """

    def __init__(self, rules: BreakerRules, now: float) -> None:
        self.rules = rules
        self.breaker = CircuitBreaker(**vars(rules))
        self.model = BreakerModel(rules)
        self.now = now
        self.given: list[Given] = []
        self.state = "closed"
        self.generation = self.breaker.generation
        self.compare()

    def play(self, history: Life) -> None:
        """
        Play *history* to its end.
        """
        for step, action in history:
            self.now = step(self.now, self.model.edges())
            ordered = isinstance(action, Operate)
            if isinstance(action, Acquire):
                self.acquire(action.timeout)
            elif isinstance(action, Call):
                if self.acquire(90.0):
                    self.end(0, action.outcome, action.seconds)
            elif isinstance(action, End):
                self.end(action.nth, action.outcome, action.seconds)
            elif isinstance(action, Suspect):
                self.breaker.suspect(action.count, self.now)
                opened = self.breaker.state(self.now) == "open"
                self.model.suspect(action.count, Fraction(self.now), opened=opened)
            elif isinstance(action, Operate):
                getattr(self.breaker, action.order)(self.now)
                self.model.operator(action.order, Fraction(self.now))
            self.compare(ordered=ordered)

    def acquire(self, timeout: float) -> bool:
        """
        Ask both, compare their answers, keep the permits.
        """
        answer = self.breaker.acquire(self.now, timeout=timeout)
        twin = self.model.acquire(Fraction(self.now), Fraction(timeout))
        if isinstance(twin, ModelRefusal):
            assert isinstance(answer, Refusal)
            assert answer.reason
            assert twin.retry_after == exactly(answer.retry_after)
            return False
        assert isinstance(answer, Permit)
        assert twin.probe == answer.probe
        assert answer.generation == self.breaker.generation
        self.given.append(Given(answer, twin))
        return True

    def end(self, nth: int, outcome: Outcome | None, seconds: float | None = None) -> None:
        """
        Tell both how a call ended; None gives its permit back.

        A probe may report twice, and must not be heard twice. An ordinary
        permit may be one value shared by many calls, so here each of these
        reports once.
        """
        waiting = [g for g in self.given if g.twin.probe or not g.reports]
        if nth >= len(waiting):
            return
        given = waiting[-1 - nth]
        given.reports += 1
        self.model.look(Fraction(self.now))
        before = None
        if not self.model.counts(given.twin, Fraction(self.now)):
            before = observe(self.breaker, self.now, self.model.edges())
        if outcome is None:
            self.breaker.release(given.permit, self.now)
            self.model.release(given.twin, Fraction(self.now))
        else:
            told = outcome if len(self.given) % 2 else outcome.value
            self.breaker.record(given.permit, told, self.now, seconds=seconds)
            exact = None if seconds is None else Fraction(seconds)
            self.model.record(given.twin, outcome.value, Fraction(self.now), exact)
        if before is not None:
            assert before == observe(self.breaker, self.now, self.model.edges())

    def compare(self, *, ordered: bool = False) -> None:
        """
        Compare everything that can be asked.

        Whether an operator's order begins a generation is left open by the
        rules (both a changed state and a going on recording are demanded);
        there the model follows.
        """
        now = Fraction(self.now)
        self.model.look(now)
        assert self.model.state == self.breaker.state(self.now)
        generation = self.breaker.generation
        assert generation >= self.generation
        if ordered and generation > self.generation:
            self.model.new_epoch()
        elif not ordered and self.model.state != self.state:
            assert generation > self.generation
        self.state, self.generation = self.model.state, generation
        assert self.model.retry_after(now) == exactly(self.breaker.retry_after(self.now))
        if self.model.rate_is_defined():
            assert float(self.model.weight(now)) == self.breaker.weight(self.now)
            assert float(self.model.failure_rate(now)) == self.breaker.failure_rate(self.now)
        live = [
            given
            for given in self.given
            if given.permit.probe and given.permit.generation == generation and self.model.counts(given.twin, now)
        ]
        assert len(live) <= 1

    def end_all(self) -> None:
        """
        Let every call that is out report at last.
        """
        while any(not given.reports for given in self.given):
            waiting = [g for g in self.given if g.twin.probe or not g.reports]
            nth = next(i for i, g in enumerate(reversed(waiting)) if not g.reports)
            self.end(nth, Outcome.CANCELLED)
            self.compare()


def exactly(seconds: float | None) -> Fraction | None:
    """
    Read a wait without rounding it.
    """
    return None if seconds is None else Fraction(seconds)


def observe(breaker: CircuitBreaker, now: float, edges: list[Fraction]) -> list[object]:
    """
    Look at everything a user can see now, and at the *edges* of the rules.

    Every question is put to a copy, so looking changes nothing.
    """
    seen: list[object] = []
    for instant in sorted({now, *(max(now, float(edge)) for edge in edges)}):
        asked = copy.deepcopy(breaker)
        seen += [asked.state(instant), asked.generation]
        seen += [asked.weight(instant), asked.failure_rate(instant)]
        answer = asked.acquire(instant, timeout=1.0)
        if isinstance(answer, Refusal):
            seen.append((answer.reason, answer.retry_after))
        else:
            seen.append((answer.generation, answer.probe))
    return seen


# -- the promises ----------------------------------------------------------


@HISTORIES
@given(rules(), starts(), lives())
def test_every_history_goes_by_the_rules(rules: BreakerRules, now: float, history: Life) -> None:
    """
    States, answers, waits, rates and weights are those of exact arithmetic.
    """
    History(rules, now).play(history)


@FEWER
@given(rules(), starts(), lives())
def test_no_history_ends_in_a_place_without_exit(rules: BreakerRules, now: float, history: Life) -> None:
    """
    With all permits back, a breaker that nobody forces closes by successes alone.
    """
    played = History(rules, now)
    played.play(history)
    played.end_all()
    if played.state in ("forced_open", "disabled"):
        return
    # One more than it takes: suspects and old failures in the window may open
    # it first.
    for _ in range(1 + rules.close_after):
        played.now += rules.max_open_for + rules.probe_every
        assert played.acquire(90.0)
        played.end(0, Outcome.SUCCESS)
        played.compare()
        if played.state == "closed":
            break

    assert "closed" == played.state


class Witness:
    """
    Watch a breaker from outside, without the model's word, whatever its clock does.

    A probe occupies the time from its start to its first report, or to the end
    of its lease; an opening forbids the time until *open_for* later.
    """

    def __init__(self, rules: BreakerRules, now: float) -> None:
        self.rules = rules
        self.breaker = CircuitBreaker(**vars(rules))
        self.now = now
        self.generation = self.breaker.generation
        self.given: list[Permit] = []
        self.probe: Permit | None = None
        self.lease_end = now
        self.starts: list[float] = []
        self.state = self.breaker.state(now)
        self.shut_until = now

    def play(self, history: Life) -> None:
        """
        Play *history* to its end.
        """
        for step, action in history:
            self.now = step(self.now, [])
            self.follow()
            if isinstance(action, Acquire):
                self.acquire(action.timeout)
            elif isinstance(action, Call):
                if self.acquire(90.0):
                    self.end(0, action.outcome)
            elif isinstance(action, End):
                self.end(action.nth, action.outcome)
            elif isinstance(action, Suspect):
                self.breaker.suspect(action.count, self.now)
            elif isinstance(action, Operate):
                getattr(self.breaker, action.order)(self.now)
            self.follow()
            self.ask_earlier()

    def follow(self) -> None:
        """
        Look at the state, and forget the probes of a generation that is gone.
        """
        state = self.breaker.state(self.now)
        if state == "half_open" and self.state == "open":
            assert self.now >= self.shut_until
        if state == "open" and self.state != "open":
            self.shut_until = self.now + self.rules.open_for
        self.state = state
        assert self.breaker.generation >= self.generation
        if self.breaker.generation > self.generation:
            self.generation = self.breaker.generation
            self.probe, self.starts = None, []

    def acquire(self, timeout: float) -> bool:
        """
        Ask, and judge a permit by those that went before.
        """
        answer = self.breaker.acquire(self.now, timeout=timeout)
        if isinstance(answer, Refusal):
            return False
        assert self.state != "open"
        self.given.append(answer)
        if answer.probe:
            assert self.probe is None or self.now >= self.lease_end
            for start in self.starts:
                assert abs(self.now - start) >= self.rules.probe_every
            self.probe, self.lease_end = answer, self.now + timeout
            self.starts.append(self.now)
        return True

    def end(self, nth: int, outcome: Outcome | None) -> None:
        """
        Let a call report.
        """
        if nth >= len(self.given):
            return
        permit = self.given[-1 - nth]
        if outcome is None:
            self.breaker.release(permit, self.now)
        else:
            self.breaker.record(permit, outcome, self.now)
        back = outcome in (None, Outcome.CANCELLED, Outcome.REJECTED)
        if permit is self.probe:
            self.probe = None
            if back and self.now < self.lease_end:
                self.starts.pop()

    def ask_earlier(self) -> None:
        """
        See that an earlier instant would not have been given what this one is not.
        """
        if isinstance(copy.deepcopy(self.breaker).acquire(self.now), Refusal):
            for back in (TICK, 7.5, 2.0**25):
                earlier = copy.deepcopy(self.breaker).acquire(self.now - back)
                assert isinstance(earlier, Refusal)
        assert 0.0 <= self.breaker.failure_rate(self.now) <= 1.0
        assert self.breaker.weight(self.now) >= 0.0


@FEWER
@given(rules(), starts(), lives())
def test_probes_never_overlap_nor_crowd(rules: BreakerRules, now: float, history: Life) -> None:
    """
    A half-open breaker has one probe out at most, and starts one per probe_every.
    """
    Witness(rules, now).play(history)


@FEWER
@given(rules(), starts(), lives(BACK_AND_FORTH))
def test_a_clock_that_goes_backwards_lets_nothing_more_through(rules: BreakerRules, now: float, history: Life) -> None:
    """
    Leases, distances between probes and openings last by any clock, also a broken one.
    """
    Witness(rules, now).play(history)


@HISTORIES
@given(
    st.sampled_from([0.1, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0]),
    st.dictionaries(
        st.sampled_from(["success", *(outcome.value for outcome in FAILURES)]),
        st.sampled_from([0.1, 0.2, 0.3, 0.7, 1.1, 2.0]),
    ),
    st.sampled_from([0.1, 0.3, 0.6, 1.0, 5.0]),
    st.lists(st.sampled_from([Outcome.SUCCESS, *FAILURES]), max_size=25),
)
def test_it_opens_iff_the_fractions_say_so(
    failure_rate: float,
    some: dict[str, float],
    min_weight: float,
    outcomes: list[Outcome],
) -> None:
    """
    A closed breaker opens at the first outcome where rate and weight both suffice.
    """
    weights = BreakerRules().weights | some
    breaker = CircuitBreaker(failure_rate=failure_rate, weights=weights, min_weight=min_weight)
    seen = Counter[Outcome]()
    for outcome in outcomes:
        answer = breaker.acquire(0.0)
        assert isinstance(answer, Permit)
        breaker.record(answer, outcome, 0.0)
        seen[outcome] += 1
        total = sum(n * Fraction(str(weights[o.value])) for o, n in seen.items())
        good = seen[Outcome.SUCCESS] * Fraction(str(weights["success"]))
        bad = total - good
        due = total >= Fraction(str(min_weight)) and (bad >= Fraction(str(failure_rate)) * total)
        assert ("open" if due else "closed") == breaker.state(0.0)
        if due:
            return


@HISTORIES
@given(
    st.one_of(st.floats(0.0, 100.0), st.floats(0.0, 1e9)),
    st.floats(1e-3, 600.0),
    st.floats(1e-3, 600.0),
    st.floats(1e-3, 100.0),
    st.floats(0.0, 700.0),
    st.floats(1.0, 3.0),
)
def test_the_wait_it_names_is_the_wait_it_takes(
    now: float,
    open_for: float,
    probe_every: float,
    timeout: float,
    later: float,
    backoff: float,
) -> None:
    """
    Who comes back after exactly `retry_after` gets through, whatever the floats.
    """
    breaker = CircuitBreaker(open_for=open_for, probe_every=probe_every, backoff=backoff, min_weight=1.0)
    first = breaker.acquire(now)
    assert isinstance(first, Permit)
    breaker.record(first, Outcome.TIMEOUT, now)
    for outcome in (None, Outcome.SUCCESS, Outcome.TIMEOUT, None):
        answer = breaker.acquire(now + later, timeout=timeout)
        if isinstance(answer, Refusal):
            assert answer.retry_after is not None
            assert answer.retry_after == breaker.retry_after(now + later)
            now = now + later + answer.retry_after
            answer = breaker.acquire(now, timeout=timeout)
        else:
            now += later
        assert isinstance(answer, Permit)
        assert answer.probe
        if outcome is not None:
            breaker.record(answer, outcome, now)
