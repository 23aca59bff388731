"""
`hungframe top` in a terminal of its own: what is seen there, live, and what is left of it when it has ended.
"""

from __future__ import annotations

import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import pytest

from hungframe import Guard
from hungframe.health import serve

pytest.importorskip("rich", reason="rich is not installed")
fcntl = pytest.importorskip("fcntl", reason="there are no pseudo-terminals")
termios = pytest.importorskip("termios", reason="there are no pseudo-terminals")

FIRST_SCREEN, LAST_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """
    What one process has written to its terminal.
    """

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process = process
        self._fd = fd
        self.written = ""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def screen(self) -> list[str]:
        """
        What was drawn last: each drawing begins at the upper left corner.
        """
        whole = self.written.split("\x1b[H")[-1]
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", whole).replace("\r", "").split("\n")

    def read(self, within: float = 0.05) -> bool:
        """
        Take what is there; False once the process has closed the terminal.
        """
        if select.select([self._fd], [], [], within)[0]:
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                return False
            self.written += data.decode(errors="replace")
            return bool(data)
        return True

    def until(self, *words: str, what: Callable[[list[str]], bool] = bool) -> list[str]:
        """
        Wait until all of them stand on one drawing.
        """
        ends_at = time.monotonic() + 10
        while True:
            # A whole drawing is followed by the next one.
            for drawn in self.written.split("\x1b[H")[-2:]:
                plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn).replace("\r", "")
                if all(word in plain for word in words) and what(plain.split("\n")):
                    return plain.split("\n")
            assert time.monotonic() < ends_at and self.process.poll() is None, self.screen()
            self.read()

    def end(self) -> int:
        """
        Read to the end; gives the exit code.
        """
        ends_at = time.monotonic() + 5
        while self.read() and self.process.poll() is None:
            assert time.monotonic() < ends_at, self.screen()
        while self.read(0) and select.select([self._fd], [], [], 0)[0]:
            pass
        return self.process.wait(5)


@contextmanager
def terminal(words: Sequence[str], **environment: str) -> Generator[Terminal, None, None]:
    """
    Run `hungframe top` in a terminal of 80 x 24.
    """
    ours, theirs = os.openpty()
    source = os.pathsep.join(path for path in sys.path if path)
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    kept |= {"PYTHONPATH": source, "TERM": "xterm-256color", "PYTHONUTF8": "1", **environment}
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def take_the_terminal() -> None:
        # Such that Ctrl-C is a signal for it.
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "hungframe", "top", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=kept,
        start_new_session=True,
        preexec_fn=take_the_terminal,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(5)
        os.close(ours)


def test_live() -> None:
    """
    States as they change, a terminal that is resized, a page that goes away and comes back, and Ctrl-C, which is how
    one leaves: exit code 0, and the terminal as it was.
    """
    guard = Guard("images")
    server = serve(guard)
    port = int(server.port)
    try:
        with terminal([server.url, "--interval", "0.1"]) as top:
            top.until("ready", "● images  Closed", "timeout 60 s")
            guard.force_open()
            drawn = top.until("NOT READY", "images  Forced open, until somebody resets it", "open today")
            assert max(map(len, drawn)) <= 80 and len(drawn) <= 24

            top.resize(60, 10)
            top.until("images  Forced open", what=lambda lines: max(map(len, lines)) <= 60 and len(lines) <= 10)

            server.close()
            top.until("Away since", "connection refused", "What follows is", "images  Forced open")
            guard.reset()
            server = serve(guard, port=port)
            top.until("ready", "images  Closed")
            top.press(b"\x03")
            assert 0 == top.end()
    finally:
        server.close()
    assert "\x1b[32m" in top.written
    assert top.written.index(FIRST_SCREEN) < top.written.index(LAST_SCREEN)
    assert top.written.rindex(HIDE) < top.written.rindex(SHOW)
    assert "Traceback" not in top.written


def test_no_colour_and_sigterm() -> None:
    """
    NO_COLOR is live without colours, and who ends it from outside gets the terminal back, too.
    """
    with serve(Guard("images")) as server, terminal([server.url], NO_COLOR="1") as top:
        top.until("images  Closed")
        top.process.send_signal(signal.SIGTERM)
        assert 128 + signal.SIGTERM == top.end()
    assert FIRST_SCREEN in top.written and LAST_SCREEN in top.written
    styles = "".join(re.findall(r"\x1b\[([0-9;]*)m", top.written))
    assert not re.search(r"3[0-8]|9[0-7]", styles)


def test_ctrl_c_while_the_page_hangs() -> None:
    """
    Nobody waits for an answer that does not come.
    """
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        with terminal([f"127.0.0.1:{silent.getsockname()[1]}", "--timeout", "60"]) as top:
            top.until("Asking ...")
            begun = time.monotonic()
            top.press(b"\x03")
            assert 0 == top.end()
            assert time.monotonic() - begun < 2
    assert "Traceback" not in top.written
