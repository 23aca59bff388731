"""
The pytest plugin: it costs a suite nothing that does not use it, brings the testing kit, and finds who was left behind.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util

import anyio.pytest_plugin  # noqa: F401
import pytest
import trio  # noqa: F401

from hungframe import testing  # noqa: F401

# What is imported here stays when a run within this process ends; else each would import all of it anew.
pytest_plugins = "pytester"

# Where hungframe is installed, pytest finds the plugin by itself.
INSTALLED = any(found.name == "hungframe" for found in importlib.metadata.entry_points(group="pytest11"))
PLUGIN = () if INSTALLED else ("-p", "pytest_hungframe")

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


def run(pytester: pytest.Pytester, source: str, *args: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    return pytester.runpytest_inprocess(*PLUGIN, "--strict-markers", "-p", "no:cacheprovider", *args)


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
    A marked test that leaves a callee fails, and is told the guard, the place and what to do; its successor is not blamed.
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
    result.stdout.fnmatch_lines(["no_orphans takes wait=<seconds> only*", "no_orphans(wait=...) must be a number*'long'"])


ASYNC = """
import pytest
from hungframe import CallTimeoutError, Guard
from hungframe.testing import hostile

async def leave():
    with pytest.raises(CallTimeoutError):
        await Guard("images", timeout=0.02, grace=0.01).acall(hostile.ignores_close, 0.2)

{}
@pytest.mark.no_orphans(wait=0.01)
async def test_leaves():
    await leave()

{}
@pytest.mark.no_orphans(wait=0.01)
async def test_clean():
    await Guard("images").acall(hostile.ignores_close, 0.01)
"""


@pytest.mark.parametrize(
    "package, marker, options",
    [
        ("anyio", "@pytest.mark.anyio", ("-k", "asyncio")),
        ("anyio", "@pytest.mark.anyio", ("-k", "trio")),
        ("pytest_asyncio", "@pytest.mark.asyncio", ("-o", "asyncio_default_fixture_loop_scope=function")),
        ("pytest_trio", "@pytest.mark.trio", ()),
    ],
    ids=["anyio-asyncio", "anyio-trio", "pytest-asyncio", "pytest-trio"],
)
def test_event_loops(pytester: pytest.Pytester, package: str, marker: str, options: tuple[str, ...]) -> None:
    """
    Under each plugin that runs async tests, a callee that was left on its loop is found.
    """
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    result = run(pytester, ASYNC.format(marker, marker), *options)
    outcomes = result.parseoutcomes()
    assert (1, 1) == (outcomes.get("failed"), outcomes.get("passed"))
    result.stdout.fnmatch_lines(["the test has left 1 callee*", "  guard 'images': *ignores_close*"])


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
    # Without anyio's own plugin there is nobody else who would import anything of it.
    result = pytester.runpytest_subprocess(*PLUGIN, "--strict-markers", "-o", "hungframe_no_orphans=true")
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
    result = pytester.runpytest_subprocess(*PLUGIN, "-n", "1", "--strict-markers")
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
    result = pytester.runpytest_subprocess(*PLUGIN, "--cov=hungframe.testing.sinks", "--cov-report=term-missing")
    result.assert_outcomes(passed=1)
    assert "already imported" not in result.stdout.str() + result.stderr.str()
    result.stdout.fnmatch_lines(["*sinks.py*"])
