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
import inspect
import os
from collections.abc import Iterable
from pathlib import Path
from unittest import SkipTest

import pytest
from _pytest.doctest import DoctestModule
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import pad
from sybil.parsers.markdown import SkipParser
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

ROOT = Path(__file__).parent

# litellm would fetch a list of prices from the net when it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

# Which tests are run where and when.
pytest_plugins = ["tests.plan"]


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
