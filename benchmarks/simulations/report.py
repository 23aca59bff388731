"""
What is asked of each scenario, and what came out; the worst of the seeds, or their mean where it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.simulations import hangs, pictures, slow, storms
from benchmarks.simulations.stage import Recording
from benchmarks.timeout_scenarios import CHANGE

SEEDS: Final = range(1, 6)
RATES: Final = (20, 60, 200)
"""Calls a minute for which the cost of a hang is told."""

BEGIN: Final = "<!-- simulations: begin -->"
END: Final = "<!-- simulations: end -->"

MINUTES: Final = 60.0


@dataclass(frozen=True)
class Row:
    """
    Hold one line of the table.
    """

    scenario: str
    asked: str
    came_out: str


@dataclass(frozen=True)
class Report:
    """
    Hold the table, the one of what suspects are worth, and the pictures by name.
    """

    rows: Sequence[Row]
    suspects: Sequence[Sequence[str]]
    pictures: Mapping[str, str]

    def markdown(self) -> str:
        """
        Lay both tables out.
        """
        rows = _table(("the provider", "asked", "came out"), ((r.scenario, r.asked, r.came_out) for r in self.rows))
        head = ("calls a minute", "window", "with suspects", "without")
        return f"{rows}\n\nA hang of all calls, until the breaker opens, mean:\n\n{_table(head, self.suspects)}\n"


def report(say: Callable[[str], object] = lambda name: None) -> Report:
    """
    Play every scenario.

    Args:
        say: Told the name of each, before it is played.
    """
    rows: list[Row] = []
    drawn: dict[str, str] = {}
    for key, what in slow.SLOW.items():
        say(key)
        played = [what.play(seed=seed) for seed in SEEDS]
        rows.append(_slow_row(key, played))
        drawn[key] = pictures.of_slow(key, played[0])
    say("hang")
    played = [hangs.hang(seed=seed) for seed in SEEDS]
    rows.append(_hang_row(played))
    drawn["hang"] = pictures.of_hang(played[0])
    say("flapping")
    played = [hangs.flapping(seed=seed) for seed in SEEDS]
    rows.append(_flapping_row(played))
    drawn["flapping"] = pictures.of_flapping(played[0])
    say("storm")
    with_hint, without = ([storms.storm(hint=hint, seed=seed) for seed in SEEDS] for hint in (True, False))
    rows += [_storm_row("with Retry-After", with_hint), _storm_row("without", without)]
    drawn["storm"] = pictures.of_storm(with_hint[0], without[0])
    say("herd")
    crowd = storms.herd()
    rows.append(_herd_row(crowd))
    drawn["herd"] = pictures.of_herd(crowd)
    say("suspects")
    openings = [hangs.opening(suspects=suspects, warm=False) for suspects in (True, False)]
    drawn["suspects"] = pictures.of_opening(*openings)
    return Report(rows, suspects_table(), drawn)


def _slow_row(key: str, played: Sequence[Recording]) -> Row:
    began, learnt = CHANGE, CHANGE + slow.LEARNT_AFTER
    refused, aborted = (max(each.share(how, begin=learnt) for each in played) for how in ("refused", "aborted"))
    early = [each.share("refused", "aborted", begin=began, end=learnt) for each in played]
    now, then = played[0].timeout(began - 1.0), played[0].timeout(slow.SLOW[key].seconds)
    return Row(
        slow.SLOW[key].title.removeprefix("A provider "),
        "from ten minutes on, less than 5 % refused, less than 5 % aborted",
        f"{refused:.1%} refused, {aborted:.1%} aborted; in the first ten minutes {max(early):.0%} of either kind; "
        f"timeout {now:.1f} s, then {then:.1f} s",
    )


def _hang_row(played: Sequence[Recording]) -> Row:
    end = CHANGE + hangs.HANG
    moved = [each.timeout(end + 10 * MINUTES) / each.timeout(CHANGE - 1.0) for each in played]
    trusted = [each.entered("closed", end)[0] - end for each in played]
    hung = [sum(call.reached for call in each.within(CHANGE, end)) for each in played]
    return Row(
        "hangs for five minutes",
        "ten minutes later the timeout is within 1.3 x of what it was",
        f"x {min(moved):.2f} to x {max(moved):.2f}; {max(hung)} of 100 calls walked into the hang; "
        f"trusted again {min(trusted):.0f} to {max(trusted):.0f} s after it answered",
    )


def _flapping_row(played: Sequence[Recording]) -> Row:
    opened = [len(each.entered("open", CHANGE)) for each in played]
    end = CHANGE + hangs.FLAPS_FOR
    answered = [each.share("answered", begin=CHANGE, end=end) for each in played]
    after = [each.timeout(end + 10 * MINUTES) / each.timeout(CHANGE - 1.0) for each in played]
    moved = [longest_timeout(each) / each.timeout(CHANGE - 1.0) for each in played]
    return Row(
        "hangs every other half minute, for an hour",
        "opens no more often than every two minutes; the timeout stays within 2 x, and returns",
        f"opened {_span(opened)} times; timeout at most x {max(moved):.2f}, ten minutes after it x {max(after):.2f}; "
        f"only {min(answered):.0%} to {max(answered):.0%} of the calls answered",
    )


def longest_timeout(recording: Recording) -> float:
    """
    Find the longest timeout since the provider changed.
    """
    return max([recording.timeout(CHANGE), *(seconds for at, seconds in recording.timeouts if at > CHANGE)])


def _storm_row(hint: str, played: Sequence[Recording]) -> Row:
    asked = [each.within(storms.STORM_BEGINS, storms.STORM_ENDS) for each in played]
    turned_away = [sum(call.how == "429" for call in calls) for calls in asked]
    answered = [sum(call.how == "answered" for call in calls) for calls in asked]
    opened = [len(each.entered("open", storms.STORM_BEGINS)) for each in played]
    could = round(storms.A_MINUTE * (storms.STORM_ENDS - storms.STORM_BEGINS) / 60)
    return Row(
        f"answers ten calls a minute and 429 to the others, {hint}, for ten minutes",
        "few of the 600 calls are answered 429, and all of the 100 that can be answered are",
        f"{_span(turned_away)} answered 429, {_span(answered)} of {could} answered; opened {_span(opened)} times",
    )


def _span(values: Sequence[int]) -> str:
    least, most = min(values), max(values)
    return f"{least}" if least == most else f"{least} to {most}"


def _herd_row(crowd: storms.Herd) -> Row:
    rounds = "; ".join(f"{reached} of {reached + refused} after {at:.0f} s" for at, reached, refused in crowd.rounds())
    return Row(
        f"well again, and {len(crowd.callers)} callers come when the breaker becomes half-open",
        "one gets through, and each of the others is told when to come back",
        f"got through: {rounds}",
    )


def suspects_table() -> list[list[str]]:
    """
    Tell what a hang costs until the breaker opens, with suspects and without.
    """
    table: list[list[str]] = []
    for rate in RATES:
        for warm in (False, True):
            line = [str(rate), "full of successes" if warm else "empty"]
            for suspects in (True, False):
                opened = [hangs.opening(suspects=suspects, warm=warm, every=60 / rate, seed=seed) for seed in SEEDS]
                after, calls, wasted = (
                    sum(values) / len(opened)
                    for values in zip(*((each.after, each.calls, each.wasted) for each in opened), strict=True)
                )
                line.append(f"{after:.0f} s, {calls:.0f} calls, {wasted:,.0f} s wasted")
            table.append(line)
    return table


def write(told: Report, page: Path, folder: Path) -> None:
    """
    Replace what stands between the marks of *page*, and put the pictures into *folder*.

    Raises:
        ValueError: If the page has no such marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} must have the lines {BEGIN} and {END}")
    page.write_text(f"{before}{begin}\n\n{told.markdown()}\n{end}{after}", encoding="utf-8")
    for name, picture in told.pictures.items():
        (folder / f"sim-{name}.svg").write_text(picture, encoding="utf-8")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
