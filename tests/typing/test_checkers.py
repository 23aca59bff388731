"""
mypy and pyright, both strict, over programs of a user: signatures are kept, and wrong use is an error.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hungframe
from tests.typing.samples import RIGHT, WRONG

SOURCE = Path(hungframe.__file__).parent.parent
CHECKERS = ["mypy", "pyright"]

# By line: what was said, an error or what was revealed.
Said = dict[int, str]


def run(tool: str, *arguments: str, cwd: Path) -> str:
    """
    Run a tool of this interpreter's environment, or skip where it is not installed.
    """
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed")
    environment = {**os.environ, "MYPYPATH": str(SOURCE), "PYTHONPATH": "", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.stdout


def mypy(program: Path) -> tuple[Said, Said]:
    """
    Check one program; return errors and revelations.
    """
    out = run("mypy", "--strict", "--no-error-summary", "--python-version=3.10", program.name, cwd=program.parent)
    errors: Said = {}
    revealed: Said = {}
    for line, kind, text in re.findall(rf"^{program.name}:(\d+): (error|note): (.*)$", out, re.MULTILINE):
        if kind == "error":
            errors[int(line)] = text
        elif shown := re.match(r'Revealed type is "(.*)"', text):
            revealed[int(line)] = shown[1]
    return errors, revealed


def pyright(program: Path) -> tuple[Said, Said]:
    """
    Check one program; return errors and revelations.
    """
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.10", "extraPaths": [str(SOURCE)]}
    (program.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    arguments = ("--outputjson", "--pythonpath", sys.executable, program.name)
    diagnostics = json.loads(run("pyright", *arguments, cwd=program.parent))["generalDiagnostics"]
    errors: Said = {}
    revealed: Said = {}
    for each in diagnostics:
        line = each["range"]["start"]["line"] + 1
        if shown := re.match(r'Type of ".*" is "(.*)"', each["message"], re.DOTALL):
            revealed[line] = shown[1]
        elif each["severity"] == "error":
            errors[line] = each["message"]
    return errors, revealed


CHECK: dict[str, Callable[[Path], tuple[Said, Said]]] = {"mypy": mypy, "pyright": pyright}


def short(name: str) -> str:
    """
    A type without its modules, as one checker names it and the other does not.
    """
    return re.sub(r"Union\[(\w+), None\]", r"\1 | None", name.replace("builtins.", ""))


@pytest.mark.parametrize("checker", CHECKERS)
def test_signatures_are_kept(checker: str, tmp_path: Path) -> None:
    """
    Of a program that uses all of it rightly every type is known, and nothing is refused.
    """
    program = tmp_path / "right.py"
    program.write_text(RIGHT)
    expected = {
        number: line.rsplit("# ", 1)[1]
        for number, line in enumerate(RIGHT.splitlines(), 1)
        if line.lstrip().startswith("reveal_type(")
    }

    errors, revealed = CHECK[checker](program)

    assert {} == errors
    assert expected == {line: short(name) for line, name in revealed.items()}


@pytest.mark.parametrize("checker", CHECKERS)
def test_wrong_use_is_an_error(checker: str, tmp_path: Path) -> None:
    """
    Each line that is wrong is refused, and no other.
    """
    program = tmp_path / "wrong.py"
    program.write_text(WRONG)
    expected = {number for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# error")}

    errors, _ = CHECK[checker](program)

    assert expected == errors.keys()
