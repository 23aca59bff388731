"""
Run the tests on every Python that hungframe serves and this machine has.

A Python that is not found fails nothing; it is listed as skipped, with the reason, when all are through.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import nox

VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
PROJECT = nox.project.load_toml("pyproject.toml")

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"


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


def tests(session: nox.Session) -> None:
    """
    Run the tests that may differ between Pythons, without coverage; what fails beside others once more by itself.
    """
    session.install("--editable", ".", *nox.project.dependency_groups(PROJECT, "test"))
    session.run(
        "pytest", "-m", "not once", "--numprocesses=4", "--dist=loadfile", *session.posargs, success_codes=[0, 1]
    )
    # 5: there is nothing that has failed.
    again = ["--last-failed", "--last-failed-no-failures=none"]
    session.run("pytest", "-m", "not once", *again, *session.posargs, success_codes=[0, 5])


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
