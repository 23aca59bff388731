"""
The command line: `hungframe` is `python -m hungframe`, commands write to standard output, and mistakes are told.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from hungframe import cli
from hungframe.telemetry.alerts import Thresholds, rules
from hungframe.telemetry.dashboard import dashboard


def test_alerts(capsys: pytest.CaptureFixture[str]) -> None:
    """
    `hungframe alerts` writes the rules, with the thresholds that were asked for.
    """
    assert 0 == cli.main(["alerts"])
    assert rules() == capsys.readouterr().out

    assert 0 == cli.main(["alerts", "--timeout-rate", "0.02", "--namespace", "pictures"])
    assert rules(Thresholds(timeout_rate=0.02), "pictures") == capsys.readouterr().out


def test_dashboard(capsys: pytest.CaptureFixture[str]) -> None:
    """
    `hungframe dashboard` writes JSON.
    """
    assert 0 == cli.main(["dashboard", "--namespace", "pictures"])
    assert dashboard("pictures") == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "required: command"),
        (["alarms"], "invalid choice: 'alarms'"),
        (["alerts", "--timeout-rate", "5"], r"timeout_rate must be in (0, 1), got 5.0"),
        (["alerts", "--timeout-rate", "much"], "invalid float value: 'much'"),
        (["alerts", "--namespace", "a-b"], "namespace must be letters, digits and '_', such as 'hungframe', got 'a-b'"),
        (["dashboard", "--namespace", "a-b"], "namespace must be"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """
    What was not understood is told on standard error, with exit code 2, and nothing is written.
    """
    with pytest.raises(SystemExit) as left:
        cli.main(words)

    assert 2 == left.value.code
    told = capsys.readouterr()
    assert said in told.err
    assert not told.out


def test_every_command_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Each line of the table has a module with what is asked of one, and stands in the help.
    """
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    said = capsys.readouterr().out
    for name, summary in cli.COMMANDS.items():
        assert f"{name} " in said and summary in said
        module = importlib.import_module(f"hungframe.cli.{name.replace('-', '_')}")
        assert callable(module.run) and callable(module.add_arguments)


def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A command whose extra is missing says which, and hinders no other.
    """

    def import_module(name: str) -> None:
        raise ImportError("needs rich: pip install 'hungframe[cli]'")

    monkeypatch.setattr("hungframe.cli.importlib.import_module", import_module)

    assert 1 == cli.main(["alerts"])
    assert "hungframe alerts: needs rich: pip install 'hungframe[cli]'\n" == capsys.readouterr().err


def test_the_module_is_the_command() -> None:
    """
    `python -m hungframe` writes what `hungframe` does, and a reader that has seen enough is no error.
    """
    entry = next(iter(metadata.entry_points(group="console_scripts", name="hungframe")), None)
    assert entry is None or entry.load() is cli.main
    with subprocess.Popen(
        [sys.executable, "-m", "hungframe", "alerts"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert "# Written by `hungframe alerts`.\n" == process.stdout.readline()
        process.stdout.close()
        assert "" == process.stderr.read()
    assert 0 == process.returncode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here that is always full")
def test_a_disk_that_is_full() -> None:
    """
    One line on standard error, not a traceback, and none more when the stream is closed.
    """
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-m", "hungframe", "alerts"], stdout=full, stderr=subprocess.PIPE)
    assert (1, b"hungframe alerts: No space left on device\n") == (done.returncode, done.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="no shell here that closes it")
def test_standard_output_that_is_closed() -> None:
    """
    It is said, not a traceback.
    """
    words = ["sh", "-c", 'exec "$0" -m hungframe dashboard >&-', sys.executable]
    done = subprocess.run(words, stderr=subprocess.PIPE, check=False)
    assert (1, b"hungframe dashboard: standard output is closed\n") == (done.returncode, done.stderr)
