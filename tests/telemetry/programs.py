"""
The programs of Prometheus that tests run, and how: from Debian's packages, skipped where they are not there.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest


def program(name: str) -> str:
    """
    Find a program, or skip the test.
    """
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} was not found: apt-get install prometheus prometheus-alertmanager")
    return path


def run(name: str, *words: str) -> str:
    """
    Run a program that must be content; return what it said.
    """
    ran = subprocess.run([program(name), *words], capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
