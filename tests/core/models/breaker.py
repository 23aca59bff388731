"""The circuit breaker by its rules, in fractions, with nothing clever."""

from dataclasses import dataclass, field
from fractions import Fraction

from .times import decimal
from .window import WindowModel

DEFAULT_WEIGHTS = {
    "success": 1.0,
    "timeout": 2.0,
    "quota": 0.5,
    "5xx": 1.0,
    "connection": 1.0,
    "unknown": 1.0,
}


@dataclass(frozen=True)
class BreakerRules:
    """
    The numbers of a breaker, under the names of its constructor.
    """

    window: int = 25
    max_age: float = 3600.0
    failure_rate: float = 0.5
    min_weight: float = 5.0
    open_for: float = 60.0
    max_open_for: float = 600.0
    backoff: float = 1.0
    probe_every: float = 60.0
    close_after: int = 3
    slow_call: float | None = None
    weights: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))


@dataclass(eq=False)
class ModelPermit:
    """
    A permit: the epoch it was given in and, for a probe, its lease.
    """

    epoch: int
    probe: bool = False
    started: Fraction = Fraction(0)
    lease_end: Fraction = Fraction(0)


@dataclass(frozen=True)
class ModelRefusal:
    """
    A refusal: seconds until it is worth asking again, None when nobody knows.
    """

    retry_after: Fraction | None


class BreakerModel:
    """
    Decide what a breaker must decide.
    """

    def __init__(self, rules: BreakerRules) -> None:
        self.rules = rules
        self.window = WindowModel(rules.window, decimal(rules.max_age))
        self.state = "closed"
        self.epoch = 0
        self.suspects = 0
        self.opened_at = Fraction(0)
        self.failed_reopenings = 0
        self.greens = 0
        self.probe: ModelPermit | None = None
        self.probe_starts: list[Fraction] = []
        self.probe_has_reported = False

    # -- questions ---------------------------------------------------------

    def look(self, now: Fraction) -> None:
        """
        See whether an open breaker is due for half-open.
        """
        if self.state == "open" and now >= self.opened_at + self.open_span():
            self._enter("half_open")
            self.greens = 0
            self.probe_starts = []

    def open_span(self) -> Fraction:
        """
        Work out for how long this opening lasts.
        """
        grown = decimal(self.rules.open_for) * (decimal(self.rules.backoff) ** self.failed_reopenings)
        return min(grown, decimal(self.rules.max_open_for))

    def weight(self, now: Fraction) -> Fraction:
        """
        Sum what is held, and the suspects while closed.
        """
        return self.window.total(now) + self._provisional()

    def failed(self, now: Fraction) -> Fraction:
        """
        Sum what failed, and the suspects while closed.
        """
        return self.window.failed(now) + self._provisional()

    def failure_rate(self, now: Fraction) -> Fraction:
        """
        Divide failed weight by weight; 0 where nothing was seen.
        """
        weight = self.weight(now)
        return self.failed(now) / weight if weight else Fraction(0)

    def live_probe(self, now: Fraction) -> ModelPermit | None:
        """
        Find the probe that is out and whose lease still runs.
        """
        if self.probe is not None and now < self.probe.lease_end:
            return self.probe
        return None

    def rate_is_defined(self) -> bool:
        """
        Tell whether the rules say what rate and weight are.

        They leave open whether a probe's outcome enters the window, which is
        emptied before it could matter, and whether suspects weigh while an
        operator has the word.
        """
        forced = self.state in ("forced_open", "disabled")
        return not self.probe_has_reported and not (forced and self.suspects)

    def counts(self, permit: ModelPermit, now: Fraction) -> bool:
        """
        Tell whether what *permit* reports at *now* may change anything.
        """
        if permit.epoch != self.epoch:
            return False
        return permit is self.live_probe(now) if permit.probe else True

    def retry_after(self, now: Fraction) -> Fraction | None:
        """
        Work out when it is worth asking; 0 for now, None when nobody knows.
        """
        self.look(now)
        if self.state in ("closed", "disabled"):
            return Fraction(0)
        if self.state == "forced_open":
            return None
        if self.state == "open":
            return self.opened_at + self.open_span() - now
        free_at = [now]
        live = self.live_probe(now)
        if live is not None:
            free_at.append(live.lease_end)
        if self.probe_starts:
            free_at.append(self.probe_starts[-1] + decimal(self.rules.probe_every))
        return max(free_at) - now

    def edges(self) -> list[Fraction]:
        """
        List the instants at which a rule changes its answer.
        """
        if self.state == "open":
            return [self.opened_at + self.open_span()]
        if self.state == "half_open":
            every = decimal(self.rules.probe_every)
            found = [start + every for start in self.probe_starts]
            return found if self.probe is None else [*found, self.probe.lease_end]
        return self.window.edges()

    # -- decisions ---------------------------------------------------------

    def acquire(self, now: Fraction, timeout: Fraction) -> ModelPermit | ModelRefusal:
        """
        Admit or refuse.
        """
        wait = self.retry_after(now)
        if wait != 0:
            return ModelRefusal(wait)
        if self.state != "half_open":
            return ModelPermit(self.epoch)
        self.probe = ModelPermit(self.epoch, True, now, now + timeout)
        self.probe_starts.append(now)
        return self.probe

    def record(
        self,
        permit: ModelPermit,
        outcome: str,
        now: Fraction,
        seconds: Fraction | None = None,
    ) -> None:
        """
        Learn how the call of *permit* ended.
        """
        self.look(now)
        if not self.counts(permit, now):
            return
        if outcome in ("cancelled", "rejected"):
            self.release(permit, now)
            return
        slow_call = self.rules.slow_call
        slow = outcome == "success" and seconds is not None and slow_call is not None and seconds > decimal(slow_call)
        if permit.probe:
            self.probe = None
            self.probe_has_reported = True
            self._judge_probe(green=outcome in ("success", "4xx") and not slow, now=now)
        elif outcome != "4xx":
            weight = Fraction(1) if slow else decimal(self.rules.weights[outcome])
            bad = slow or outcome != "success"
            self.window.add(weight, weight if bad else Fraction(0), now)
            self._open_if_bad(now)

    def release(self, permit: ModelPermit, now: Fraction) -> None:
        """
        Take *permit* back as if it had never been asked for.
        """
        self.look(now)
        if permit.probe and self.counts(permit, now):
            self.probe = None
            self.probe_starts.pop()

    def suspect(self, count: int, now: Fraction, *, opened: bool) -> None:
        """
        Learn how many calls in flight are suspects; matters while closed.

        More of them may open it. The rules do not say whether a count that
        did not rise is a reason to look at the rate, which age alone may have
        lifted meanwhile: there *opened* says what the code did.
        """
        self.look(now)
        if self.state == "closed":
            rose = count > self.suspects
            self.suspects = count
            if rose or opened:
                self._open_if_bad(now)
        elif self.state in ("forced_open", "disabled"):
            # See `rate_is_defined`.
            self.suspects = max(count, self.suspects)

    def operator(self, order: str, now: Fraction) -> None:
        """
        Obey ``force_open``, ``disable`` or ``reset``.

        Calls in flight go on being heard, though no probe is one any more.
        """
        self.look(now)
        if order == "reset":
            self._close()
            self.suspects = 0
        else:
            self.state = {"force_open": "forced_open", "disable": "disabled"}[order]
            self.probe = None

    def new_epoch(self) -> None:
        """
        Make every permit given so far stale.
        """
        self.epoch += 1
        self.probe = None

    # -- transitions -------------------------------------------------------

    def _provisional(self) -> int:
        return self.suspects if self.state == "closed" else 0

    def _enter(self, state: str) -> None:
        if state != self.state:
            self.new_epoch()
            self.suspects = 0
        self.state = state

    def _open_if_bad(self, now: Fraction) -> None:
        if (
            self.state == "closed"
            and self.weight(now) >= decimal(self.rules.min_weight)
            and self.failure_rate(now) >= decimal(self.rules.failure_rate)
        ):
            self._enter("open")
            self.opened_at = now

    def _judge_probe(self, *, green: bool, now: Fraction) -> None:
        if not green:
            self.failed_reopenings += 1
            self._enter("open")
            self.opened_at = now
            return
        self.greens += 1
        if self.greens >= self.rules.close_after:
            self._close()

    def _close(self) -> None:
        self._enter("closed")
        self.window.clear()
        self.probe_has_reported = False
        self.failed_reopenings = 0
