"""
How the story looks in a terminal, and in a file.

Colours, and the strip that counts while one waits, are for terminals only. Elsewhere it is plain text.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from examples.demo import pace
from examples.demo.record import CROWD, WORKERS, Call, LaneRecord, Record, Stopwatch
from hungframe import CallTimeoutError, Guard

STYLES = {"good": "green", "bad": "red", "refused": "magenta", "plain": "", "dim": "dim"}
STATE_STYLES = {"closed": "green", "open": "red", "half_open": "yellow"}


class Screen:
    """
    Tell the story on *console*.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        plain = console.options.ascii_only
        self.micro = "us" if plain else "µs"
        self.tick, self.cross = ("ok", "NO") if plain else ("✓", "✗")

    def print(self, renderable: RenderableType = "") -> None:
        # What is told may have brackets in it, which are no markup.
        if self.console.is_terminal:
            self.console.print(renderable, markup=False, highlight=False)
            return
        with self.console.capture() as told:
            self.console.print(renderable, markup=False, highlight=False)
        # rich fills lines up with spaces, which in a file or a pipe are only in the way.
        for line in told.get().splitlines():
            print(line.rstrip(), file=self.console.file, flush=True)

    def opening(self) -> None:
        """
        Say what will be seen, and how fast time passes.
        """
        self.print(Text("A provider hangs, with hungframe and without", style="bold"))
        self.print()
        self.print(
            "Two services, each with 3 workers, draw images with the real openai package. Each has a provider on this "
            "machine that hangs on cue. Script and client are the same; one service has a guard around the call:"
        )
        self.print()
        self.print(Text('    images = Guard("openai-images")\n    draw = images(draw)', style="cyan"))
        self.print()
        client = pace.production_client_timeout()
        table = _columns("", "in production", "here")
        for what, production, here in (
            ("a minute", "60 s", f"{pace.MINUTE:g} s"),
            ("an image takes", "20 to 40 s", f"{pace.here(20):.1f} to {pace.here(40):.1f} s"),
            ("hungframe ends a call after", f"{pace.PRODUCTION_TIMEOUT:g} s", f"{pace.TIMEOUT:g} s"),
            ("the breaker stays open for", f"{pace.PRODUCTION_OPEN_FOR:g} s", f"{pace.here(60):g} s"),
            ("a probe is let through every", f"{pace.PRODUCTION_PROBE_EVERY:g} s", f"{pace.here(60):g} s"),
            ("openai itself waits for", f"{client:g} s", f"{pace.here(client):g} s"),
        ):
            table.add_row(what, production, here)
        self.print(table)

    # -- the story ------------------------------------------------------------

    def act(self, number: int, title: str) -> None:
        self.print()
        self.print(Text(f"{number}  {title}", style="bold"))

    def say(self, at: float, what: str, style: str) -> None:
        """
        Tell one thing, with the second at which it happened.
        """
        line = Table.grid(padding=(0, 2))
        line.add_column(width=8, justify="right", no_wrap=True)
        line.add_column(ratio=1)
        line.add_row(Text(f"{at:.1f} s", style="dim"), Text(what, style=STYLES[style]))
        self.print(line)

    def drawn(self, at: float, service: str, calls: Sequence[Call]) -> None:
        """
        Tell of images, and how long they took.
        """
        took = [call.ended - call.began for call in calls if call.ended is not None]
        told = f"{service}: {len(calls)} images for {len(WORKERS)} workers"
        self.say(at, f"{told}, {min(took):.1f} to {max(took):.1f} s each" if took else told, "good")

    def ended(self, call: Call) -> None:
        """
        Tell how a call ended that its caller did not enjoy.
        """
        at = call.ended or call.began
        error = call.error
        name = type(error).__name__
        if isinstance(error, CallTimeoutError):
            told = f"{call.who}: {name} after {error.elapsed:.2f} s, receipt: {error.receipt}"
            self.say(at, told, "bad")
        else:
            self.say(at, f"{call.who}: {name}: {error}", "refused")

    def where_it_hung(self, calls: Sequence[Call]) -> None:
        """
        Tell in which lines the calls hung, once for those that hung in the same.
        """
        places = [call.error.where for call in calls if isinstance(call.error, CallTimeoutError)]
        for place, _ in groupby(places):
            lines = Table.grid(padding=(0, 1))
            lines.add_column(width=7, justify="right", no_wrap=True)
            lines.add_column(ratio=1)
            for index, frame in enumerate(place.split(" < ")):
                lines.add_row(Text("<-" if index else "hung in"), Text(frame), style="dim")
            self.print(Padding(lines, (0, 0, 0, 10)))

    def opened(self, at: float, state: str, failure_rate: float) -> None:
        self.say(at, f"the breaker is {state}: failure rate {failure_rate:.2f}, a timeout weighs 2", "bad")

    def compare_connections(self, at: float, guarded: LaneRecord, naked: LaneRecord) -> None:
        tied_up = f"{guarded.when_hung.open} with hungframe, {naked.when_hung.open} without"
        self.say(at, f"connections still tied up at the provider: {tied_up}", "plain")

    def measured(self, at: float, record: Record) -> None:
        took = record.refusal_took
        if took:
            told = f"{len(record.refusals)} calls more: each is refused in {took * 1e6:.0f} {self.micro} (the median)"
            self.say(at, f"{told}, instead of hanging for {pace.TIMEOUT:g} s", "refused")

    def crowd_with(self, at: float, record: Record) -> None:
        refused = sum(call.outcome == "refused" for call in record.crowd())
        self.say(
            at, f"with hungframe: {refused} are refused at once, {len(record.crowd()) - refused} gets through", "good"
        )

    def crowd_without(self, at: float, record: Record) -> None:
        hanging = record.naked.ended("waiting")
        waiting = sum(call.who == CROWD for call in hanging)
        told = f"without: {waiting} wait for one of {pace.CONNECTIONS} connections, which hang"
        self.say(at, told, "bad")

    def green(self, at: float, number: int, state: str) -> None:
        self.say(at, f"green {number} of {pace.GREENS}: the breaker is {state.replace('_', '-')}", "good")

    def cut_off(self, record: Record) -> None:
        waiting = record.naked.ended("waiting")
        if waiting:
            seconds = record.cut_at - min(call.began for call in waiting)
            told = f"without: {len(waiting)} calls, still hanging after {seconds:.1f} s, cut off here"
            self.say(record.cut_at, told, "bad")

    # -- the strip that counts ------------------------------------------------

    @contextmanager
    def strip(self, record: Record, guard: Guard, watch: Stopwatch) -> Generator[None, None, None]:
        """
        On a terminal, show below the story how both services stand while it goes on.
        """
        if not self.console.is_terminal or self.console.is_dumb_terminal:
            yield
            return

        def now() -> RenderableType:
            return Group("", _strip(record, guard.snapshot().state, watch.now()))

        with Live(get_renderable=now, console=self.console, refresh_per_second=8, transient=True):
            yield


def _strip(record: Record, state: str, now: float) -> Table:
    table = Table.grid(padding=(0, 3))
    breaker = Text(state.replace("_", "-"), style=STATE_STYLES.get(state, ""))
    for name, lane, said in (("with hungframe", record.guarded, breaker), ("without", record.naked, Text("-"))):
        waiting = lane.ended("waiting")
        longest = max((now - call.began for call in waiting), default=0.0)
        # Longer than the guard gives a call: nothing will come of it.
        style = "red" if longest > pace.TIMEOUT + 0.5 else "dim"
        waits = Text(f"{len(waiting)} in flight, the oldest for {longest:.1f} s" if waiting else "idle", style=style)
        table.add_row(Text(name, style="bold"), said, Text(f"{len(lane.ended('answered'))} answered"), waits)
    return table


def _columns(*titles: str) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for index, title in enumerate(titles):
        table.add_column(title, justify="right" if index else "left")
    return table
