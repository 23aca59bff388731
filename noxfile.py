"""
Run the tests: all of them here, and those that may differ on every Python that hungframe serves and this machine has.

A Python that is not found fails nothing; it is listed as skipped, with the reason, when all are through.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import nox
from nox.command import CommandFailed

VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
PROJECT = nox.project.load_toml("pyproject.toml")

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = [f"tests-{version}" for version in VERSIONS]


def is_python(path: str, version: str) -> bool:
    """
    Ask *path* itself whether it is Python *version*.

    A pyenv shim stands on PATH for every installed version, and fails for those that are not active.
    """
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([path, "-c", ask], capture_output=True, text=True, check=False)

    return answer.returncode == 0 and answer.stdout.strip() == version


def locate(version: str) -> str | None:
    """
    Find Python *version* on PATH, then among the versions of pyenv, newest patch first.
    """
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = [path for path in root.glob(f"versions/{version}.*") if re.fullmatch(r"[\d.]+", path.name)]
    newest_first = sorted(installed, key=lambda path: [int(part) for part in path.name.split(".")], reverse=True)
    on_path = shutil.which(f"python{version}")
    candidates = [*([on_path] if on_path else []), *(str(path / "bin" / "python") for path in newest_first)]

    return next((path for path in candidates if is_python(path, version)), None)


# Three for two cores: many tests wait for a socket or for a process.
BESIDE_EACH_OTHER = ["--numprocesses=3", "--dist=loadfile", "--no-loadscope-reorder"]


def in_turn(session: nox.Session, pytest: str, which: Sequence[str] = (), measured: Sequence[str] = ()) -> None:
    """
    Run tests beside each other, then those of them that failed once more by themselves, then those that are to be run
    with nothing beside them.

    Only the first are measured: where a machine is busy, the tracer alone makes an abort late.
    """
    if session.posargs:
        # Somebody looks for something.
        session.run(pytest, *BESIDE_EACH_OTHER, *session.posargs, external=True)
        return
    beside, alone = (["-m", " and ".join([*which, word])] for word in ("not alone", "alone"))
    try:
        session.run(pytest, *beside, *BESIDE_EACH_OTHER, *measured, external=True)
    except CommandFailed:
        # Where no test has failed but pytest itself, this finds nothing to run, and fails as well.
        session.run(pytest, *beside, "--last-failed", "--last-failed-no-failures=none", external=True)
    session.run(pytest, *alone, external=True)


def tests(session: nox.Session) -> None:
    """
    Run the tests that may differ between Pythons, without coverage.
    """
    session.install("--editable", ".", *nox.project.dependency_groups(PROJECT, "test"))
    in_turn(session, "pytest", which=["not once"])


@nox.session(python=False)
def here(session: nox.Session) -> None:
    """
    Run all tests on the Python that nox itself runs on, with branch coverage.
    """
    programs = Path(sys.executable).parent
    if not session.posargs:
        session.run(str(programs / "coverage"), "erase", external=True)
    in_turn(session, str(programs / "pytest"), measured=["--cov", "--cov-report="])
    if not session.posargs:
        session.run(str(programs / "coverage"), "report", external=True)


def missing(session: nox.Session, *, version: str) -> None:
    """
    Say which Python was not found, and where it was looked for.
    """
    session.skip(f"Python {version} was not found, neither as python{version} on PATH nor under pyenv")


for version in VERSIONS:
    found = locate(version)
    if found:
        nox.session(name=f"tests-{version}", python=found)(tests)
    else:
        nox.session(name=f"tests-{version}", python=False)(partial(missing, version=version))
