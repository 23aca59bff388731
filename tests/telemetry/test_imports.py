"""
`import hungframe` brings nothing that is not used, and not much more time than `import anyio`.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import pytest

import hungframe

# What a sink, a page or a command brings when it is imported itself.
ONLY_WHERE_USED = (
    "anyio._backends",
    "hungframe.cli",
    "hungframe.health",
    "hungframe.stores",
    "hungframe.telemetry",
    "hungframe.testing",
    "hungframe.transport",
    "httpx",
    "jsonschema",
    "logging.config",
    "logging.handlers",
    "multiprocessing",
    "opentelemetry",
    "prometheus_client",
    "psycopg",
    "pytest",
    "redis",
    "requests",
    "rich",
    "starlette",
    "structlog",
    "trio",
)


def run(source: str, *options: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """
    Run a program in a fresh interpreter; return what it said.
    """
    program = [sys.executable, *options, "-c", textwrap.dedent(source)]
    ended = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60, env=env)
    assert 0 == ended.returncode, ended.stderr
    return ended


def imported(source: str) -> list[str]:
    """
    The modules that *source* imports, as `-X importtime` tells them.
    """
    told = run(source, "-X", "importtime").stderr.splitlines()
    return [line.rpartition("|")[2].strip() for line in told if line.startswith("import time:")]


def within(module: str, packages: Sequence[str]) -> bool:
    """
    Tell whether *module* is one of *packages* or below one.
    """
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_import_hungframe_brings_no_more_than_it_uses() -> None:
    """
    No sink, no page, no command line, and no optional package: importtime names every module that is imported.
    """
    modules = imported("from hungframe import *")

    # importtime does not name what import_module() itself imports, but what that imports.
    assert "hungframe.engine" in modules
    assert [] == [module for module in modules if within(module, ONLY_WHERE_USED)]


def test_every_name_has_its_home() -> None:
    """
    What type checkers are shown, what is promised, and what there is are the same.
    """
    source = ast.parse(Path(str(hungframe.__file__)).read_text(encoding="utf-8"))
    shown = {
        (node.module, alias.name)
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom) and node.module != "importlib"
        for alias in node.names
    }

    assert {name for _, name in shown} == set(hungframe.__all__) <= set(dir(hungframe))
    for module, name in shown:
        assert getattr(hungframe, name) is getattr(import_module(str(module)), name)


def test_a_name_that_is_not_there_is_told() -> None:
    """
    As by any module, and nothing is imported for it.
    """
    with pytest.raises(AttributeError, match="module 'hungframe' has no attribute 'Gaurd'"):
        _ = hungframe.Gaurd  # type: ignore[attr-defined]  # What this test is about.
    assert ["hungframe"] == [name for name in imported("import hungframe") if name.startswith("hungframe")]


def test_the_ground_is_there_by_its_name() -> None:
    """
    `hungframe.events` and the like need no import of their own.
    """
    ended = run(
        "import hungframe; print(hungframe.errors.__name__, hungframe.events.__name__, hungframe.ports.__name__)"
    )

    assert "hungframe.errors hungframe.events hungframe.ports\n" == ended.stdout


def test_sinks_of_the_standard_library_need_no_extra() -> None:
    """
    To queue, to log and to describe events needs nothing that is installed by an extra.
    """
    modules = imported("import hungframe.telemetry.logging, hungframe.telemetry.schema")
    others = [package for package in ONLY_WHERE_USED if package != "hungframe.telemetry"]

    assert "hungframe.telemetry.queued" in modules
    assert [] == [module for module in modules if within(module, others)]


def test_a_missing_extra_is_named() -> None:
    """
    Without OpenTelemetry's API the import says what to install, and everything else works.
    """
    ended = run("""
        import sys
        sys.modules["opentelemetry"] = None
        from hungframe import Guard
        from hungframe.telemetry.logging import LogSink
        Guard("images", sinks=[LogSink()]).call(str)
        try:
            import hungframe.telemetry.otel
        except ImportError as error:
            print(error)
    """)

    assert (
        "this sink needs opentelemetry, which is not installed; `pip install 'hungframe[otel]'` brings it\n"
        == ended.stdout
    )


def test_the_api_without_the_sdk_is_enough() -> None:
    """
    OTelSink imports nothing of the SDK, and does nothing where there is none.
    """
    pytest.importorskip("opentelemetry.trace", reason="opentelemetry-api is not installed")
    ended = run("""
        import sys
        sys.modules["opentelemetry.sdk"] = None
        from hungframe import Guard
        from hungframe.telemetry.otel import OTelSink
        guard = Guard("images", sinks=[OTelSink()])
        print(guard.call(str.upper, "done"), guard.snapshot().faults)
    """)

    assert ("DONE 0\n", "") == (ended.stdout, ended.stderr)


@pytest.mark.parametrize(
    ("anyio", "hungframe"),
    [
        ("import anyio", "import hungframe"),
        # Either loads nothing until it is used: then asyncio, which alone takes more than twice as long.
        ("import anyio, anyio._backends._asyncio", "from hungframe import Guard"),
    ],
)
def test_import_takes_no_longer_than_one_and_a_half_anyios(tmp_path: Path, anyio: str, hungframe: str) -> None:
    """
    The best of several fresh interpreters each, in turns, in CPU time, such that what disturbs one disturbs the other.
    """
    programs = {"anyio": anyio, "hungframe": hungframe}
    timed = "import time; began = time.process_time(); {}; print(time.process_time() - began)"
    # What is compiled stays: elsewhere it may be forbidden to write it, and compiling takes longer than all the rest.
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    best = dict.fromkeys(programs, float("inf"))
    for turn in range(16):
        for name, program in programs.items():
            took = float(run(timed.format(program), env=env).stdout)
            best[name] = min(best[name], took) if turn else best[name]
        if turn >= 2 and best["hungframe"] <= 1.5 * best["anyio"]:
            break

    assert best["hungframe"] <= 1.5 * best["anyio"]
