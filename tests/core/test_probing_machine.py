"""Histories of a breaker with a prober's lane against a model of the rules."""

from dataclasses import dataclass
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from hungframe import BreakerState, CircuitBreaker, Outcome, Permit, Refusal
from hungframe._core.probing import ProbeLane

from .models.breaker import BreakerRules, ModelPermit, ModelRefusal
from .models.probing import LaneModel
from .models.times import FEWER, HISTORIES, STAY, TICK, Step, histories, starts

# -- what is done -----------------------------------------------------------


@dataclass(frozen=True)
class Beat:
    """
    The prober shows that it lives, for *seconds*.
    """

    seconds: float


@dataclass(frozen=True)
class User:
    """
    A user's call asks, for at most *timeout* seconds.
    """

    timeout: float


@dataclass(frozen=True)
class Probe:
    """
    The prober asks, for at most *timeout* seconds.
    """

    timeout: float


@dataclass(frozen=True)
class End:
    """
    The *nth* latest permit ends; None releases it.
    """

    nth: int
    outcome: Outcome | None


@dataclass(frozen=True)
class Order:
    """
    An operator gives an order.
    """

    order: str


LEAVE = "leave"
Action = Beat | User | Probe | End | Order | str

ACTIONS: list[Action] = [
    *map(Beat, (0.25, 7.5, 7.5, 100.0, 3600.0)),
    *[Probe(90.0)] * 4,
    *map(Probe, (7.5, 0.25)),
    *[User(90.0)] * 3,
    *map(User, (7.5, 0.25)),
    *[End(0, Outcome.SUCCESS)] * 4,
    *[End(0, outcome) for outcome in (Outcome.TIMEOUT, Outcome.QUOTA, Outcome.CLIENT_ERROR, Outcome.REJECTED, None)],
    *[End(1, Outcome.TIMEOUT), End(1, Outcome.SUCCESS), End(2, None)],
    LEAVE,
]
ORDERS: list[Action] = [*map(Order, ("reset", "force_open", "disable"))]
STEPS = (
    *[STAY] * 4,
    *[Step(k * TICK, to_edge=True) for k in (0, 0, 0, 0, -1, 1)],
    *map(Step, (TICK, 0.25, 1.0, 7.5, 60.0, 61.0, 3600.0)),
)

Life = list[tuple[Step, Action]]
OPENED: Life = [(STAY, User(90.0)), (STAY, End(0, Outcome.TIMEOUT))]
EVERY = (60.0, 7.5, 0.25)


@st.composite
def rules(draw: st.DrawFn) -> BreakerRules:
    """
    Draw breakers that the first timeout opens.
    """
    return BreakerRules(
        min_weight=1.0,
        open_for=draw(st.sampled_from([60.0, 1.0])),
        max_open_for=60.0,
        backoff=draw(st.sampled_from([1.0, 2.0])),
        probe_every=draw(st.sampled_from([60.0, 7.5])),
        close_after=draw(st.sampled_from([3, 1, 2])),
    )


def lives() -> st.SearchStrategy[Life]:
    """
    Draw what follows the opening, a third of it with an operator.
    """
    middle = st.one_of(histories(ACTIONS, STEPS), histories(ACTIONS, STEPS), histories(ACTIONS + ORDERS, STEPS))
    return middle.map(lambda life: OPENED + life)


@dataclass(eq=False)
class Given:
    """
    A permit of the code beside that of the model; *by* is who has it.
    """

    permit: Permit
    twin: ModelPermit
    by: str
    ended: bool = False


class History:
    """
    Do to lane and model the same, and compare them after each step.
    """

    def __init__(self, rules: BreakerRules, every: float, jitter: list[float], now: float) -> None:
        self.draws = jitter
        self.drawn = 0
        self.breaker = CircuitBreaker(**vars(rules))
        self.lane = ProbeLane(every, 0.5, self.draw)
        self.model = LaneModel(rules, every)
        self.every = every
        self.now = now
        self.given: list[Given] = []
        self.generation = self.breaker.generation
        self.state = self.breaker.state(now)

    def draw(self) -> float:
        """
        One of a few numbers, in turn.
        """
        self.drawn += 1
        return self.draws[self.drawn % len(self.draws)]

    def later(self) -> Fraction:
        """
        What the model adds for the number that the code has just drawn.
        """
        return Fraction(self.every) * Fraction(0.5) * Fraction(self.draws[self.drawn % len(self.draws)])

    def edges(self) -> list[Fraction]:
        """
        The instants at which a rule changes its answer.
        """
        due_at = self.model.due_at()
        return [*self.model.breaker.edges(), *self.model.signs_of_life, *([] if due_at is None else [due_at])]

    def play(self, life: Life) -> None:
        """
        Play it to its end.
        """
        for step, action in life:
            self.now = step(self.now, self.edges())
            if isinstance(action, Beat):
                self.lane.beat(self.now, action.seconds)
                self.model.signs_of_life.append(Fraction(self.now) + Fraction(action.seconds))
            elif isinstance(action, User):
                self.user(action.timeout)
            elif isinstance(action, Probe):
                self.probe(action.timeout)
            elif isinstance(action, End):
                self.end(action.nth, action.outcome)
            elif isinstance(action, Order):
                getattr(self.breaker, action.order)(self.now)
                self.model.breaker.operator(action.order, Fraction(self.now))
                self.compare(ordered=True)
            else:
                self.lane.leave()
                self.model.signs_of_life.clear()
            self.compare()

    def user(self, timeout: float) -> bool:
        """
        Let a user's call ask both.
        """
        answer = self.lane.acquire(self.breaker, self.now, timeout=timeout)
        twin = self.model.user(Fraction(self.now), Fraction(timeout))
        if isinstance(twin, ModelRefusal):
            assert isinstance(answer, Refusal)
            assert twin.retry_after == (None if answer.retry_after is None else Fraction(answer.retry_after))
            return False
        assert isinstance(answer, Permit)
        assert twin.probe == answer.probe
        assert not (answer.probe and self.model.held(Fraction(self.now)))
        self.given.append(Given(answer, twin, "user"))
        return True

    def probe(self, timeout: float) -> bool:
        """
        Let the prober ask both.
        """
        answer = self.lane.acquire_probe(self.breaker, self.now, timeout=timeout)
        twin = self.model.prober(Fraction(self.now), Fraction(timeout), self.later())
        assert isinstance(answer, Permit) == (twin is not None)
        if twin is None or not isinstance(answer, Permit):
            return False
        assert answer.probe
        assert self.lane.permit is answer
        self.given.append(Given(answer, twin, "prober"))
        return True

    def end(self, nth: int, outcome: Outcome | None) -> None:
        """
        Let a call or a probe report.
        """
        waiting = [given for given in self.given if not given.ended]
        if nth >= len(waiting):
            return
        given = waiting[-1 - nth]
        given.ended = True
        now = Fraction(self.now)
        if outcome is None:
            self.breaker.release(given.permit, self.now)
            self.model.breaker.release(given.twin, now)
        else:
            self.breaker.record(given.permit, outcome, self.now)
            self.model.breaker.record(given.twin, outcome.value, now)
        self.lane.end(given.permit)

    def compare(self, *, ordered: bool = False) -> None:
        """
        Compare state, waits and the live probe; have a probe scheduled where the breaker has opened.
        """
        now = Fraction(self.now)
        self.model.breaker.look(now)
        state = self.breaker.state(self.now)
        assert self.model.breaker.state == state
        if ordered and self.breaker.generation > self.generation:
            self.model.breaker.new_epoch()
        if self.breaker.generation > self.generation and state is BreakerState.OPEN:
            half_open_at = self.now + (self.breaker.retry_after(self.now) or 0.0)
            due_at = self.lane.schedule("timeout", half_open_at)
            self.model.want(Fraction(half_open_at), self.later())
            assert Fraction(due_at) == self.model.due_at()
        self.generation, self.state = self.breaker.generation, state
        assert self.lane.is_held(self.now) == self.model.held(now)
        out = [
            given
            for given in self.given
            if given.permit.probe
            and given.permit.generation == self.breaker.generation
            and self.model.breaker.counts(given.twin, now)
        ]
        assert len(out) <= 1


# -- the promises -----------------------------------------------------------

JITTER = st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=1, max_size=3)


@HISTORIES
@given(rules(), st.sampled_from(EVERY), JITTER, starts(), lives())
def test_every_history_goes_by_the_rules(
    rules: BreakerRules, every: float, jitter: list[float], now: float, life: Life
) -> None:
    """
    One probe is out at most, and while the lease lasts it is none of a user's.
    """
    History(rules, every, jitter, now).play(life)


@FEWER
@given(rules(), st.sampled_from(EVERY), JITTER, starts(), lives())
def test_probes_that_succeed_close_it_whatever_went_before(
    rules: BreakerRules, every: float, jitter: list[float], now: float, life: Life
) -> None:
    """
    A prober that goes on asking recovers the breaker, and no user's call is let through as a probe meanwhile.
    """
    played = History(rules, every, jitter, now)
    played.play([(step, action) for step, action in life if not isinstance(action, Order)])
    for _ in range(100):
        if played.state == "closed":
            break
        played.lane.beat(played.now, 1000.0)
        played.model.signs_of_life.append(Fraction(played.now) + 1000)
        assert not played.user(90.0)
        if played.probe(7.5):
            played.end(0, Outcome.SUCCESS)
        played.compare()
        waits = played.lane.waits_for(played.breaker, played.now)
        played.now += 7.5 if waits is None or waits.retry_after is None else waits.retry_after

    assert "closed" == played.state


@FEWER
@given(rules(), st.sampled_from(EVERY), JITTER, starts(), lives())
def test_users_probe_when_the_lease_is_over(
    rules: BreakerRules, every: float, jitter: list[float], now: float, life: Life
) -> None:
    """
    A prober that died gives the lane back, and users' calls close the breaker.
    """
    played = History(rules, every, jitter, now)
    played.play([(step, action) for step, action in life if not isinstance(action, Order)])
    played.now = max([played.now, *map(float, played.model.signs_of_life)])
    for _ in range(100):
        if played.state == "closed":
            break
        if played.user(90.0):
            played.end(0, Outcome.SUCCESS)
        played.compare()
        played.now += played.breaker.retry_after(played.now) or 0.0
        played.compare()

    assert "closed" == played.state


@FEWER
@given(st.floats(1e-3, 600.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0, exclude_max=True), st.floats(0.0, 1e9))
def test_two_probes_are_never_nearer_than_every(every: float, jitter: float, drawn: float, now: float) -> None:
    """
    Jitter makes a probe later by a share of the distance, and never earlier; who waits as told gets through.
    """
    breaker = CircuitBreaker(min_weight=1.0)
    breaker.record(Permit(breaker.generation), "timeout", now)
    lane = ProbeLane(every, jitter, lambda: drawn)
    lane.schedule("timeout", now + 60.0)
    began: list[float] = []
    while len(began) < 2:
        answer = lane.acquire_probe(breaker, now, timeout=1.0)
        if isinstance(answer, Refusal):
            assert answer.retry_after is not None
            now += answer.retry_after
        else:
            began.append(now)
            breaker.record(answer, "success", now)

    rounding = 4e-16 * now
    assert every - rounding <= began[1] - began[0] <= every * (1 + jitter) + rounding
