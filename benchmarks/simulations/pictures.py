"""
The scenarios as plots.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import plot
from benchmarks.plot import BLUE, GREEN, ORANGE, PURPLE, RED, Dots, Line, Plot, Strip
from benchmarks.simulations import hangs, slow, storms
from benchmarks.simulations.hangs import Opened
from benchmarks.simulations.stage import Asked, How, Recording
from benchmarks.simulations.storms import Herd
from benchmarks.timeout_scenarios import CHANGE

MINUTES = 60.0
_MIN = ("min", MINUTES)

_COLOURS: dict[How, tuple[str, str]] = {
    "refused": ("refused at once", PURPLE),
    "answered": ("answered", GREEN),
    "aborted": ("ended at its deadline", ORANGE),
    "429": ("answered 429", RED),
}


def _calls(asked: Sequence[Asked], size: float = 5.0, one_in: int = 1) -> list[Dots]:
    """
    Dots for calls, each at the seconds for which its caller waited; of those answered, one in so many.
    """
    return [
        Dots(
            name,
            [(each.at, each.took) for each in asked if each.how == how][:: one_in if how == "answered" else 1],
            colour,
            size,
        )
        for how, (name, colour) in _COLOURS.items()
        if how != "429"
    ]


def _breaker(recording: Recording, name: str = "breaker") -> Strip:
    return Strip(name, [(at, state.replace("_", "-")) for at, state in recording.states])


def _timeout(recording: Recording) -> Line:
    return Line("timeout", recording.timeouts, BLUE, steps=True)


def of_slow(key: str, recording: Recording) -> str:
    """
    Draw a provider that becomes slower.
    """
    what = slow.SLOW[key]
    longest = max(
        max(each.took for each in recording.asked if each.at > CHANGE - 10 * MINUTES),
        max(seconds for at, seconds in recording.timeouts if at > CHANGE - 10 * MINUTES),
    )
    one_in = max(1, len(recording.asked) // 2500)
    thinned = f" One in {one_in} of those answered is drawn." if one_in > 1 else ""
    return plot.draw(
        Plot(
            what.title,
            f"One call a second; 0 is when it begins. A refused call takes no time.{thinned}",
            CHANGE - 10 * MINUTES,
            what.seconds,
            _MIN,
            "seconds",
            longest * 1.05,
            CHANGE,
            [Strip("the provider", [(0.0, "well"), (CHANGE, "slower")]), _breaker(recording)],
            _calls(recording.asked, 3.5, one_in),
            [_timeout(recording)],
        )
    )


def of_hang(recording: Recording) -> str:
    """
    Draw a provider that hangs for five minutes.
    """
    end = CHANGE + hangs.HANG
    return plot.draw(
        Plot(
            "A provider hangs for five minutes",
            "Twenty calls a minute, which take 8 s at most of the time. Probes are given 90 s.",
            CHANGE - 3 * MINUTES,
            end + 10 * MINUTES,
            _MIN,
            "seconds",
            95.0,
            CHANGE,
            [Strip("the provider", [(0.0, "well"), (CHANGE, "hangs"), (end, "well")]), _breaker(recording)],
            _calls(recording.asked),
            [_timeout(recording)],
        )
    )


def of_flapping(recording: Recording) -> str:
    """
    Draw a provider that hangs every other half minute.
    """
    changes = [CHANGE + nth * hangs.HALF for nth in range(int(hangs.FLAPS_FOR / hangs.HALF))]
    provider = [(0.0, "well")] + [(at, "well" if hangs.is_well(at) else "hangs") for at in changes]
    return plot.draw(
        Plot(
            "A provider hangs every other half minute",
            "Twenty calls a minute; the first half hour of an hour.",
            CHANGE - 2 * MINUTES,
            CHANGE + 30 * MINUTES,
            _MIN,
            "seconds",
            95.0,
            CHANGE,
            [Strip("the provider", provider), _breaker(recording)],
            _calls(recording.asked),
            [_timeout(recording)],
        )
    )


def of_opening(with_suspects: Opened, without: Opened) -> str:
    """
    Draw how many callers wait in vain, with suspects and without.
    """
    begin = with_suspects.recording.within(hangs.HANGS_FROM)[0].at
    named = (("with suspects", with_suspects, BLUE, False), ("without", without, ORANGE, True))
    return plot.draw(
        Plot(
            "All calls hang: who waits in vain until the breaker opens",
            "Twenty calls a minute, the window empty, timeouts of 45 s; 0 is the first call that hangs.",
            begin - 10.0,
            begin + 110.0,
            ("s", 1.0),
            "callers that wait in vain",
            20.0,
            begin,
            [_breaker(each.recording, name) for name, each, _, _ in named],
            [],
            [
                Line(name, _waiting(each.recording.within(begin)), colour, steps=True, dashed=dashed)
                for name, each, colour, dashed in named
            ],
        )
    )


def _waiting(asked: Sequence[Asked]) -> list[tuple[float, float]]:
    """
    How many callers wait, at each instant at which that changes.
    """
    changes = sorted(
        change for each in asked if each.reached for change in ((each.at, 1), (round(each.at + each.took, 6), -1))
    )
    waiting, points = 0, [(0.0, 0.0)]
    for at, change in changes:
        waiting += change
        points.append((at, float(waiting)))
    return points


def of_storm(with_hint: Recording, without_hint: Recording) -> str:
    """
    Draw how many calls were answered 429.
    """
    begin, end = storms.STORM_BEGINS, storms.STORM_ENDS
    lines = [
        Line("429 with Retry-After", _counted(with_hint, "429"), RED, steps=True),
        Line("429 without", _counted(without_hint, "429"), RED, steps=True, dashed=True),
        Line("answered, with Retry-After", _counted(with_hint, "answered"), GREEN, steps=True),
        Line("answered, without", _counted(without_hint, "answered"), GREEN, steps=True, dashed=True),
    ]
    top = max(line.points[-1][1] for line in lines)
    return plot.draw(
        Plot(
            "A provider answers ten calls a minute, and sixty come",
            "Calls that came while it did so, counted from the moment at which it began.",
            begin - 1 * MINUTES,
            end + 1 * MINUTES,
            _MIN,
            "calls since it began",
            top * 1.1,
            begin,
            [
                Strip("the provider", [(0.0, "well"), (begin, "limits"), (end, "well")]),
                _breaker(with_hint, "Retry-After"),
                _breaker(without_hint, "without"),
            ],
            [],
            lines,
        )
    )


def _counted(recording: Recording, how: How) -> list[tuple[float, float]]:
    asked = recording.within(storms.STORM_BEGINS, storms.STORM_ENDS)
    ends = sorted(round(each.at + each.took, 6) for each in asked if each.how == how)
    return [(0.0, 0.0), *((at, float(count)) for count, at in enumerate(ends, 1))]


def of_herd(herd: Herd) -> str:
    """
    Draw when each caller of a crowd came, and how it fared.
    """
    crowd = len(herd.callers)
    # Who got through first is drawn lowest.
    order = sorted(range(crowd), key=lambda nth: (herd.callers[nth][-1].at, nth))
    calls = [(each, row + 1.0) for row, nth in enumerate(order) for each in herd.callers[nth]]
    return plot.draw(
        Plot(
            f"{crowd} callers come at the moment of half-open",
            "Who is refused comes back after retry_after, to the millisecond. Who got through first is drawn lowest.",
            herd.at - 20.0,
            herd.at + 320.0,
            ("s", 1.0),
            "callers",
            crowd + 5.0,
            herd.at,
            [_breaker(herd.recording)],
            [
                Dots(name, [(each.at, row) for each, row in calls if each.how == how], colour, 5.0)
                for how, (name, colour) in _COLOURS.items()
                if how in ("refused", "answered")
            ],
        )
    )
