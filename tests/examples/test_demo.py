"""
The demo tells what happened, and says so when it did not.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("openai")
pytest.importorskip("rich")

from rich.console import Console

import hungframe
from examples.demo import pace
from examples.demo.__main__ import main, verdict
from examples.demo.checks import CLAIMS, Check, check_all
from examples.demo.picture import WIDTH, draw
from examples.demo.record import CROWD, WORKERS, Call, CallOutcome, Counts, LaneRecord, Record
from examples.demo.screen import Screen
from examples.demo.story import CALLERS, MEASURED_REFUSALS
from examples.demo.summary import rows, show_checks, show_table
from hungframe import CallTimeoutError, CircuitOpenError, Guard
from hungframe.events import BreakerChanged, Event, GenFail, GenReject, GenRequest, GenSuccess

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Run:
    exit_code: int
    output: str
    errors: str
    seconds: float
    picture: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """
    The demo, as `make demo` runs it, once for all that look at it.
    """
    picture = tmp_path_factory.mktemp("demo") / "timeline.svg"
    # The very hungframe that is tested here, installed or not.
    source = Path(hungframe.__file__).parents[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")]),
        "PYTHONIOENCODING": "utf-8",
        # Neither of the two may change what the demo shows.
        "GEN_BREAKER_ENABLED": "false",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--picture", str(picture)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    seconds = time.monotonic() - began
    drawn = picture.read_text(encoding="utf-8") if picture.exists() else ""
    return Run(done.returncode, done.stdout, done.stderr, seconds, drawn)


def test_it_runs_within_a_minute_and_all_it_tells_is_true(run: Run) -> None:
    """
    Every claim has its tick, the exit code is 0, and nothing is on stderr.
    """
    assert (0, "") == (run.exit_code, run.errors), run.output
    assert len(CLAIMS) == run.output.count("✓")
    assert 60 > run.seconds


@pytest.mark.parametrize(
    "said",
    [
        r"a minute +60 s +2 s",
        r"worker 3: CallTimeoutError after 2\.\d\d s, receipt: clean",
        r"hung in \S+:\d+ in \w+",
        r"the breaker is open: failure rate 0\.50",
        r"500 calls more: each is refused in \d+ µs",
        r"99 are refused at once, 1 gets through",
        r"green 3 of 3: the breaker is closed",
        r"103 calls, still hanging after \d+\.\d s, cut off here",
        r"images drawn +15 +6",
        r"The timeline: .*timeline\.svg",
    ],
)
def test_it_tells_the_story(run: Run, said: str) -> None:
    assert re.search(said, run.output), run.output


def test_a_file_gets_plain_text(run: Run) -> None:
    """
    No escape sequence, no line filled up with spaces.
    """
    assert "\x1b" not in run.output
    assert [] == [line for line in run.output.splitlines() if line != line.rstrip()]


def test_the_picture_of_a_run_is_an_svg(run: Run) -> None:
    assert "{http://www.w3.org/2000/svg}svg" == ElementTree.fromstring(run.picture).tag


# -- the checks ------------------------------------------------------------------------------------------------------


def call(who: str, began: float, ended: float, outcome: CallOutcome, error: Exception | None = None) -> Call:
    return Call(who, began, ended, outcome, error)


def a_timeout() -> CallTimeoutError:
    return CallTimeoutError(guard="images", timeout=2.0, elapsed=2.01, receipt="clean", where="http11.py:167 in read")


def a_lane(*, guarded: bool) -> LaneRecord:
    """
    Six images, three that hang from 2 to 4; then, guarded, the breaker is open till 6 and half-open till 11.
    """
    lane = LaneRecord([call(who, at, at + 0.9, "answered") for who in WORKERS for at in (0.0, 1.0)])
    if not guarded:
        lane.calls += [call(who, 2.0, 14.0, "cut off") for who in WORKERS]
        lane.calls += [call(CROWD, 6.0, 14.0, "cut off") for _ in range(CALLERS)]
        lane.when_hung, lane.at_the_end = Counts(9, 3), Counts(9, 3)
        return lane
    refused = CircuitOpenError("images", 2.0)
    lane.calls += [call(who, 2.0, 4.0, "timeout", a_timeout()) for who in WORKERS]
    lane.calls += [call(CROWD, 6.0, 6.8, "answered")]
    lane.calls += [call(CROWD, 6.0, 6.0, "refused", refused) for _ in range(CALLERS - 1)]
    lane.calls += [call(WORKERS[0], 8.0, 8.8, "answered"), call(WORKERS[0], 10.0, 10.8, "answered")]
    lane.calls += [call(who, at, at + 0.9, "answered") for who in WORKERS for at in (11.0, 12.0)]
    lane.when_hung, lane.before_crowd, lane.at_the_end = Counts(9, 0), Counts(9, 0), Counts(18, 3)
    return lane


def a_record() -> Record:
    """
    A demo in which all went as it should.
    """
    rejected = CALLERS - 1 + MEASURED_REFUSALS
    endings: list[Callable[[str], Event]] = [
        *[lambda id: GenSuccess(0.0, "images", id, 900)] * 6,
        *[lambda id: GenFail(0.0, "images", id, "timeout", 2010, "clean", "http11.py:167 in read")] * 3,
        *[lambda id: GenReject(0.0, "images", id, "circuit_open", 2000)] * rejected,
        *[lambda id: GenSuccess(0.0, "images", id, 900)] * 9,
    ]
    events: list[Event] = []
    for number, ending in enumerate(endings):
        events += [GenRequest(0.0, "images", f"{number}", 2000, None, None), ending(f"{number}")]
        if number == 8:
            events.append(BreakerChanged(0.0, "images", "open", 0.5))
    events += [BreakerChanged(0.0, "images", "half_open", 0.5), BreakerChanged(0.0, "images", "closed", 0.0)]
    counts = {"success": 15, "timeout": 3, "rejected": rejected, "quota": 0}
    return Record(
        guarded=a_lane(guarded=True),
        naked=a_lane(guarded=False),
        events=events,
        states=[(0.0, "closed"), (4.0, "open"), (6.0, "half_open"), (10.8, "closed")],
        refusals=[8e-6] * MEASURED_REFUSALS,
        refused_at=4.1,
        hung_at=2.0,
        well_at=5.0,
        cut_at=14.0,
        snapshot=replace(Guard("images").snapshot(), counts=counts),
    )


def without_last_event(record: Record) -> None:
    record.events = record.events[:-1]


def told_twice(record: Record) -> None:
    record.events = [*record.events, GenSuccess(0.0, "images", "0", 900)]


def one_image_less(record: Record) -> None:
    record.naked.calls[0].outcome = "failed"


def late(record: Record) -> None:
    error = record.guarded.ended("timeout")[0].error
    assert isinstance(error, CallTimeoutError)
    error.elapsed = 9.0


def fourth_timeout(record: Record) -> None:
    record.guarded.calls.append(call(WORKERS[0], 4.0, 6.0, "timeout", a_timeout()))


def an_orphan(record: Record) -> None:
    assert record.snapshot
    record.snapshot = replace(record.snapshot, orphans=1)


def left_behind(record: Record) -> None:
    old = record.guarded.ended("timeout")[0]
    old.error = CallTimeoutError(guard="images", timeout=2.0, elapsed=2.01, receipt="orphan", where="x.py:1 in f")


def opened_too_late(record: Record) -> None:
    fail = GenFail(0.0, "images", "x", "timeout", 2010, "clean", "")
    record.events = [fail, *record.events]


def socket_kept(record: Record) -> None:
    record.guarded.when_hung = Counts(9, 1)


def slow_refusals(record: Record) -> None:
    record.refusals = [0.5] * MEASURED_REFUSALS


def refused_and_sent(record: Record) -> None:
    record.guarded.before_crowd = Counts(10, 0)


def two_of_the_crowd(record: Record) -> None:
    record.crowd()[-1].outcome = "answered"


def request_too_many(record: Record) -> None:
    record.guarded.at_the_end = Counts(19, 3)


def miscounted(record: Record) -> None:
    assert record.snapshot
    record.snapshot = replace(record.snapshot, counts={**record.snapshot.counts, "unknown": 1})


def connection_left(record: Record) -> None:
    record.guarded.left_open = True


def naked_recovers(record: Record) -> None:
    record.naked.calls[-1].outcome = "answered"


def guarded_does_not(record: Record) -> None:
    record.guarded.calls[-1].outcome = "refused"


FALSE = {
    "both services got": one_image_less,
    "ended at its deadline": late,
    "where it hung": left_behind,
    "With the third timeout": opened_too_late,
    "hung connections were closed": socket_kept,
    "none of them waited": slow_refusals,
    "Not one refused call reached": refused_and_sent,
    "Exactly 1 of": two_of_the_crowd,
    "the breaker closed": without_last_event,
    "drew images again": guarded_does_not,
    "requests in all": request_too_many,
    "exactly one event": told_twice,
    "counted what its callers saw": miscounted,
    "Nothing is in flight": an_orphan,
    "No connection is open": connection_left,
    "not one call was answered": naked_recovers,
}


def test_a_true_story_passes(capsys: pytest.CaptureFixture[str]) -> None:
    checks = check_all(a_record())

    assert [] == [check for check in checks if not check.holds]
    assert 0 == verdict(checks)
    assert "" == capsys.readouterr().err


def test_every_claim_can_fail() -> None:
    """
    The table of falsehoods below leaves no claim out.
    """
    assert len(CLAIMS) == len(FALSE)


@pytest.mark.parametrize("claim", FALSE)
def test_a_false_claim_is_found_and_fails_the_demo(claim: str, capsys: pytest.CaptureFixture[str]) -> None:
    record = a_record()
    FALSE[claim](record)

    checks = check_all(record)

    assert any(claim in check.sentence for check in checks if not check.holds)
    assert 1 == verdict(checks)
    assert claim in capsys.readouterr().err


def test_a_fourth_timeout_is_one_too_many() -> None:
    record = a_record()
    fourth_timeout(record)

    assert any("ended at its deadline" in check.sentence for check in check_all(record) if not check.holds)


def test_a_demo_in_which_nothing_happened_fails() -> None:
    """
    An empty record satisfies no claim by accident but that nothing was left open.
    """
    holding = [check.sentence for check in check_all(Record()) if check.holds]

    assert 1 == verdict(check_all(Record()))
    assert all("connection" in each or "reached" in each or "exactly one event" in each for each in holding), holding


def test_no_check_is_no_proof() -> None:
    assert 1 == verdict([])


# -- screen and table --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 120])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    file = io.StringIO()
    screen = Screen(Console(file=file, width=width, force_terminal=False))

    screen.opening()
    screen.ended(call(WORKERS[0], 2.0, 4.0, "timeout", a_timeout()))
    show_table(screen, a_record())
    show_checks(screen, [*check_all(a_record()), Check("The sky is green.", False, "blue")])

    assert width >= max(len(line) for line in file.getvalue().splitlines())
    assert "Found: blue" in " ".join(file.getvalue().split())


def test_ascii_is_enough() -> None:
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding="ascii")
    screen = Screen(Console(file=file, width=80))

    screen.measured(4.1, a_record())
    show_table(screen, a_record())
    show_checks(screen, check_all(a_record()))
    file.flush()

    assert b"ok While the provider was well" in written.getvalue()


def test_the_table_sets_what_was_wasted_side_by_side() -> None:
    told = {what: (guarded, naked) for what, guarded, naked in rows(a_record())}

    assert ("2.0 s (1.0 min)", "over 12.0 s (6.0 min)") == told["longest wait for nothing"]
    assert ("6.0 s (3.0 min)", "over 836 s (7.0 h)") == told["all waits for nothing together"]
    assert ("1.8 s (0.9 min)", "none in 9.0 s (4.5 min)") == told["provider well: next image after"]
    assert ("0", "3") == told["connections tied up at the end"]


# -- the picture -------------------------------------------------------------------------------------------------------


def shapes(svg: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{tag}"))


def test_the_picture_has_a_bar_for_each_call_of_a_worker() -> None:
    tips = [title.text or "" for title in shapes(draw(a_record()), "title")]

    assert 6 + 6 + 2 + 6 == sum(tip.startswith("answered") for tip in tips) - 1, "the crowd's one is drawn, too"
    assert 3 == sum(tip.startswith("timeout") for tip in tips)
    assert 3 == sum(tip.startswith("cut off") for tip in tips)
    assert 1 == sum(tip.startswith("99 calls refused") for tip in tips)
    assert 1 == sum(tip.startswith("100 calls cut off") for tip in tips)


def test_the_picture_tells_the_breakers_states_and_has_a_legend() -> None:
    said = {text.text for text in shapes(draw(a_record()), "text")}

    assert {"closed", "open", "half-open", "with hungframe", "without", "answered", "refused at once"} <= said
    assert "1 of 100 gets through, the others are refused" in said
    assert "still waiting after 12.0 s, cut off here" in said


def test_nothing_is_drawn_outside_of_the_picture() -> None:
    svg = draw(a_record())
    height = float(ElementTree.fromstring(svg).attrib["height"])

    for shape in shapes(svg, "rect")[3:]:
        left, width = float(shape.attrib["x"]), float(shape.attrib["width"])
        assert left >= 0 and left + width <= WIDTH
        assert float(shape.attrib["y"]) + float(shape.attrib["height"]) <= height


def test_what_is_told_in_the_picture_is_escaped() -> None:
    record = a_record()
    record.states[0] = (0.0, "<&>")

    assert "<&>" in {text.text for text in shapes(draw(record), "text")}


def test_a_run_that_was_cut_short_can_be_drawn() -> None:
    """
    The picture is most wanted when something went wrong.
    """
    assert shapes(draw(Record()), "text")


def test_a_picture_that_cannot_be_written_is_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--picture", str(ROOT / "no-such-directory" / "timeline.svg")])

    assert "there is no directory" in capsys.readouterr().err


# -- the pace ----------------------------------------------------------------------------------------------------------


def test_the_client_gives_up_long_after_the_demo_is_over() -> None:
    """
    Else the service without a guard would be freed by its client, and the demo had told a lie.
    """
    assert pace.here(600.0) == pace.client_timeout().read
    assert 60.0 > pace.here(600.0) > 18.0
