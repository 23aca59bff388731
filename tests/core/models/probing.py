"""The lane of a prober by its rules, in fractions, around the model of the breaker."""

from fractions import Fraction

from .breaker import BreakerModel, BreakerRules, ModelPermit, ModelRefusal
from .times import decimal

SOON = Fraction(1)


class LaneModel:
    """
    Decide what a lane and its breaker must decide.
    """

    def __init__(self, rules: BreakerRules, every: float) -> None:
        self.breaker = BreakerModel(rules)
        self.every = decimal(every)
        self.signs_of_life: list[Fraction] = []
        """Until when each gives the lane to the prober; none since it left."""
        self.starts: list[Fraction] = []
        self.later = Fraction(0)
        """What was added to the latest distance between two probes, or to the opening."""
        self.wanted_at: Fraction | None = None
        """From when on a probe was wanted, since the breaker opened."""

    def held(self, now: Fraction) -> bool:
        """
        Tell whether a sign of life is young enough.
        """
        return any(now < until for until in self.signs_of_life)

    def due_at(self) -> Fraction | None:
        """
        Find the instant of the next probe; None for any time.
        """
        after = [start + self.every for start in self.starts[-1:]]
        if self.wanted_at is not None:
            after.append(self.wanted_at)
        return max(after) + self.later if after else None

    def want(self, at: Fraction, later: Fraction) -> None:
        """
        The breaker has opened, and will be half-open at *at*.
        """
        self.wanted_at, self.later = at, later

    def user(self, now: Fraction, timeout: Fraction) -> ModelPermit | ModelRefusal:
        """
        Admit or refuse a user's call.
        """
        self.breaker.look(now)
        if self.breaker.state == "half_open" and self.held(now):
            due_at = self.due_at()
            soon = now + SOON
            return ModelRefusal((soon if due_at is None else max(due_at, soon)) - now)
        return self.breaker.acquire(now, timeout)

    def prober(self, now: Fraction, timeout: Fraction, later: Fraction) -> ModelPermit | None:
        """
        Admit or refuse a probe.
        """
        self.breaker.look(now)
        due_at = self.due_at()
        is_due = due_at is None or now >= due_at
        if self.breaker.state != "half_open" or not is_due or self.breaker.live_probe(now) is not None:
            return None
        self.starts.append(now)
        self.later = later
        self.wanted_at = None
        permit = self.breaker.probe = ModelPermit(self.breaker.epoch, True, now, now + timeout)
        self.breaker.probe_starts.append(now)
        return permit
