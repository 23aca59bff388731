"""
Collect what is written for readers, so that it is run as well: docs and docstrings.

- Docs: the ```python blocks of README.md and docs/**/*.md. Those of one file run in order and share their names, and
  `await` may stand at the top level. Blocks of all other languages (console, bash, ...) are not run.
  A block is passed over only with a reason: `<!-- skip: next "needs a key of the provider" -->` above it.
- Docstrings: the `>>>` examples of src, each docstring by itself, with the names of its module.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import gc
import inspect
import os
from collections.abc import Generator, Iterable
from pathlib import Path
from unittest import SkipTest

import hypothesis  # noqa: F401  # Before anything is frozen: it asks the collector who holds the random numbers of others.
import pytest
from _pytest.doctest import DoctestModule
from coverage import Coverage
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import pad
from sybil.parsers.markdown import SkipParser
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

ROOT = Path(__file__).parent

# litellm would fetch a list of prices from the net when it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

# What holds alike on any Python, being of a library or of a kernel, or takes long: `make matrix` leaves it out.
ONCE = {
    "abort": ("test_no_frame_kept_around",),
    "cli": ("test_top_screen", "test_top_terminal"),
    "core": (
        "test_breaker_machine",
        "test_bucket_machine",
        "test_bulkhead_machine",
        "test_choice",
        "test_concurrency",
        "test_hint",
        "test_latency_machine",
        "test_line",
        "test_probing_machine",
        "test_purse_machine",
        "test_retries_simulated",
        "test_retry_after",
        "test_retry_budget_machine",
        "test_survival",
        "test_unmoved_machine",
        "test_window_machine",
    ),
    "examples": ("test_demo",),
    # Of the docs, the reference and the tutorial are run on each.
    "explanation": tuple(path.stem for path in (ROOT / "docs" / "explanation").glob("*.md")),
    "health": ("test_mounted", "test_page_in_a_browser"),
    "how-to": tuple(path.stem for path in (ROOT / "docs" / "how-to").glob("*.md")),
    "images": tuple(path.stem for path in (ROOT / "tests" / "examples" / "images").glob("test_*.py")),
    "guard": (
        "test_cost",
        "test_guard_set",
        "test_timeout_learns",
        "test_guard_set_bad_input",
        "test_guard_set_choose",
        "test_guard_set_machine",
        "test_guard_set_simulated",
        "test_recovery_simulated",
    ),
    "simulations": ("test_hangs", "test_slow", "test_storms"),
    "telemetry": (
        "test_alerts",
        "test_dashboard",
        "test_imports",
        "test_log_sink",
        "test_prometheus_multiprocess",
        "test_schema",
    ),
    # The provider itself is run on each Python by the tests of the transports.
    "testing": ("test_pytest_plugin", *(path.stem for path in (ROOT / "tests" / "testing").glob("test_provider_*.py"))),
    "transport": (
        "test_abort_cancelled",
        "test_abort_connect",
        "test_abort_interrupted",
        "test_abort_leftovers",
        "test_abort_pool",
        "test_abort_random",
        "test_abort_shapes",
        "test_abort_too_large",
        "test_abort_upload",
        "test_addresses",
        "test_clients",
        "test_many_at_once",
        "test_own_timeouts",
        "test_pool",
        "test_proxies",
        "test_requests",
        "test_retry",
        "test_waiting",
    ),
    "typing": ("test_checkers",),
}


# Documents of which not every block was chosen to be run, as when one that has failed is tried again by itself, and up
# to where each has been run.
_in_part: dict[Document, int] = {}
_begun: set[Document] = set()


def run_those_before(example: Example) -> None:
    """
    Run what stands before a block where it was not chosen: the block needs its names.
    """
    document = example.document
    is_first = document not in _begun
    _begun.add(document)
    if is_first and example.start > document.regions[0][0]:
        _in_part[document] = -1
    if document in _in_part:
        ran_to, _in_part[document] = _in_part[document], example.start
        for earlier in document.examples():
            if ran_to < earlier.start < example.start:
                with contextlib.suppress(SkipTest):
                    earlier.evaluate()


def run_block(example: Example) -> None:
    """
    Run one block with the names of those before it, on an event loop where it awaits something.
    """
    run_those_before(example)
    source = pad(example.parsed, example.line + example.parsed.line_offset)
    code = compile(source, example.path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, example.namespace)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(result)


def python_blocks(document: Document) -> Iterable[Region]:
    """
    Find the blocks to run.

    Raises:
        ValueError: If a block says that it is Python in words that would keep it from being run.
    """
    for region in FencedCodeBlockLexer("py[^\n]*", mapping={"language": "language", "source": "source"})(document):
        if region.lexemes["language"].strip() != "python":
            place = f"{document.path}:{document.line_column(region.start)}"
            raise ValueError(f"{place}: say ```python, nothing more, got ```{region.lexemes['language']}")
        region.parsed = region.lexemes["source"]
        region.evaluator = run_block
        yield region


class SkipWithReason(SkipParser):
    """
    Pass over blocks, but only where the document says why.
    """

    def __call__(self, document: Document) -> Iterable[Region]:
        for region in super().__call__(document):
            action, reason = region.parsed
            if action != "end" and not reason:
                place = f"{document.path}:{document.line_column(region.start)}"
                raise ValueError(f'{place}: a skip needs a reason: <!-- skip: {action} "why" -->')
            yield region


collect_blocks = Sybil(parsers=[python_blocks, SkipWithReason()], pattern="*.md").pytest()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    # Not `--doctest-modules`: that imports the scripts below tests, too, which tests start in processes of their own.
    if ROOT / "src" in file_path.parents and file_path.suffix == ".py" and file_path.name != "__main__.py":
        return DoctestModule.from_parent(parent, path=file_path)

    if file_path == ROOT / "README.md" or ROOT / "docs" in file_path.parents:
        blocks: pytest.Collector | None = collect_blocks(file_path, parent)
        return blocks

    return None


# Of these folders, what is in ONCE.
UNMEASURED = {"core", "images", "simulations", "testing", "typing"}

_last_file: Path | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """
    Let the collector look at what a file's own tests have made.

    Many tests ask it to collect, and each time it would walk through all that was imported for others: SDKs, web
    frameworks and their schemas, which took five times as long as the tests themselves.
    """
    global _last_file
    if item.path != _last_file:
        _last_file = item.path
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """
    Measure no coverage by simulations and the example: most of their time is in code that counts for nothing there, or
    that others reach as well, and being measured takes half as long again.
    """
    is_measured = item.path.parent.name not in UNMEASURED or not item.get_closest_marker("once")
    measured = None if is_measured else Coverage.current()
    if measured is not None:
        measured.stop()
    try:
        return (yield)
    finally:
        if measured is not None:
            measured.start()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in ONCE.get(item.path.parent.name, ()):
            item.add_marker(pytest.mark.once)
