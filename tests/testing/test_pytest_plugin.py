"""
The pytest plugin: it costs a suite nothing that does not use it, brings the testing kit, and finds who was left behind.
"""

from __future__ import annotations

import gc
import importlib.util
import re
import threading
import time
import weakref
from pathlib import Path

import anyio.pytest_plugin  # noqa: F401  # Imported here, so that no run within this process does.
import pytest
import trio  # noqa: F401  # Imported here, so that no run within this process does.

from hungframe import CallTimeoutError, Guard, testing  # noqa: F401
from hungframe.abort.orphans import all_running
from hungframe.guard import engine_behind

# What is imported here stays when a run within this process ends; else each would import all of it anew.
pytest_plugins = "pytester"

# Where hungframe is installed pytest finds the plugin by itself, and this says nothing new.
PLUGIN = ("-p", "pytest_hungframe")

# They would be set up, and hypothesis imported anew, for each run within this process.
WITHOUT = tuple(f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "pytest_cov", "xdist"))
OF_LOOPS = ("asyncio", "trio")

# A callee that outlives its deadline until it is let go, so that no test waits for one.
LEAVES = """
import threading
import pytest
from hungframe import CallTimeoutError, Guard

let_go = threading.Event()

def hangs():
    let_go.wait(5)

def leave_one(name="images"):
    with pytest.raises(CallTimeoutError) as caught:
        Guard(name, timeout=0.02, grace=0.01).call(hangs)
    assert caught.value.receipt == "orphan"

@pytest.fixture(scope="module", autouse=True)
def end_them():
    yield
    let_go.set()
"""


def run(pytester: pytest.Pytester, source: str, *args: str, under: str = "") -> pytest.RunResult:
    pytester.makepyfile(source)
    others = [f"-pno:{name}" for name in OF_LOOPS if name != under]
    return pytester.runpytest_inprocess(*PLUGIN, *WITHOUT, *others, "--strict-markers", *args)


def test_the_tests_of_the_guide(pytester: pytest.Pytester) -> None:
    """
    Those that "Test your code" shows pass; where the page itself is run they are only defined.
    """
    guide = (Path(__file__).parents[2] / "docs" / "how-to" / "test-your-code.md").read_text(encoding="utf-8")
    head, _, tail = guide.partition("\n## With pytest\n")
    needed = head.partition("\n## A provider that fails on purpose\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```python\n(.*?)^```$", needed + tail, re.DOTALL | re.MULTILINE)

    result = run(pytester, "\n".join(["from hungframe import CallTimeoutError, Guard", *blocks]))

    result.assert_outcomes(passed=2)


def test_fixtures(pytester: pytest.Pytester) -> None:
    """
    Clock, sink and provider come new to each test; the provider runs, plays what its marker says, and is closed.
    """
    result = run(
        pytester,
        """
        import urllib.error, urllib.request
        import pytest
        from hungframe import Guard

        seen = []

        def get(url):
            with urllib.request.urlopen(url) as response:
                return response.status

        def test_clock_and_sink(virtual_clock, recording_sink):
            guard = Guard("images", clock=virtual_clock, sinks=[recording_sink])
            guard.pause(20)
            virtual_clock.advance(21)
            assert guard.call(str.upper, "a") == "A"
            assert recording_sink.names()[-1] == "gen.success"

        def test_new_ones(virtual_clock, recording_sink):
            assert virtual_clock.now() == 0 and not recording_sink.events

        def test_provider(hostile_provider):
            seen.append(hostile_provider)
            assert get(hostile_provider.url) == 200
            hostile_provider.play("503")
            with pytest.raises(urllib.error.HTTPError) as caught:
                get(hostile_provider.url)
            caught.value.close()

        @pytest.mark.hostile_provider("429:2", "ok")
        def test_marked(hostile_provider):
            with pytest.raises(urllib.error.HTTPError) as caught:
                get(hostile_provider.url)
            caught.value.close()
            assert get(hostile_provider.url) == 200
            with pytest.raises(RuntimeError, match="closed"):
                seen[0].url

        @pytest.mark.hostile_provider(tls=True)
        def test_tls(hostile_provider):
            assert hostile_provider.url.startswith("https://")
        """,
    )
    result.assert_outcomes(passed=5)


def test_orphan_fails(pytester: pytest.Pytester) -> None:
    """
    A marked test that leaves a callee fails, told the guard, the place and what to do; its successor is not blamed.
    """
    result = run(
        pytester,
        LEAVES
        + """
@pytest.mark.no_orphans(wait=0.05)
def test_leaves():
    leave_one("images")

@pytest.mark.no_orphans(wait=0)
def test_next():
    Guard("other").call(str.upper, "a")

def test_unmarked():
    leave_one()
""",
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "the test has left 1 callee that still runs, 0.05 s after its end:",
            "  guard 'images': *in wait < *in hangs",
            "*may_leave_orphans*",
        ]
    )


def test_late_passes(pytester: pytest.Pytester) -> None:
    """
    A callee that ends within the wait is not left behind.
    """
    result = run(
        pytester,
        LEAVES
        + """
@pytest.mark.no_orphans(wait=5)
def test_late():
    leave_one()
    threading.Timer(0.03, let_go.set).start()
""",
    )
    result.assert_outcomes(passed=1)


def test_option(pytester: pytest.Pytester) -> None:
    """
    The option holds for every test but those that say otherwise; the closest marker decides.
    """
    result = run(
        pytester,
        LEAVES
        + """
def test_leaves():
    leave_one()
    leave_one("other")

@pytest.mark.may_leave_orphans
def test_may():
    leave_one()

@pytest.mark.may_leave_orphans
class TestNone:
    @pytest.mark.no_orphans
    def test_here(self):
        leave_one()
""",
        "-o",
        "hungframe_no_orphans=true",
        "-o",
        "hungframe_orphans_wait=0.01",
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["the test has left 2 callees that still run, 0.01 s after its end:"])


def test_own_failure_first(pytester: pytest.Pytester) -> None:
    """
    A test that fails by itself fails for its own reason, and the orphans stand below it.
    """
    result = run(
        pytester,
        LEAVES
        + """
@pytest.mark.no_orphans(wait=0)
def test_fails():
    leave_one()
    assert 1 == 2
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert 1 == 2*", "*orphans call*", "the test has left 1 callee*"])


@pytest.mark.parametrize(
    "options, told",
    [
        (("-o", "hungframe_orphans_wait=soon"), "*hungframe_orphans_wait must be a number of seconds*'soon'*"),
        (("-o", "hungframe_orphans_wait=-1"), "*hungframe_orphans_wait must be a number of seconds*'-1'*"),
    ],
)
def test_bad_option(pytester: pytest.Pytester, options: tuple[str, ...], told: str) -> None:
    """
    A wait that is none is refused before any test runs.
    """
    result = run(pytester, "def test(): pass", *options)
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines([told])


def test_bad_marker(pytester: pytest.Pytester) -> None:
    """
    A marker with an argument that it does not take fails its test, and only that.
    """
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.no_orphans(5)
        def test_positional(): pass

        @pytest.mark.no_orphans(wait="long")
        def test_word(): pass

        def test_other(): pass
        """,
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["no_orphans takes wait=<seconds> only*", "no_orphans(wait=...) must be a number*'long'"]
    )


ASYNC = """
import pytest
from hungframe import CallTimeoutError, Guard
from hungframe.testing import hostile

{marker}
@pytest.mark.no_orphans(wait=0.01)
async def test_leaves():
    with pytest.raises(CallTimeoutError):
        await Guard("images", timeout=0.02, grace=0.01, isolate={isolate!r}).acall(hostile.{callee}, 0.3)

{marker}
@pytest.mark.no_orphans(wait=0.01)
async def test_clean():
    await Guard("images", isolate={isolate!r}).acall(hostile.{callee}, 0.01)
"""
ASYNCIO_SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")


# A loop of trio ends only when the tasks left on it have, so there the callee is one in a thread.
@pytest.mark.parametrize(
    "package, marker, isolate, callee, options",
    [
        ("anyio", "anyio", "auto", "ignores_close", ("-k", "asyncio")),
        ("anyio", "anyio", "thread", "blocks", ("-k", "trio")),
        ("pytest_asyncio", "asyncio", "auto", "ignores_close", ASYNCIO_SCOPE),
        ("pytest_trio", "trio", "thread", "blocks", ()),
    ],
    ids=["anyio-asyncio", "anyio-trio", "pytest-asyncio", "pytest-trio"],
)
def test_event_loops(
    pytester: pytest.Pytester, package: str, marker: str, isolate: str, callee: str, options: tuple[str, ...]
) -> None:
    """
    Under each plugin that runs async tests, a callee that was left is found.
    """
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    source = ASYNC.format(marker=f"@pytest.mark.{marker}", isolate=isolate, callee=callee)
    result = run(pytester, source, *options, under=package.removeprefix("pytest_"))
    outcomes = result.parseoutcomes()
    assert (1, 1) == (outcomes.get("failed"), outcomes.get("passed"))
    result.stdout.fnmatch_lines(["the test has left 1 callee*", f"  guard 'images': *{callee}*"])


def test_guards_end() -> None:
    """
    A guard that has left callees, and is gone, is not kept by the list in which they are looked for.
    """
    let_go = threading.Event()
    guard = Guard("ending", timeout=0.02, grace=0.01)
    with pytest.raises(CallTimeoutError) as caught:
        guard.call(let_go.wait, 5)
    known = weakref.ref(engine_behind(guard).orphans)
    assert "ending" in all_running().values()

    let_go.set()
    ends_at = time.monotonic() + 5
    while caught.value.receipt == "orphan" and time.monotonic() < ends_at:
        time.sleep(0.001)
    assert "ending" not in all_running().values()
    del guard, caught
    while known() is not None and time.monotonic() < ends_at:
        gc.collect()
    assert known() is None


def test_unittest(pytester: pytest.Pytester) -> None:
    """
    Tests of unittest are held to it as well.
    """
    result = run(
        pytester,
        LEAVES
        + """
import unittest

class TestImages(unittest.TestCase):
    @pytest.mark.no_orphans(wait=0)
    def test_leaves(self):
        leave_one()
""",
    )
    result.assert_outcomes(failed=1)


def test_costs_nothing(pytester: pytest.Pytester) -> None:
    """
    A suite that uses none of it does not import hungframe, nor anything of it, also where the option is on.
    """
    pytester.makepyfile(
        """
        import sys
        import pytest

        @pytest.mark.no_orphans
        def test_not_imported():
            assert not [name for name in sys.modules if name.partition(".")[0] == "hungframe"]
        """
    )
    result = pytester.runpytest_subprocess(*PLUGIN, *WITHOUT, "--strict-markers", "-o", "hungframe_no_orphans=true")
    result.assert_outcomes(passed=1)


def test_xdist(pytester: pytest.Pytester) -> None:
    """
    Workers of pytest-xdist tell of orphans as one process does.
    """
    pytest.importorskip("xdist")
    pytester.makepyfile(
        LEAVES
        + """
@pytest.mark.no_orphans(wait=0)
def test_leaves():
    leave_one()

@pytest.mark.no_orphans(wait=0)
def test_clean(hostile_provider):
    pass
"""
    )
    result = pytester.runpytest_subprocess(*PLUGIN, "-n1", "-pno:hypothesispytest", "--strict-markers")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["the test has left 1 callee*"])


def test_coverage_measures_imports(pytester: pytest.Pytester) -> None:
    """
    Lines of hungframe that run when it is imported are measured by pytest-cov: the plugin has not imported it before.
    """
    pytest.importorskip("pytest_cov")
    pytester.makepyfile(
        """
        def test_clock(virtual_clock):
            pass
        """
    )
    options = ("-pno:hypothesispytest", "--cov=hungframe.testing.sinks", "--cov-report=term-missing")
    result = pytester.runpytest_subprocess(*PLUGIN, *options)
    result.assert_outcomes(passed=1)
    assert "already imported" not in result.stdout.str() + result.stderr.str()
    result.stdout.fnmatch_lines(["*sinks.py*"])
